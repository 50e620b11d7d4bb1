/* Owns `pons bench`: which measurements a call is made of. The measurements are in bench, the options in
 * bench_options, what results look like in bench_output. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_layers.h"
#include "cli/bench_options.h"
#include "cli/bench_output.h"
#include "kern/gemm.h"
#include "kern/limits.h"
#include "linalg/scalapack.h"

static bool bf16_or(const pons_bench_options *a, bool fallback)
{
    return a->precision < 0 ? fallback : a->precision == 1;
}

/* Both types unless one was asked for. @param one of all measurements: on its own, with 1, 2, 4 ... threads up to all
 * unless their number was asked for, and what memory leaves of the rate */
static pons_status measure_gemm(const pons_bench_options *a, const pons_bench_setting *setting,
                                int64_t rows, int64_t d, bool one, pons_bench_report *report)
{
    pons_status st = PONS_OK;
    bool doubling = !one && a->threads == 0;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        if (a->precision >= 0 ? a->precision != bf16 : bf16 && !pons_kern_has_bf16()) continue;
        int most = setting->threads;
        for (int t = doubling ? 1 : most; t <= most; t = t < most && 2 * t > most ? most : 2 * t) {
            pons_bench_setting s = *setting;
            s.threads = t;
            omp_set_num_threads(t);
            st = pons_bench_gemm(&s, bf16, rows, d, &report->result[report->count]);
            if (st == PONS_OK) report->count++;
            if (st == PONS_OK && bf16 && !one && t == most) {
                st = pons_bench_streamed(&s, &report->result[report->count]);
                if (st == PONS_OK) report->count++;
            }
            omp_set_num_threads(most);
            if (st != PONS_OK) return st;
        }
    }
    return st;
}

static pons_status dump(const pons_bench_options *a, const pons_bench_setting *s)
{
    pons_status st = PONS_OK;
    pons_bench_problem p = {0};
    PONS_TRY(st, pons_bench_problem_create(s->comm, &a->layer, &p));
    PONS_TRY(st, pons_bench_problem_factor(&a->layer, &p));
    PONS_TRY(st, pons_bench_problem_dump(&a->layer, &p, a->sample, a->dump));
done:
    pons_bench_problem_clear(&p);
    return st;
}

static void fit(pons_bench_report *report, bool over_dim)
{
    double x[PONS_BENCH_RESULTS], solver[PONS_BENCH_RESULTS], potrf[PONS_BENCH_RESULTS];
    double factor[PONS_BENCH_RESULTS];
    for (int i = 0; i < report->count; i++) {
        const pons_bench_result *r = &report->result[i];
        x[i] = (double)(over_dim ? r->d : r->rows);
        solver[i] = over_dim ? r->seconds / (double)r->rows : r->seconds;
        potrf[i] = over_dim ? r->one_thread.seconds_per_row : r->one_thread.seconds;
        factor[i] = r->factor_seconds;
    }
    report->over = over_dim ? "dim" : "rows";
    report->exponents = over_dim ? 3 : 2;
    report->exponent_name[0] = over_dim ? "solver_seconds_per_row" : "solver_seconds";
    report->exponent_name[1] = over_dim ? "potrf_seconds_per_row" : "potrf_seconds";
    report->exponent_name[2] = "factor_seconds";
    report->exponent[0] = pons_bench_exponent(report->count, x, solver);
    report->exponent[1] = pons_bench_exponent(report->count, x, potrf);
    report->exponent[2] = pons_bench_exponent(report->count, x, factor);
}

static pons_status measure_solver(const pons_bench_options *a, const pons_bench_setting *s,
                                  pons_bench_report *report)
{
    pons_status st = PONS_OK;
    pons_bench_layer layer = a->layer;
    int64_t *swept = a->sweep == 'd' ? &layer.d : &layer.rows;
    int64_t to = a->to ? a->to : PONS_SWEEP_TO;
    if (a->dump) PONS_TRY_ALL(st, s->comm, dump(a, s));
    if (!a->sweep)
        return pons_bench_solver(
            s, &layer, a->solver,
            bf16_or(a, a->solver != PONS_SOLVER_DIRECT && pons_kern_has_bf16()), a->sample,
            &report->result[report->count++]);
    for (*swept = a->sweep == 'd' ? PONS_SWEEP_DIM : PONS_SWEEP_ROWS; *swept <= to; *swept *= 2)
        PONS_TRY(st, pons_bench_solver(
                         s, &layer, a->solver,
                         bf16_or(a, a->solver != PONS_SOLVER_DIRECT && pons_kern_has_bf16()),
                         a->sample, &report->result[report->count++]));
    fit(report, a->sweep == 'd');
done:
    return st;
}

static pons_status measure(const pons_bench_options *a, const pons_bench_setting *s,
                           const pons_model *model, pons_bench_report *report)
{
    pons_status st = PONS_OK;
    bool all = !strcmp(a->what, "all"), bf16 = bf16_or(a, pons_kern_has_bf16());
    int64_t rows = a->layer.rows, d = a->layer.d;
    if (all || !strcmp(a->what, "solver")) {
        PONS_TRY(st, measure_solver(a, s, report));
        rows = report->result[0].rows; /* a file's, when it is read */
        d = report->result[0].d;
    }
    if (all || !strcmp(a->what, "gemm")) PONS_TRY(st, measure_gemm(a, s, rows, d, all, report));
    if (all || !strcmp(a->what, "hessian"))
        PONS_TRY(st, pons_bench_hessian(s, bf16, a->tokens, d, &report->result[report->count++]));
    for (int other = 0; !strcmp(a->what, "factor") && other <= pons_scalapack_is_built(); other++)
        PONS_TRY(st, pons_bench_factor(s, d, other, &report->result[report->count++]));
    if (!strcmp(a->what, "memory"))
        PONS_TRY(st, pons_bench_memory(s, bf16, rows, d, a->tokens, a->windows,
                                       &report->result[report->count++]));
    if (model)
        PONS_TRY(st,
                 pons_bench_forward(s, model, bf16, a->tokens, &report->result[report->count++]));
    if (all || !strcmp(a->what, "clip"))
        PONS_TRY(st, pons_bench_clip(s, &a->layer, a->sample, &report->result[report->count++]));
    if (all || !strcmp(a->what, "gptq"))
        PONS_TRY(st, pons_bench_gptq(s, &a->layer, a->sample, &report->result[report->count++]));
done:
    return st;
}

static pons_status measure_quality(const pons_bench_options *a, pons_comm *comm, bool json)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_quality quality = {0};
    const char *golden = getenv("PONS_GOLDEN"), *folder = a->fixtures;
    pons_quality_setting setting = {a->layer.sparsity, a->layer.n, a->layer.m, a->layer.damping};
    if (!folder) folder = golden && *golden ? golden : "tests/golden";
    if (pons_comm_rank(comm) == 0) {
        local = pons_bench_quality(&setting, folder, &quality);
        if (local == PONS_OK) local = pons_cli_print_quality(&quality, json);
    }
    PONS_TRY_ALL(st, comm, local);
done:
    pons_quality_clear(&quality);
    return st;
}

/* One rank, its own output. */
static pons_status measure_layers(const pons_bench_options *a, const pons_model *model, bool json)
{
    pons_status st = PONS_OK;
    pons_bench_layers layers = {0};
    bool bf16 = bf16_or(a, a->solver != PONS_SOLVER_DIRECT && pons_kern_has_bf16());
    PONS_TRY(st, pons_bench_layers_measure(a->run, model, a->solver, bf16, a->sample,
                                           a->one_per_block, &layers));
    PONS_TRY(st, pons_cli_print_layers(&layers, json));
done:
    pons_bench_layers_clear(&layers);
    return st;
}

pons_status pons_cmd_bench(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    pons_model *model = NULL;
    int threads = omp_get_max_threads();
    static pons_bench_report report; /* large */
    pons_bench_options a;
    PONS_TRY(st, pons_cli_parse_bench(comm, argc, argv, common, &a));
    if (common->help) goto done;
    if (a.threads) PONS_TRY_ALL(st, comm, pons_kern_check_threads("--threads", (int)a.threads));
    PONS_TRY_ALL(st, comm, pons_kern_reserve_blas(a.threads ? (int)a.threads : threads));
    if (a.model) PONS_TRY_ALL(st, comm, pons_model_open(a.model, &model));
    pons_bench_setting setting = {comm, a.threads ? (int)a.threads : threads, a.repeat, a.cpu_time};
    bool layer = strcmp(a.what, "gemm") && strcmp(a.what, "hessian") && strcmp(a.what, "factor") &&
                 strcmp(a.what, "memory") && strcmp(a.what, "forward");
    report = (pons_bench_report){.cpu_time = a.cpu_time,
                                 .layer = layer ? &a.layer : NULL,
                                 .repeat = a.repeat,
                                 .list = !strcmp(a.what, "all") || !strcmp(a.what, "gemm") ||
                                         !strcmp(a.what, "factor") || a.sweep};
    omp_set_num_threads(setting.threads);
    if (!strcmp(a.what, "quality")) {
        st = measure_quality(&a, comm, common->json);
        goto done;
    }
    bool layers = !strcmp(a.what, "layers");
    st = layers ? measure_layers(&a, model, common->json) : measure(&a, &setting, model, &report);
    omp_set_num_threads(threads);
    if (st == PONS_OK && !layers)
        PONS_TRY_ALL(st, comm,
                     pons_comm_rank(comm) == 0 ? pons_cli_print_bench(&report, common->json)
                                               : PONS_OK);
done:
    omp_set_num_threads(threads);
    pons_model_close(&model);
    return st;
}

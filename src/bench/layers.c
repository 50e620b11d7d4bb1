/* Every linear of a model on kept Hessians. Owns how a run's problems are put together again; solving and
 * errors are rows.c's. */
#include "bench/layers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/half.h"
#include "base/log.h"
#include "base/mem.h"
#include "bench/rows.h"
#include "io/hessian_file.h"
#include "prune/mask.h"
#include "rotate/rotation.h"

/* What all linears share. */
typedef struct source {
    const char *run;
    const pons_model *model;
    const pons_model_config *config;
    pons_recipe recipe;
    pons_rotation *rotation;
    pons_solver solver;
    bool bf16;
    int64_t sample;
} source;

/* The whole linear, rotated. */
static pons_status read_weights(const source *s, int64_t layer, int linear, float *W)
{
    pons_status st = PONS_OK;
    int64_t rows, cols;
    float *gains = NULL;
    pons_linear_shape(s->config, linear, &rows, &cols);
    PONS_ALLOC(st, gains, pons_gain_floats(s->config));
    PONS_TRY(st, pons_model_read_linear(s->model, layer, linear, 0, rows, W));
    PONS_TRY(st, pons_model_read_gains(s->model, layer, gains));
    PONS_TRY(st, pons_rotation_linear(s->rotation, layer, linear, gains, W, NULL));
done:
    pons_mem_free(gains);
    return st;
}

/* Sampled rows of a linear as a problem with the group's Hessian. */
static pons_status make_problem(const source *s, int64_t layer, int linear,
                                const pons_bench_problem *group, pons_bench_problem *out)
{
    pons_status st = PONS_OK;
    pons_bench_problem whole = *group;
    const pons_recipe *r = &s->recipe;
    int64_t cols;
    pons_linear_shape(s->config, linear, &whole.rows, &cols);
    whole.total = whole.rows;
    PONS_ALLOC(st, whole.W, whole.rows * cols);
    PONS_ALLOC(st, whole.mask, whole.rows * cols);
    PONS_ALLOC(st, whole.scale, whole.rows);
    PONS_CALLOC(st, whole.zero, whole.rows);
    PONS_TRY(st, read_weights(s, layer, linear, whole.W));
    for (int64_t i = 0; group->factor->dead_count > 0 && i < whole.rows * cols; i++)
        if (group->factor->dead[i % cols]) whole.W[i] = 0.0f;
    PONS_TRY(st, pons_mask_wanda(whole.rows, cols, whole.W, group->factor->norm, r->prune.sparsity,
                                 r->prune.n, r->prune.m, whole.mask));
    pons_weight_quant grid = pons_bench_grid();
    pons_weight_scales(&grid, PONS_BENCH_BITS, whole.rows, cols, whole.W, cols, whole.scale,
                       whole.zero);
    PONS_TRY(st, pons_bench_problem_sample(&whole, s->sample, out));
done:
    pons_bench_problem_clear_sample(&whole);
    return st;
}

/* Errors of the rows as a solver leaves them. @param error [rows] out */
static pons_status find_errors(pons_bench_problem *p, pons_solver solver, bool bf16, int64_t split,
                               float *V, pons_row_metrics *metrics, double *error)
{
    pons_status st = pons_bench_solve_rows(p, solver, bf16, split, V, metrics);
    return st == PONS_OK ? pons_bench_row_errors(p, V, error) : st;
}

/* What the direct solver makes of the weights as bf16 keeps them, by the same measure. */
static pons_status find_rounded(pons_bench_problem *p, int64_t split, float *V, float *rounded,
                                double *error)
{
    pons_row_metrics unused;
    float *whole = p->W;
    for (int64_t i = 0; i < p->rows * p->d; i++)
        rounded[i] = pons_bf16_round(whole[i]);
    p->W = rounded;
    pons_status st = pons_bench_solve_rows(p, PONS_SOLVER_DIRECT, false, split, V, &unused);
    p->W = whole;
    return st == PONS_OK ? pons_bench_row_errors(p, V, error) : st;
}

static pons_bench_ratio ratio_of(int64_t rows, const double *error, const double *direct)
{
    pons_bench_ratio out = {0};
    for (int64_t i = 0; i < rows; i++) {
        double ratio = direct[i] > 0 ? error[i] / direct[i] : error[i] > 0 ? INFINITY : 1.0;
        out.mean += ratio / (double)rows;
        out.worst = fmax(out.worst, ratio);
    }
    return out;
}

/* Errors of the sample over those of the direct solver's rows: by the solver, and of rounded weights where that is
 * asked for. @param metrics of the solver */
static pons_status compare(const source *s, pons_bench_problem *p, int64_t split,
                           pons_row_metrics *metrics, pons_bench_ratio *out,
                           pons_bench_ratio *rounded)
{
    pons_status st = PONS_OK;
    pons_row_metrics unused;
    int64_t n = p->rows, cells = n * p->d;
    float *V = NULL, *W = NULL;
    double *direct = NULL, *error = NULL;
    PONS_ALLOC(st, V, cells);
    PONS_ALLOC(st, direct, n);
    PONS_ALLOC(st, error, n);
    PONS_TRY(st, find_errors(p, PONS_SOLVER_DIRECT, false, split, V, &unused, direct));
    PONS_TRY(st, find_errors(p, s->solver, s->bf16, split, V, metrics, error));
    *out = ratio_of(n, error, direct);
    if (!rounded) goto done;
    PONS_ALLOC(st, W, cells);
    PONS_TRY(st, find_rounded(p, split, V, W, error));
    *rounded = ratio_of(n, error, direct);
done:
    pons_mem_free(error);
    pons_mem_free(direct);
    pons_mem_free(W);
    pons_mem_free(V);
    return st;
}

static void add_ratio(pons_bench_ratio *all, int64_t before, const pons_bench_ratio *more,
                      int64_t rows)
{
    all->mean = (all->mean * (double)before + more->mean * (double)rows) / (double)(before + rows);
    all->worst = fmax(all->worst, more->worst);
}

void pons_bench_linear_add(pons_bench_linear *all, const pons_bench_linear *one)
{
    add_ratio(&all->stage1, all->rows, &one->stage1, one->rows);
    add_ratio(&all->both, all->rows, &one->both, one->rows);
    add_ratio(&all->rounded, all->rows, &one->rounded, one->rows);
    all->rows += one->rows;
    all->metrics.iterations += one->metrics.iterations;
    all->metrics.refined += one->metrics.refined;
    all->metrics.fallbacks += one->metrics.fallbacks;
    for (int n = 0; n < PONS_ITERATION_BINS; n++)
        all->metrics.rows_by_iterations[n] += one->metrics.rows_by_iterations[n];
}

static pons_status measure_linear(const source *s, int64_t layer, int linear,
                                  const pons_bench_problem *group, pons_bench_linear *out)
{
    pons_status st = PONS_OK;
    pons_bench_problem p = {0};
    pons_row_metrics stage1;
    PONS_TRY(st, make_problem(s, layer, linear, group, &p));
    out->linear = linear;
    out->rows = p.rows;
    snprintf(out->name, sizeof out->name, "block %lld %s", (long long)layer,
             s->config->arch->linear[linear].short_name);
    PONS_TRY(st, compare(s, &p, 0, &stage1, &out->stage1, NULL));
    PONS_TRY(st, compare(s, &p, p.split, &out->metrics, &out->both, &out->rounded));
done:
    pons_bench_problem_clear_sample(&p);
    return st;
}

/* The linears of a tap, which share a factor. @param only one of them; -1: all */
static pons_status measure_tap(const source *s, int64_t layer, int tap, int only,
                               pons_bench_layers *out)
{
    pons_status st = PONS_OK;
    pons_bench_problem group = {0};
    const char *tap_name = s->config->arch->tap[tap].name;
    pons_bench_layer layer_of = {.damping = s->recipe.obr.damping};
    char path[4096];
    snprintf(path, sizeof path, "%s/hessians/block-%03lld.h5", s->run, (long long)layer);
    PONS_TRY(st, pons_hessian_file_read(path, tap_name, &group.d, &group.H, &group.norm));
    group.split = (int64_t)(s->recipe.obr.alpha * (double)group.d);
    layer_of.hessian = path;
    PONS_TRY(st, pons_bench_problem_factor(&layer_of, &group));
    for (int l = 0; l < s->config->arch->linears; l++) {
        int64_t rows, cols;
        if (s->config->arch->linear[l].tap != tap || (only >= 0 && l != only)) continue;
        pons_linear_shape(s->config, l, &rows, &cols);
        if (cols != group.d)
            PONS_TRY(st, pons_fail(PONS_ERR_SHAPE,
                                   "%s: group %s is %lld wide, the model's %s takes %lld", path,
                                   tap_name, (long long)group.d,
                                   s->config->arch->linear[l].short_name, (long long)cols));
        pons_bench_linear *one = &out->linear[out->count];
        PONS_TRY(st, measure_linear(s, layer, l, &group, one));
        pons_bench_linear_add(&out->all, one);
        out->count++;
    }
done:
    pons_bench_problem_clear(&group);
    return st;
}

static pons_status measure_block(const source *s, int64_t layer, bool one_per_block,
                                 pons_bench_layers *out)
{
    pons_status st = PONS_OK;
    const pons_arch *arch = s->config->arch;
    int only = (int)(layer % arch->linears);
    if (one_per_block) return measure_tap(s, layer, arch->linear[only].tap, only, out);
    for (int tap = 0; tap < arch->taps; tap++)
        PONS_TRY(st, measure_tap(s, layer, tap, -1, out));
done:
    return st;
}

static pons_status open_source(source *s)
{
    pons_status st = PONS_OK;
    char path[4096];
    snprintf(path, sizeof path, "%s/recipe.yaml", s->run);
    PONS_TRY(st, pons_recipe_load(path, NULL, 0, &s->recipe));
    if (s->recipe.rotation.learn)
        PONS_TRY(st, pons_fail(PONS_ERR_UNSUPPORTED,
                               "%s: rotation.learn: its learned rotations are not available; use a "
                               "run with random ones or rotation.file",
                               path));
    PONS_TRY(st, pons_rotation_create(&s->recipe, s->config, &s->rotation));
done:
    return st;
}

pons_status pons_bench_layers_measure(const char *run, const pons_model *model, pons_solver solver,
                                      bool bf16, int64_t sample, bool one_per_block,
                                      pons_bench_layers *out)
{
    pons_status st = PONS_OK;
    source s = {.run = run,
                .model = model,
                .config = pons_model_get_config(model),
                .solver = solver,
                .bf16 = bf16,
                .sample = sample};
    *out = (pons_bench_layers){.arch = s.config->arch, .all.name = "all linears"};
    PONS_TRY(st, open_source(&s));
    PONS_CALLOC(st, out->linear, s.config->layers * s.config->arch->linears);
    for (int64_t layer = 0; layer < s.config->layers; layer++)
        PONS_TRY(st, measure_block(&s, layer, one_per_block, out));
done:
    pons_rotation_destroy(&s.rotation);
    if (st != PONS_OK) pons_bench_layers_clear(out);
    return st;
}

void pons_bench_layers_clear(pons_bench_layers *layers)
{
    pons_mem_free(layers->linear);
    *layers = (pons_bench_layers){0};
}

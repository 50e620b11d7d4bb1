/* What a finished job tells: RUN/report.json and RUN/trace.json, the journal's last line. */
#include "pipeline/report.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "pack/digest.h"
#include "pipeline/counts.h"

static json_t *ratio(double part, double whole)
{
    return whole > 0 ? json_real(part / whole) : json_null();
}

/* Bytes of all tensors of a directory, and of those that hold the weights of linears. */
static pons_status count_bytes(const char *path, int64_t *all, int64_t *linears)
{
    pons_model *model = NULL;
    pons_status st = pons_model_open(path, &model);
    if (st != PONS_OK) return st;
    const pons_model_config *c = pons_model_get_config(model);
    *all = pons_model_bytes(model);
    *linears = 0;
    for (int64_t i = 0; i < c->layers * c->arch->linears; i++)
        *linears +=
            pons_model_linear_bytes(model, i / c->arch->linears, (int)(i % c->arch->linears));
    pons_model_close(&model);
    return PONS_OK;
}

/* What the manifest of OUT says, also when an earlier process wrote it: the perplexity, or NULL. */
static pons_status read_perplexity(const char *out, json_t **perplexity)
{
    json_t *manifest = NULL;
    char *path = pons_mem_printf("%s/pons.json", out);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_json_read(path, &manifest);
    *perplexity = json_incref(json_object_get(manifest, "perplexity"));
    json_decref(manifest);
    pons_mem_free(path);
    return st;
}

/* What the iterative solver did: counts of rows, by iterations up to the largest number needed; what masks,
 * solves and polishing cost in products of every row with a matrix of its linear's width. */
static json_t *solver_counts(const pons_row_metrics *m)
{
    json_t *counts = pons_counts_to_json(m);
    if (!counts) counts = json_object();
    json_object_set_new(counts, "products", ratio(m->flop, m->product_flop));
    return counts;
}

static pons_status make_report(const pons_context *context, int ranks, const pons_rundir *run,
                               const pons_account *account, int64_t peak, json_t *balance,
                               json_t **report)
{
    pons_status st = PONS_OK;
    const char *out = context->options->out;
    int64_t bytes = 0, linear_bytes = 0;
    char digest[65] = "";
    json_t *perplexity = NULL;
    PONS_TRY(st, read_perplexity(out, &perplexity));
    PONS_TRY(st, count_bytes(out, &bytes, &linear_bytes));
    if (context->recipe.output.format == PONS_OUTPUT_PACK_QUANTIZED)
        PONS_TRY(st, pons_pack_digest(out, digest));
    const pons_phase_seconds *s = &account->seconds;
    *report = json_pack(
        "{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:s, s:o, s:o, s:I, s:o, s:o, "
        "s:O*}",
        "method", pons_method_name(context->recipe.method), "compat",
        context->recipe.compat == PONS_COMPAT_FAITHFUL ? "faithful" : "corrected", "ranks", ranks,
        "linears", (json_int_t)account->linear_count, "rows", (json_int_t)account->rows, "weights",
        (json_int_t)account->weights, "zeros", (json_int_t)account->zeros, "sparsity",
        ratio((double)account->zeros, (double)account->weights), "bits",
        ratio(8.0 * (double)linear_bytes, (double)account->weights), "bytes", (json_int_t)bytes,
        "relative_error", ratio(account->error, account->energy), "digest", digest, "out",
        pons_json_name(out), "run", pons_json_name(run->path), "peak_rss_bytes", (json_int_t)peak,
        "seconds",
        json_pack(
            "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
            "s:f}",
            "total", pons_clock() - account->start, "learn", s->learn, "read", s->read, "forward",
            s->forward, "hessian", s->hessian, "keep", s->keep, "factor", s->factor, "mask",
            account->metrics.mask_seconds, "solve", account->metrics.solve_seconds, "clip",
            account->metrics.clip_seconds, "gptq", account->metrics.gptq_seconds, "polish",
            account->metrics.polish_seconds, "measure", account->metrics.measure_seconds, "gather",
            s->gather, "pack", s->pack, "evaluate", s->evaluate, "checkpoint", s->checkpoint),
        "solver", solver_counts(&account->metrics), "perplexity", perplexity);
    if (!*report || json_object_update(*report, balance))
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for the report");
done:
    json_decref(perplexity);
    return st;
}

/* A failure after OUT appeared: the sentence says that OUT is good. */
static pons_status only_the_report(pons_status code, json_t **report)
{
    json_decref(*report);
    *report = NULL;
    return pons_fail_within(code, "the output is complete, but not its report");
}

/* What is not needed any more: resume points, and all that an export reads unless it is kept. */
static pons_status clean(const pons_context *context, const pons_rundir *run)
{
    static const char *const names[] = {"hidden", "blocks", "model"};
    int count = context->recipe.checkpoint.keep ? 1 : 3;
    for (int i = 0; i < count; i++) {
        char *path = pons_mem_printf("%s/%s", run->path, names[i]);
        pons_status st = path ? pons_dir_remove(path) : PONS_ERR_NOMEM;
        pons_mem_free(path);
        if (st != PONS_OK) return st;
    }
    return PONS_OK;
}

/* Rank 0: the report, also in RUN, and the journal's last line. */
static pons_status close_run(const pons_context *context, int ranks, pons_rundir *run,
                             const pons_account *account, int64_t peak, json_t *balance,
                             json_t **report)
{
    pons_status st = PONS_OK;
    char *copy = pons_mem_printf("%s/report.json", run->path);
    if (!copy) return PONS_ERR_NOMEM;
    PONS_TRY(st, make_report(context, ranks, run, account, peak, balance, report));
    PONS_TRY(st, pons_json_write(copy, *report));
    PONS_TRY(st, pons_journal_append(run->journal,
                                     json_pack("{s:s, s:o, s:f}", "event", "finished", "out",
                                               pons_json_name(context->options->out), "seconds",
                                               pons_clock() - account->start)));
    PONS_TRY(st, clean(context, run));
done:
    pons_mem_free(copy);
    return st;
}

/* Collective: RUN/trace.json, and on rank 0 what it says in short. */
static pons_status close_trace(const pons_team *team, int team_size, const pons_rundir *run,
                               pons_account *account, json_t **balance)
{
    pons_status st = PONS_OK;
    char *path = pons_mem_printf("%s/trace.json", run->path);
    PONS_TRY_ALL(st, team->comm, path ? PONS_OK : PONS_ERR_NOMEM);
    pons_trace_set_block(account->trace, -1);
    PONS_TRY(st, pons_trace_summarize(account->trace, team->comm, team_size, balance));
    PONS_TRY(st, pons_trace_write(account->trace, team->comm, team_size, path));
done:
    pons_mem_free(path);
    return st;
}

pons_status pons_report(const pons_context *context, const pons_team *team, int team_size,
                        pons_rundir *run, pons_account *account, json_t **report)
{
    pons_status st = PONS_OK, local = PONS_OK;
    json_t *balance = NULL;
    double peak = pons_trace_peak(account->trace);
    pons_comm_max_f64(team->comm, &peak, 1);
    PONS_TRY(st, close_trace(team, team_size, run, account, &balance));
    if (team->rank == 0)
        local = close_run(context, team->size, run, account, (int64_t)peak, balance, report);
    PONS_TRY_ALL(st, team->comm, local);
done:
    if (st != PONS_OK) st = only_the_report(st, report);
    json_decref(balance);
    return st;
}

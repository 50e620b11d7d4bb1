/* From the windows of an input, or from sums of them, to a factor. Does not run the block; the algebra is
 * hessian's. */
#include "pipeline/factor.h"

#include <math.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/damping.h"

const float *pons_input_of_window(const pons_block *block, const pons_stream *stream,
                                  const pons_input *input, int64_t local, float *own_x)
{
    const float *x = pons_stream_x(stream, local);
    if (input->linear < 0) return x;
    pons_block_linear_input(block, &stream->runtime, input->linear, stream->length, x, own_x);
    return own_x;
}

static const float *input_of(const pons_hessian_source *source, const pons_input *input,
                             int64_t local)
{
    return pons_input_of_window(source->block, source->stream, input, local, source->own_x);
}

/* What may have made NaN or Inf of finite weights. */
static const char *overflow_hint(const pons_runtime *runtime, pons_tap_kind kind)
{
    bool rounded = runtime->hadamard_dtype == PONS_DTYPE_F16 &&
                   ((kind == PONS_INPUT_MIDDLE && runtime->hadamard_down) ||
                    (kind == PONS_INPUT_HEADS && runtime->hadamard_heads));
    return rounded ? "; rotation.hadamard_dtype f16 holds numbers up to 65504: use bf16 or f32"
                   : "";
}

/* Collective: the columns' scales, agreed on. @param hint follows the message of numbers that are none */
static pons_status observe_windows(const pons_team *team, int64_t layer,
                                   const pons_hessian_source *source, const pons_input *input,
                                   const char *hint, pons_hessian *h)
{
    pons_status st = PONS_OK, local = PONS_OK;
    const pons_stream *s = source->stream;
    int64_t own = pons_stream_summed(s);
    if (own > 0 && pons_fault(PONS_FAULT_HESSIAN_NAN)) pons_stream_x(s, 0)[0] = NAN;
    for (int64_t w = 0; local == PONS_OK && w < own; w++)
        local = pons_hessian_observe(h, s->own.begin + w, s->length, input_of(source, input, w));
    PONS_TRY_ALL(st, team->comm, local);
    st = pons_hessian_agree(h, team->comm);
    if (st != PONS_OK)
        st = pons_fail(st, "block %lld %s: %s%s", (long long)layer, input->name,
                       pons_error_message(), st == PONS_ERR_NUMERIC ? hint : "");
done:
    return st;
}

/* Collective: the factor takes the Hessian panel by panel, each summed over the windows of all ranks; the
 * last one stays. A panel is the whole matrix where it is small, or is to be written. */
static pons_status take_windows(const pons_team *team, const pons_hessian_source *source,
                                const pons_input *input, pons_hessian *h, bool whole,
                                pons_hessian_factor *factor)
{
    pons_status st = PONS_OK, local = PONS_OK;
    const pons_stream *s = source->stream;
    int64_t d = factor->d, panel = whole ? d : pons_hessian_panel_rows(d);
    for (int64_t first = 0; first < d; first += panel) {
        int64_t rows = d - first < panel ? d - first : panel;
        local = pons_hessian_take_rows(h, first, rows);
        for (int64_t w = 0; local == PONS_OK && w < pons_stream_summed(s); w++)
            local = pons_hessian_add(h, s->length, input_of(source, input, w));
        PONS_TRY_ALL(st, team->comm, local);
        PONS_TRY(st, pons_hessian_reduce(h, team->comm));
        pons_hessian_factor_take(factor, first, rows, pons_hessian_matrix(h), d - first);
    }
done:
    return st;
}

/* A Hessian on its way into factors. */
typedef struct pending {
    pons_hessian *h;             /* of windows or a sum; NULL: of a file */
    pons_hessian_reader *reader; /* of a file, on rank 0 */
    double *norm;                /* [d], of a file */
    bool complete;               /* the whole of h is reduced and still there */
} pending;

/* Collective: from the source to where it can be taken. */
static pons_status begin_hessian(const pons_context *context, const pons_team *team, int64_t layer,
                                 const pons_input *input, pons_hessian_source *source, pending *p)
{
    pons_status st = PONS_OK;
    int64_t d = pons_tap_width(context->config, input->tap);
    int index = input->index;
    switch (source->origin) {
    case PONS_HESSIAN_FILE:
        PONS_TRY(st, pons_hessians_open(context, team, layer, input, &p->reader, &p->norm));
        break;
    case PONS_HESSIAN_SUM:
        p->h = source->sum[index];
        source->sum[index] = NULL;
        PONS_TRY(st, pons_hessian_reduce(p->h, team->comm));
        p->complete = true;
        break;
    default:
        PONS_TRY_ALL(st, team->comm,
                     pons_hessian_create(d, source->stream->windows, context->bf16, &p->h));
        PONS_TRY(st, observe_windows(team, layer, source, input,
                                     overflow_hint(&source->stream->runtime,
                                                   context->config->arch->tap[input->tap].kind),
                                     p->h));
    }
done:
    return st;
}

/* Collective: all of it into a new factor. @param whole keep it complete */
static pons_status take_hessian(const pons_team *team, const pons_hessian_source *source,
                                const pons_input *input, bool whole, pending *p,
                                pons_hessian_factor *factor)
{
    int64_t d = factor->d;
    if (!p->h) return pons_hessians_take(team, p->reader, factor);
    if (!p->complete) return take_windows(team, source, input, p->h, whole, factor);
    pons_hessian_factor_take(factor, 0, d, pons_hessian_matrix(p->h), d);
    return PONS_OK;
}

/* Local: a sentence for a factor that failed; dead columns to the log. */
static pons_status check_factor(const pons_team *team, int64_t layer, const pons_input *input,
                                double damping, int64_t info, const pons_hessian_factor *factor)
{
    if (pons_fault(PONS_FAULT_HESSIAN_SPD)) info = 1;
    if (info < 0)
        return pons_fail(PONS_ERR_NUMERIC, "block %lld %s: Hessian holds NaN or Inf",
                         (long long)layer, input->name);
    if (info > 0)
        return pons_fail(PONS_ERR_NUMERIC,
                         "block %lld %s: damped Hessian is not positive definite (minor %lld of "
                         "%lld); raise obr.damping (now %g) or allow obr.damping_retries",
                         (long long)layer, input->name, (long long)info, (long long)factor->d,
                         damping);
    if (factor->dead_count > 0 && team->rank == 0)
        pons_log(PONS_LOG_DEBUG, "block %lld %s: dead input columns = %lld", (long long)layer,
                 input->name, (long long)factor->dead_count);
    return PONS_OK;
}

/* Collective: factor what was taken. @param free_first the Hessian makes room for the factor */
static pons_status finish_factor(const pons_context *context, const pons_team *team, int64_t layer,
                                 const pons_input *input, bool free_first, double damping,
                                 pending *p, pons_hessian_factor *factor)
{
    pons_status st = PONS_OK;
    const pons_recipe *r = &context->recipe;
    bool harmonic =
        r->compat == PONS_COMPAT_FAITHFUL &&
        (r->rotation.kind == PONS_ROTATION_QUAROT || r->rotation.kind == PONS_ROTATION_FLATQUANT);
    int64_t info = 0;
    if (p->h && free_first) {
        PONS_TRY_ALL(st, team->comm, pons_hessian_take_rows(p->h, factor->d, 0));
        p->complete = false;
    }
    PONS_TRY(st, pons_hessian_factor_finish(factor,
                                            p->norm ? p->norm : pons_hessian_norm(p->h, harmonic),
                                            damping, &info));
    st = pons_comm_agree(team->comm, check_factor(team, layer, input, damping, info, factor));
done:
    return st;
}

pons_status pons_factor_input(const pons_context *context, const pons_team *team,
                              pons_account *account, int64_t layer, const pons_input *input,
                              pons_hessian_source *source, pons_hessian_file *file, double *damping,
                              pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    pending p = {0};
    pons_hessian_factor *factor = NULL;
    int allowed = context->recipe.obr.damping_retries;
    double tried = context->recipe.obr.damping, start = pons_clock();
    int64_t d = pons_tap_width(context->config, input->tap);
    PONS_TRY(st, begin_hessian(context, team, layer, input, source, &p));
    for (int retries = 0;; retries++) {
        bool again = p.complete && retries < allowed; /* sums of windows cannot be made again */
        PONS_TRY(st, pons_hessian_factor_begin(team->comm, d, &factor));
        PONS_TRY(st, take_hessian(team, source, input, file && !retries, &p, factor));
        account->seconds.hessian += pons_trace_phase(account->trace, PONS_PHASE_HESSIAN, start);
        if (file && !retries) PONS_TRY(st, pons_hessians_write(context, account, file, input, p.h));
        start = pons_clock();
        st = finish_factor(context, team, layer, input, !again, tried, &p, factor);
        account->seconds.factor += pons_trace_phase(account->trace, PONS_PHASE_FACTOR, start);
        start = pons_clock();
        if (st != PONS_ERR_NUMERIC || retries == allowed) break;
        pons_hessian_factor_destroy(&factor);
        tried = tried > 0 ? 10 * tried : 1e-4;
        *damping = tried;
        if (team->rank == 0) pons_damping_log(layer, input, tried);
    }
    if (st != PONS_OK) goto done;
    *out = factor;
    factor = NULL;
done:
    pons_hessian_factor_destroy(&factor);
    pons_hessian_destroy(&p.h);
    pons_mem_free(p.norm);
    pons_hessian_reader_close(&p.reader);
    return st;
}

/*
 * One block of the wave: for each group in the reference's order, run the stage that makes its input once
 * per window, accumulate and factor the Hessian, compress the group's linears, go on with the compressed
 * weights. Then the evaluation streams; what the shard takes is handed over (commit.c).
 */
#include <math.h>
#include <stdio.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "model/transforms.h"
#include "pipeline/block.h"
#include "pipeline/commit.h"
#include "pipeline/counts.h"
#include "pipeline/target.h"

static float *window_h(const pons_job *job, int64_t local)
{
    return job->h + local * job->recipe.calibration.length * job->config->hidden;
}

static float *window_x(const pons_job *job, int64_t local)
{
    return job->x + local * job->recipe.calibration.length * pons_block_width(job->config);
}

/* What multiplies the weights of an input's linears in a window; good until the next call. */
static const float *window_input(const pons_job *job, const pons_block *block,
                                 const pons_input *input, int64_t local)
{
    const float *x = window_x(job, local);
    if (input->linear < 0) return x;
    pons_block_linear_input(block, &job->inputs, (pons_linear)input->linear,
                            job->recipe.calibration.length, x, job->own_x);
    return job->own_x;
}

pons_status pons_job_run_stage(pons_job *job, const pons_block *block, int stage)
{
    pons_status st = PONS_OK;
    double start = pons_clock();
    for (int64_t w = 0; st == PONS_OK && w < pons_job_own_windows(job); w++)
        if ((st = pons_stop_check()) == PONS_OK)
            st = pons_block_stage(block, &job->inputs, stage, job->recipe.calibration.length,
                                  window_h(job, w), window_x(job, w));
    job->seconds.forward += pons_trace_phase(job->trace, PONS_PHASE_FORWARD, start);
    return st;
}

/* Collective: the factor takes the Hessian panel by panel, each summed over the windows of all ranks; the
 * last one stays. A panel is the whole matrix where it is small, or is to be written. */
static pons_status take_hessian(pons_job *job, const pons_block *block, const pons_input *input,
                                pons_hessian *h, bool whole, pons_hessian_factor *factor)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t S = job->recipe.calibration.length;
    int64_t mine = pons_job_hessian_windows(job);
    int64_t d = factor->d, panel = whole ? d : pons_hessian_panel_rows(d);
    for (int64_t first = 0; first < d; first += panel) {
        int64_t rows = d - first < panel ? d - first : panel;
        local = pons_hessian_take_rows(h, first, rows);
        for (int64_t w = 0; local == PONS_OK && w < mine; w++)
            local = pons_hessian_add(h, S, window_input(job, block, input, w));
        PONS_TRY_ALL(st, job->comm, local);
        PONS_TRY(st, pons_hessian_reduce(h, job->comm));
        pons_hessian_factor_take(factor, first, rows, pons_hessian_matrix(h), d - first);
    }
done:
    return st;
}

pons_status pons_job_keep_hessian(pons_job *job, pons_hessian_file *file, const pons_input *input,
                                  pons_hessian *h)
{
    int64_t d = pons_group_dim(job->config, input->group);
    double start = pons_clock();
    pons_status st = pons_hessian_file_write(file, pons_input_name(input), d,
                                             pons_hessian_matrix(h), pons_hessian_norm(h, false));
    job->seconds.keep += pons_trace_phase(job->trace, PONS_PHASE_KEEP, start);
    return st;
}

pons_status pons_job_check_factor(const pons_job *job, int64_t layer, const pons_input *input,
                                  double damping, int64_t info, const pons_hessian_factor *factor)
{
    if (pons_fault(PONS_FAULT_HESSIAN_SPD)) info = 1;
    if (info < 0)
        return pons_fail(PONS_ERR_NUMERIC, "block %lld %s: Hessian holds NaN or Inf",
                         (long long)layer, pons_input_name(input));
    if (info > 0)
        return pons_fail(PONS_ERR_NUMERIC,
                         "block %lld %s: damped Hessian is not positive definite (minor %lld of "
                         "%lld); raise obr.damping (now %g) or allow obr.damping_retries",
                         (long long)layer, pons_input_name(input), (long long)info,
                         (long long)factor->d, damping);
    if (factor->dead_count > 0 && job->rank == 0)
        pons_log(PONS_LOG_DEBUG, "block %lld %s: dead input columns = %lld", (long long)layer,
                 pons_input_name(input), (long long)factor->dead_count);
    return PONS_OK;
}

pons_status pons_job_tell_damping(pons_job *job, int64_t layer, const pons_input *input,
                                  double damping)
{
    pons_log(PONS_LOG_WARN, "block %lld %s: Hessian is not positive definite; damping raised to %g",
             (long long)layer, pons_input_name(input), damping);
    return pons_journal_append(job->journal, json_pack("{s:s, s:I, s:s, s:f}", "event", "damping",
                                                       "block", (json_int_t)layer, "input",
                                                       pons_input_name(input), "damping", damping));
}

/* Collective: the columns' scales, agreed on. */
static pons_status observe_windows(pons_job *job, int64_t layer, const pons_block *block,
                                   const pons_input *input, pons_hessian *h)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t S = job->recipe.calibration.length;
    int64_t mine = pons_job_hessian_windows(job);
    if (mine > 0 && pons_fault(PONS_FAULT_HESSIAN_NAN)) window_x(job, 0)[0] = NAN;
    for (int64_t w = 0; local == PONS_OK && w < mine; w++)
        local =
            pons_hessian_observe(h, job->window_begin + w, S, window_input(job, block, input, w));
    PONS_TRY_ALL(st, job->comm, local);
    st = pons_hessian_agree(h, job->comm);
    if (st != PONS_OK)
        st = pons_fail(st, "block %lld %s: %s", (long long)layer, pons_input_name(input),
                       pons_error_message());
done:
    return st;
}

pons_status pons_job_factor_input(pons_job *job, int64_t layer, const pons_block *block,
                                  const pons_input *input, pons_hessian_file *file,
                                  pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    pons_hessian *h = NULL;
    pons_hessian_factor *factor = NULL;
    double *kept = NULL, *kept_norm = NULL; /* of an earlier run */
    double damping = job->recipe.obr.damping, start = pons_clock();
    bool harmonic = job->recipe.compat == PONS_COMPAT_FAITHFUL &&
                    (job->recipe.rotation.kind == PONS_ROTATION_QUAROT ||
                     job->recipe.rotation.kind == PONS_ROTATION_FLATQUANT);
    int64_t d = pons_group_dim(job->config, input->group), info = 0;
    if (job->options->hessians) {
        PONS_TRY(st, pons_job_read_hessian(job, layer, input, &kept, &kept_norm));
    } else {
        PONS_TRY_ALL(st, job->comm,
                     pons_hessian_create(d, job->recipe.calibration.windows, job->bf16, &h));
        PONS_TRY(st, observe_windows(job, layer, block, input, h));
    }
    for (int retries = 0;; retries++) {
        PONS_TRY(st, pons_hessian_factor_begin(job->comm, d, &factor));
        if (kept)
            pons_hessian_factor_take(factor, 0, d, kept, d);
        else
            PONS_TRY(st, take_hessian(job, block, input, h, file && !retries, factor));
        job->seconds.hessian += pons_trace_phase(job->trace, PONS_PHASE_HESSIAN, start);
        if (file && !retries) PONS_TRY(st, pons_job_keep_hessian(job, file, input, h));
        start = pons_clock();
        if (h) PONS_TRY_ALL(st, job->comm, pons_hessian_take_rows(h, d, 0)); /* for the factor */
        PONS_TRY(st, pons_hessian_factor_finish(factor,
                                                kept ? kept_norm : pons_hessian_norm(h, harmonic),
                                                damping, &info));
        st = pons_comm_agree(job->comm,
                             pons_job_check_factor(job, layer, input, damping, info, factor));
        job->seconds.factor += pons_trace_phase(job->trace, PONS_PHASE_FACTOR, start);
        start = pons_clock();
        if (st != PONS_ERR_NUMERIC || retries == job->recipe.obr.damping_retries) break;
        pons_hessian_factor_destroy(&factor);
        damping = damping > 0 ? 10 * damping : 1e-4;
        PONS_TRY_ALL(st, job->comm,
                     job->rank == 0 ? pons_job_tell_damping(job, layer, input, damping) : PONS_OK);
    }
    if (st != PONS_OK) goto done;
    *out = factor;
    factor = NULL;
done:
    pons_hessian_factor_destroy(&factor);
    pons_hessian_destroy(&h);
    pons_mem_free(kept_norm);
    pons_mem_free(kept);
    return st;
}

/* Collective: the linears of one input. */
static pons_status compress_input(pons_job *job, int64_t layer, const pons_block *block,
                                  const pons_input *input, pons_linear_work works[PONS_LINEARS],
                                  pons_hessian_file *file)
{
    pons_status st = PONS_OK;
    pons_hessian_factor *factor = NULL;
    if (pons_method_needs_hessian(job->recipe.method))
        PONS_TRY(st, pons_job_factor_input(job, layer, block, input, file, &factor));
    if (job->targets) PONS_TRY(st, pons_targets_aim(job, input->group, factor, works));
    PONS_TRY(st, pons_linear_works_compress(job, layer, input, factor, works));
done:
    pons_hessian_factor_destroy(&factor);
    return st;
}

/* Collective: one group of the block. */
static pons_status compress_group(pons_job *job, int64_t layer, pons_group group, pons_block *block,
                                  pons_linear_work works[PONS_LINEARS], pons_hessian_file *file)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_fault_die(PONS_FAULT_BLOCK_DIE);
    pons_fault_signal(PONS_FAULT_BLOCK_STOP);
    PONS_TRY_ALL(st, job->comm, pons_stop_check());
    PONS_TRY(st, pons_linear_works_read(job, layer, group, works));
    pons_linear_works_ahead(job, layer + 1, group);
    if (job->h) PONS_TRY_ALL(st, job->comm, pons_job_run_stage(job, block, (int)group));
    if (job->targets) PONS_TRY(st, pons_targets_follow(job, group, works));
    pons_input input = {group, -1};
    if (pons_block_shares_input(&job->inputs))
        PONS_TRY(st, compress_input(job, layer, block, &input, works, file));
    else
        for (input.linear = 0; input.linear < PONS_LINEARS; input.linear++)
            if (pons_linear_group((pons_linear)input.linear) == group)
                PONS_TRY(st, compress_input(job, layer, block, &input, works, file));
    for (int i = 0; i < PONS_LINEARS && local == PONS_OK; i++)
        if (pons_linear_group(works[i].linear) == group)
            local = pons_block_set_linear(block, works[i].linear, works[i].all.value,
                                          works[i].has_bias ? works[i].bias : NULL);
    PONS_TRY_ALL(st, job->comm, local);
    pons_linear_works_keep(job, group, works);
done:
    return st;
}

pons_status pons_job_push_evaluation(pons_job *job, const pons_block *block)
{
    pons_status st = PONS_OK;
    double start = pons_clock();
    if (job->weights_only) st = pons_eval_stream_block(job->weights_only, block);
    if (st == PONS_OK && job->full) st = pons_eval_stream_block(job->full, block);
    job->seconds.evaluate += pons_trace_phase(job->trace, PONS_PHASE_EVALUATE, start);
    return st;
}

pons_status pons_job_read_norms(const pons_job *job, int64_t layer, float *norms)
{
    int64_t hidden = job->config->hidden;
    pons_status st = pons_model_read_norms(job->model, layer, norms, norms + hidden);
    pons_rotation_norms(job->rotation, layer, norms, norms + hidden);
    pons_dtype_round(job->recipe.output.dtype, norms, 2 * hidden);
    return st;
}

pons_status pons_job_set_transforms(const pons_job *job, int64_t layer, pons_block *block)
{
    if (!job->runtime.transforms) return PONS_OK;
    float *transforms = pons_mem_alloc(pons_transforms_floats(job->config), sizeof *transforms);
    if (!transforms) return PONS_ERR_NOMEM;
    pons_rotation_transforms(job->rotation, layer, transforms);
    pons_status st = pons_block_set_transforms(block, transforms);
    pons_mem_free(transforms);
    return st;
}

pons_status pons_job_push_streams(pons_job *job, const pons_block *block)
{
    pons_status st = PONS_OK;
    double start = pons_clock();
    for (int64_t w = 0; w < pons_job_own_windows(job); w++)
        for (int stage = 0; stage < PONS_STAGES; stage++)
            PONS_TRY(st,
                     pons_block_stage(block, &job->inputs, stage, job->recipe.calibration.length,
                                      window_h(job, w), job->x));
    job->seconds.forward += pons_trace_phase(job->trace, PONS_PHASE_FORWARD, start);
    PONS_TRY(st, pons_job_push_evaluation(job, block));
done:
    return st;
}

pons_status pons_job_create_hessian_file(pons_job *job, int64_t layer, pons_hessian_file **file)
{
    pons_status st = PONS_OK;
    double start = pons_clock();
    char *path = pons_mem_printf("%s/hessians/block-%03lld.h5", job->run, (long long)layer);
    PONS_TRY_ALL(st, job->comm, path ? PONS_OK : PONS_ERR_NOMEM);
    pons_hessian_attributes attributes = {.windows = job->recipe.calibration.windows,
                                          .tokens = job->recipe.calibration.windows *
                                                    job->recipe.calibration.length,
                                          .wave = job->recipe.wave,
                                          .damping = job->recipe.obr.damping,
                                          .fingerprint = job->hessian_fingerprint};
    PONS_TRY(st, pons_hessian_file_create(job->comm, path, &attributes, file));
done:
    pons_mem_free(path);
    job->seconds.keep += pons_trace_phase(job->trace, PONS_PHASE_KEEP, start);
    return st;
}

pons_status pons_job_commit_hessian_file(pons_job *job, pons_hessian_file **file)
{
    double start = pons_clock();
    pons_status st = *file ? pons_hessian_file_commit(file) : PONS_OK;
    job->seconds.keep += pons_trace_phase(job->trace, PONS_PHASE_KEEP, start);
    return st;
}

pons_status pons_job_compress_block(pons_job *job, int64_t layer)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_linear_work works[PONS_LINEARS];
    pons_block *block = NULL;
    pons_hessian_file *file = NULL;
    float *norms = NULL;
    double start = pons_clock();

    pons_trace_set_block(job->trace, layer);
    local = pons_linear_works_create(job, layer, works);
    if (local == PONS_OK && !(norms = pons_mem_alloc(2 * job->config->hidden, sizeof *norms)))
        local = PONS_ERR_NOMEM;
    if (local == PONS_OK) local = pons_job_read_norms(job, layer, norms);
    if (local == PONS_OK) local = pons_block_create(job->config, layer, job->bf16, &block);
    if (local == PONS_OK) local = pons_block_set_norms(block, norms, norms + job->config->hidden);
    if (local == PONS_OK) local = pons_job_set_transforms(job, layer, block);
    if (local == PONS_OK && job->targets) local = pons_targets_begin_block(job, layer, norms);
    PONS_TRY_ALL(st, job->comm, local);
    if (job->recipe.keep_hessians && pons_method_needs_hessian(job->recipe.method))
        PONS_TRY(st, pons_job_create_hessian_file(job, layer, &file));

    for (int g = 0; g < PONS_GROUPS; g++)
        PONS_TRY(st, compress_group(job, layer, (pons_group)g, block, works, file));
    PONS_TRY(st, pons_job_commit_hessian_file(job, &file));
    if (job->h) PONS_TRY_ALL(st, job->comm, pons_job_run_stage(job, block, PONS_STAGES - 1));
    if (job->targets) PONS_TRY_ALL(st, job->comm, pons_targets_end_block(job));
    PONS_TRY_ALL(st, job->comm, pons_job_push_evaluation(job, block));
    PONS_TRY(st, pons_job_hand_over(job, layer, works, &norms, pons_clock() - start));
done:
    pons_hessian_file_abandon(&file);
    pons_block_destroy(&block);
    pons_linear_works_destroy(works);
    pons_mem_free(norms);
    return st;
}

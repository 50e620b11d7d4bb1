/* Which streams a job has. What they hold is filled in by windows.c. */
#include "pipeline/streams.h"

#include "base/log.h"

pons_status pons_streams_open(const pons_context *context, const pons_team *team, bool keep_inputs,
                              pons_streams *streams)
{
    pons_status st = PONS_OK;
    const pons_recipe *r = &context->recipe;
    int64_t N = r->calibration.windows, held_out = r->calibration.holdout;
    pons_stream *s = &streams->compressed;
    *s = (pons_stream){.name = "calibration",
                       .runtime = context->inputs,
                       .windows = N,
                       .length = r->calibration.length,
                       .own = {pons_team_window_begin(team, N, team->rank),
                               pons_team_window_begin(team, N, team->rank + 1)},
                       .held_out = {N + pons_team_held_begin(team, held_out, team->rank + 1),
                                    N + pons_team_held_begin(team, held_out, team->rank)}};
    if (r->obr.target != PONS_TARGET_DENSE) {
        streams->dense = *s;
        streams->dense.name = "dense";
        streams->dense.runtime = context->dense;
        PONS_TRY_ALL(st, team->comm,
                     pons_stream_create(context->config, keep_inputs, &streams->dense));
    }
    PONS_TRY_ALL(st, team->comm, pons_stream_create(context->config, keep_inputs, s));
done:
    return st;
}

void pons_streams_close(pons_streams *streams)
{
    pons_stream_free(&streams->compressed);
    pons_stream_free(&streams->dense);
    pons_eval_stream_destroy(&streams->weights_only);
    pons_eval_stream_destroy(&streams->full);
}

int pons_streams_list(pons_streams *streams, pons_stream **list)
{
    int n = 0;
    if (streams->compressed.h) list[n++] = &streams->compressed;
    if (streams->dense.h) list[n++] = &streams->dense;
    if (streams->weights_only) list[n++] = pons_eval_stream_windows(streams->weights_only);
    if (streams->full) list[n++] = pons_eval_stream_windows(streams->full);
    return n;
}

pons_status pons_streams_evaluate(pons_streams *streams, pons_account *account,
                                  const pons_block *block)
{
    pons_status st = PONS_OK;
    double start = pons_clock();
    if (streams->weights_only) st = pons_eval_stream_block(streams->weights_only, block);
    if (st == PONS_OK && streams->full) st = pons_eval_stream_block(streams->full, block);
    account->seconds.evaluate += pons_trace_phase(account->trace, PONS_PHASE_EVALUATE, start);
    return st;
}

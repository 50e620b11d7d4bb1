/* The order in which windows run the stages of a block. Owns nothing; what a stage does is block.c's. */
#include "calib/walk.h"

#include "base/stop.h"

static pons_status run_stage(const pons_lane *lane, int stage, int64_t local)
{
    const pons_stream *s = lane->stream;
    const int64_t whole[] = {0, s->length};
    return pons_block_stage_packed(lane->block, &s->runtime, stage, s->begin ? s->sequences : 1,
                                   s->begin ? s->begin : whole, pons_stream_h(s, local),
                                   pons_stream_x(s, local));
}

/* Windows [first, last) of every lane through one stage. */
static pons_status run_windows(int count, const pons_lane *lanes, const pons_visitor *v, int stage,
                               int64_t first, int64_t last)
{
    pons_status st = PONS_OK;
    for (int64_t w = first; w < last; w++) {
        PONS_TRY(st, pons_stop_check());
        for (int lane = 0; lane < count; lane++)
            PONS_TRY(st, run_stage(&lanes[lane], stage, w));
        if (v->window) PONS_TRY(st, v->window(v->user, stage, w));
    }
done:
    return st;
}

/* Windows [first, last) through all stages. */
static pons_status run_stages(const pons_arch *arch, pons_comm *comm, int count,
                              const pons_lane *lanes, const pons_visitor *v, int64_t first,
                              int64_t last)
{
    pons_status st = PONS_OK;
    for (int stage = 0; stage <= arch->taps; stage++) {
        if (v->enter) PONS_TRY(st, v->enter(v->user, stage));
        st = run_windows(count, lanes, v, stage, first, last);
        if (comm) st = pons_comm_agree(comm, st);
        if (st != PONS_OK) goto done;
        if (v->leave) PONS_TRY(st, v->leave(v->user, stage));
    }
done:
    return st;
}

pons_status pons_walk_block(const pons_arch *arch, pons_comm *comm, int count,
                            const pons_lane *lanes, const pons_visitor *visitor)
{
    pons_status st = PONS_OK;
    const pons_visitor none = {0}, *v = visitor ? visitor : &none;
    int64_t windows = count > 0 ? pons_stream_count(lanes[0].stream) : 0;
    bool together = true;
    for (int lane = 0; lane < count; lane++)
        together = together && lanes[lane].stream->inputs == windows;
    PONS_ASSERT(!comm || together);
    if (together) return run_stages(arch, comm, count, lanes, v, 0, windows);
    for (int64_t w = 0; w < windows && st == PONS_OK; w++)
        st = run_stages(arch, NULL, count, lanes, v, w, w + 1);
    return st;
}

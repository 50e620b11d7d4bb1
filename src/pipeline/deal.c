/* Rank 0 embeds and sends. Does not know which text the ids are of. */
#include "pipeline/deal.h"

#include "base/log.h"
#include "base/mem.h"

/* Rank 0 never holds more than one window that is not its own. */
pons_status pons_deal_windows(const pons_team *team, const int32_t *ids, int64_t held_out,
                              pons_embed embed, void *user, pons_stream *stream)
{
    enum { TAG = 1 };
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t N = stream->windows, S = stream->length, size = S * stream->hidden;
    float *buffer = NULL;
    if (team->rank == 0) buffer = pons_mem_alloc(size, sizeof *buffer);
    if (team->rank == 0 && !buffer) local = PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, team->comm, local);
    for (int owner = 0; owner < team->size; owner++) {
        int64_t first = pons_team_window_begin(team, N, owner);
        int64_t own = pons_team_window_begin(team, N, owner + 1) - first;
        int64_t held = pons_team_held_begin(team, held_out, owner + 1);
        int64_t all = own + pons_team_held_begin(team, held_out, owner) - held;
        for (int64_t i = 0; i < all; i++) {
            int64_t w = i < own ? first + i : N + held + i - own;
            float *to = team->rank == owner ? pons_stream_h(stream, i) : buffer;
            /* A failed embedding is still sent: the receiver waits for it, and the status is agreed on below. */
            if (team->rank == 0 && local == PONS_OK) local = embed(user, ids + w * S, S, to);
            if (owner == 0) continue;
            if (team->rank == 0)
                pons_comm_send(team->comm, buffer, (size_t)size * sizeof *buffer, owner, TAG);
            if (team->rank == owner)
                pons_comm_recv(team->comm, to, (size_t)size * sizeof *to, 0, TAG);
        }
    }
    PONS_TRY_ALL(st, team->comm, local);
done:
    pons_mem_free(buffer);
    return st;
}

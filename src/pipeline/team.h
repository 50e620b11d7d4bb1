/**
 * Ranks that share the work on a block, and which windows and rows each of them has.
 */
#ifndef PONS_PIPELINE_TEAM_H
#define PONS_PIPELINE_TEAM_H

#include "config/recipe.h"
#include "par/comm.h"

/** All ranks of the job, or those of one team of a wave. */
typedef struct pons_team {
    pons_comm *comm;
    int rank, size;
    int idle; /* ranks below it have neither windows nor rows: 1 where rank 0 only coordinates */
    int holders; /* ranks from `idle` on that hold the calibration windows: all, or the first team of waves */
} pons_team;

/** The teams of a wave; `own.comm` is NULL where blocks are compressed one after the other. */
typedef struct pons_teams {
    int count; /* of equal size, adjacent ranks each */
    pons_team own;
} pons_teams;

/** First of n items that falls to rank r, in [0, size]; see pons_share_begin. Local. */
static inline int64_t pons_team_share_begin(const pons_team *t, int64_t n, int r)
{
    return r < t->idle ? 0 : pons_share_begin(n, t->size - t->idle, r - t->idle);
}

/** First of n calibration windows that rank r holds. Local. */
static inline int64_t pons_team_window_begin(const pons_team *t, int64_t n, int r)
{
    int place = r - t->idle;
    if (place < 0) return 0;
    return pons_share_begin(n, t->holders, place < t->holders ? place : t->holders);
}

/** Of `held_out` windows that are dealt beside others rank r holds [pons_team_held_begin(r + 1),
 * pons_team_held_begin(r)). Those that do not divide go to the last holders, as those of the others go to
 * the first: no rank has more windows than the sum of both, divided and rounded up. Local. */
static inline int64_t pons_team_held_begin(const pons_team *t, int64_t held_out, int r)
{
    int place = r - t->idle;
    if (place <= 0) return held_out;
    return place >= t->holders ? 0 : pons_share_begin(held_out, t->holders, t->holders - place);
}

/** Rank that does the i-th of several independent pieces of work, which go round. Local. */
static inline int pons_team_turn(const pons_team *t, int64_t i)
{
    return t->idle + (int)(i % (t->size - t->idle));
}

/** All ranks of comm. Local. @param coordinator_works whether rank 0 has windows and rows where there are
 * other ranks */
pons_team pons_team_of_all(pons_comm *comm, bool coordinator_works);

/** Split the ranks into `count` teams of the same size; `all` learns that the first team holds the windows. Collective.
 * @param count divides the ranks (plan/accept.h) @return PONS_ERR_NOMEM. */
pons_status pons_teams_make(int count, pons_team *all, pons_teams *out);

/** First block of the wave that block `layer` belongs to; without waves itself. Local. */
static inline int64_t pons_teams_wave_begin(const pons_teams *teams, int64_t wave, int64_t layers,
                                            int64_t layer)
{
    return teams->own.comm && layer < layers ? layer - layer % wave : layer;
}

#endif

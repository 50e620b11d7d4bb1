/**
 * The passes of a wave: windows that stream from team to team through the blocks. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_WAVE_PASS_H
#define PONS_PIPELINE_WAVE_PASS_H

#include "pipeline/block.h"

enum { PONS_WAVE_BUFFERS = 3 }; /* one computed, one arriving, one leaving */

/** The streams that pass. */
enum { PONS_WAVE_COMPRESSED, PONS_WAVE_DENSE, PONS_WAVE_LANES };

/** One of this team's blocks. */
typedef struct pons_wave_block {
    pons_open_block open;
    pons_block_work work; /* its sums */
    bool *estimated;      /* [linears] whether the sum of an input has its scales */
    float
        *held[PONS_WAVE_LANES]; /* [own held-out windows, length, hidden] in front of it, or NULL */
} pons_wave_block;

/** What a pass is for. */
typedef enum pons_wave_kind {
    PONS_WAVE_OBSERVE_AND_ADD, /* dense blocks, scales estimated from the first window */
    PONS_WAVE_OBSERVE,         /* dense blocks, for scales to be agreed on */
    PONS_WAVE_ADD,             /* dense blocks, scales agreed on */
    PONS_WAVE_THROUGH          /* compressed blocks */
} pons_wave_kind;

typedef struct pons_wave {
    const pons_context *context;
    const pons_team *all, *team; /* this rank's */
    pons_account *account;
    int lanes;                             /* streams that pass: with targets the dense one, too */
    pons_stream *stream[PONS_WAVE_LANES];  /* whose windows the first team holds */
    pons_stream window[PONS_WAVE_LANES];   /* one on its way */
    pons_targets *targets;                 /* of that window; NULL: the linears' own weights */
    pons_stream held_out[PONS_WAVE_LANES]; /* on their way through one block, while it is solved */
    pons_targets *held_targets;
    int index, teams;            /* of this team; with blocks in this wave */
    int64_t first, blocks;       /* of the wave */
    pons_window_range own, held; /* windows that this rank handles: summed and held-out */
    pons_wave_block *block;      /* [count] */
    int64_t count;
    float *buffer[PONS_WAVE_BUFFERS]; /* [lanes, length, hidden] */
    pons_transfer *returning;         /* [windows of this rank] */
} pons_wave;

/** Floats of one window in one lane; own windows, held-out ones, all of this rank. Local. */
static inline int64_t pons_wave_floats(const pons_wave *v)
{
    return v->stream[0]->length * v->stream[0]->hidden;
}
static inline int64_t pons_wave_summed(const pons_wave *v) { return v->own.end - v->own.begin; }
static inline int64_t pons_wave_held(const pons_wave *v) { return v->held.end - v->held.begin; }
static inline int64_t pons_wave_windows(const pons_wave *v)
{
    return pons_wave_summed(v) + pons_wave_held(v);
}

/** All windows through the dense blocks of all teams, until every block's Hessians, and what its targets
 * are made of, are summed on each rank; with targets the dense stream has then passed the wave.
 * Collective on all. */
pons_status pons_wave_sum(pons_wave *wave);

/** All windows through the compressed blocks. Collective on all. */
pons_status pons_wave_pass_through(pons_wave *wave);

#endif

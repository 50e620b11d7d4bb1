/**
 * What a job will need before it is queued: bytes, flop and seconds of every phase, from the recipe
 * and the model's shape alone.
 *
 * The formulas follow the allocations of the rooms they speak of, for the fullest rank (rank 0, which
 * also writes). All Local.
 */
#ifndef PONS_PLAN_PLAN_H
#define PONS_PLAN_PLAN_H

#include "config/recipe.h"
#include "model/config.h"

/** Speeds of the machine. GF/s are those of one thread. */
typedef struct pons_plan_rates {
    double forward, hessian, factor, inverse, solve, clip, gptq; /* GF/s of each phase */
    double memory;  /* GB/s that a rank packs and copies */
    double network; /* GB/s between ranks, each way */
    double latency; /* seconds of a message */
    double disk;    /* GB/s of a node */
} pons_plan_rates;

/** Figures of one core of a Sapphire Rapids server at 2.5 GHz (bf16: AMX) with a 100 Gbit/s network.
 * @param bf16 matrix products of the forward pass and solver in bf16 */
pons_plan_rates pons_plan_default_rates(bool bf16);

typedef struct pons_plan_input {
    const pons_recipe *recipe;
    const pons_model_config *model;
    int ranks, nodes, threads; /* threads of a rank */
    bool bf16, solver_bf16;    /* what `auto` means there */
    double base_bytes;         /* of a rank before it does anything */
    double memory_bytes;       /* of a node; 0: not known */
    pons_plan_rates rates;
} pons_plan_input;

/** Whether a second stream of the dense model runs beside the compressed one: targets that know its outputs. */
static inline bool pons_plan_follows(const pons_recipe *r)
{
    return pons_method_needs_hessian(r->method) && r->obr.target != PONS_TARGET_DENSE;
}

/** Who holds a term. */
typedef enum pons_plan_kind {
    PONS_PLAN_RANK, /* every rank its own */
    PONS_PLAN_NODE, /* once per node, mapped by all of its ranks */
    PONS_PLAN_DISK, /* once per node, in layout.scratch */
    PONS_PLAN_KINDS
} pons_plan_kind;

typedef struct pons_plan_term {
    const char *name;
    pons_plan_kind kind;
    bool replicated; /* the same bytes on every rank (or node): does not fall with their number */
    double bytes;
} pons_plan_term;

enum { PONS_PLAN_TERMS = 32, PONS_PLAN_PHASES = 32 };

typedef struct pons_plan_phase {
    const char *name,
        *group; /* "solve", "down"; group: the tap's name, "" where it is none of one */
    int tap;    /* -1: of none */
    pons_plan_term term[PONS_PLAN_TERMS];
    int terms;
    double bytes[PONS_PLAN_KINDS];
    double flop;       /* of one block, over all ranks */
    double moved;      /* bytes that a rank receives in one block */
    double seconds;    /* of one block */
    const char *bound; /* what most of the seconds are: "flop", "network", "one rank" ... */
    double busy;       /* share of the ranks that work */
} pons_plan_phase;

typedef struct pons_plan {
    int teams, team_ranks; /* of a wave; 1 and all ranks without */
    pons_plan_phase phase[PONS_PLAN_PHASES];
    int phases;
    int fullest;       /* phase with the largest node */
    double rank_bytes; /* then: a rank's own, without what the node shares */
    double node_bytes; /* then: all ranks of a node and what they share */
    double disk_bytes; /* most that lies in layout.scratch of a node */
    double
        resident_bytes; /* largest resident set of a rank, what the node shares counted in full, of what
                           lies on disk what is in use at a time */
    double block_seconds, total_seconds, total_flop;
    double moved_bytes; /* received by a rank over the job */
} pons_plan;

/** Fill in a plan. @return PONS_OK; PONS_ERR_USAGE for ranks that cannot be dealt to the nodes or a
 * model without blocks; as pons_plan_accept for what compress refuses. */
pons_status pons_plan_make(const pons_plan_input *input, pons_plan *out);

/** Refuse a plan that does not fit into input->memory_bytes, naming phase and largest term, and layout.scratch where it
 * would fit with that.
 * @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_plan_check(const pons_plan_input *input, const pons_plan *plan);

/** Bytes that a job writes to the file system of RUN and OUT, at most. */
typedef struct pons_plan_files {
    double blocks, model; /* RUN/blocks, RUN/model: dropped at the end with checkpoint.keep false */
    double hidden,
        hessians; /* hidden states of calibration, two resume points; with hessians: keep */
    double out;   /* OUT */
} pons_plan_files;

/** Count them. Local. */
void pons_plan_files_of(const pons_plan_input *input, pons_plan_files *out);

/** A job on `teams` teams of equal size, one block each, window after window streamed through them. */
typedef struct pons_plan_schedule {
    int teams, ranks_per_team;
    double seconds;     /* of the whole job */
    double idle;        /* share of the ranks' time that nothing is done */
    double moved_bytes; /* received by a rank over the job */
    double node_bytes;  /* of the fullest node */
    const char *bound;  /* what most of the seconds are */
} pons_plan_schedule;

/**
 * Simulate a job: teams = 1 is one block after the other on all ranks; more teams work on a wave of as
 * many blocks. In a wave, microbatches of one window per rank pass from team to team, each team adds up
 * its four Hessians, solves when the last has passed, and sends them on through the compressed block.
 * @return as pons_plan_make; PONS_ERR_USAGE for teams that do not divide the ranks.
 */
pons_status pons_plan_simulate(const pons_plan_input *input, int teams, pons_plan_schedule *out);

/** Bytes and seconds of a phase, for the two files that fill plans. Internal to plan. */
void pons_plan_memory(const pons_plan_input *input, pons_plan *plan);
void pons_plan_cost(const pons_plan_input *input, pons_plan *plan);

#endif

/**
 * The iterative solver on every linear of a model, with the Hessians that a run kept, against the
 * direct one on sampled rows.
 */
#ifndef PONS_BENCH_LAYERS_H
#define PONS_BENCH_LAYERS_H

#include "model/model.h"
#include "obr/compress.h"

/** Layer error over that by the direct solver, row by row. */
typedef struct pons_bench_ratio {
    double mean, worst;
} pons_bench_ratio;

/** One linear, or all. */
typedef struct pons_bench_linear {
    char name[64]; /* "block 3 q_proj" */
    int linear;
    int64_t rows;            /* sampled */
    pons_bench_ratio stage1; /* where the direct solver is the optimum */
    pons_bench_ratio both;   /* finished rows, which differ in roundings, too */
    /* Finished rows of the direct solver where weights were rounded to bf16 before: what roundings alone do. */
    pons_bench_ratio rounded;
    pons_row_metrics metrics; /* of both stages */
} pons_bench_linear;

typedef struct pons_bench_layers {
    const pons_arch *arch;
    int64_t count;
    pons_bench_linear *linear; /* [count] in the order of the model */
    pons_bench_linear all;
} pons_bench_layers;

/**
 * Measure every linear of the model. Local, one rank.
 *
 * Weights are rotated, masked and given scales as the run's recipe says.
 * @param run its directory, with recipe.yaml and hessians/; @param sample rows of each linear
 * @param one_per_block one linear of each block, of the next kind in each block, instead of all
 * @return PONS_ERR_IO, PONS_ERR_INPUT (files), PONS_ERR_SHAPE (another model), PONS_ERR_UNSUPPORTED (learned
 * rotations), PONS_ERR_NUMERIC. Free with pons_bench_layers_clear.
 */
pons_status pons_bench_layers_measure(const char *run, const pons_model *model, pons_solver solver,
                                      bool bf16, int64_t sample, bool one_per_block,
                                      pons_bench_layers *out);

/** Take the rows of `one` into `all`. Local. */
void pons_bench_linear_add(pons_bench_linear *all, const pons_bench_linear *one);

/** Free what it holds. Local. */
void pons_bench_layers_clear(pons_bench_layers *layers);

#endif

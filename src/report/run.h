/**
 * What is known of one run. Private to the room.
 */
#ifndef PONS_REPORT_RUN_H
#define PONS_REPORT_RUN_H

#include <jansson.h>

#include "config/recipe.h"
#include "model/config.h"
#include "par/comm.h"

enum { PONS_REPORT_CODES = 16 };

typedef struct pons_report_run {
    char *path, *out;                 /* out: NULL when there is no output directory */
    char name[160];                   /* the recipe's label, else the last part of the path */
    char *recipe_text;                /* recipe.yaml */
    pons_recipe recipe;               /* the same, read */
    json_t *journal;                  /* array of its lines, perhaps empty */
    json_t *report, *tasks;           /* NULL when absent */
    json_t *manifest;                 /* pons.json; NULL when absent */
    int64_t blocks;                   /* with linears in the manifest or the journal */
    int linears;                      /* of a block, by the names in both */
    char (*linear)[64];               /* [linears] "self_attn.k_proj" */
    double *error;                    /* [blocks, linears] relative error; NaN when unknown */
    double *sparsity;                 /* [blocks, linears] share of zeros; NaN when unknown */
    double *block_error;              /* [blocks] relative error of the block; NaN when unknown */
    double *block_seconds;            /* [blocks]; NaN when unknown */
    int64_t codes[PONS_REPORT_CODES]; /* weights with code i - 8, of all 4-bit symmetric linears */
    int64_t coded;                    /* their number */
} pons_report_run;

/** Read everything but the codes. Local; free it in any case. */
pons_status pons_report_run_read(const char *path, pons_report_run *out);

/** Count the codes of a packed output, blocks distributed over the ranks. Collective on comm; `run`
 * as read
 * on rank 0, ignored elsewhere. @return the same on every rank: what pons_model_* return. */
pons_status pons_report_count_codes(pons_comm *comm, pons_report_run *run);

void pons_report_run_free(pons_report_run *run);

/** Name of a linear without its module: "k_proj". Borrowed. Local. */
const char *pons_report_linear_name(const pons_report_run *run, int linear);

/** The number at a path like "seconds.total"; NaN when it is not there. Local. */
double pons_report_number(const json_t *object, const char *path);

#endif

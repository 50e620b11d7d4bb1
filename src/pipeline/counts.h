/**
 * How hard the rows of a linear were on an iterative solver: counted by each rank, added up, kept in the
 * journal, shown in the manifest and in the report. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_COUNTS_H
#define PONS_PIPELINE_COUNTS_H

#include <jansson.h>

#include "obr/compress.h"
#include "par/comm.h"

/** Counts of all ranks on every rank; seconds stay as they are. Collective. */
void pons_counts_sum(pons_comm *comm, pons_row_metrics *counts);

/** Add the counts of rows of `more`. Local. */
void pons_counts_add(pons_row_metrics *counts, const pons_row_metrics *more);

/** Add the rest of `more`: seconds, products, flop, moved codes. Local. */
void pons_counts_add_work(pons_row_metrics *all, const pons_row_metrics *more);

/**
 * {rows, mean, most, refined, fallbacks, rows_by_iterations}: iterations of a row on average and at most,
 * rows that went on in fp32, rows finished by the direct solver, rows by iterations from 0 on. Local.
 * @return NULL when no row was counted or memory is out.
 */
json_t *pons_counts_to_json(const pons_row_metrics *counts);

/** The counts of such an object; zero for NULL. Local. */
pons_row_metrics pons_counts_from_json(const json_t *object);

#endif

/**
 * Pages about runs: one self-contained HTML page, or Markdown, with the recipe, the results beside
 * the paper's numbers, and the cost of a run.
 */
#ifndef PONS_REPORT_REPORT_H
#define PONS_REPORT_REPORT_H

#include "par/comm.h"

typedef struct pons_report_options {
    const char *const *runs; /* [count] run directories */
    int count;
    const char *html, *markdown; /* files to write; NULL: not written */
} pons_report_options;

/**
 * Read the runs and write the requested files. Collective on comm: rank 0 reads and writes, the
 * codes of packed models are counted by all ranks, block by block.
 *
 * Read from RUN: recipe.yaml (needed), journal.jsonl, report.json, tasks.json (what pons eval tasks
 * --json prints); from the output directory the journal names, or RUN without ".run": pons.json and
 * codes. What is absent is left out of the page.
 * @return the same on every rank: PONS_ERR_IO, PONS_ERR_INPUT naming a malformed file,
 * PONS_ERR_CONFIG for a recipe, PONS_ERR_NOMEM.
 */
pons_status pons_report_write(pons_comm *comm, const pons_report_options *options);

#endif

/**
 * The tables of a report, the same in HTML and Markdown. Private to the room.
 */
#ifndef PONS_REPORT_TABLE_H
#define PONS_REPORT_TABLE_H

#include "report/run.h"

enum { PONS_TABLE_COLUMNS = 24, PONS_TABLE_CELL = 192 };

typedef char pons_table_row[PONS_TABLE_COLUMNS][PONS_TABLE_CELL];

typedef struct pons_report_table {
    const char *title, *note;
    int columns, rows; /* row 0 is the header; the first column is text, the others numbers; what
                          follows a newline in a cell is secondary */
    pons_table_row *row;
} pons_report_table;

/** Results of all runs, with the paper's perplexity. Local. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_table_results(const pons_report_run *runs, int count, pons_report_table *out);

/** Zero-shot accuracy in percent with the paper's; no rows when no run has any. Local. */
pons_status pons_table_tasks(const pons_report_run *runs, int count, pons_report_table *out);

/** Seconds of each phase and memory; no rows when no run has them. Local. */
pons_status pons_table_cost(const pons_report_run *runs, int count, pons_report_table *out);

void pons_table_free(pons_report_table *table);

#endif

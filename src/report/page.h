/**
 * A report as text. Private to the room.
 */
#ifndef PONS_REPORT_PAGE_H
#define PONS_REPORT_PAGE_H

#include <stdio.h>

#include "report/table.h"

/** What a page is made of. */
typedef struct pons_report_page {
    const pons_report_run *runs; /* [count] */
    int count;
    pons_report_table tables[3]; /* results, tasks, cost */
} pons_report_page;

/** Local; write errors stay in the stream. */
void pons_report_html(FILE *out, const pons_report_page *page);
void pons_report_markdown(FILE *out, const pons_report_page *page);

#endif

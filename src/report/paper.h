/**
 * The paper's numbers: configs/paper/tables.csv, compiled into the program.
 */
#ifndef PONS_REPORT_PAPER_H
#define PONS_REPORT_PAPER_H

/** The number of a row and metric ("PIQA", "Wiki2_PPL"); NaN when there is none. Local.
 * @param label "TABLE MODEL METHOD BITS" */
double pons_paper_number(const char *label, const char *metric);

#endif

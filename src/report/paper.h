/**
 * The numbers that the paper prints: configs/paper/tables.csv, which is part of the program.
 */
#ifndef PONS_REPORT_PAPER_H
#define PONS_REPORT_PAPER_H

/** The number of a row and metric ("PIQA", "Wiki2_PPL"); NaN when there is none. Local.
 * @param label "TABLE MODEL METHOD BITS" */
double pons_paper_number(const char *label, const char *metric);

#endif

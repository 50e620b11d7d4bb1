/**
 * Rows in panels of PONS_ROW_PANEL aligned to the absolute row index: products with a shared matrix
 * whose bits, for each row, do not depend on which rows are present nor on the number of threads.
 */
#ifndef PONS_KERN_PANEL_H
#define PONS_KERN_PANEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** fp32 products take rows in panels of this many, aligned to the row's index in its linear. Any
 * split of the rows gives the same bits; a panel that a split cuts is computed on both sides. */
#define PONS_ROW_PANEL 64

/** The part of a run of rows that lies in one panel. */
typedef struct pons_panel {
    int64_t first, count; /* rows of the run, 0-based within it */
    int64_t offset;       /* position of the first one in its panel; panels are padded with zeros */
} pons_panel;

/** How many panels the rows [row, row + rows) touch; the i-th of them. Local. */
int64_t pons_panel_count(int64_t row, int64_t rows);
pons_panel pons_panel_at(int64_t row, int64_t rows, int64_t i);

/**
 * Y = X H for rows [row, row + rows) of a linear, fp32. Local, parallel over panels and column
 * tiles.
 * @param X, Y [rows, d], not overlapping; @param H [d, d]
 * @return PONS_ERR_NOMEM. Memory: one panel of X per thread. Cost 2 rows d^2 flop, one pass over H
 * in stripes of 256 columns: where it streams from disk (par/shared.h), pages of four stripes are
 * in use at a time.
 */
pons_status pons_panel_multiply(int64_t row, int64_t rows, int64_t d, const float *X,
                                const float *H, float *Y);

#endif

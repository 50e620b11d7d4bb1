/**
 * A sweep over the columns of some rows from left to right: each column is rounded and its error is
 * fed forward. GPTQ and SparseGPT share it.
 *
 * Column j of row i: code, error e = (w_j - value) / U_jj, then w_k -= e U_jk for all k > j.
 * Updates wait until a tile of columns, then a run of tiles is through, and are products from then
 * on. An entry is one chain of fused multiply-adds over j whatever the tiles, so its bits depend on
 * its row and U alone.
 */
#ifndef PONS_KERN_SWEEP_H
#define PONS_KERN_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

/** One sweep over some rows; everything is borrowed. */
typedef struct pons_sweep {
    int64_t rows, d;
    const float *U; /* [d, d] of the factor */
    int bits;
    int64_t group_size, groups; /* columns per scale, scales per row */
    const float *scale;         /* [rows, groups] */
    const int8_t *zero;         /* [rows, groups] */
    const int64_t *column; /* [d] of the linear, whose group's scale a column has; NULL: itself */
    bool streamed;         /* U may come from disk: few, large panels of rows */
} pons_sweep;

/** Rows that one thread works on together, up to `rows`. */
typedef struct pons_sweep_panel {
    int64_t first, rows; /* of the sweep */
    int64_t start;       /* column at W[0] */
    int64_t ld;          /* of W: pons_sweep_stride */
    float *W; /* [rows, ld] current values of columns start..d; what is past d may hold anything */
    float *E; /* [pons_sweep_work] work */
    /* NULL, or called for each row when the sweep reaches a multiple of `every` columns, with the
     * values there: sets the row's mask of the next `every` columns. */
    void (*choose)(void *user, int64_t row, int64_t column, const float *w);
    void *user;
    int64_t every;
} pons_sweep_panel;

/** Row stride of W for `columns` columns: room for what a sweep touches past the last. Local. */
int64_t pons_sweep_stride(int64_t columns);

/** Floats of work for a panel of some rows. Local. */
int64_t pons_sweep_work(int64_t rows);

/**
 * Codes of columns [begin, end) and updates of all columns from begin on. Local, one thread,
 * allocates nothing. @param mask, codes [sweep->rows, d]; mask may be NULL
 */
void pons_sweep_columns(const pons_sweep *sweep, const pons_sweep_panel *panel, int64_t begin,
                        int64_t end, const uint8_t *mask, int8_t *codes);

#endif

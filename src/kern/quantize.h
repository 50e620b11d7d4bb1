/**
 * The loops of quantizers: fake quantization of activations, and the error of a grid for weights.
 * All are Local and cannot fail; bits depend on the data alone.
 */
#ifndef PONS_KERN_QUANTIZE_H
#define PONS_KERN_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

/** How groups of numbers are rounded. */
typedef struct pons_quantize_rule {
    int bits;
    bool symmetric;
    bool from_zero; /* the range of a group includes 0 */
    float clip[2];  /* of the largest and of the smallest value */
} pons_quantize_rule;

/**
 * Round each group of `width` numbers of the rows x [T, d] in place to a uniform grid over its
 * range: x <- scale (clamp(rint(x / scale) + zero) - zero), NaN kept. Parallel over rows. @param
 * width divides d
 */
void pons_quantize_rows(const pons_quantize_rule *rule, int64_t T, int64_t d, int64_t width,
                        float *x, int64_t ld);

/** A grid of integers low..high: value = scale * (q - zero). */
typedef struct pons_quantize_grid {
    float scale, zero, low, high;
} pons_quantize_grid;

/**
 * Sum over j of |value(code(w_j)) - w_j|^2.4, given up and `limit` once it is no longer below
 * `limit`. One thread. Sums run over 16 lanes in chunks of 256.
 */
double pons_quantize_error(int64_t n, const float *w, pons_quantize_grid grid, double limit);

#endif

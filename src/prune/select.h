/**
 * Order statistics of non-negative floats, without moving the data.
 */
#ifndef PONS_PRUNE_SELECT_H
#define PONS_PRUNE_SELECT_H

#include <stdint.h>

/**
 * The k-th smallest (k from 0) of n non-negative finite floats. Local; n < 2^32.
 * Cost: about log2(n) + 10 passes over x, at most 32, a few cycles for each vector of it.
 * @param[out] below how many of x are smaller than the result; may be NULL
 */
float pons_select_kth(int64_t n, const float *x, int64_t k, int64_t *below);

#endif

/**
 * Order statistics of non-negative floats in linear time, without moving the data.
 */
#ifndef PONS_PRUNE_SELECT_H
#define PONS_PRUNE_SELECT_H

#include <stdint.h>

/**
 * The k-th smallest (k from 0) of n non-negative finite floats. Local; three passes over x.
 * @param[out] below how many of x are smaller than the result; may be NULL
 */
float pons_select_kth(int64_t n, const float *x, int64_t k, int64_t *below);

#endif

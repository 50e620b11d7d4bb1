/**
 * What Hadamard transforms are made of. Internal to the room.
 *
 * Had_n is `blocks` times, along the diagonal, the Kronecker product of H_factor[0], H_factor[1], ... and a Sylvester
 * matrix of order `power`: n = blocks factor[0] factor[1] ... power.
 */
#ifndef PONS_KERN_HADAMARD_MATRIX_H
#define PONS_KERN_HADAMARD_MATRIX_H

#include <stdint.h>

/** Largest order of a factor; most factors. */
enum { PONS_HADAMARD_LARGEST = 256, PONS_HADAMARD_FACTORS = 8 };

typedef struct pons_hadamard_shape {
    int64_t blocks, power;
    int count; /* of factors */
    int factor[PONS_HADAMARD_FACTORS];
} pons_hadamard_shape;

/** The shape for order n >= 1. Local. */
pons_hadamard_shape pons_hadamard_shape_of(int64_t n);

/** pons_hadamard_matrix in floats [K, K]. Local, thread-safe. */
const float *pons_hadamard_matrix_float(int K);

#endif

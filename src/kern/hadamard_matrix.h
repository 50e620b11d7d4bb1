/**
 * H_K in floats, for the transforms. Internal to the room.
 */
#ifndef PONS_KERN_HADAMARD_MATRIX_H
#define PONS_KERN_HADAMARD_MATRIX_H

enum { PONS_HADAMARD_LARGEST = 172 };

/** pons_hadamard_matrix in floats [K, K]. Local, thread-safe. */
const float *pons_hadamard_matrix_float(int K);

#endif

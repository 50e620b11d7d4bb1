/**
 * Tensors of a store in memory, for tests that compare whole ones.
 */
#ifndef PONS_TEST_STORED_H
#define PONS_TEST_STORED_H

#include "io/store.h"

/** The bytes of a tensor; they stay until the program ends, outside counted memory. Ends the program
 * with a message when they cannot be read. */
const void *stored(const pons_store *store, const pons_tensor_view *tensor);

#endif

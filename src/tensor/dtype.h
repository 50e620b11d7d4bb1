/**
 * Element types on disk, and their conversion to float.
 */
#ifndef PONS_TENSOR_DTYPE_H
#define PONS_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** X(NAME, safetensors name, elements per storage unit, bytes per storage unit). GGUF block types
 * have no safetensors name. */
#define PONS_DTYPE_LIST(X)                                                                         \
    X(F32, "F32", 1, 4)                                                                            \
    X(F16, "F16", 1, 2)                                                                            \
    X(BF16, "BF16", 1, 2)                                                                          \
    X(F64, "F64", 1, 8)                                                                            \
    X(I8, "I8", 1, 1)                                                                              \
    X(U8, "U8", 1, 1)                                                                              \
    X(I16, "I16", 1, 2)                                                                            \
    X(U16, "U16", 1, 2)                                                                            \
    X(I32, "I32", 1, 4)                                                                            \
    X(U32, "U32", 1, 4)                                                                            \
    X(I64, "I64", 1, 8)                                                                            \
    X(U64, "U64", 1, 8)                                                                            \
    X(BOOL, "BOOL", 1, 1)                                                                          \
    X(Q4_0, NULL, 32, 18)                                                                          \
    X(Q4_1, NULL, 32, 20)                                                                          \
    X(Q8_0, NULL, 32, 34)

typedef enum pons_dtype {
#define PONS_DTYPE_ENUM(name, text, elements, bytes) PONS_DTYPE_##name,
    PONS_DTYPE_LIST(PONS_DTYPE_ENUM)
#undef PONS_DTYPE_ENUM
        PONS_DTYPE_COUNT
} pons_dtype;

/** Name as printed in messages and, for plain types, as written in safetensors ("BF16", "Q4_1").
 * Local. */
const char *pons_dtype_name(pons_dtype type);

/** Find a safetensors dtype name; false when Pons does not know it. Local. */
bool pons_dtype_from_name(const char *name, pons_dtype *type);

/** Elements of one storage unit: 1, or 32 for GGUF block types. Local. */
int64_t pons_dtype_unit_elements(pons_dtype type);

/** Bits of one element, without the scale of its block: 4 for Q4_1. Local. */
int pons_dtype_bits(pons_dtype type);

/** Bytes of n elements; n must be a multiple of the storage unit. Local. */
size_t pons_dtype_bytes(pons_dtype type, int64_t n);

/** Whether pons_dtype_to_float knows the type: F32, F16, BF16, F64, Q8_0, Q4_0, Q4_1. Local. */
bool pons_dtype_is_real(pons_dtype type);

/**
 * Convert n stored elements to float.
 *
 * Local. @param type a real type; @param source n elements from a storage-unit boundary; @param out
 * [n]. Source: GGUF block formats in specification formats.md section 7 (Q4_0: (nibble - 8) d;
 * Q4_1: nibble d + m; Q8_0: q d).
 */
void pons_dtype_to_float(pons_dtype type, const void *source, int64_t n, float *out);

/** Convert n floats to F32, F16 or BF16 bytes, rounding to nearest even. Local. */
void pons_dtype_from_float(pons_dtype type, const float *source, int64_t n, void *out);

/** x[i] <- x[i] rounded to what F32, F16 or BF16 can hold. Local. */
void pons_dtype_round(pons_dtype type, float *x, int64_t n);

/** Largest finite number of F32, F16 or BF16. Local. */
float pons_dtype_largest(pons_dtype type);

/** Index of the first finite x[i] that pons_dtype_round would make infinite; n when there is none. Local. */
int64_t pons_dtype_first_beyond(pons_dtype type, const float *x, int64_t n);

/** A named read-only array, in memory or (data NULL) in a file: row-major, first dimension slowest. */
typedef struct pons_tensor_view {
    const char *name; /* borrowed */
    pons_dtype dtype;
    int ndim;
    int64_t shape[4];
    const void *data; /* borrowed */
} pons_tensor_view;

/** Product of the shape. Local. */
int64_t pons_tensor_elements(const pons_tensor_view *t);

#endif

/**
 * Model files made for tests: edited copies of Hugging Face directories, and GGUF files.
 */
#ifndef PONS_TEST_MODEL_FILES_H
#define PONS_TEST_MODEL_FILES_H

#include <stdbool.h>
#include <stdint.h>

/** What to change while copying; NULL or zero members change nothing. */
typedef struct model_edit {
    const char *drop;       /* leave this tensor out */
    const char *poison;     /* tensor that gets a NaN ... */
    int64_t poison_at;      /* ... at this element */
    const char *flatten;    /* tensor written as [rows * cols] */
    const char *add;        /* extra F32 tensor [4] of this name */
    const char *copy, *as;  /* a second tensor with the bytes of `copy`, named `as` */
    const char *key, *json; /* config.json: set key to this JSON text */
} model_edit;

/** Copy directory `from` to `to` (made if needed) as one model.safetensors and config.json. Ends the
 * program on failure. */
void model_copy(const char *from, const char *to, const model_edit *edit);

/**
 * Write a Hugging Face model directory as a GGUF file, all tensors F32, from its own bytes: q and k
 * rows permuted for Llama as converters do, frequency divisors for llama3 scaling.
 */
void model_to_gguf(const char *from, const char *path);

#endif

/**
 * Embedding, final norm and head of a model: one safetensors file with the names of Hugging Face. All
 * Local.
 */
#ifndef PONS_PACK_ENDS_H
#define PONS_PACK_ENDS_H

#include "model/config.h"

/** Rows [row, row + n) of a matrix into out [n, hidden]. */
typedef pons_status (*pons_pack_rows)(void *user, int64_t row, int64_t n, float *out);

/** Where the numbers come from. Borrowed. */
typedef struct pons_ends_source {
    pons_pack_rows embedding;
    pons_pack_rows head; /* NULL: tied */
    void *user;
    const float *final_norm; /* [hidden] */
} pons_ends_source;

/** Write DIR/FILE in the output dtype and compare what is read back. @return PONS_ERR_IO,
 * PONS_ERR_NUMERIC, what the readers return. */
pons_status pons_ends_write(const char *dir, const char *file, const pons_model_config *config,
                            pons_dtype dtype, const pons_ends_source *source);

typedef struct pons_ends pons_ends;

/** Open such a file and check its tensors. @return PONS_ERR_IO; PONS_ERR_INPUT naming the tensor. */
pons_status pons_ends_open(const char *path, const pons_model_config *config, pons_ends **out);
void pons_ends_close(pons_ends **ends);

/** pons_pack_rows; `ends` is a pons_ends. The head is the embedding when tied. */
pons_status pons_ends_embedding_rows(void *ends, int64_t row, int64_t n, float *out);
pons_status pons_ends_head_rows(void *ends, int64_t row, int64_t n, float *out);
pons_status pons_ends_final_norm(const pons_ends *ends, float *gain);
bool pons_ends_tied(const pons_ends *ends);

#endif

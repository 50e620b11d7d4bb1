/**
 * The output directory: a Hugging Face model in compressed-tensors pack-quantized form, or dense.
 * Source: formats.md sections 1-3.
 *
 * One shard per block plus one for embedding, norm and head; nothing appears under OUT before
 * commit. Local: rank 0 calls it.
 */
#ifndef PONS_PACK_WRITER_H
#define PONS_PACK_WRITER_H

#include <jansson.h>

#include "config/recipe.h"
#include "model/model.h"

typedef struct pons_pack_writer pons_pack_writer;

/** One linear, ready to be written. Borrowed. */
typedef struct pons_pack_linear {
    int linear;
    int bits; /* 2..8; 16: dense `value` is written */
    bool symmetric;
    int64_t group_size;  /* 0: per row */
    const int8_t *codes; /* [rows, cols] */
    const float *scale;  /* [rows, groups] */
    const int8_t *zero;  /* [rows, groups] */
    const float *value;  /* [rows, cols] */
    const float *bias;   /* [rows] or NULL */
} pons_pack_linear;

/** What to do with what is there already. */
typedef enum pons_pack_staging {
    PONS_PACK_NEW,     /* refuse an existing OUT */
    PONS_PACK_REPLACE, /* an existing OUT is replaced at commit */
    PONS_PACK_CONTINUE /* OUT.part is there, with blocks to adopt */
} pons_pack_staging;

/** Stage OUT.part. @param source the model compressed: tokenizer and other files are copied from
 * it, or made from GGUF metadata. @param untie embeddings are written twice. */
pons_status pons_pack_writer_create(const char *out, pons_pack_staging staging,
                                    const pons_model *source, const pons_recipe *recipe, bool untie,
                                    pons_pack_writer **w);

/**
 * Take over a block that an earlier process wrote to OUT.part.
 * @param sha256 of the shard as it was noted then
 * @return PONS_ERR_IO, PONS_ERR_INPUT when the shard is not that one; the block is then to be
 * written again.
 */
pons_status pons_pack_writer_adopt(pons_pack_writer *w, int64_t layer, const char *sha256);

/** After the last adoption: remove from OUT.part whatever else the earlier process left. */
pons_status pons_pack_writer_sweep(pons_pack_writer *w);

/** SHA-256 of the shard of a block that was written or adopted. Borrowed. */
const char *pons_pack_writer_sha256(const pons_pack_writer *w, int64_t layer);

/** Path of a block's shard before commit, for any rank, in counted memory; NULL when memory is
 * out. */
char *pons_pack_shard_path(const char *out, const pons_model_config *config, int64_t layer);

/** Write one block's shard. @param linears [linears] in the family's order; @param gains [pons_gain_floats] */
pons_status pons_pack_writer_block(pons_pack_writer *w, int64_t layer,
                                   const pons_pack_linear *linears, const float *gains);

/** Write embedding [vocab, hidden], final norm and head through row readers (head NULL when tied).
 */
typedef pons_status (*pons_pack_rows)(void *user, int64_t row, int64_t n, float *out);
pons_status pons_pack_writer_ends(pons_pack_writer *w, pons_pack_rows embedding,
                                  pons_pack_rows head, void *user, const float *final_norm);

/** Write the learned transforms of a model whose runtime has any. @param blocks [layers,
 * pons_transforms_floats] */
pons_status pons_pack_writer_transforms(pons_pack_writer *w, const float *blocks);

/** Write config.json, index, tokenizer files, pons.json (given; `files`, the SHA-256 of each shard, is
 * added), verify by reading back, commit. Destroys w unless it fails. */
pons_status pons_pack_writer_commit(pons_pack_writer **w, json_t *manifest);

/** End without commit: remove OUT.part, or leave it for PONS_PACK_CONTINUE. Accept NULL. */
void pons_pack_writer_abandon(pons_pack_writer **w);
void pons_pack_writer_leave(pons_pack_writer **w);

/** SHA-256 over the packed linears of a directory in block and linear order (weight_packed, scale,
 * zero point bytes): what must not depend on ranks. */
pons_status pons_pack_digest(const char *path, char hex[65]);

/**
 * Pack codes of one row: u = code + 2^(b-1) at bit i*b of little-endian 32-bit words (b = 4: column
 * 8w + i in bits 4i..4i+3).
 * @param words [ceil(n b / 32)]
 */
void pons_pack_row(int bits, int64_t n, const int8_t *codes, uint32_t *words);
void pons_unpack_row(int bits, int64_t n, const uint32_t *words, int8_t *codes);

#endif

/**
 * What a job compresses and how: recipe, model, rotation, precision. Constant once the job is open, that
 * is when its rotation is learned and its budget allocated. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_CONTEXT_H
#define PONS_PIPELINE_CONTEXT_H

#include "calib/block.h"
#include "pipeline/compress.h"
#include "pipeline/fingerprint.h"
#include "prune/allocate.h"
#include "rotate/rotation.h"

typedef struct pons_context {
    const pons_compress_options *options; /* borrowed */
    pons_recipe recipe;
    pons_model *model;
    const pons_model_config *config;
    pons_rotation *rotation;
    pons_runtime runtime; /* what the compressed model does at inference */
    pons_runtime dense;   /* the same without activation and KV quantization */
    pons_runtime
        inputs; /* what makes the inputs that Hessians see: one of the two, by obr.target */
    bool bf16, solver_bf16; /* of the forward pass; of the solvers' iterations */
    int teams;              /* of ranks, in a wave */
    pons_fingerprint fingerprint;
    char hessian_fingerprint[1024]; /* what dense activations depend on: hessians.h */
    pons_allocate_choice *choice;   /* [layers, linears] of each linear; NULL: as the recipe says;
                                       bits 0: those of the recipe */
} pons_context;

/** Recipe, model, rotation, precision and where shared matrices lie. Collective on comm. Close it also
 * after a failure. @param options borrowed until then */
pons_status pons_context_open(pons_comm *comm, const pons_compress_options *options,
                              pons_context *context);

/** Free everything. Collective on comm. */
void pons_context_close(pons_comm *comm, pons_context *context);

/** The effective recipe as YAML, to be free()d; NULL when memory is out. Local. */
char *pons_context_recipe_text(const pons_context *context);

/** Round rows [row, row + rows) of a tensor of the output to output.dtype. Local. @param x [rows, cols]
 * @return PONS_ERR_NUMERIC naming tensor and row when a number is beyond the type. */
pons_status pons_context_round(const pons_context *context, const char *tensor, int64_t row,
                               int64_t rows, int64_t cols, float *x);

/** Norm gains of a block as the output holds them [pons_gain_floats], ones where they were folded. Local. */
pons_status pons_context_read_gains(const pons_context *context, int64_t layer, float *gains);

/** Give a block its learned transforms, when the run has any. Local. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_context_set_transforms(const pons_context *context, int64_t layer,
                                        pons_block *block);

/** An empty block of a layer with its learned transforms. Local. @param gains as
 * pons_context_read_gains gives them; NULL: read here @return PONS_OK, PONS_ERR_NOMEM, as
 * pons_model_read_gains. */
pons_status pons_context_create_block(const pons_context *context, int64_t layer,
                                      const float *gains, pons_block **out);

/** Embeddings of ids, rows of the embedding and of the head as the output will hold them; `context` is
 * one. pons_embed, pons_pack_rows. Local. */
pons_status pons_context_embed(void *context, const int32_t *ids, int64_t n, float *out);
pons_status pons_context_embedding_rows(void *context, int64_t row, int64_t n, float *out);
pons_status pons_context_head_rows(void *context, int64_t row, int64_t n, float *out);

/** Final norm gain [hidden] as the output will hold it: ones when rotated. Local. */
pons_status pons_context_final_norm(const pons_context *context, float *gain);

#endif

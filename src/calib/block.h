/**
 * One transformer block, run in stages so that the linears of each tap can be compressed between the
 * stages that make its input and those that use it. A calibration pass runs every stage once. The steps
 * are those of the family's table (model/arch.h); for a Llama:
 *
 *   stage 0   x = rmsnorm(h)                                   tap qkv
 *   stage 1   q, k, v from x; RoPE, [R3, KV quantization],
 *             attention, [head Hadamard]                       tap o
 *   stage 2   h += o x; x = rmsnorm(h)                         tap gate_up
 *   stage 3   x = silu(gate x) * up x, [R4]                    tap down
 *   stage 4   h += down x                                      output of the block
 *
 * A stage that has a tap ends with the activation quantizer of that input when the runtime asks for it, so x is
 * exactly what multiplies W. With learned transforms (model/transforms.h) it ends with the transform of
 * that input; each linear then has a quantizer of its own, and what multiplies its W is
 * pons_block_linear_input.
 */
#ifndef PONS_CALIB_BLOCK_H
#define PONS_CALIB_BLOCK_H

#include "model/model.h"

typedef struct pons_block pons_block;

/**
 * Empty block of a model: linears are set before the stage that uses them. Local.
 * @param layer decides whether the sliding window applies; @param bf16 products in bf16
 * @return PONS_OK, PONS_ERR_NOMEM.
 */
pons_status pons_block_create(const pons_model_config *config, int64_t layer, bool bf16,
                              pons_block **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_block_destroy(pons_block **block);

/**
 * Give (copy) one linear's weight [rows, cols] and bias [rows] or NULL; replaces an earlier one,
 * which stays when this fails. Local.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED (bf16 products not built in).
 */
pons_status pons_block_set_linear(pons_block *block, int linear, const float *W, const float *bias);

/** Give (copy) the norm gains [pons_gain_floats]; NULL means ones. Local. @return PONS_OK,
 * PONS_ERR_NOMEM. */
pons_status pons_block_set_gains(pons_block *block, const float *gains);

/** Give (copy) the learned transforms [pons_transforms_floats], which a runtime with transforms needs.
 * Local. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_block_set_transforms(pons_block *block, const float *transforms);

/** y [n, rows] = x [n, cols] W^T of a linear that was set, without its bias. Local. @return PONS_OK,
 * PONS_ERR_NOMEM, PONS_ERR_BUG when it was not set. Cost 2 n rows cols flop. */
pons_status pons_block_multiply(const pons_block *block, int linear, int64_t n, const float *x,
                                float *y);

/** Stages of a block: one for each tap, and the last. Local. */
static inline int pons_block_stages(const pons_model_config *config)
{
    return config->arch->taps + 1;
}

/** Largest width of x over the taps. Local. */
int64_t pons_block_width(const pons_model_config *config);

/**
 * Run one stage of one window in place. Local, parallel inside; one call at a time for a block,
 * whose workspace (kept for the longest S seen) it uses. Bits do not depend on the thread count.
 * @param runtime online transforms and quantizers (pons_runtime with bits 16 while calibrating)
 * @param S tokens; @param h [S, hidden] residual stream; @param x input [S, width of the
 * stage's tap], rows adjacent, in a buffer of S * pons_block_width floats; later stages read what
 * the stage before left there
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_BUG when a linear or the transforms were not set.
 * Memory: S * (heads + 2 kv_heads) head_dim floats, the widest x once more as products take it, and
 * the RoPE tables.
 * Cost: all stages together 2 S flop per weight and the attention.
 * Source: specification 4.2, 4.3 (quantizers), 5.3 (online transforms).
 */
pons_status pons_block_stage(const pons_block *block, const pons_runtime *runtime, int stage,
                             int64_t S, float *h, float *x);

/**
 * The same for several sequences one after the other, so that short ones share the products: each
 * starts at position 0 and sees itself only. Local.
 * @param begin [count + 1] first token of each sequence, ascending from 0; the last is S
 */
pons_status pons_block_stage_packed(const pons_block *block, const pons_runtime *runtime, int stage,
                                    int64_t count, const int64_t *begin, float *h, float *x);

/** Values [S, kv_heads head_dim] of the window of S tokens that went through attention last, as it
 * took them. Borrowed, until the next stage that attends. Local. */
const float *pons_block_values(const pons_block *block, int64_t S);

/** Whether linears that share a tap also share what multiplies W: it is then x. Local. */
bool pons_block_shares_input(const pons_runtime *runtime);

/**
 * What multiplies W of one linear, from the x that its stage left. Local.
 * @param x, y [S, width of its tap]; y must not overlap x
 */
void pons_block_linear_input(const pons_block *block, const pons_runtime *runtime, int linear,
                             int64_t S, const float *x, float *y);

#endif

/**
 * The linears of one block on their way through a job: read and rotated by their owners, rows dealt to the
 * ranks of a team, compressed, gathered, kept for the block's file. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_LINEAR_H
#define PONS_PIPELINE_LINEAR_H

#include "obr/compress.h"
#include "pipeline/account.h"
#include "pipeline/context.h"
#include "pipeline/input.h"
#include "pipeline/team.h"

/** How far a linear has come, and so what it holds. */
typedef enum pons_linear_state {
    PONS_LINEAR_LISTED,     /* shape, owner, deal of its rows */
    PONS_LINEAR_READ,       /* panel: own rows of the rotated weights */
    PONS_LINEAR_COMPRESSED, /* result: all rows on every rank */
    PONS_LINEAR_KEPT /* result: on rank 0 codes, or values of dense ones; nothing on others */
} pons_linear_state;

typedef struct pons_block_linear {
    int linear, tap;
    pons_linear_state state;
    char name[64]; /* "block 3 q_proj" */
    int64_t rows, cols, groups;
    int bits;           /* 16: stays dense */
    int owner;          /* rank that reads and rotates it */
    int64_t *row_begin; /* [size + 1] rank r compresses the rows [row_begin[r], row_begin[r + 1]) */
    float *panel;       /* [own rows, cols], or the same rows of its target (target.h) */
    bool has_bias;
    float *bias;              /* [rows] rotated */
    double sparsity;          /* of each of its rows, where the method prunes */
    double target_share;      /* of the step to their targets that the own rows took */
    double holdout_ratio;     /* held-out error of the targets over that of the dense weights */
    double damping;           /* what obr.damping was raised to for its Hessian; 0: as it was */
    pons_row_result result;   /* [rows, ...] */
    pons_row_metrics metrics; /* seconds of this rank, counts of all ranks */
} pons_block_linear;

/** Whether an input is that of a linear. Local. */
static inline bool pons_input_has(const pons_input *input, const pons_block_linear *w)
{
    return input->linear < 0 ? w->tap == input->tap : w->linear == input->linear;
}

/** Names, shapes, owners and the deal of rows of the linears of a block [arch->linears]. Local, the same
 * on every rank. Destroy them also after a failure. */
pons_status pons_linears_list(const pons_context *context, const pons_team *team, int64_t layer,
                              pons_block_linear **linears);

/** Free, whatever their states; takes the address, nulls it, accepts NULL. Local. */
void pons_linears_destroy(const pons_arch *arch, pons_block_linear **linears);

/** Listed to read, those of a tap: owners read and rotate them, then send each rank its rows.
 * Collective. */
pons_status pons_linears_read(const pons_context *context, const pons_team *team,
                              pons_account *account, int64_t layer, int tap,
                              pons_block_linear *linears);

/** Begin to read the own linears of a tap behind what follows; none past the last block. Local. */
void pons_linears_read_ahead(const pons_context *context, const pons_team *team, int64_t layer,
                             int tap);

/** Every rank's own rows of a linear, own [own rows, cols], to all [rows, cols] on every rank. Collective.
 * @param offset [size + 1] work */
void pons_linear_gather_rows(const pons_team *team, const pons_block_linear *w, const float *own,
                             size_t *offset, float *all);

/** Give a block the weights of a tap's linears, which hold them as read. Collective. Memory: one of the
 * linears whole. */
pons_status pons_linears_gather_dense(const pons_arch *arch, const pons_team *team, int tap,
                                      const pons_block_linear *linears, pons_block *block);

/** Give a block the listed linears of `layer`, rotated and not compressed; they stay listed. Collective. */
pons_status pons_linears_set_dense(const pons_context *context, const pons_team *team,
                                   pons_account *account, int64_t layer, pons_block_linear *linears,
                                   pons_block *block);

/** Room for the result of a listed or read linear. Local. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_linear_reserve(pons_block_linear *linear);

/** Compressed to kept, those of a tap, once the block holds their values: what is not to be committed
 * is freed. Local. */
void pons_linears_keep(const pons_context *context, const pons_team *team, int tap,
                       pons_block_linear *linears);

/** Kept linears to another rank of comm, which receives them into reserved ones: they are kept there.
 * Point to point. */
void pons_linears_send(const pons_arch *arch, pons_comm *comm, int to, pons_block_linear *linears);
void pons_linears_receive(const pons_arch *arch, pons_comm *comm, int from,
                          pons_block_linear *linears);

/** Room for what pons_linears_receive brings into listed linears. Local. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_linears_reserve_kept(const pons_context *context, pons_block_linear *linears);

#endif

/**
 * Made-up compressed blocks, and state directories (RUN) full of them.
 */
#ifndef PONS_TEST_PACKED_RUN_H
#define PONS_TEST_PACKED_RUN_H

#include "model/model.h"
#include "pack/linear.h"

enum { PACKED_LINEARS = 7, PACKED_HIDDEN = 128, PACKED_SEED = 77 };

/** Numbers of one block; `linear` borrows the arrays beside it. */
typedef struct packed_block {
    pons_pack_linear linear[PACKED_LINEARS];
    int8_t *codes[PACKED_LINEARS], *zero[PACKED_LINEARS];
    float *scale[PACKED_LINEARS], *value[PACKED_LINEARS], *bias[PACKED_LINEARS];
    float gains[2 * PACKED_HIDDEN];
} packed_block;

/** In which form the linears of a block are. */
typedef struct packed_plan {
    int bits, down_bits; /* of down_proj; 0: as the others */
    bool symmetric;
    int64_t group_size;
} packed_plan;

/** Random codes, scales and zero points, and the weights they stand for; half the codes are the zero
 * point, as after pruning. Of dense linears half the weights are 0 and one is -0. */
void packed_block_make(packed_block *b, const pons_model_config *c, const packed_plan *p,
                       uint64_t seed);
void packed_block_free(packed_block *b);

/** Write RUN/blocks and RUN/model of `source` with made-up linears, its own ends and a manifest; last
 * block first. @param untie write the head beside a tied embedding */
pons_status packed_run_write(const char *source, const char *run, const packed_plan *p,
                             pons_dtype dtype, const char *format, bool untie);

#endif

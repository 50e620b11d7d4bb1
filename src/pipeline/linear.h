/**
 * One linear on its way through a job: read and rotated by its owner, rows dealt, compressed, gathered.
 * Internal to pipeline.
 */
#ifndef PONS_PIPELINE_LINEAR_H
#define PONS_PIPELINE_LINEAR_H

#include "pipeline/job.h"

typedef struct pons_linear_work {
    pons_linear linear;
    char name[64]; /* "block 3 q_proj" */
    int64_t rows, cols, groups;
    int bits;  /* 16: stays dense */
    int owner; /* rank that reads and rotates it */
    int64_t
        *row_begin; /* [size + 1] rows [row_begin[r], row_begin[r + 1]) are compressed by rank r */
    float *dense;   /* owner: [rows, cols] rotated */
    float *panel;   /* [own rows, cols] rotated */
    bool has_bias;
    float *bias;          /* [rows] rotated */
    double sparsity;      /* of each of its rows, where the method prunes */
    double target_share;  /* of the step to their targets that the own rows took; see target.h */
    double holdout_ratio; /* held-out error of the targets over that of the dense weights */
    pons_row_result all;  /* [rows, ...] the gathered result, on every rank until kept */
    pons_row_metrics metrics; /* seconds of this rank, counts of all ranks */
} pons_linear_work;

/** Linears whose weights meet the same tokens: a whole group, or one of it where each linear clips its
 * input its own way. */
typedef struct pons_input {
    pons_group group;
    int linear; /* -1: all of the group */
} pons_input;

static inline bool pons_input_has(const pons_input *input, pons_linear linear)
{
    return input->linear < 0 ? pons_linear_group(linear) == input->group
                             : (int)linear == input->linear;
}

/** "qkv", "q_proj", for messages and files. Local. */
static inline const char *pons_input_name(const pons_input *input)
{
    return input->linear < 0 ? pons_group_name(input->group)
                             : pons_linear_short_name((pons_linear)input->linear);
}

/** Names, shapes, owner and the deal of rows of all seven linears of a block. Local, the same on every rank. */
pons_status pons_linear_works_create(pons_job *job, int64_t layer,
                                     pons_linear_work works[PONS_LINEARS]);
void pons_linear_works_destroy(pons_linear_work works[PONS_LINEARS]);

/** Owners read and rotate the linears of a group, then send each rank its rows. Collective. */
pons_status pons_linear_works_read(pons_job *job, int64_t layer, pons_group group,
                                   pons_linear_work works[PONS_LINEARS]);

/** Begin to read the own linears of a group ahead of their use, behind what follows; none past the last
 * block. Local. */
void pons_linear_works_ahead(pons_job *job, int64_t layer, pons_group group);

/** Prepare what the linears of an input share. A damping that was raised is told of and noted, a numerical failure
 * names block and input. Collective. */
pons_status pons_linear_works_share(pons_job *job, int64_t layer, const pons_input *input,
                                    const pons_hessian_factor *factor, pons_row_shared **out);

/** Compress the own rows of every linear of an input of block `layer` and gather the results on every rank.
 * Collective. */
pons_status pons_linear_works_compress(pons_job *job, int64_t layer, const pons_input *input,
                                       const pons_hessian_factor *factor,
                                       pons_linear_work works[PONS_LINEARS]);

/** Every rank's own rows of a linear, own [own rows, cols], to all [rows, cols] on every rank. Collective.
 * @param offset [size + 1] work */
void pons_linear_gather_rows(const pons_job *job, const pons_linear_work *w, const float *own,
                             size_t *offset, float *all);

/** Free what is not needed once the block holds the values of a group: everything but what the shard
 * takes on rank 0. Local. */
void pons_linear_works_keep(const pons_job *job, pons_group group,
                            pons_linear_work works[PONS_LINEARS]);

/** Give a block the seven linears of `layer` dense, as rotated and not compressed. Collective. */
pons_status pons_linear_works_dense(pons_job *job, int64_t layer,
                                    pons_linear_work works[PONS_LINEARS], pons_block *block);

/** Room for what pons_linear_works_receive brings. Local. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_linear_works_reserve(const pons_job *job, pons_linear_work works[PONS_LINEARS]);

/** What the shard takes of kept works to another rank of comm, and there into reserved ones. Point to
 * point. */
void pons_linear_works_send(pons_job *job, pons_comm *comm, int to,
                            pons_linear_work works[PONS_LINEARS]);
void pons_linear_works_receive(pons_comm *comm, int from, pons_linear_work works[PONS_LINEARS]);

/** The parts of a block's work that waves share with single blocks (block.c). */

/** Hessian [d, d] and column norms [d] of an input from --hessians, in counted memory on every rank.
 * Collective; rank 0 reads. */
pons_status pons_job_read_hessian(pons_job *job, int64_t layer, const pons_input *input, double **H,
                                  double **norm);

/** Rank 0: a damping that the recipe does not name is no secret; log and journal. Local. @return as
 * pons_journal_append. */
pons_status pons_job_tell_damping(pons_job *job, int64_t layer, const pons_input *input,
                                  double damping);

/** A sentence for a factor that failed; dead columns to the log. Local. */
pons_status pons_job_check_factor(const pons_job *job, int64_t layer, const pons_input *input,
                                  double damping, int64_t info, const pons_hessian_factor *factor);

/** RUN/hessians/block-NNN.h5: made, given the summed Hessian of an input, and committed (NULL: none).
 * Collective. */
pons_status pons_job_create_hessian_file(pons_job *job, int64_t layer, pons_hessian_file **file);
pons_status pons_job_keep_hessian(pons_job *job, pons_hessian_file *file, const pons_input *input,
                                  pons_hessian *h);
pons_status pons_job_commit_hessian_file(pons_job *job, pons_hessian_file **file);

#endif

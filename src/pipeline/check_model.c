/* Early reading of the tensors that a job would otherwise meet hours later. Linears are read when their turn comes. */
#include "pipeline/check_model.h"

#include "base/mem.h"
#include "base/stop.h"

enum { ROWS = 128 };

/* Whether rows are checked as the output will hold them. A rotation that is still to be learned is not known, a random
 * one costs as much as a linear; f32 holds everything. */
static bool checks_output(const pons_recipe *r)
{
    return r->output.dtype != PONS_DTYPE_F32 && !r->rotation.learn &&
           r->rotation.mode != PONS_ROTATE_RANDOM;
}

static pons_status check_rows(pons_context *context, int rank, int ranks, float *buffer)
{
    pons_status st = PONS_OK;
    const pons_model *model = context->model;
    int64_t vocab = context->config->vocab, end = vocab * (rank + 1) / ranks;
    bool output = checks_output(&context->recipe);
    bool head = !context->config->tied || pons_rotation_folds(context->rotation);
    for (int64_t row = vocab * rank / ranks; row < end; row += ROWS) {
        int64_t n = end - row < ROWS ? end - row : ROWS;
        PONS_TRY(st, pons_stop_check());
        PONS_TRY(st, output ? pons_context_embedding_rows(context, row, n, buffer)
                            : pons_model_read_embedding_rows(model, row, n, buffer));
        if (head)
            PONS_TRY(st, output ? pons_context_head_rows(context, row, n, buffer)
                                : pons_model_read_head_rows(model, row, n, buffer));
    }
done:
    return st;
}

static pons_status check_vectors(const pons_context *context, int rank, int ranks, float *buffer)
{
    pons_status st = PONS_OK;
    bool present;
    if (rank == 0) PONS_TRY(st, pons_context_final_norm(context, buffer));
    for (int64_t layer = rank; layer < context->config->layers; layer += ranks) {
        PONS_TRY(st, pons_context_read_gains(context, layer, buffer));
        for (int l = 0; l < context->config->arch->linears; l++)
            PONS_TRY(st, pons_model_read_bias(context->model, layer, l, buffer, &present));
    }
done:
    return st;
}

pons_status pons_check_model(pons_comm *comm, pons_context *context)
{
    const pons_model_config *c = context->config;
    int rank = pons_comm_rank(comm), ranks = pons_comm_size(comm);
    int64_t longest = ROWS * c->hidden, rows, cols;
    if (longest < pons_gain_floats(c)) longest = pons_gain_floats(c);
    for (int l = 0; l < c->arch->linears; l++) { /* biases */
        pons_linear_shape(c, l, &rows, &cols);
        if (longest < rows) longest = rows;
    }
    float *buffer = pons_mem_alloc(longest, sizeof *buffer);
    pons_status local = buffer ? check_vectors(context, rank, ranks, buffer) : PONS_ERR_NOMEM;
    if (local == PONS_OK) local = check_rows(context, rank, ranks, buffer);
    pons_mem_free(buffer);
    return pons_comm_agree(comm, local);
}

/*
 * Streamed perplexity at any number of ranks: against transformers' logits, to the bit against a
 * plain forward pass that every rank does alone, and failures on one rank that all must report.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mt19937.h"
#include "eval/load_block.h"
#include "eval/perplexity.h"
#include "kern/fused.h"
#include "kern/transformer.h"
#include "model/arch_tables.h"
#include "support/mpi_harness.h"
#include "support/stored.h"

static pons_model *open_golden(const char *name)
{
    char path[4096];
    pons_model *model = NULL;
    const char *golden = getenv("PONS_FIXTURES");
    snprintf(path, sizeof path, "%s/models/%s", golden ? golden : ".", name);
    CHECK(pons_model_open(path, &model) == PONS_OK);
    return model;
}

/* Perplexity from the logits that transformers computed. */
static void against_transformers(pons_comm *comm, const char *name)
{
    char path[4096];
    pons_store *store = NULL;
    pons_model *model = open_golden(name);
    if (!model) return;
    snprintf(path, sizeof path, "%s/expected.safetensors", pons_model_path(model));
    CHECK(pons_store_open(path, &store) == PONS_OK);
    const pons_tensor_view *ids = store ? pons_store_find(store, "input_ids") : NULL;
    const pons_tensor_view *logits = store ? pons_store_find(store, "logits") : NULL;
    CHECK(ids && logits);
    if (ids && logits) {
        int64_t windows = ids->shape[0], S = ids->shape[1], V = logits->shape[2];
        const int32_t *id = stored(store, ids);
        const float *all = stored(store, logits);
        double total = 0;
        for (int64_t t = 0; t < windows * S; t++) {
            if (t % S == S - 1) continue;
            const float *row = all + t * V;
            double sum = 0;
            for (int64_t i = 0; i < V; i++)
                sum += exp((double)row[i]);
            total += log(sum) - (double)row[id[t + 1]];
        }
        double expected = exp(total / (double)(windows * (S - 1)));
        pons_perplexity p;
        CHECK(pons_eval_perplexity(comm, model, pons_comm_rank(comm) ? NULL : id, windows * S, 0, S,
                                   false, false, &p) == PONS_OK);
        CHECK(fabs(p.perplexity / expected - 1) < 1e-6);
        CHECK(p.windows == windows && p.tokens == windows * S);
    }
    pons_store_close(&store);
    pons_model_close(&model);
}

/* The same without a stream: every rank pushes every window through by itself. `quantized`: with
 * the runtime's quantizers. */
static double plain_forward(pons_comm *comm, const pons_model *model, const pons_runtime *runtime,
                            const int32_t *ids, int64_t windows, int64_t S)
{
    const pons_model_config *c = pons_model_get_config(model);
    int64_t floats = S * c->hidden;
    float *h = malloc((size_t)(windows * floats) * sizeof *h), *gain = malloc((size_t)floats * 4);
    float *x = malloc((size_t)(S * pons_block_width(c)) * sizeof *x);
    float *head = malloc((size_t)(c->vocab * c->hidden) * sizeof *head);
    pons_matmul *product = NULL;
    pons_matmul_input *input = NULL;
    double total = 0, *loss = malloc((size_t)S * sizeof *loss);
    CHECK(pons_model_read_embedding(model, ids, windows * S, h) == PONS_OK);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        pons_block *block = NULL;
        CHECK(pons_block_create(c, layer, false, &block) == PONS_OK);
        CHECK(pons_eval_load_block(comm, model, layer, block) == PONS_OK);
        for (int64_t w = 0; w < windows; w++)
            for (int stage = 0; stage < pons_block_stages(c); stage++)
                CHECK(pons_block_stage(block, runtime, stage, S, h + w * floats, x) == PONS_OK);
        pons_block_destroy(&block);
    }
    CHECK(pons_model_read_final_norm(model, gain) == PONS_OK);
    CHECK(pons_model_read_head_rows(model, 0, c->vocab, head) == PONS_OK);
    CHECK(pons_matmul_create(c->vocab, c->hidden, head, false, &product) == PONS_OK);
    for (int64_t w = 0; w < windows; w++) {
        pons_rmsnorm(S - 1, c->hidden, h + w * floats, gain, (float)c->rms_eps, x);
        CHECK(pons_matmul_pack(false, S - 1, c->hidden, x, c->hidden, &input) == PONS_OK);
        CHECK(pons_matmul_token_losses(1, c->vocab, &product, input, ids + w * S + 1, loss) ==
              PONS_OK);
        double sum = 0;
        for (int64_t t = 0; t < S - 1; t++)
            sum += loss[t];
        total += sum / (double)(S - 1);
    }
    pons_matmul_input_destroy(&input);
    pons_matmul_destroy(&product);
    free(loss);
    free(head);
    free(x);
    free(gain);
    free(h);
    return exp(total / (double)windows);
}

static pons_status embed(void *user, const int32_t *ids, int64_t n, float *out)
{
    return pons_model_read_embedding(user, ids, n, out);
}

static pons_status read_head(void *user, int64_t row, int64_t n, float *out)
{
    return pons_model_read_head_rows(user, row, n, out);
}

/* Five windows do not divide by 2, 3 or 4 ranks; two leave ranks without any. */
static void same_bits(pons_comm *comm, pons_model *model)
{
    enum { WINDOWS = 5, LENGTH = 33 };
    const pons_model_config *c = pons_model_get_config(model);
    int32_t ids[WINDOWS * LENGTH + 7];
    int64_t count = WINDOWS * LENGTH + 7; /* a tail that makes no window */
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 1);
    for (int64_t i = 0; i < count; i++)
        ids[i] = (int32_t)pons_mt19937_below(&rng, (uint32_t)c->vocab);
    pons_runtime runtime = *pons_model_runtime(model);
    double expected = plain_forward(comm, model, &runtime, ids, WINDOWS, LENGTH);
    double two = plain_forward(comm, model, &runtime, ids, 2, LENGTH);
    pons_perplexity p = {0};
    CHECK(pons_eval_perplexity(comm, model, ids, count, 0, LENGTH, false, false, &p) == PONS_OK);
    CHECK(p.perplexity == expected);
    CHECK(p.windows == WINDOWS && p.tokens == WINDOWS * LENGTH);
    CHECK(pons_eval_perplexity(comm, model, ids, count, 2, LENGTH, true, false, &p) == PONS_OK);
    CHECK(p.perplexity == two && p.windows == 2);
    if (pons_comm_rank(comm) == 0) printf("perplexity %.17g of 5 windows\n", expected);

    /* A stream of its own with quantizers and online transforms that the model does not record. */
    runtime.hadamard_qk = true;
    runtime.activations.bits = runtime.kv.bits = 4;
    runtime.activations.clip_ratio = runtime.kv.clip_ratio = 1;
    runtime.kv.per_head = true;
    runtime.values = runtime.kv;
    double quantized = plain_forward(comm, model, &runtime, ids, WINDOWS, LENGTH);
    CHECK(quantized != expected);
    float *gain = malloc((size_t)c->hidden * sizeof *gain);
    CHECK(pons_model_read_final_norm(model, gain) == PONS_OK);
    pons_eval_stream *stream = NULL;
    CHECK(pons_eval_stream_create(comm, c, &runtime, false, pons_comm_size(comm) > 1, ids, WINDOWS,
                                  LENGTH, embed, model, &stream) == PONS_OK);
    for (int64_t layer = 0; stream && layer < c->layers; layer++) {
        pons_block *block = NULL;
        CHECK(pons_block_create(c, layer, false, &block) == PONS_OK);
        CHECK(pons_eval_load_block(comm, model, layer, block) == PONS_OK);
        CHECK(pons_eval_stream_block(stream, block) == PONS_OK);
        pons_block_destroy(&block);
    }
    if (stream) CHECK(pons_eval_stream_finish(stream, comm, gain, read_head, model, &p) == PONS_OK);
    CHECK(p.perplexity == quantized);
    pons_eval_stream_destroy(&stream);
    free(gain);
}

static void refused_input(pons_comm *comm, pons_model *model)
{
    int32_t ids[20] = {0};
    pons_perplexity p;
    CHECK(pons_eval_perplexity(comm, model, ids, 20, 3, 8, false, false, &p) == PONS_ERR_INPUT);
    CHECK(strstr(pons_error_message(), "20 tokens: 2 windows of 8 fit, 3 are needed"));
    CHECK(pons_eval_perplexity(comm, model, ids, 7, 0, 8, false, false, &p) == PONS_ERR_INPUT);
    CHECK(pons_eval_perplexity(comm, model, ids, 7, 0, 1, false, false, &p) == PONS_ERR_INPUT);
    ids[13] = (int32_t)pons_model_get_config(model)->vocab;
    CHECK(pons_eval_perplexity(comm, model, ids, 20, 0, 8, false, false, &p) == PONS_ERR_INPUT);
    CHECK(strstr(pons_error_message(), "token 13 has id 320"));
}

/* Embeddings of ones; window 3 (its ids are 3) is NaN when *user says so, or the call fails. */
typedef struct faults {
    pons_comm *comm;
    bool nan_window, embed_fails, head_fails;
} faults;

static pons_status faulty_embed(void *user, const int32_t *ids, int64_t n, float *out)
{
    const faults *f = user;
    if (f->embed_fails && ids[0] == 1) return pons_fail(PONS_ERR_IO, "no embedding today");
    for (int64_t i = 0; i < n * 96; i++)
        out[i] = f->nan_window && ids[0] == 3 ? NAN : 1;
    return PONS_OK;
}

static pons_status faulty_head(void *user, int64_t row, int64_t n, float *out)
{
    const faults *f = user;
    if (f->head_fails && row > 0) return pons_fail(PONS_ERR_IO, "no head from row %d", (int)row);
    for (int64_t i = 0; i < n * 96; i++)
        out[i] = 0;
    return PONS_OK;
}

static pons_status run_faulty(faults *f, double *perplexity)
{
    /* Three panels of the head, the last one small. */
    pons_model_config c = {.arch = &pons_arch_llama,
                           .vocab = 16400,
                           .hidden = 96,
                           .intermediate = 192,
                           .layers = 1,
                           .heads = 6,
                           .kv_heads = 2,
                           .head_dim = 16,
                           .rms_eps = 1e-5};
    pons_runtime runtime = {0};
    pons_eval_stream *stream = NULL;
    pons_perplexity p = {0};
    int32_t ids[5 * 4];
    for (int i = 0; i < 20; i++)
        ids[i] = i / 4;
    pons_status st = pons_eval_stream_create(f->comm, &c, &runtime, false, 0, ids, 5, 4,
                                             faulty_embed, f, &stream);
    if (st == PONS_OK) st = pons_eval_stream_finish(stream, f->comm, NULL, faulty_head, f, &p);
    pons_eval_stream_destroy(&stream);
    CHECK(!stream);
    *perplexity = p.perplexity;
    return st;
}

static void failures(pons_comm *comm)
{
    double perplexity;
    faults f = {.comm = comm};
    CHECK(run_faulty(&f, &perplexity) == PONS_OK);
    CHECK(fabs(perplexity / 16400 - 1) < 1e-6); /* a head of zeros knows nothing */
    f.nan_window = true;
    CHECK(run_faulty(&f, &perplexity) == PONS_ERR_NUMERIC);
    CHECK(strstr(pons_error_message(), "window 4 of 5"));
    f = (faults){.comm = comm, .embed_fails = true};
    CHECK(run_faulty(&f, &perplexity) == PONS_ERR_IO);
    CHECK(strstr(pons_error_message(), "no embedding today"));
    f = (faults){.comm = comm, .head_fails = true};
    CHECK(run_faulty(&f, &perplexity) == PONS_ERR_IO);
    CHECK(strstr(pons_error_message(), "no head from row 8192"));
}

static void test(pons_comm *comm)
{
    pons_kern_begin();
    against_transformers(comm, "llama-gqa");
    against_transformers(comm, "qwen2-bias-tied");
    pons_model *model = open_golden("llama-gqa");
    if (model) {
        same_bits(comm, model);
        refused_input(comm, model);
    }
    pons_model_close(&model);
    failures(comm);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }

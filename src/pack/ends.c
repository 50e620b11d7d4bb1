/* Owns the file of embedding, final norm and head. */
#include "pack/ends.h"

#include <string.h>

#include "base/checksum.h"
#include "base/mem.h"
#include "io/store.h"
#include "pack/shard.h"

enum { ROWS = 256 };

struct pons_ends {
    pons_store *store;
    int64_t hidden;
    const pons_tensor_view *embedding, *head, *final_norm; /* head: NULL when tied */
};

/* ---- Reading. */

static pons_status find(const pons_ends *e, const char *name, int64_t elements, bool required,
                        const pons_tensor_view **out)
{
    const pons_tensor_view *t = pons_store_find(e->store, name);
    if (!t && !required) return PONS_OK;
    if (!t)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor %s is missing", pons_store_path(e->store),
                         name);
    if (!pons_dtype_is_real(t->dtype) || pons_tensor_elements(t) != elements)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor %s: found %lld of %s, allowed: %lld floats",
                         pons_store_path(e->store), name, (long long)pons_tensor_elements(t),
                         pons_dtype_name(t->dtype), (long long)elements);
    *out = t;
    return PONS_OK;
}

pons_status pons_ends_open(const char *path, const pons_model_config *config, pons_ends **out)
{
    pons_status st = PONS_OK;
    pons_ends *e = NULL;
    int64_t table = config->vocab * config->hidden;
    PONS_CALLOC(st, e, 1);
    e->hidden = config->hidden;
    PONS_TRY(st, pons_store_open(path, &e->store));
    PONS_TRY(st, find(e, "model.embed_tokens.weight", table, true, &e->embedding));
    PONS_TRY(st, find(e, "lm_head.weight", table, false, &e->head));
    PONS_TRY(st, find(e, "model.norm.weight", config->hidden, true, &e->final_norm));
    *out = e;
    e = NULL;
done:
    pons_ends_close(&e);
    return st;
}

void pons_ends_close(pons_ends **ends)
{
    if (!*ends) return;
    pons_store_close(&(*ends)->store);
    pons_mem_free(*ends);
    *ends = NULL;
}

static pons_status read_rows(const pons_ends *e, const pons_tensor_view *t, int64_t row, int64_t n,
                             float *out)
{
    pons_status st = PONS_OK;
    char *stored = NULL;
    size_t bytes = pons_dtype_bytes(t->dtype, e->hidden);
    PONS_ALLOC(st, stored, n * (int64_t)bytes);
    PONS_TRY(st, pons_store_read(e->store, t, (size_t)row * bytes, (size_t)n * bytes, stored));
    pons_dtype_to_float(t->dtype, stored, n * e->hidden, out);
done:
    pons_mem_free(stored);
    return st;
}

pons_status pons_ends_embedding_rows(void *ends, int64_t row, int64_t n, float *out)
{
    const pons_ends *e = ends;
    return read_rows(e, e->embedding, row, n, out);
}

pons_status pons_ends_head_rows(void *ends, int64_t row, int64_t n, float *out)
{
    const pons_ends *e = ends;
    return read_rows(e, e->head ? e->head : e->embedding, row, n, out);
}

pons_status pons_ends_final_norm(const pons_ends *e, float *gain)
{
    return read_rows(e, e->final_norm, 0, 1, gain);
}

bool pons_ends_tied(const pons_ends *e) { return !e->head; }

/* ---- Writing. */

/* Passes rows through and sums them as they will be stored. */
typedef struct summing_reader {
    pons_pack_rows rows;
    void *user;
    pons_dtype dtype;
    int64_t cols;
    uint64_t *sum;
} summing_reader;

static pons_status read_and_sum(void *user, int64_t row, int64_t n, float *out)
{
    const summing_reader *r = user;
    pons_status st = r->rows(r->user, row, n, out);
    if (st != PONS_OK) return st;
    for (int64_t i = 0; i < n * r->cols; i += r->cols) { /* rounded apart: the writer tells Inf */
        float rounded[64];
        for (int64_t j = 0; j < r->cols; j += 64) {
            int64_t m = r->cols - j < 64 ? r->cols - j : 64;
            memcpy(rounded, out + i + j, (size_t)m * sizeof *out);
            pons_dtype_round(r->dtype, rounded, m);
            *r->sum = pons_checksum(*r->sum, rounded, (size_t)m * sizeof *rounded);
        }
    }
    return PONS_OK;
}

/* The same sums of what is on disk; the final norm is compared directly. */
static pons_status verify(const char *dir, const char *file, const pons_model_config *config,
                          pons_dtype dtype, const pons_ends_source *source, uint64_t expected)
{
    pons_status st = PONS_OK;
    pons_ends *e = NULL;
    uint64_t sum = 0;
    float *panel = NULL, *gain = NULL;
    char *path = pons_mem_printf("%s/%s", dir, file);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_ends_open(path, config, &e));
    PONS_ALLOC(st, panel, ROWS * config->hidden);
    PONS_ALLOC(st, gain, config->hidden);
    for (int pass = 0; pass < (e->head ? 2 : 1); pass++) {
        summing_reader reader = {pass ? pons_ends_head_rows : pons_ends_embedding_rows, e, dtype,
                                 config->hidden, &sum};
        for (int64_t row = 0; row < config->vocab; row += ROWS) {
            int64_t n = config->vocab - row < ROWS ? config->vocab - row : ROWS;
            PONS_TRY(st, read_and_sum(&reader, row, n, panel));
        }
    }
    memcpy(gain, source->final_norm, (size_t)config->hidden * sizeof *gain);
    pons_dtype_round(dtype, gain, config->hidden);
    PONS_TRY(st, pons_ends_final_norm(e, panel));
    if (sum != expected || memcmp(gain, panel, (size_t)config->hidden * sizeof *gain))
        st = pons_fail(PONS_ERR_IO, "%s: what was read back is not what was written", path);
done:
    pons_mem_free(gain);
    pons_mem_free(panel);
    pons_ends_close(&e);
    pons_mem_free(path);
    return st;
}

pons_status pons_ends_write(const char *dir, const char *file, const pons_model_config *config,
                            pons_dtype dtype, const pons_ends_source *source)
{
    pons_status st = PONS_OK;
    uint64_t sum = 0;
    summing_reader readers[2] = {{source->embedding, source->user, dtype, config->hidden, &sum},
                                 {source->head, source->user, dtype, config->hidden, &sum}};
    pons_shard_tensor tensors[3];
    int count = 0;
    tensors[count++] = (pons_shard_tensor){.name = "model.embed_tokens.weight",
                                           .kind = PONS_SHARD_READER,
                                           .rows = config->vocab,
                                           .cols = config->hidden,
                                           .reader = read_and_sum,
                                           .user = &readers[0]};
    if (source->head) {
        tensors[count] = tensors[0];
        strcpy(tensors[count].name, "lm_head.weight");
        tensors[count++].user = &readers[1];
    }
    tensors[count++] = (pons_shard_tensor){.name = "model.norm.weight",
                                           .kind = PONS_SHARD_REALS,
                                           .cols = config->hidden,
                                           .values = source->final_norm};
    PONS_TRY(st, pons_shard_write(dir, file, dtype, tensors, count));
    PONS_TRY(st, verify(dir, file, config, dtype, source, sum));
done:
    return st;
}

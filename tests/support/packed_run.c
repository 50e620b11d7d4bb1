#include "support/packed_run.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "model/arch_tables.h"
#include "pack/block_file.h"
#include "pack/run_model.h"

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static float uniform(uint64_t *seed) { return (float)next_random(seed) / 0x1p31f - 0.5f; }

/* Random codes, scales and zero points, and the weights they stand for; half the codes are the zero
 * point, as after pruning. */
void packed_block_make(packed_block *b, const pons_model_config *c, const packed_plan *p,
                       uint64_t seed)
{
    for (int l = 0; l < PACKED_LINEARS; l++) {
        int64_t rows, cols;
        int bits = l == PONS_DOWN && p->down_bits ? p->down_bits : p->bits,
            code_bits = bits < 16 ? bits : 4;
        pons_linear_shape(c, l, &rows, &cols);
        int64_t groups = p->group_size ? cols / p->group_size : 1, size = cols / groups;
        b->codes[l] = malloc((size_t)(rows * cols));
        b->zero[l] = malloc((size_t)(rows * groups));
        b->scale[l] = malloc((size_t)(rows * groups) * sizeof(float));
        b->value[l] = malloc((size_t)(rows * cols) * sizeof(float));
        b->bias[l] = malloc((size_t)rows * sizeof(float));
        for (int64_t i = 0; i < rows; i++)
            b->bias[l][i] = uniform(&seed) * 0.1f;
        for (int64_t i = 0; i < rows * groups; i++) {
            b->scale[l][i] = 0.001f + 0.02f * (uniform(&seed) + 0.5f);
            b->zero[l][i] = p->symmetric
                                ? 0
                                : (int8_t)((int)(next_random(&seed) >> 9) % (1 << code_bits) -
                                           (1 << (code_bits - 1)));
        }
        for (int64_t i = 0; i < rows * cols; i++) {
            int64_t g = i / cols * groups + i % cols / size;
            int code = (int)(next_random(&seed) >> 9) % (1 << code_bits) - (1 << (code_bits - 1));
            if (next_random(&seed) >> 30) code = b->zero[l][g];
            b->codes[l][i] = (int8_t)code;
            b->value[l][i] = b->scale[l][g] * (float)(code - b->zero[l][g]);
        }
        b->linear[l] = (pons_pack_linear){.scheme = {bits, p->symmetric, p->group_size},
                                          .codes = b->codes[l],
                                          .scale = b->scale[l],
                                          .zero = p->symmetric ? NULL : b->zero[l],
                                          .value = b->value[l],
                                          .bias = pons_linear_has_bias(c, l) ? b->bias[l] : NULL};
        if (bits == 16) b->value[l][3] = -0.0f;
    }
    for (int64_t i = 0; i < 2 * c->hidden; i++)
        b->gains[i] = 1 + uniform(&seed) * 0.1f;
}

void packed_block_free(packed_block *b)
{
    for (int l = 0; l < PACKED_LINEARS; l++) {
        free(b->codes[l]);
        free(b->zero[l]);
        free(b->scale[l]);
        free(b->value[l]);
        free(b->bias[l]);
    }
}

static pons_status embedding_rows(void *user, int64_t row, int64_t n, float *out)
{
    return pons_model_read_embedding_rows(user, row, n, out);
}
static pons_status head_rows(void *user, int64_t row, int64_t n, float *out)
{
    return pons_model_read_head_rows(user, row, n, out);
}

static json_t *make_manifest(const packed_plan *p)
{
    pons_runtime runtime = pons_runtime_plain();
    json_t *r = NULL;
    runtime.hadamard_down = true;
    if (pons_runtime_to_json(&runtime, &r) != PONS_OK) return NULL;
    return json_pack("{s:i, s:s, s:o, s:[{s:i}]}", "format", 1, "method", "rtn", "runtime", r,
                     "linears", "bits", p->bits);
}

static pons_status write_blocks(const char *run, const pons_model_config *c, const packed_plan *p,
                                pons_dtype dtype, bool dense)
{
    pons_status st = PONS_OK;
    char sum[17], *directory = pons_mem_printf("%s/blocks", run), *path = NULL;
    if (!directory) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_dir_make(directory));
    for (int64_t layer = c->layers - 1; layer >= 0; layer--) {
        packed_block b;
        packed_block_make(&b, c, p, PACKED_SEED + (uint64_t)layer);
        path = pons_block_file_path(run, layer);
        st = pons_block_file_write(path, c, layer, dtype, dense, b.linear, b.gains, sum);
        packed_block_free(&b);
        pons_mem_free(path);
        if (st != PONS_OK) goto done;
    }
done:
    pons_mem_free(directory);
    return st;
}

pons_status packed_run_write(const char *source, const char *run, const packed_plan *p,
                             pons_dtype dtype, const char *format, bool untie)
{
    pons_status st = PONS_OK;
    pons_model *m = NULL;
    json_t *manifest = NULL;
    float gain[PACKED_HIDDEN];
    PONS_TRY(st, pons_dir_remove(run));
    PONS_TRY(st, pons_model_open(source, &m));
    const pons_model_config *c = pons_model_get_config(m);
    PONS_TRY(st, write_blocks(run, c, p, dtype, !strcmp(format, "dense")));
    PONS_TRY(st, pons_model_read_final_norm(m, gain));
    manifest = make_manifest(p);
    const pons_ends_source ends = {embedding_rows, c->tied && !untie ? NULL : head_rows, m, gain};
    const pons_run_model model = {
        .source = m, .dtype = dtype, .format = format, .ends = &ends, .manifest = manifest};
    PONS_TRY(st, pons_run_model_write(run, &model));
done:
    json_decref(manifest);
    pons_model_close(&m);
    return st;
}

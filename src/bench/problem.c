/* Layers to measure: weights, mask and grid around a Hessian that is drawn or read. Does not solve or
 * time anything. */
#include "bench/problem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/hessian_file.h"
#include "io/store.h"
#include "prune/mask.h"

enum { STREAM_ROW_SCALE = 5, STREAM_ROWS = 16, ROWS_OF_A_FILE = 1024 };

pons_weight_quant pons_bench_grid(void)
{
    return (pons_weight_quant){PONS_BENCH_BITS, true, 0, true, 0};
}

void pons_bench_quantize_left(void *user, int64_t row, float *value)
{
    const pons_bench_problem *p = user;
    for (int64_t j = 0; j < p->split; j++)
        value[j] = pons_weight_value(pons_weight_code(PONS_BENCH_BITS, value[j], p->scale[row], 0),
                                     p->scale[row], 0);
}

/* Gaussian rows of sizes exp(0.1 g); a row's numbers depend on its index alone. */
static void draw_weights(const pons_bench_layer *layer, pons_bench_problem *p)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < p->rows; i++) {
        float size[2];
        uint32_t row = (uint32_t)(p->row + i);
        pons_bench_gauss(layer->seed + STREAM_ROW_SCALE, STREAM_ROWS + row, 2, 0.1, size);
        pons_bench_gauss(layer->seed, STREAM_ROWS + row, p->d, exp(size[0]), p->W + i * p->d);
    }
}

/* A tensor of two dimensions as floats, rows [row, row + n) of it. */
static pons_status read_tensor(const pons_store *store, const char *name, int64_t row, int64_t n,
                               float *out)
{
    pons_status st = PONS_OK;
    const pons_tensor_view *t = pons_store_find(store, name);
    int64_t d = t->shape[1];
    size_t bytes = pons_dtype_bytes(t->dtype, n * d);
    char *data = NULL;
    PONS_ALLOC(st, data, (int64_t)bytes);
    PONS_TRY(st, pons_store_read(store, t, pons_dtype_bytes(t->dtype, row * d), bytes, data));
    pons_dtype_to_float(t->dtype, data, n * d, out);
    for (int64_t i = 0; i < n * d && st == PONS_OK; i++)
        if (!isfinite(out[i]))
            st = pons_fail(PONS_ERR_INPUT, "%s: tensor '%s' holds NaN or Inf",
                           pons_store_path(store), name);
done:
    pons_mem_free(data);
    return st;
}

static pons_status check_size(const pons_bench_layer *layer, const char *path, int64_t d)
{
    if (layer->d && layer->d != d)
        return pons_fail(PONS_ERR_SHAPE, "%s: the Hessian is %lld wide, --dim is %lld", path,
                         (long long)d, (long long)layer->d);
    return PONS_OK;
}

static void deal_rows(pons_comm *comm, int64_t total, pons_bench_problem *p)
{
    int size = pons_comm_size(comm), rank = pons_comm_rank(comm);
    p->total = total;
    p->row = pons_share_begin(total, size, rank);
    p->rows = pons_share_begin(total, size, rank + 1) - p->row;
}

static pons_status allocate_rows(pons_bench_problem *p)
{
    pons_status st = PONS_OK;
    PONS_ALLOC(st, p->W, p->rows * p->d);
    PONS_ALLOC(st, p->mask, p->rows * p->d);
    PONS_ALLOC(st, p->scale, p->rows);
    PONS_CALLOC(st, p->zero, p->rows);
done:
    return st;
}

static pons_status check_store(const pons_bench_layer *layer, const pons_store *store)
{
    const char *path = pons_store_path(store);
    const pons_tensor_view *H = pons_store_find(store, "H"), *W = pons_store_find(store, "W");
    if (!H || H->ndim != 2 || H->shape[0] != H->shape[1] || H->shape[0] < 1)
        return pons_fail(PONS_ERR_INPUT, "%s: a square tensor 'H' is needed", path);
    if (W && (W->ndim != 2 || W->shape[1] != H->shape[0]))
        return pons_fail(PONS_ERR_INPUT, "%s: tensor 'W' must have %lld columns, as 'H'", path,
                         (long long)H->shape[0]);
    if (W && layer->rows > W->shape[0])
        return pons_fail(PONS_ERR_SHAPE, "%s: 'W' has %lld rows, --rows is %lld", path,
                         (long long)W->shape[0], (long long)layer->rows);
    return check_size(layer, path, H->shape[0]);
}

static pons_status read_safetensors(pons_comm *comm, const pons_bench_layer *layer,
                                    const char *path, pons_bench_problem *p)
{
    pons_status st = PONS_OK;
    pons_store *store = NULL;
    float *H = NULL;
    PONS_TRY(st, pons_store_open(path, &store));
    PONS_TRY(st, check_store(layer, store));
    const pons_tensor_view *W = pons_store_find(store, "W");
    int64_t d = p->d = pons_store_find(store, "H")->shape[0];
    int64_t fallback = W ? W->shape[0] : ROWS_OF_A_FILE;
    deal_rows(comm, layer->rows ? layer->rows : fallback, p);
    PONS_TRY(st, allocate_rows(p));
    PONS_ALLOC(st, H, d * d);
    PONS_ALLOC(st, p->H, d * d);
    PONS_ALLOC(st, p->norm, d);
    PONS_TRY(st, read_tensor(store, "H", 0, d, H));
    for (int64_t i = 0; i < d * d; i++)
        p->H[i] = H[i];
    for (int64_t j = 0; j < d; j++)
        p->norm[j] = p->H[j * d + j];
    if (W)
        PONS_TRY(st, read_tensor(store, "W", p->row, p->rows, p->W));
    else
        draw_weights(layer, p);
done:
    pons_mem_free(H);
    pons_store_close(&store);
    return st;
}

/* FILE.h5:GROUP, as a run with hessians: keep leaves them. */
static pons_status read_hessian_file(pons_comm *comm, const pons_bench_layer *layer, char *path,
                                     pons_bench_problem *p)
{
    pons_status st = PONS_OK;
    char *colon = strrchr(path, ':');
    if (!colon)
        return pons_fail(PONS_ERR_USAGE,
                         "--hessian %s: name the group: FILE.h5:qkv, :o, :gate_up or :down; a file "
                         "with tensors H and W ends in .safetensors",
                         path);
    *colon = 0;
    PONS_TRY(st, pons_hessian_file_read(path, colon + 1, &p->d, &p->H, &p->norm));
    PONS_TRY(st, check_size(layer, path, p->d));
    for (int64_t i = 0; i < p->d * p->d; i++) /* as other programs will read it from a dump */
        p->H[i] = (float)p->H[i];
    deal_rows(comm, layer->rows ? layer->rows : ROWS_OF_A_FILE, p);
    PONS_TRY(st, allocate_rows(p));
    draw_weights(layer, p);
done:
    return st;
}

static pons_status draw(pons_comm *comm, const pons_bench_layer *layer, pons_bench_problem *p)
{
    pons_status st = PONS_OK;
    p->d = layer->d;
    deal_rows(comm, layer->rows, p);
    PONS_TRY(st, allocate_rows(p));
    PONS_ALLOC(st, p->H, p->d * p->d);
    PONS_ALLOC(st, p->norm, p->d);
    PONS_TRY(st, pons_bench_spectrum(layer, p->H));
    for (int64_t j = 0; j < p->d; j++)
        p->norm[j] = p->H[j * p->d + j];
    draw_weights(layer, p);
done:
    return st;
}

void pons_bench_layer_describe(const pons_bench_layer *layer, char *text, size_t bytes)
{
    if (layer->hessian) {
        snprintf(text, bytes, "%s", layer->hessian);
        return;
    }
    snprintf(text, bytes, "%s, eigenvalues i^-%g, seed %u",
             layer->channels ? "channels" : "power law", layer->power, layer->seed);
    for (int i = 0; i < layer->outlier_count; i++) {
        size_t n = strlen(text);
        snprintf(text + n, bytes - n, "%s%g", i ? "," : ", outliers ", layer->outliers[i]);
    }
}

static pons_status make(pons_comm *comm, const pons_bench_layer *layer, pons_bench_problem *p)
{
    pons_status st = PONS_OK;
    float *norm = NULL;
    char *path = NULL;
    if (!layer->hessian) {
        PONS_TRY(st, draw(comm, layer, p));
    } else {
        size_t n = strlen(layer->hessian), suffix = strlen(".safetensors");
        path = pons_mem_strdup(layer->hessian);
        if (!path) return PONS_ERR_NOMEM;
        PONS_TRY(st, n > suffix && !strcmp(path + n - suffix, ".safetensors")
                         ? read_safetensors(comm, layer, path, p)
                         : read_hessian_file(comm, layer, path, p));
    }
    p->split = (int64_t)(layer->alpha * (double)p->d);
    PONS_ALLOC(st, norm, p->d);
    for (int64_t j = 0; j < p->d; j++)
        norm[j] = (float)p->norm[j];
    PONS_TRY(st, pons_mask_wanda(p->rows, p->d, p->W, norm, layer->sparsity, layer->n, layer->m,
                                 p->mask));
    pons_weight_quant grid = pons_bench_grid();
    pons_weight_scales(&grid, PONS_BENCH_BITS, p->rows, p->d, p->W, p->d, p->scale, p->zero);
done:
    pons_mem_free(norm);
    pons_mem_free(path);
    return st;
}

pons_status pons_bench_problem_create(pons_comm *comm, const pons_bench_layer *layer,
                                      pons_bench_problem *out)
{
    *out = (pons_bench_problem){0};
    pons_status st = pons_comm_agree(comm, make(comm, layer, out));
    if (st == PONS_OK && out->total < pons_comm_size(comm)) /* the same on every rank */
        st = pons_fail(PONS_ERR_SHAPE, "%lld rows cannot be distributed over %d ranks",
                       (long long)out->total, pons_comm_size(comm));
    if (st != PONS_OK) pons_bench_problem_clear(out);
    return st;
}

pons_status pons_bench_problem_factor(const pons_bench_layer *layer, pons_bench_problem *p)
{
    int64_t info = 0;
    pons_status st =
        pons_hessian_factor_create(p->d, p->H, p->norm, layer->damping, &info, &p->factor);
    if (st == PONS_OK && info != 0) {
        char text[256];
        pons_bench_layer_describe(layer, text, sizeof text);
        st = pons_fail(PONS_ERR_NUMERIC,
                       "%s: the Hessian is not positive definite (minor %lld); raise --damping",
                       text, (long long)info);
    }
    for (int64_t i = 0; st == PONS_OK && p->factor->dead_count > 0 && i < p->rows * p->d; i++)
        if (p->factor->dead[i % p->d]) p->W[i] = 0.0f;
    return st;
}

void pons_bench_problem_clear_sample(pons_bench_problem *s)
{
    pons_mem_free(s->zero);
    pons_mem_free(s->scale);
    pons_mem_free(s->mask);
    pons_mem_free(s->W);
    *s = (pons_bench_problem){0};
}

void pons_bench_problem_clear(pons_bench_problem *p)
{
    pons_hessian_factor_destroy(&p->factor);
    pons_mem_free(p->norm);
    pons_mem_free(p->H);
    pons_bench_problem_clear_sample(p);
}

int64_t pons_bench_sample_row(int64_t rows, int64_t count, int64_t i)
{
    return (2 * i + 1) * rows / (2 * count);
}

pons_status pons_bench_problem_sample(const pons_bench_problem *p, int64_t count,
                                      pons_bench_problem *out)
{
    pons_status st = PONS_OK;
    if (count > p->rows) count = p->rows;
    pons_bench_problem s = {.total = count,
                            .rows = count,
                            .d = p->d,
                            .split = p->split,
                            .H = p->H,
                            .norm = p->norm,
                            .factor = p->factor};
    PONS_TRY(st, allocate_rows(&s));
    for (int64_t i = 0; i < count; i++) {
        int64_t from = pons_bench_sample_row(p->rows, count, i);
        memcpy(s.W + i * s.d, p->W + from * p->d, (size_t)p->d * sizeof *s.W);
        memcpy(s.mask + i * s.d, p->mask + from * p->d, (size_t)p->d);
        s.scale[i] = p->scale[from];
    }
    *out = s;
    return PONS_OK;
done:
    pons_bench_problem_clear_sample(&s);
    return st;
}

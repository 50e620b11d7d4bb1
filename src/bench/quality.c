/* The improvements over the published algorithm, measured on layers of real models. Owns which ways are
 * compared; the compressing is obr's. */
#include "bench/quality.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/store.h"
#include "obr/compress.h"

enum { BITS = 4, BLOCKS = 8, SWEEPS = 8, WIDEST_EXACT = 1024 };

/* What may be changed about obr_gptq. */
typedef struct choices {
    pons_mask mask;
    pons_scale_source scale;
    int64_t blocks;
    pons_refit refit;
    int sweeps;
} choices;

typedef struct way {
    const char *name;
    pons_method method;
    choices use;
} way;

#define PAPER 2, PONS_REFIT_NONE, 0
#define REST PONS_SCALE_COMPENSATED, BLOCKS, PONS_REFIT_CLOSED_FORM, SWEEPS

/* The first one is what the others are compared to. */
static const way ways[] = {
    {"obr_gptq", PONS_METHOD_OBR_GPTQ, {PONS_MASK_WANDA, PONS_SCALE_DENSE, PAPER}},
    {"sparsegpt_gptq", PONS_METHOD_SPARSEGPT_GPTQ, {PONS_MASK_WANDA, PONS_SCALE_DENSE, PAPER}},
    {"mask magnitude", PONS_METHOD_OBR_GPTQ, {PONS_MASK_MAGNITUDE, PONS_SCALE_DENSE, PAPER}},
    {"mask sparsegpt", PONS_METHOD_OBR_GPTQ, {PONS_MASK_SPARSEGPT, PONS_SCALE_DENSE, PAPER}},
    {"mask obs", PONS_METHOD_OBR_GPTQ, {PONS_MASK_OBS, PONS_SCALE_DENSE, PAPER}},
    {"mask dual_swap", PONS_METHOD_OBR_GPTQ, {PONS_MASK_DUAL_SWAP, PONS_SCALE_DENSE, PAPER}},
    {"mask admm", PONS_METHOD_OBR_GPTQ, {PONS_MASK_ADMM, PONS_SCALE_DENSE, PAPER}},
    {"scale compensated", PONS_METHOD_OBR_GPTQ, {PONS_MASK_WANDA, PONS_SCALE_COMPENSATED, PAPER}},
    {"blocks",
     PONS_METHOD_OBR_GPTQ,
     {PONS_MASK_WANDA, PONS_SCALE_DENSE, BLOCKS, PONS_REFIT_NONE, 0}},
    {"refit",
     PONS_METHOD_OBR_GPTQ,
     {PONS_MASK_WANDA, PONS_SCALE_DENSE, 2, PONS_REFIT_CLOSED_FORM, 0}},
    {"polish",
     PONS_METHOD_OBR_GPTQ,
     {PONS_MASK_WANDA, PONS_SCALE_DENSE, 2, PONS_REFIT_NONE, SWEEPS}},
    {"exact_obs",
     PONS_METHOD_EXACT_OBS,
     {PONS_MASK_WANDA, PONS_SCALE_COMPENSATED, 2, PONS_REFIT_NONE, 0}},
    {"best", PONS_METHOD_OBR_GPTQ, {PONS_MASK_ADMM, REST}},
    {"best without mask", PONS_METHOD_OBR_GPTQ, {PONS_MASK_WANDA, REST}},
    {"best without scale",
     PONS_METHOD_OBR_GPTQ,
     {PONS_MASK_ADMM, PONS_SCALE_DENSE, BLOCKS, PONS_REFIT_CLOSED_FORM, SWEEPS}},
    {"best without blocks",
     PONS_METHOD_OBR_GPTQ,
     {PONS_MASK_ADMM, PONS_SCALE_COMPENSATED, 2, PONS_REFIT_CLOSED_FORM, SWEEPS}},
    {"best without refit",
     PONS_METHOD_OBR_GPTQ,
     {PONS_MASK_ADMM, PONS_SCALE_COMPENSATED, BLOCKS, PONS_REFIT_NONE, SWEEPS}},
    {"best without polish",
     PONS_METHOD_OBR_GPTQ,
     {PONS_MASK_ADMM, PONS_SCALE_COMPENSATED, BLOCKS, PONS_REFIT_CLOSED_FORM, 0}},
};
enum { WAYS = sizeof ways / sizeof *ways };

/* A layer and buffers for its compressed form. */
typedef struct fixture {
    char name[128];
    int64_t rows, d;
    float *W;
    pons_hessian_factor *factor;
    pons_row_result result;
} fixture;

static pons_recipe recipe_of(const pons_quality_setting *setting, const way *w)
{
    pons_recipe r;
    pons_recipe_default(&r);
    r.method = w->method;
    r.weights = (pons_weight_quant){BITS, true, 0, true, 0};
    r.prune.sparsity = setting->sparsity;
    r.prune.n = setting->n;
    r.prune.m = setting->m;
    r.obr.damping = setting->damping;
    r.prune.mask = w->use.mask;
    r.scale_from = w->use.scale;
    r.refit = w->use.refit;
    r.obr.blocks = w->use.blocks;
    r.polish.sweeps = w->use.sweeps;
    return r;
}

static void fixture_clear(fixture *f)
{
    pons_mem_free(f->result.zeros);
    pons_mem_free(f->result.energy);
    pons_mem_free(f->result.error);
    pons_mem_free(f->result.value);
    pons_mem_free(f->result.zero);
    pons_mem_free(f->result.scale);
    pons_mem_free(f->result.codes);
    pons_hessian_factor_destroy(&f->factor);
    pons_mem_free(f->W);
    *f = (fixture){0};
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static pons_status read_floats(const pons_store *store, const pons_tensor_view *t, int64_t n,
                               float *out)
{
    void *stored = NULL;
    pons_status st = pons_store_load(store, t, &stored);
    if (st == PONS_OK) pons_dtype_to_float(t->dtype, stored, n, out);
    pons_mem_free(stored);
    return st;
}

/* W and H as floats and doubles; Wanda's norms are the diagonal's, whose unit does not matter. */
static pons_status read_layer(const pons_quality_setting *setting, const pons_store *store,
                              const pons_tensor_view *W, const pons_tensor_view *H, fixture *f)
{
    pons_status st = PONS_OK;
    double *H64 = NULL, *norm = NULL;
    float *H32 = NULL;
    int64_t d = H->shape[0], info = 0;
    f->rows = W->shape[0];
    f->d = d;
    PONS_ALLOC(st, f->W, f->rows * d);
    PONS_ALLOC(st, H32, d * d);
    PONS_ALLOC(st, H64, d * d);
    PONS_ALLOC(st, norm, d);
    PONS_TRY(st, read_floats(store, W, f->rows * d, f->W));
    PONS_TRY(st, read_floats(store, H, d * d, H32));
    for (int64_t i = 0; i < d * d; i++)
        H64[i] = H32[i];
    for (int64_t j = 0; j < d; j++)
        norm[j] = H64[j * d + j];
    PONS_TRY(st, pons_hessian_factor_create(d, H64, norm, setting->damping, &info, &f->factor));
    if (info)
        st = pons_fail(PONS_ERR_NUMERIC, "%s: 'H' is not positive definite (minor %lld)",
                       pons_store_path(store), (long long)info);
done:
    pons_mem_free(norm);
    pons_mem_free(H64);
    pons_mem_free(H32);
    return st;
}

/* @param is_layer false when the file holds none: not an error */
static pons_status fixture_read(const pons_quality_setting *setting, const char *path,
                                bool *is_layer, fixture *f)
{
    pons_status st = PONS_OK;
    pons_store *store = NULL;
    *f = (fixture){0};
    PONS_TRY(st, pons_store_open(path, &store));
    const pons_tensor_view *W = pons_store_find(store, "W"), *H = pons_store_find(store, "H");
    *is_layer = W && H && W->ndim == 2 && H->ndim == 2 && H->shape[0] == H->shape[1] &&
                W->shape[1] == H->shape[0];
    if (!*is_layer) goto done;
    snprintf(f->name, sizeof f->name, "%.*s",
             (int)(strlen(base_name(path)) - strlen(".safetensors")), base_name(path));
    PONS_TRY(st, read_layer(setting, store, W, H, f));
    PONS_ALLOC(st, f->result.codes, f->rows * f->d);
    PONS_ALLOC(st, f->result.scale, f->rows);
    PONS_ALLOC(st, f->result.zero, f->rows);
    PONS_ALLOC(st, f->result.value, f->rows * f->d);
    PONS_ALLOC(st, f->result.error, f->rows);
    PONS_ALLOC(st, f->result.energy, f->rows);
    PONS_ALLOC(st, f->result.zeros, f->rows);
done:
    pons_store_close(&store);
    return st;
}

static pons_status add_result(pons_quality *q, pons_quality_result r)
{
    if (q->count == q->capacity) {
        int64_t more = q->capacity ? 2 * q->capacity : 64;
        void *grown = pons_mem_resize(q->result, (size_t)q->count * sizeof r, more, sizeof r);
        if (!grown) return PONS_ERR_NOMEM;
        q->result = grown;
        q->capacity = more;
    }
    q->result[q->count++] = r;
    return PONS_OK;
}

static pons_status measure(const pons_quality_setting *setting, fixture *f, const way *w,
                           double *reference, pons_quality *out)
{
    pons_recipe recipe = recipe_of(setting, w);
    pons_row_task task = {f->name, 0, f->rows, f->d, f->W, f->factor, &recipe, BITS, NULL};
    double start = pons_clock(), error = 0.0, energy = 0.0;
    pons_row_metrics metrics = {0};
    pons_status st = pons_compress_rows(&task, &f->result, &metrics);
    if (st != PONS_OK) return st;
    for (int64_t i = 0; i < f->rows; i++) {
        error += f->result.error[i];
        energy += f->result.energy[i];
    }
    pons_quality_result r = {.method = w->name,
                             .rows = f->rows,
                             .d = f->d,
                             .relative_error = error / energy,
                             .products = metrics.products / (double)f->rows,
                             .seconds = pons_clock() - start};
    snprintf(r.fixture, sizeof r.fixture, "%s", f->name);
    if (w == ways) *reference = r.relative_error;
    r.ratio = r.relative_error / *reference;
    return add_result(out, r);
}

static pons_status measure_file(const pons_quality_setting *setting, const char *path,
                                pons_quality *out)
{
    pons_status st = PONS_OK;
    fixture f = {0};
    bool is_layer = false;
    double reference = NAN;
    PONS_TRY(st, fixture_read(setting, path, &is_layer, &f));
    for (int k = 0; is_layer && k < WAYS; k++)
        if (ways[k].method != PONS_METHOD_EXACT_OBS || f.d <= WIDEST_EXACT)
            PONS_TRY(st, measure(setting, &f, &ways[k], &reference, out));
done:
    fixture_clear(&f);
    return st;
}

pons_status pons_bench_quality(const pons_quality_setting *setting, const char *folder,
                               pons_quality *out)
{
    static const char *const patterns[] = {"%s/*.safetensors", "%s/*/*.safetensors"};
    pons_status st = PONS_OK;
    *out = (pons_quality){0};
    for (int p = 0; p < 2 && st == PONS_OK; p++) {
        char *pattern =
            p ? pons_mem_printf(patterns[1], folder) : pons_mem_printf(patterns[0], folder);
        glob_t found = {0};
        if (!pattern) return PONS_ERR_NOMEM;
        if (glob(pattern, 0, NULL, &found) == 0)
            for (size_t i = 0; i < found.gl_pathc && st == PONS_OK; i++)
                st = measure_file(setting, found.gl_pathv[i], out);
        globfree(&found);
        pons_mem_free(pattern);
    }
    if (st == PONS_OK && out->count == 0)
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: found no *.safetensors with tensors W [rows, d] and H [d, d] there or "
                       "one folder below",
                       folder);
    if (st != PONS_OK) pons_quality_clear(out);
    return st;
}

void pons_quality_clear(pons_quality *q)
{
    pons_mem_free(q->result);
    *q = (pons_quality){0};
}

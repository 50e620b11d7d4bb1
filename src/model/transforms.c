/* Owns the layout of a block's learned transforms, in memory and on disk. Making them is rotate's,
 * applying them calib's. */
#include "model/transforms.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/safetensors_writer.h"
#include "kern/kronecker.h"

enum { NAME_BYTES = 80 };

static const char *const part_names[PONS_TRANSFORMS] = {
    [PONS_TRANSFORM_QKV_LEFT] = "qkv_left",
    [PONS_TRANSFORM_QKV_RIGHT] = "qkv_right",
    [PONS_TRANSFORM_HEADS] = "heads",
    [PONS_TRANSFORM_GATE_UP_LEFT] = "gate_up_left",
    [PONS_TRANSFORM_GATE_UP_RIGHT] = "gate_up_right",
    [PONS_TRANSFORM_DOWN_LEFT] = "down_left",
    [PONS_TRANSFORM_DOWN_RIGHT] = "down_right",
    [PONS_TRANSFORM_QUERY] = "query",
    [PONS_TRANSFORM_KEY] = "key",
    [PONS_TRANSFORM_INPUT_CLIP] = "input_clip",
    [PONS_TRANSFORM_KV_CLIP] = "kv_clip",
};

/* What the parts are made for. */
static const struct {
    pons_tap_kind kind;
    pons_transform first;
} taps[] = {{PONS_INPUT_STREAM, PONS_TRANSFORM_QKV_LEFT},
            {PONS_INPUT_HEADS, PONS_TRANSFORM_HEADS},
            {PONS_INPUT_STREAM, PONS_TRANSFORM_GATE_UP_LEFT},
            {PONS_INPUT_MIDDLE, PONS_TRANSFORM_DOWN_LEFT}};
enum { TAPS = sizeof taps / sizeof *taps };

pons_transform pons_transform_of_tap(const pons_arch *arch, int tap)
{
    PONS_ASSERT(arch->taps == TAPS);
    return taps[tap].first;
}

pons_status pons_transforms_check(const pons_model_config *c)
{
    int64_t L, R;
    bool fits = c->arch->taps == TAPS;
    for (int t = 0; fits && t < TAPS; t++)
        fits = c->arch->tap[t].kind == taps[t].kind;
    if (!fits)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "model config: model_type: found %s, allowed for learned transforms: "
                         "families with the inputs of llama",
                         c->arch->model_type);
    const struct {
        const char *field;
        int64_t width;
    } widths[] = {{"hidden_size", c->hidden}, {"intermediate_size", c->intermediate}};
    for (int i = 0; i < 2; i++)
        if (!pons_kronecker_factors(widths[i].width, &L, &R))
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "model config: %s: found %lld, allowed for Kronecker transforms: "
                             "u^2 - v^2 with u + v of at most %d",
                             widths[i].field, (long long)widths[i].width, PONS_KRONECKER_LARGEST);
    if (c->heads > PONS_KRONECKER_LARGEST || c->head_dim > PONS_KRONECKER_LARGEST)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "model config: found %lld heads of %lld, allowed for learned transforms: "
                         "at most %d of each",
                         (long long)c->heads, (long long)c->head_dim, PONS_KRONECKER_LARGEST);
    return PONS_OK;
}

void pons_transform_shape(const pons_model_config *c, pons_transform part, int64_t shape[2])
{
    int64_t L = 0, R = 0;
    bool down = part == PONS_TRANSFORM_DOWN_LEFT || part == PONS_TRANSFORM_DOWN_RIGHT;
    bool known = pons_kronecker_factors(down ? c->intermediate : c->hidden, &L, &R);
    PONS_ASSERT(known);
    switch (part) {
    case PONS_TRANSFORM_QKV_LEFT: /* fall through */
    case PONS_TRANSFORM_GATE_UP_LEFT:
    case PONS_TRANSFORM_DOWN_LEFT: shape[0] = shape[1] = L; break;
    case PONS_TRANSFORM_HEADS: shape[0] = shape[1] = c->heads; break;
    case PONS_TRANSFORM_QUERY: /* fall through */
    case PONS_TRANSFORM_KEY: shape[0] = shape[1] = c->head_dim; break;
    case PONS_TRANSFORM_INPUT_CLIP:
        shape[0] = c->arch->linears;
        shape[1] = 2;
        break;
    case PONS_TRANSFORM_KV_CLIP: shape[0] = shape[1] = 2; break;
    default: shape[0] = shape[1] = R; break;
    }
}

int64_t pons_transform_offset(const pons_model_config *c, pons_transform part)
{
    int64_t offset = 0, shape[2];
    for (int p = 0; p < (int)part; p++) {
        pons_transform_shape(c, (pons_transform)p, shape);
        offset += shape[0] * shape[1];
    }
    return offset;
}

int64_t pons_transforms_floats(const pons_model_config *c)
{
    return pons_transform_offset(c, PONS_TRANSFORMS);
}

static void tensor_name(int64_t layer, int part, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "model.layers.%lld.transforms.%s", (long long)layer,
             part_names[part]);
}

pons_status pons_transforms_write(const char *dir, const pons_model_config *c, const float *blocks)
{
    pons_status st = PONS_OK;
    pons_st_writer *w = NULL;
    char name[NAME_BYTES], *path = pons_mem_printf("%s/%s", dir, PONS_TRANSFORMS_FILE);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_st_writer_create(path, &w));
    for (int64_t layer = 0; layer < c->layers; layer++)
        for (int p = 0; p < PONS_TRANSFORMS; p++) {
            int64_t shape[2];
            pons_transform_shape(c, (pons_transform)p, shape);
            tensor_name(layer, p, name);
            PONS_TRY(st, pons_st_writer_declare(w, name, PONS_DTYPE_F32, 2, shape));
        }
    PONS_TRY(st, pons_st_writer_write(
                     w, blocks, (size_t)(c->layers * pons_transforms_floats(c)) * sizeof *blocks));
    st = pons_st_writer_commit(&w);
done:
    pons_st_writer_abandon(&w);
    pons_mem_free(path);
    return st;
}

/* The tensor of a part, of the right type and shape. */
static pons_status find_part(const pons_store *store, const pons_model_config *c, int64_t layer,
                             int part, const pons_tensor_view **out)
{
    char name[NAME_BYTES];
    int64_t shape[2];
    tensor_name(layer, part, name);
    pons_transform_shape(c, (pons_transform)part, shape);
    const pons_tensor_view *t = pons_store_find(store, name);
    if (!t) return pons_fail(PONS_ERR_INPUT, "%s: %s is missing", pons_store_path(store), name);
    if (t->dtype != PONS_DTYPE_F32 || t->ndim != 2 || t->shape[0] != shape[0] ||
        t->shape[1] != shape[1])
        return pons_fail(PONS_ERR_INPUT,
                         "%s: %s: found %d dimensions of %s, needed: F32 [%lld, %lld]",
                         pons_store_path(store), name, t->ndim, pons_dtype_name(t->dtype),
                         (long long)shape[0], (long long)shape[1]);
    *out = t;
    return PONS_OK;
}

pons_status pons_transforms_open(const char *dir, const pons_model_config *c, pons_store **out)
{
    pons_status st = PONS_OK;
    pons_store *store = NULL;
    const pons_tensor_view *t;
    char *path = pons_mem_printf("%s/%s", dir, PONS_TRANSFORMS_FILE);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_transforms_check(c));
    PONS_TRY(st, pons_store_open(path, &store));
    for (int64_t layer = 0; layer < c->layers; layer++)
        for (int p = 0; p < PONS_TRANSFORMS; p++)
            PONS_TRY(st, find_part(store, c, layer, p, &t));
    *out = store;
    store = NULL;
done:
    pons_store_close(&store);
    pons_mem_free(path);
    return st;
}

pons_status pons_transforms_read(const pons_store *store, const pons_model_config *c, int64_t layer,
                                 float *out)
{
    pons_status st = PONS_OK;
    for (int p = 0; p < PONS_TRANSFORMS; p++) {
        const pons_tensor_view *t = NULL;
        PONS_TRY(st, find_part(store, c, layer, p, &t));
        float *part = out + pons_transform_offset(c, (pons_transform)p);
        int64_t n = pons_tensor_elements(t);
        PONS_TRY(st, pons_store_read(store, t, 0, (size_t)n * sizeof *part, part));
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(part[i]))
                return pons_fail(PONS_ERR_INPUT, "%s: %s: element %lld is NaN or Inf",
                                 pons_store_path(store), t->name, (long long)i);
    }
done:
    return st;
}

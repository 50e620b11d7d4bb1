/* Owns the names and shapes in flat_matrices.pth, and the checks of what it holds. How it is used is
 * in flatquant.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/torch_file.h"
#include "kern/kronecker.h"
#include "model/transforms.h"
#include "rotate/flatquant.h"

enum { NAME_BYTES = 80 };

/* Extents of a part: factors of the hidden and of the MLP's width, and so on. */
typedef enum extent {
    HIDDEN_L,
    HIDDEN_R,
    HIDDEN,
    MIDDLE_L,
    MIDDLE_R,
    MIDDLE,
    HEADS,
    HEAD_DIM,
    ONE
} extent;

static const struct {
    const char *name;
    extent extent;
    bool square; /* [n, n]; else [n] */
} parts[PONS_FLAT_LINEARS] = {
    [PONS_FLAT_QKV_LEFT] = {"self_attn.ln_trans.matrix_left", HIDDEN_L, true},
    [PONS_FLAT_QKV_RIGHT] = {"self_attn.ln_trans.matrix_right", HIDDEN_R, true},
    [PONS_FLAT_QKV_LEFT_INVERSE] = {"self_attn.ln_trans.matrix_left_inv", HIDDEN_L, true},
    [PONS_FLAT_QKV_RIGHT_INVERSE] = {"self_attn.ln_trans.matrix_right_inv", HIDDEN_R, true},
    [PONS_FLAT_QKV_SCALE] = {"self_attn.ln_trans.diag_scale", HIDDEN, false},
    [PONS_FLAT_HEADS] = {"self_attn.o_trans.matrix", HEADS, true},
    [PONS_FLAT_HEADS_INVERSE] = {"self_attn.o_trans.matrix_inv_t", HEADS, true},
    [PONS_FLAT_KEY] = {"self_attn.kcache_trans.matrix", HEAD_DIM, true},
    [PONS_FLAT_KEY_INVERSE] = {"self_attn.kcache_trans.matrix_inv_t", HEAD_DIM, true},
    [PONS_FLAT_VALUE] = {"self_attn.vcache_trans.matrix", HEAD_DIM, true},
    [PONS_FLAT_VALUE_INVERSE] = {"self_attn.vcache_trans.matrix_inv_t", HEAD_DIM, true},
    [PONS_FLAT_GATE_UP_LEFT] = {"mlp.up_gate_trans.matrix_left", HIDDEN_L, true},
    [PONS_FLAT_GATE_UP_RIGHT] = {"mlp.up_gate_trans.matrix_right", HIDDEN_R, true},
    [PONS_FLAT_GATE_UP_LEFT_INVERSE] = {"mlp.up_gate_trans.matrix_left_inv", HIDDEN_L, true},
    [PONS_FLAT_GATE_UP_RIGHT_INVERSE] = {"mlp.up_gate_trans.matrix_right_inv", HIDDEN_R, true},
    [PONS_FLAT_GATE_UP_SCALE] = {"mlp.up_gate_trans.diag_scale", HIDDEN, false},
    [PONS_FLAT_DOWN_LEFT] = {"mlp.down_trans.matrix_left", MIDDLE_L, true},
    [PONS_FLAT_DOWN_RIGHT] = {"mlp.down_trans.matrix_right", MIDDLE_R, true},
    [PONS_FLAT_DOWN_LEFT_INVERSE] = {"mlp.down_trans.matrix_left_inv", MIDDLE_L, true},
    [PONS_FLAT_DOWN_RIGHT_INVERSE] = {"mlp.down_trans.matrix_right_inv", MIDDLE_R, true},
    [PONS_FLAT_DOWN_SCALE] = {"mlp.down_trans.diag_scale", MIDDLE, false},
    [PONS_FLAT_KEY_CLIP_MAX] = {"self_attn.k_cache_quantizer.clip_factor_a_max", ONE, false},
    [PONS_FLAT_KEY_CLIP_MIN] = {"self_attn.k_cache_quantizer.clip_factor_a_min", ONE, false},
    [PONS_FLAT_VALUE_CLIP_MAX] = {"self_attn.v_cache_quantizer.clip_factor_a_max", ONE, false},
    [PONS_FLAT_VALUE_CLIP_MIN] = {"self_attn.v_cache_quantizer.clip_factor_a_min", ONE, false},
};

/* Matrices and their inverses. */
static const struct {
    pons_flat_part matrix, inverse;
} pairs[] = {{PONS_FLAT_QKV_LEFT, PONS_FLAT_QKV_LEFT_INVERSE},
             {PONS_FLAT_QKV_RIGHT, PONS_FLAT_QKV_RIGHT_INVERSE},
             {PONS_FLAT_HEADS, PONS_FLAT_HEADS_INVERSE},
             {PONS_FLAT_KEY, PONS_FLAT_KEY_INVERSE},
             {PONS_FLAT_VALUE, PONS_FLAT_VALUE_INVERSE},
             {PONS_FLAT_GATE_UP_LEFT, PONS_FLAT_GATE_UP_LEFT_INVERSE},
             {PONS_FLAT_GATE_UP_RIGHT, PONS_FLAT_GATE_UP_RIGHT_INVERSE},
             {PONS_FLAT_DOWN_LEFT, PONS_FLAT_DOWN_LEFT_INVERSE},
             {PONS_FLAT_DOWN_RIGHT, PONS_FLAT_DOWN_RIGHT_INVERSE}};

static int64_t length_of(const pons_model_config *c, extent e)
{
    int64_t L = 0, R = 0;
    pons_kronecker_factors(e >= MIDDLE_L ? c->intermediate : c->hidden, &L, &R);
    switch (e) {
    case HIDDEN_L: /* fall through */
    case MIDDLE_L: return L;
    case HIDDEN_R: /* fall through */
    case MIDDLE_R: return R;
    case HIDDEN: return c->hidden;
    case MIDDLE: return c->intermediate;
    case HEADS: return c->heads;
    case HEAD_DIM: return c->head_dim;
    case ONE: break;
    }
    return 1;
}

static int part_count(const pons_arch *arch) { return PONS_FLAT_LINEARS + 4 * arch->linears; }

/* Name, dimensions and shape of a part. */
static int describe(const pons_model_config *c, int part, char name[NAME_BYTES], int64_t shape[2])
{
    static const char *const of_linear[] = {"clip_factor_w_max", "clip_factor_w_min",
                                            "act_quantizer.clip_factor_a_max",
                                            "act_quantizer.clip_factor_a_min"};
    shape[1] = 1;
    if (part < PONS_FLAT_LINEARS) {
        snprintf(name, NAME_BYTES, "%s", parts[part].name);
        shape[0] = length_of(c, parts[part].extent);
        if (parts[part].square) shape[1] = shape[0];
        return parts[part].square ? 2 : 1;
    }
    int linear = (part - PONS_FLAT_LINEARS) / 4;
    int kind = (part - PONS_FLAT_LINEARS) % 4;
    int64_t cols;
    snprintf(name, NAME_BYTES, "%s.%s", c->arch->linear[linear].name, of_linear[kind]);
    pons_linear_shape(c, linear, &shape[0], &cols);
    if (kind < PONS_FLAT_INPUT_MAX) return 2;
    shape[0] = 1;
    return 1;
}

static pons_status read_part(pons_torch_file *file, const pons_torch_value *dict, int64_t layer,
                             int part, const pons_model_config *c, float *out)
{
    char name[NAME_BYTES];
    int64_t needed[2];
    const char *path = pons_torch_path(file);
    int ndim = describe(c, part, name, needed);
    const pons_torch_value *t = pons_torch_find(dict, name);
    if (!t)
        return pons_fail(PONS_ERR_INPUT, "%s: layer %lld: %s is missing", path, (long long)layer,
                         name);
    if (pons_torch_value_kind(t) != PONS_TORCH_TENSOR)
        return pons_fail(PONS_ERR_INPUT, "%s: layer %lld: %s: found %s, allowed: a tensor", path,
                         (long long)layer, name, pons_torch_kind_name(pons_torch_value_kind(t)));
    const int64_t *shape = pons_torch_tensor_shape(t);
    int found = pons_torch_tensor_ndim(t);
    if (found != ndim || shape[0] != needed[0] || (ndim == 2 && shape[1] != needed[1]))
        return pons_fail(PONS_ERR_SHAPE,
                         "%s: layer %lld: %s: found %d dimensions, [%lld, %lld], needed %d: "
                         "[%lld, %lld]",
                         path, (long long)layer, name, found, (long long)(found > 0 ? shape[0] : 1),
                         (long long)(found > 1 ? shape[1] : 1), ndim, (long long)needed[0],
                         (long long)needed[1]);
    pons_status st = pons_torch_read(file, t, out);
    bool scale = part == PONS_FLAT_QKV_SCALE || part == PONS_FLAT_GATE_UP_SCALE ||
                 part == PONS_FLAT_DOWN_SCALE;
    for (int64_t i = 0; st == PONS_OK && i < needed[0] * needed[1]; i++)
        if (!isfinite(out[i]) || (scale && out[i] == 0))
            st = pons_fail(PONS_ERR_INPUT, "%s: layer %lld: %s: element %lld is %g, allowed: %s",
                           path, (long long)layer, name, (long long)i, out[i],
                           scale ? "finite numbers that are not 0" : "finite numbers");
    return st;
}

/* Entries that are none of the parts would be left out silently. */
static pons_status check_names(const pons_torch_file *file, const pons_torch_value *dict,
                               int64_t layer, const pons_model_config *c)
{
    char name[NAME_BYTES], label[PONS_TORCH_LABEL_BYTES];
    int64_t shape[2];
    for (int64_t i = 0; i < pons_torch_value_count(dict); i++) {
        const pons_torch_value *key;
        const char *text = NULL;
        bool known = false;
        pons_torch_value_at(dict, i, &key);
        pons_torch_value_text(key, &text);
        for (int p = 0; text && !known && p < part_count(c->arch); p++) {
            describe(c, p, name, shape);
            known = !strcmp(text, name);
        }
        if (!known)
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: layer %lld: found the entry %s, allowed: the transforms, scales "
                             "and clip factors of FlatQuant",
                             pons_torch_path(file), (long long)layer,
                             pons_torch_value_label(key, label));
    }
    return PONS_OK;
}

/* Largest entry of |M^T N - I|. */
static double distance_from_inverse(const float *M, const float *N, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = i == j ? -1 : 0;
            for (int64_t k = 0; k < n; k++)
                sum += (double)M[k * n + i] * N[k * n + j];
            if (fabs(sum) > most) most = fabs(sum);
        }
    return most;
}

static pons_status check_inverses(const char *path, pons_flatquant *flat, int64_t layer,
                                  double tolerance)
{
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char name[NAME_BYTES], inverse[NAME_BYTES];
        int64_t shape[2];
        describe(&flat->config, pairs[i].inverse, inverse, shape);
        describe(&flat->config, pairs[i].matrix, name, shape);
        double off =
            distance_from_inverse(pons_flatquant_part(flat, layer, pairs[i].matrix),
                                  pons_flatquant_part(flat, layer, pairs[i].inverse), shape[0]);
        if (!(off <= tolerance))
            return pons_fail(PONS_ERR_INPUT,
                             "%s: layer %lld: %s is singular or %s not the transpose of its "
                             "inverse: the product differs from the identity by %.3g, allowed by "
                             "rotation.tolerance: %g",
                             path, (long long)layer, name, inverse, off, tolerance);
        if (off > flat->deviation) flat->deviation = off;
    }
    return PONS_OK;
}

static pons_status read_layer(pons_torch_file *file, int64_t layer, double tolerance,
                              pons_flatquant *flat)
{
    pons_status st = PONS_OK;
    const pons_torch_value *dict = pons_torch_find_int(pons_torch_root(file), layer);
    float *values = flat->values + layer * flat->offset[flat->parts];
    if (!dict || pons_torch_value_kind(dict) != PONS_TORCH_DICT)
        return pons_fail(PONS_ERR_INPUT, "%s: layer %lld is missing or no dictionary",
                         pons_torch_path(file), (long long)layer);
    PONS_TRY(st, check_names(file, dict, layer, &flat->config));
    for (int p = 0; p < flat->parts; p++)
        PONS_TRY(st, read_part(file, dict, layer, p, &flat->config, values + flat->offset[p]));
    PONS_TRY(st, check_inverses(pons_torch_path(file), flat, layer, tolerance));
done:
    return st;
}

pons_status pons_flatquant_read(const char *path, const pons_model_config *config, double tolerance,
                                pons_flatquant **out)
{
    pons_status st = PONS_OK;
    pons_torch_file *file = NULL;
    pons_flatquant *flat = NULL;
    char name[NAME_BYTES];
    int64_t shape[2];
    PONS_TRY(st, pons_transforms_check(config));
    PONS_TRY(st, pons_torch_open(path, &file));
    if (pons_torch_value_kind(pons_torch_root(file)) != PONS_TORCH_DICT ||
        pons_torch_value_count(pons_torch_root(file)) != config->layers) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: found %s with %lld entries, needed: a dictionary with one of each of "
                       "the model's %lld layers",
                       path, pons_torch_kind_name(pons_torch_value_kind(pons_torch_root(file))),
                       (long long)pons_torch_value_count(pons_torch_root(file)),
                       (long long)config->layers);
        goto done;
    }
    PONS_CALLOC(st, flat, 1);
    flat->config = *config;
    flat->parts = part_count(config->arch);
    PONS_CALLOC(st, flat->offset, flat->parts + 1);
    for (int p = 0; p < flat->parts; p++) {
        describe(config, p, name, shape);
        flat->offset[p + 1] = flat->offset[p] + shape[0] * shape[1];
    }
    PONS_ALLOC(st, flat->values, config->layers * flat->offset[flat->parts]);
    for (int64_t layer = 0; layer < config->layers; layer++)
        PONS_TRY(st, read_layer(file, layer, tolerance, flat));
    *out = flat;
    flat = NULL;
done:
    pons_flatquant_destroy(&flat);
    pons_torch_close(&file);
    return st;
}

void pons_flatquant_destroy(pons_flatquant **flat)
{
    if (!*flat) return;
    pons_mem_free((*flat)->values);
    pons_mem_free((*flat)->offset);
    pons_mem_free(*flat);
    *flat = NULL;
}

const float *pons_flatquant_part(const pons_flatquant *flat, int64_t layer, int part)
{
    return flat->values + layer * flat->offset[flat->parts] + flat->offset[part];
}

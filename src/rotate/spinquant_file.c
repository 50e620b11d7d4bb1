/* Owns the names and shapes of SpinQuant's R.bin. The torch format is io's; where the matrices go is
 * known to rotation.c. */
#include "rotate/spinquant_file.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/torch_file.h"

enum { NAME_BYTES = 64 };

static void r2_name(int64_t layer, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "model.layers.%lld.self_attn.R2", (long long)layer);
}

/* One square matrix of the file. */
static pons_status read_matrix(pons_torch_file *file, const char *name, int64_t n,
                               const char *field, double tolerance, pons_orthogonal *out,
                               double *deviation)
{
    pons_status st = PONS_OK;
    const char *path = pons_torch_path(file);
    const pons_torch_value *t = pons_torch_find(pons_torch_root(file), name);
    double off = 0;
    float *R = NULL;
    if (!t) return pons_fail(PONS_ERR_INPUT, "%s: %s is missing", path, name);
    if (pons_torch_value_kind(t) != PONS_TORCH_TENSOR)
        return pons_fail(PONS_ERR_INPUT, "%s: %s: found %s, allowed: a tensor", path, name,
                         pons_torch_kind_name(pons_torch_value_kind(t)));
    const int64_t *shape = pons_torch_tensor_shape(t);
    int ndim = pons_torch_tensor_ndim(t);
    if (ndim != 2 || shape[0] != n || shape[1] != n)
        return pons_fail(PONS_ERR_SHAPE,
                         "%s: %s: found %d dimensions, [%lld, %lld], needed: [%lld, %lld], the "
                         "model's %s",
                         path, name, ndim, (long long)(ndim > 0 ? shape[0] : 1),
                         (long long)(ndim > 1 ? shape[1] : 1), (long long)n, (long long)n, field);
    PONS_ALLOC(st, R, n * n);
    PONS_TRY(st, pons_torch_read(file, t, R));
    PONS_TRY(st, pons_orthogonal_given(n, R, &off, out));
    if (!(off <= tolerance))
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: %s is not orthogonal: R^T R differs from the identity by %.3g, "
                       "allowed by rotation.tolerance: %g",
                       path, name, off, tolerance);
    if (off > *deviation) *deviation = off;
done:
    pons_mem_free(R);
    return st;
}

/* A file of another model must not pass because its first layers fit. */
static pons_status check_names(const pons_torch_file *file, int64_t layers)
{
    const pons_torch_value *root = pons_torch_root(file), *key;
    char name[NAME_BYTES], label[PONS_TORCH_LABEL_BYTES];
    if (pons_torch_value_kind(root) != PONS_TORCH_DICT)
        return pons_fail(PONS_ERR_INPUT, "%s: found %s, allowed: a dictionary with R1 and R2",
                         pons_torch_path(file), pons_torch_kind_name(pons_torch_value_kind(root)));
    for (int64_t i = 0; i < pons_torch_value_count(root); i++) {
        const char *text = NULL;
        pons_torch_value_at(root, i, &key);
        bool known = pons_torch_value_text(key, &text) && !strcmp(text, "R1");
        for (int64_t l = 0; text && !known && l < layers; l++) {
            r2_name(l, name);
            known = !strcmp(text, name);
        }
        if (!known)
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: found the entry %s, allowed for a model of %lld layers: R1, "
                             "model.layers.0.self_attn.R2 to model.layers.%lld.self_attn.R2",
                             pons_torch_path(file), pons_torch_value_label(key, label),
                             (long long)layers, (long long)layers - 1);
    }
    return PONS_OK;
}

pons_status pons_spinquant_read(const char *path, const pons_model_config *c, double tolerance,
                                pons_orthogonal *r1, pons_orthogonal *r2, double *deviation)
{
    pons_status st = PONS_OK;
    pons_torch_file *file = NULL;
    char name[NAME_BYTES];
    double worst = 0;
    PONS_TRY(st, pons_torch_open(path, &file));
    PONS_TRY(st, check_names(file, c->layers));
    PONS_TRY(st, read_matrix(file, "R1", c->hidden, "hidden_size", tolerance, r1, &worst));
    for (int64_t layer = 0; layer < c->layers; layer++) {
        r2_name(layer, name);
        PONS_TRY(st,
                 read_matrix(file, name, c->head_dim, "head_dim", tolerance, &r2[layer], &worst));
    }
    *deviation = worst;
done:
    pons_torch_close(&file);
    return st;
}

pons_status pons_spinquant_write(const char *path, int64_t hidden, int64_t head_dim, int64_t layers,
                                 const float *R1, const float *R2)
{
    pons_status st = PONS_OK;
    pons_tensor_view *tensors = NULL;
    char *names = NULL;
    PONS_ALLOC(st, tensors, layers + 1);
    PONS_ALLOC(st, names, layers * NAME_BYTES);
    tensors[0] = (pons_tensor_view){
        .name = "R1", .dtype = PONS_DTYPE_F32, .ndim = 2, .shape = {hidden, hidden}, .data = R1};
    for (int64_t layer = 0; layer < layers; layer++) {
        char *name = names + layer * NAME_BYTES;
        r2_name(layer, name);
        tensors[layer + 1] = (pons_tensor_view){.name = name,
                                                .dtype = PONS_DTYPE_F32,
                                                .ndim = 2,
                                                .shape = {head_dim, head_dim},
                                                .data = R2 + layer * head_dim * head_dim};
    }
    st = pons_torch_write(path, layers + 1, tensors);
done:
    pons_mem_free(names);
    pons_mem_free(tensors);
    return st;
}

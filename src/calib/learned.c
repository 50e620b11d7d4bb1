/* Owns where learned transforms and clipping apply in a block. */
#include "calib/learned.h"

#include "kern/kronecker.h"
#include "model/transforms.h"
#include "quant/activation.h"

static const float *part(const pons_model_config *c, const float *transforms, pons_transform p)
{
    return transforms + pons_transform_offset(c, p);
}

/* x <- A^T X B with the factors of two parts. */
static void transform(const pons_model_config *c, const float *transforms, pons_transform left,
                      pons_transform right, int64_t n, float *x)
{
    int64_t L[2], R[2];
    pons_transform_shape(c, left, L);
    pons_transform_shape(c, right, R);
    pons_kronecker_rows(n, L[0], R[0], part(c, transforms, left), part(c, transforms, right), x,
                        L[0] * R[0]);
}

void pons_learned_input(const pons_model_config *c, const float *transforms, int tap, int64_t n,
                        float *x)
{
    pons_transform left = pons_transform_of_tap(c->arch, tap);
    if (left == PONS_TRANSFORM_HEADS) /* inside a head the value transform has already acted */
        pons_kronecker_rows(n, c->heads, c->head_dim, part(c, transforms, left), NULL, x,
                            c->heads * c->head_dim);
    else
        transform(c, transforms, left, (pons_transform)(left + 1), n, x);
}

void pons_learned_turn(const pons_model_config *c, const float *transforms,
                       const pons_runtime *runtime, int64_t n, float *q, float *k, float *v)
{
    int64_t hd = c->head_dim;
    const float *clip = part(c, transforms, PONS_TRANSFORM_KV_CLIP);
    const pons_kv_quant *keys = &runtime->kv, *values = &runtime->values;
    if (values->bits < 16)
        pons_activation_quantize_learned(values->bits, values->symmetric, clip + 2, n * c->kv_heads,
                                         hd, v);
    if (keys->bits == 16) return;
    pons_kronecker_rows(n, c->heads, hd, NULL, part(c, transforms, PONS_TRANSFORM_QUERY), q,
                        c->heads * hd);
    pons_kronecker_rows(n, c->kv_heads, hd, NULL, part(c, transforms, PONS_TRANSFORM_KEY), k,
                        c->kv_heads * hd);
    pons_activation_quantize_learned(keys->bits, keys->symmetric, clip, n * c->kv_heads, hd, k);
}

void pons_learned_quantize(const pons_model_config *c, const float *transforms,
                           const pons_act_quant *quant, int linear, int64_t n, float *x)
{
    int bits;
    int64_t size, dim = pons_tap_width(c, c->arch->linear[linear].tap);
    pons_tap_kind kind = c->arch->tap[c->arch->linear[linear].tap].kind;
    const float *clip = part(c, transforms, PONS_TRANSFORM_INPUT_CLIP) + 2 * (int)linear;
    pons_activation_layout(quant, c->hidden, c->head_dim, dim, kind == PONS_INPUT_HEADS,
                           kind == PONS_INPUT_MIDDLE, &bits, &size);
    pons_activation_quantize_learned(bits, quant->symmetric, clip, n, dim, x);
}

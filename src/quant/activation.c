/* Owns which groups of activations, keys and values are quantized and how; the loops are in
 * kern/quantize.h. The forward pass decides when it applies. */
#include "quant/activation.h"

#include "kern/quantize.h"

void pons_activation_quantize(int bits, bool symmetric, float clip_ratio, int64_t group, int64_t T,
                              int64_t d, float *x, int64_t ld)
{
    if (bits == 16 || d == 0) return;
    PONS_ASSERT(bits >= 2 && bits <= 8);
    PONS_ASSERT(group >= 0 && (group == 0 || d % group == 0));
    bool whole = group == 0;
    int64_t width = whole ? d : group;
    const pons_quantize_rule rule = {bits, symmetric, whole, {clip_ratio, clip_ratio}};
    pons_quantize_rows(&rule, T, d, width, x, ld);
}

void pons_activation_quantize_learned(int bits, bool symmetric, const float clip[2], int64_t T,
                                      int64_t d, float *x)
{
    if (bits == 16 || d == 0) return;
    PONS_ASSERT(bits >= 2 && bits <= 8);
    const pons_quantize_rule rule = {bits, symmetric, true, {clip[0], clip[1]}};
    pons_quantize_rows(&rule, T, d, d, x, d);
}

void pons_activation_layout(const pons_act_quant *quant, int64_t hidden, int64_t head_dim,
                            int64_t dim, bool is_o_proj, bool is_down_proj, int *bits,
                            int64_t *group)
{
    *bits = quant->bits;
    *group = quant->group_size;
    if (is_down_proj && quant->bits < 16 && quant->down_proj_bits) *bits = quant->down_proj_bits;
    if (is_o_proj && quant->o_proj_head_groups) *group = head_dim;
    /* as many groups as the hidden width has, when the size itself does not fit */
    if (is_down_proj && *group > 0 && dim % *group != 0 && hidden / *group > 0)
        *group = dim / (hidden / *group);
}

pons_status pons_activation_check(const pons_act_quant *quant, int64_t hidden, int64_t head_dim,
                                  int64_t heads_dim, int64_t intermediate)
{
    const struct {
        const char *name;
        int64_t dim;
    } inputs[] = {{"q_proj", hidden}, {"o_proj", heads_dim}, {"down_proj", intermediate}};
    for (int i = 0; i < 3; i++) {
        int bits;
        int64_t group;
        pons_activation_layout(quant, hidden, head_dim, inputs[i].dim, i == 1, i == 2, &bits,
                               &group);
        if (bits == 16 || group == 0 || inputs[i].dim % group == 0) continue;
        return pons_fail(PONS_ERR_CONFIG,
                         "activations.group_size: found %lld, allowed: a divisor of the model's "
                         "widths (the input of %s has %lld channels)",
                         (long long)quant->group_size, inputs[i].name, (long long)inputs[i].dim);
    }
    return PONS_OK;
}

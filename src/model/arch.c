/* Owns the list of families and what follows from a table and a configuration. The tables are in files
 * of their own. */
#include "model/arch.h"

#include <string.h>

#include "model/arch_tables.h"
#include "model/config.h"

static const pons_arch *const families[] = {&pons_arch_llama, &pons_arch_mistral, &pons_arch_qwen2,
                                            &pons_arch_qwen3};
enum { FAMILIES = sizeof families / sizeof *families };

const pons_arch *pons_arch_at(int number) { return number < FAMILIES ? families[number] : NULL; }

const pons_arch *pons_arch_of_type(const char *model_type)
{
    for (int i = 0; i < FAMILIES; i++)
        if (!strcmp(families[i]->model_type, model_type)) return families[i];
    return NULL;
}

const pons_arch *pons_arch_of_class(const char *class_name)
{
    for (int i = 0; i < FAMILIES; i++)
        if (!strcmp(families[i]->class_name, class_name)) return families[i];
    return NULL;
}

const pons_arch *pons_arch_of_gguf(const char *architecture)
{
    for (int i = 0; i < FAMILIES; i++)
        if (families[i]->gguf && !strcmp(families[i]->gguf, architecture)) return families[i];
    return NULL;
}

int64_t pons_width_of(const pons_model_config *c, pons_width width)
{
    switch (width) {
    case PONS_WIDTH_INTERMEDIATE: return c->intermediate;
    case PONS_WIDTH_HEADS: return c->heads * c->head_dim;
    case PONS_WIDTH_KV_HEADS: return c->kv_heads * c->head_dim;
    case PONS_WIDTH_HEAD_DIM: return c->head_dim;
    default: return c->hidden;
    }
}

int64_t pons_tap_width(const pons_model_config *c, int tap)
{
    return pons_width_of(c, c->arch->tap[tap].width);
}

void pons_linear_shape(const pons_model_config *c, int linear, int64_t *rows, int64_t *cols)
{
    const pons_arch_linear *l = &c->arch->linear[linear];
    *rows = pons_width_of(c, l->rows);
    *cols = pons_tap_width(c, l->tap);
}

bool pons_linear_has_bias(const pons_model_config *c, int linear)
{
    switch (c->arch->linear[linear].bias) {
    case PONS_BIAS_ALWAYS: return true;
    case PONS_BIAS_ATTENTION: return c->attention_bias;
    case PONS_BIAS_MLP: return c->mlp_bias;
    default: return false;
    }
}

bool pons_tap_joins_stream(const pons_arch *arch, int tap)
{
    for (int l = 0; l < arch->linears; l++)
        if (arch->linear[l].tap == tap) return arch->linear[l].output == PONS_OUTPUT_STREAM;
    return false;
}

int64_t pons_gain_offset(const pons_model_config *c, int gain)
{
    int64_t offset = 0;
    for (int g = 0; g < gain; g++)
        offset += pons_width_of(c, c->arch->gain[g].width);
    return offset;
}

int64_t pons_gain_floats(const pons_model_config *c) { return pons_gain_offset(c, c->arch->gains); }

/* Bytes of what a job writes: RUN and OUT. Formulas of src/pack/README.md; codes that round to zero are
 * counted as kept. */
#include "plan/plan.h"

/* Scales and zero points of one row. */
static double scale_bytes(const pons_recipe *r, int64_t cols)
{
    double groups = r->weights.group_size ? (double)cols / (double)r->weights.group_size : 1;
    return groups * (r->weights.symmetric ? 4 : 5);
}

/* One linear of a block, committed and in OUT. */
static void count_linear(const pons_plan_input *in, int linear, pons_plan_files *f)
{
    const pons_recipe *r = in->recipe;
    int64_t rows, cols;
    const pons_arch *arch = in->model->arch;
    pons_linear_shape(in->model, linear, &rows, &cols);
    bool codes = pons_method_quantizes(r->method);
    bool middle = arch->tap[arch->linear[linear].tap].kind == PONS_INPUT_MIDDLE;
    double cells = (double)rows * (double)cols;
    double plain = (double)pons_dtype_bytes(r->output.dtype, 1);
    double kept = pons_method_prunes(r->method) ? 1 - r->prune.sparsity : 1;
    int bits = middle && r->weights.down_proj_bits ? r->weights.down_proj_bits : r->weights.bits;
    double scales = codes ? (double)rows * scale_bytes(r, cols) : 0;
    double layers = (double)in->model->layers;
    f->blocks += layers * (cells / 8 + scales + kept * cells * (codes ? bits / 8.0 : plain));
    bool packed = codes && r->output.format == PONS_OUTPUT_PACK_QUANTIZED;
    f->out += layers * (packed ? cells * bits / 8.0 + scales : cells * plain);
}

void pons_plan_files_of(const pons_plan_input *in, pons_plan_files *f)
{
    const pons_recipe *r = in->recipe;
    const pons_model_config *m = in->model;
    double hidden = (double)m->hidden, layers = (double)m->layers;
    bool apart = !m->tied || r->rotation.kind != PONS_ROTATION_NONE; /* head and embedding */
    *f = (pons_plan_files){.model = (apart ? 2 : 1) * (double)m->vocab * hidden *
                                    (double)pons_dtype_bytes(r->output.dtype, 1)};
    for (int l = 0; l < m->arch->linears; l++)
        count_linear(in, l, f);
    f->out += f->model;
    if (!pons_method_needs_hessian(r->method)) return;
    if (r->checkpoint.blocks > 0) /* the new states are there before the old ones go */
        f->hidden = 2 * 4 * hidden * (double)(r->calibration.length) *
                    (double)(r->calibration.windows + r->calibration.holdout) *
                    (pons_plan_follows(r) ? 2 : 1);
    for (int t = 0; t < m->arch->taps && r->keep_hessians; t++) {
        double d = (double)pons_tap_width(m, t);
        f->hessians += layers * 8 * d * d;
    }
}

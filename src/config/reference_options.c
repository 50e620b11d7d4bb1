/* The table of the published programs' options. What those without a note mean is known to
 * reference.c. */
#include "config/reference_options.h"

#include <stddef.h>

#define VALUE(name, q, s, f, note)                                                                 \
    {                                                                                              \
        name, {q, s, f}, false, note                                                               \
    }
#define FLAG(name, q, s, f, note)                                                                  \
    {                                                                                              \
        name, {q, s, f}, true, note                                                                \
    }

/* Name; defaults in QuaRot, SpinQuant and FlatQuant; note. */
const pons_reference_option pons_reference_options[PONS_REFERENCE_OPTIONS] = {
    VALUE("seed", "0", "0", "0", NULL),
    VALUE("w_bits", "4", "16", "16", NULL),
    VALUE("a_bits", "4", "16", "16", NULL),
    VALUE("k_bits", "4", "16", "16", NULL),
    VALUE("v_bits", "4", "16", "16", NULL),
    VALUE("q_bits", NULL, NULL, "16", NULL),
    FLAG("w_asym", "", "", "", NULL),
    FLAG("a_asym", "", "", "", NULL),
    FLAG("k_asym", "", "", "", NULL),
    FLAG("v_asym", "", "", "", NULL),
    FLAG("q_asym", NULL, NULL, "", NULL),
    VALUE("w_groupsize", "-1", "-1", "-1", NULL),
    VALUE("a_groupsize", "-1", "-1", "-1", NULL),
    VALUE("k_groupsize", "-1", "-1", "-1", NULL),
    VALUE("v_groupsize", "-1", "-1", "-1", NULL),
    VALUE("q_groupsize", NULL, NULL, "-1", NULL),
    VALUE("a_clip_ratio", "1.0", "1.0", NULL, NULL),
    VALUE("k_clip_ratio", "1.0", "1.0", NULL, NULL),
    VALUE("v_clip_ratio", "1.0", "1.0", NULL, NULL),
    FLAG("w_clip", "on", "", NULL, NULL),
    FLAG("gptq_mse", NULL, NULL, "", NULL),
    VALUE("nsamples", "128", "128", "128", NULL),
    VALUE("cal_dataset", "wikitext2", "wikitext2", NULL, NULL),
    VALUE("cali_dataset", NULL, NULL, "wikitext2", NULL),
    VALUE("percdamp", "0.01", "0.01", "0.01", NULL),
    VALUE("obr_alpha", "0.5", "0.5", "0.5", NULL),
    FLAG("obr_rtn", "", "", "", NULL),
    VALUE("sparsity_ratio", "0.5", "0.5", "0.5", NULL),
    VALUE("prune_n", "0", "0", "0", NULL),
    VALUE("prune_m", "0", "0", "0", NULL),
    FLAG("int8_down_proj", "", "", NULL, NULL),
    FLAG("rotate", "", "", NULL, NULL),
    VALUE("rotate_mode", "hadamard", "hadamard", NULL, NULL),
    FLAG("k_pre_rope", "", "", NULL, NULL),
    VALUE("optimized_rotation_path", NULL, "", NULL, NULL),
    VALUE("bf16", NULL, "False", NULL, NULL),
    VALUE("model_max_length", NULL, "2048", NULL, NULL),
    FLAG("lwc", NULL, NULL, "", NULL),
    FLAG("lac", NULL, NULL, "", NULL),
    FLAG("cali_trans", NULL, NULL, "", NULL),
    FLAG("add_diag", NULL, NULL, "", NULL),
    FLAG("reload_matrix", NULL, NULL, "", NULL),
    VALUE("matrix_path", NULL, NULL, "", NULL),
    FLAG("separate_vtrans", NULL, NULL, "", NULL),
    VALUE("model", "", "", "", "pons compress --model"),
    VALUE("input_model", NULL, "", NULL, "pons compress --model"),
    FLAG("act_order", "", "", "",
         "their OBR ignores it; compat: corrected with obr.act_order: true does it"),
    VALUE("rotation_seed", "-1", "-1", NULL,
          "their programs ignore it; the rotation is drawn from seed"),
    FLAG("fp32_had", "", "", NULL, NULL),
    VALUE("load_qmodel_path", "", "", "", "pons eval ppl --model"),
    VALUE("save_qmodel_path", "", "", "", "pons compress --out"),
    FLAG("ppl_eval", "", "", "", "pons eval ppl"),
    FLAG("lm_eval", "", "", "", "pons eval tasks"),
    VALUE("eval_dataset", "", NULL, "", "pons eval ppl --text"),
    VALUE("tasks", "", "", "", "their programs ignore it; pons eval tasks --task"),
    VALUE("lm_eval_batch_size", "", "", "", "sequences are packed"),
    VALUE("bsz", "", "", NULL, "windows are dealt to ranks"),
    FLAG("distribute", "", "", "", "mpirun"),
    FLAG("distribute_model", NULL, NULL, "", "mpirun"),
    VALUE("hf_token", "", "", "", "nothing is downloaded"),
    VALUE("access_token", NULL, "", NULL, "nothing is downloaded"),
    FLAG("wandb", "", "", "", "RUN/journal.jsonl"),
    VALUE("wandb_id", "", "", "", "RUN/journal.jsonl"),
    VALUE("wandb_project", "", "", "", "RUN/journal.jsonl"),
    VALUE("save_name", "", "", NULL, "pons compress --run"),
    VALUE("exp_name", NULL, NULL, "", "pons compress --run"),
    VALUE("output_dir", NULL, "", "", "pons compress --run"),
    VALUE("logging_dir", NULL, "", NULL, "pons compress --run"),
    FLAG("capture_layer_io", "", "", NULL, "hessians: keep"),
    VALUE("layer_idx", "", "", NULL, "hessians: keep"),
    VALUE("fp16", NULL, "", NULL, "follows from bf16"),
    VALUE("do_train", NULL, "", NULL, "nothing is trained"),
    VALUE("do_eval", NULL, "", NULL, "pons eval ppl"),
    VALUE("per_device_eval_batch_size", NULL, "", NULL, "windows are dealt to ranks"),
    VALUE("per_device_train_batch_size", NULL, "", NULL, "nothing is trained"),
    VALUE("save_safetensors", NULL, "", NULL, "the output is always safetensors"),
    FLAG("save_matrix", NULL, NULL, "", "nothing is trained"),
    FLAG("resume", NULL, NULL, "", "pons compress --resume"),
    VALUE("epochs", NULL, NULL, "", "transforms are not trained here"),
    VALUE("cali_bsz", NULL, NULL, "", "transforms are not trained here"),
    VALUE("flat_lr", NULL, NULL, "", "transforms are not trained here"),
    VALUE("diag_init", NULL, NULL, "", "transforms are not trained here"),
    VALUE("diag_alpha", NULL, NULL, "", "transforms are not trained here"),
    FLAG("direct_inv", NULL, NULL, "", "transforms are not trained here"),
    FLAG("warmup", NULL, NULL, "", "transforms are not trained here"),
    FLAG("deactive_amp", NULL, NULL, "", "transforms are not trained here"),
};

const char *pons_reference_title(pons_reference_program program)
{
    static const char *const titles[PONS_REFERENCES] = {"QuaRot", "SpinQuant", "FlatQuant"};
    return titles[program];
}

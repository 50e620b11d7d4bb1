/* config.json: both styles of every golden model, what each default means, and every refusal with the
 * key named. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "io/scratch.h"
#include "model/arch_tables.h"
#include "model/config.h"
#include "model/model.h"
#include "model/quant_config.h"
#include "model/transforms.h"

static const char base[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 320,"
    " \"hidden_size\": 96, \"intermediate_size\": 192, \"num_hidden_layers\": 3,"
    " \"num_attention_heads\": 6, \"num_key_value_heads\": 2, \"hidden_act\": \"silu\","
    " \"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0,"
    " \"torch_dtype\": \"bfloat16\", \"tie_word_embeddings\": false}";

/* Read the base object with members of `patch` set, or removed where the patch says "-". */
static pons_status read_patched(const char *patch, pons_model_config *out)
{
    json_t *root = json_loads(base, 0, NULL), *changes = json_loads(patch, 0, NULL), *value;
    const char *key;
    assert_non_null(changes);
    json_object_foreach(changes, key, value)
    {
        if (json_is_string(value) && !strcmp(json_string_value(value), "-"))
            json_object_del(root, key);
        else
            json_object_set(root, key, value);
    }
    char *text = json_dumps(root, 0);
    const char *path = scratch("config.json");
    spill(path, text, strlen(text));
    free(text);
    json_decref(changes);
    json_decref(root);
    return pons_model_config_read(path, out);
}

static void assert_same(const pons_model_config *a, const pons_model_config *b)
{
    assert_ptr_equal(a->arch, b->arch);
    assert_int_equal(a->vocab, b->vocab);
    assert_int_equal(a->hidden, b->hidden);
    assert_int_equal(a->intermediate, b->intermediate);
    assert_int_equal(a->layers, b->layers);
    assert_int_equal(a->heads, b->heads);
    assert_int_equal(a->kv_heads, b->kv_heads);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->max_positions, b->max_positions);
    assert_int_equal(a->sliding_window, b->sliding_window);
    assert_int_equal(a->window_from, b->window_from);
    assert_true(a->rms_eps == b->rms_eps);
    assert_int_equal(a->tied, b->tied);
    assert_int_equal(a->attention_bias, b->attention_bias);
    assert_int_equal(a->mlp_bias, b->mlp_bias);
    assert_int_equal(a->rope.type, b->rope.type);
    assert_true(a->rope.theta == b->rope.theta);
    assert_true(a->rope.factor == b->rope.factor);
    assert_true(a->rope.low_freq_factor == b->rope.low_freq_factor);
    assert_true(a->rope.high_freq_factor == b->rope.high_freq_factor);
    assert_true(a->rope.original_max_positions == b->rope.original_max_positions);
}

static json_int_t integer(const json_t *root, const char *key)
{
    return json_integer_value(json_object_get(root, key));
}

/* The same settings as the file in the other style must read the same; so must what is written. */
static void golden_styles(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-gqa", "llama31-rope", "mistral-headdim",
                                        "qwen2-bias-tied", "../families/qwen3"};
    for (int i = 0; i < 5; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/models/%s/config.json", getenv("PONS_FIXTURES"), names[i]);
        pons_model_config new, old, again;
        assert_int_equal(pons_model_config_read(path, &new), PONS_OK);
        json_t *root = json_load_file(path, 0, NULL);
        assert_int_equal(new.vocab, integer(root, "vocab_size"));
        assert_int_equal(new.hidden, integer(root, "hidden_size"));
        assert_int_equal(new.kv_heads, integer(root, "num_key_value_heads"));
        if (json_object_get(root, "head_dim"))
            assert_int_equal(new.head_dim, integer(root, "head_dim"));
        else
            assert_int_equal(new.head_dim, new.hidden / new.heads);
        assert_int_equal(new.tied, json_is_true(json_object_get(root, "tie_word_embeddings")));
        const char *dtype = json_string_value(json_object_get(root, "dtype"));
        assert_int_equal(new.dtype, !strcmp(dtype, "float32")    ? PONS_DTYPE_F32
                                    : !strcmp(dtype, "bfloat16") ? PONS_DTYPE_BF16
                                                                 : PONS_DTYPE_F16);

        json_t *rope = json_object_get(root, "rope_parameters");
        assert_non_null(rope);
        json_object_set(root, "rope_theta", json_object_get(rope, "rope_theta"));
        if (!strcmp(json_string_value(json_object_get(rope, "rope_type")), "default")) {
            json_object_set_new(root, "rope_scaling", json_null());
        } else {
            json_t *scaling = json_copy(rope);
            json_object_del(scaling, "rope_theta");
            json_object_set_new(root, "rope_scaling", scaling);
            assert_true(new.rope.type != PONS_ROPE_DEFAULT);
        }
        json_object_del(root, "rope_parameters");
        json_object_set(root, "torch_dtype", json_object_get(root, "dtype"));
        json_object_del(root, "dtype");
        json_dump_file(root, scratch("old.json"), 0);
        json_decref(root);
        assert_int_equal(pons_model_config_read(scratch("old.json"), &old), PONS_OK);
        assert_same(&new, &old);
        assert_int_equal(new.dtype, old.dtype);

        assert_int_equal(pons_model_config_to_json(&new, PONS_DTYPE_F16, &root), PONS_OK);
        json_dump_file(root, scratch("made.json"), 0);
        json_decref(root);
        assert_int_equal(pons_model_config_read(scratch("made.json"), &again), PONS_OK);
        assert_same(&new, &again);
        assert_int_equal(again.dtype, PONS_DTYPE_F16);
    }
}

static void defaults(void **state)
{
    (void)state;
    pons_model_config c;
    assert_int_equal(read_patched("{\"rms_norm_eps\": \"-\", \"rope_theta\": \"-\","
                                  "\"hidden_act\": \"-\", \"tie_word_embeddings\": \"-\","
                                  "\"num_key_value_heads\": \"-\", \"torch_dtype\": \"-\","
                                  "\"max_position_embeddings\": \"-\", \"pretraining_tp\": 2}",
                                  &c),
                     PONS_OK);
    assert_true(c.rms_eps == 1e-6);
    assert_true(c.rope.theta == 10000);
    assert_int_equal(c.rope.type, PONS_ROPE_DEFAULT);
    assert_int_equal(c.kv_heads, 6);
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.max_positions, 2048);
    assert_int_equal(c.dtype, PONS_DTYPE_F32);
    assert_false(c.tied);
    assert_int_equal(c.sliding_window, 0);

    assert_int_equal(read_patched("{\"model_type\": \"-\", \"head_dim\": 32}", &c), PONS_OK);
    assert_ptr_equal(c.arch, &pons_arch_llama);
    assert_int_equal(c.head_dim, 32);
    int64_t rows, cols;
    pons_linear_shape(&c, PONS_Q, &rows, &cols);
    assert_true(rows == 192 && cols == 96);
    pons_linear_shape(&c, PONS_V, &rows, &cols);
    assert_true(rows == 64 && cols == 96);
    pons_linear_shape(&c, PONS_O, &rows, &cols);
    assert_true(rows == 96 && cols == 192);
    pons_linear_shape(&c, PONS_GATE, &rows, &cols);
    assert_true(rows == 192 && cols == 96);
    pons_linear_shape(&c, PONS_DOWN, &rows, &cols);
    assert_true(rows == 96 && cols == 192);
}

#define MISTRAL "\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\""
#define QWEN2 "\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\""

static void windows(void **state)
{
    (void)state;
    static const struct {
        const char *patch;
        int64_t window, from;
    } cases[] = {
        {"{" MISTRAL "}", 4096, 0},
        {"{" MISTRAL ", \"sliding_window\": null}", 0, 0},
        {"{" MISTRAL ", \"sliding_window\": 64}", 64, 0},
        {"{" QWEN2 "}", 0, 0},
        {"{" QWEN2 ", \"sliding_window\": 64}", 0, 0},
        {"{" QWEN2 ", \"use_sliding_window\": false, \"sliding_window\": 64}", 0, 0},
        {"{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": 64}", 0, 0},
        {"{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": 64,"
         "\"max_window_layers\": 1}",
         64, 1},
        {"{" QWEN2 ", \"use_sliding_window\": true, \"max_window_layers\": 0}", 4096, 0},
        {"{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": null,"
         "\"max_window_layers\": 0}",
         0, 0},
        {"{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": 64, \"layer_types\":"
         "[\"full_attention\", \"full_attention\", \"sliding_attention\"]}",
         64, 2},
        {"{\"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\"]}", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pons_model_config c;
        assert_int_equal(read_patched(cases[i].patch, &c), PONS_OK);
        assert_int_equal(c.sliding_window, cases[i].window);
        assert_int_equal(c.window_from, cases[i].from);
    }
    pons_model_config c;
    assert_int_equal(read_patched("{" MISTRAL ", \"num_key_value_heads\": \"-\","
                                  "\"num_attention_heads\": 16}",
                                  &c),
                     PONS_OK);
    assert_int_equal(c.kv_heads, 8);
}

/* Expected status, and what the sentence must contain: file, key and found value. */
static void refusals(void **state)
{
    (void)state;
    enum { I = PONS_ERR_INPUT, U = PONS_ERR_UNSUPPORTED };
    static const struct {
        int status;
        const char *patch, *says;
    } cases[] = {
        {U, "{\"model_type\": \"gemma\"}",
         "model_type: found \"gemma\", allowed llama, mistral, "
         "qwen2, qwen3"},
        {I, "{\"model_type\": 3}", "model_type: found 3"},
        {I, "{\"model_type\": \"-\", \"architectures\": \"-\"}", "model_type: found nothing"},
        {U, "{\"architectures\": [\"LlamaForSequenceClassification\"]}", "architectures: found"},
        {U, "{\"architectures\": [\"Qwen2ForCausalLM\"]}", "architectures: found Qwen2ForCausalLM"},
        {I, "{\"vocab_size\": \"-\"}", "vocab_size: found nothing"},
        {I, "{\"vocab_size\": \"320\"}", "vocab_size: found \"320\", allowed an integer"},
        {I, "{\"hidden_size\": 0}", "hidden_size: found 0"},
        {I, "{\"hidden_size\": true}", "hidden_size: found true"},
        {I, "{\"hidden_size\": 96.0}", "hidden_size: found 96"},
        {I, "{\"intermediate_size\": -192}", "intermediate_size: found -192"},
        {I, "{\"num_hidden_layers\": null}", "num_hidden_layers: found null"},
        {I, "{\"num_attention_heads\": 99999999999}", "num_attention_heads: found 99999999999"},
        {I, "{\"num_key_value_heads\": 4}", "num_key_value_heads: found 4, allowed a divisor"},
        {I, "{\"num_attention_heads\": 7, \"num_key_value_heads\": 7}", "hidden_size: found 96"},
        {U, "{\"head_dim\": 15}", "head_dim: found 15"},
        {U, "{\"hidden_act\": \"gelu\"}", "hidden_act: found \"gelu\", allowed silu"},
        {I, "{\"rms_norm_eps\": 0}", "rms_norm_eps: found 0"},
        {I, "{\"rms_norm_eps\": \"1e-5\"}", "rms_norm_eps: found \"1e-5\""},
        {I, "{\"tie_word_embeddings\": 1}", "tie_word_embeddings: found 1, allowed true or false"},
        {I, "{\"attention_bias\": \"no\"}", "attention_bias: found \"no\""},
        {U, "{\"torch_dtype\": \"float8_e4m3fn\"}", "torch_dtype: found \"float8_e4m3fn\""},
        {U, "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}}",
         "rope_scaling.type: found \"dynamic\", allowed default, linear, llama3"},
        {U, "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2.0}}",
         "rope_scaling.rope_type: found \"yarn\""},
        {U, "{\"rope_parameters\": {\"rope_type\": \"longrope\", \"rope_theta\": 1e4}}",
         "rope_parameters.rope_type: found \"longrope\""},
        {U, "{\"rope_scaling\": {\"rope_type\": \"default\", \"mrope_section\": [1]}}",
         "rope_scaling.mrope_section: key is not supported"},
        {I, "{\"rope_scaling\": {\"rope_type\": \"linear\"}}",
         "rope_scaling.factor: found nothing"},
        {I, "{\"rope_scaling\": {\"rope_type\": \"linear\", \"type\": \"llama3\"}}",
         "rope_scaling.type: found \"llama3\""},
        {I,
         "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0,"
         "\"low_freq_factor\": 4.0, \"high_freq_factor\": 4.0}}",
         "rope_scaling.high_freq_factor: found 4"},
        {I, "{\"rope_scaling\": \"linear\"}", "rope_scaling: found \"linear\", allowed an object"},
        {U, "{\"rope_parameters\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}}",
         "rope_parameters.partial_rotary_factor: found 0.5"},
        {I, "{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e5}}",
         "rope_theta: found 10000"},
        {I,
         "{\"rope_parameters\": {\"rope_type\": \"default\"},"
         "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}",
         "rope_scaling: found an object"},
        {I, "{\"rope_theta\": -1}", "rope_theta: found -1"},
        {U, "{\"partial_rotary_factor\": 0.5}", "partial_rotary_factor: found 0.5"},
        {U, "{\"rope_interleaved\": true}", "rope_interleaved: found true"},
        {U, "{\"num_local_experts\": 8}", "num_local_experts: found 8"},
        {U, "{\"logit_scale\": 0.5}", "logit_scale: found 0.5"},
        {U, "{\"auto_map\": {\"AutoModel\": \"x\"}}", "auto_map: found an object"},
        {U, "{\"is_causal\": false}", "is_causal: found false"},
        {U, "{\"sliding_window\": 4096}", "sliding_window: found 4096"},
        {I, "{" MISTRAL ", \"sliding_window\": 0}", "sliding_window: found 0"},
        {I, "{" QWEN2 ", \"use_sliding_window\": 1}", "use_sliding_window: found 1"},
        {I, "{\"layer_types\": [\"full_attention\"]}", "layer_types: found a list of 1"},
        {U, "{\"layer_types\": [\"full_attention\", \"linear_attention\", \"full_attention\"]}",
         "layer_types[1]: found linear_attention"},
        {U, "{\"layer_types\": [\"full_attention\", \"full_attention\", \"sliding_attention\"]}",
         "layer_types: found a list of 3"},
        {U,
         "{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": 64, \"layer_types\":"
         "[\"sliding_attention\", \"full_attention\", \"sliding_attention\"]}",
         "layer_types[1]: found full_attention after sliding_attention"},
        {U, "{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}}",
         "quantization_config.quant_method: found \"gptq\", allowed compressed-tensors"},
        {I, "{\"quantization_config\": {\"bits\": 4}}",
         "quantization_config.quant_method: found nothing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pons_model_config c;
        pons_status st = read_patched(cases[i].patch, &c);
        if ((int)st != cases[i].status || !strstr(pons_error_message(), cases[i].says) ||
            !strstr(pons_error_message(), "config.json: "))
            fail_msg("%s: %s: %s (wanted: %s)", cases[i].patch, pons_status_text(st),
                     pons_error_message(), cases[i].says);
    }
    pons_model_config c;
    assert_int_equal(pons_model_config_read(scratch("absent.json"), &c), PONS_ERR_IO);
    spill(scratch("cut.json"), "{\"vocab_size\": 3", 16);
    assert_int_equal(pons_model_config_read(scratch("cut.json"), &c), PONS_ERR_INPUT);
    spill(scratch("list.json"), "[1]", 3);
    assert_int_equal(pons_model_config_read(scratch("list.json"), &c), PONS_ERR_INPUT);
}

/* Frequencies in double from the published formulas; positions where fp32 angles are still good. */
static void rope(void **state)
{
    (void)state;
    static const char *const patches[] = {
        "{\"head_dim\": 64}",
        "{\"head_dim\": 64, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}}",
        "{\"head_dim\": 64, \"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_type\": \"llama3\","
        "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0,"
        "\"original_max_position_embeddings\": 8192}}",
    };
    for (int p = 0; p < 3; p++) {
        enum { T = 40, HALF = 32 };
        static float cosine[T * HALF], sine[T * HALF];
        pons_model_config c;
        assert_int_equal(read_patched(patches[p], &c), PONS_OK);
        pons_rope_tables(&c, T, cosine, sine);
        for (int i = 0; i < HALF; i++) {
            double f = pow(p == 2 ? 5e5 : 1e4, -2.0 * i / 64);
            if (p == 1) f /= 4;
            if (p == 2) {
                double wavelength = 2 * M_PI / f, s = (8192 / wavelength - 1) / 3;
                f = s > 1 ? f : s < 0 ? f / 8 : (1 - s) * f / 8 + s * f;
            }
            for (int t = 0; t < T; t++) {
                assert_true(fabs(cosine[t * HALF + i] - cos(t * f)) < 1e-5);
                assert_true(fabs(sine[t * HALF + i] - sin(t * f)) < 1e-5);
            }
        }
    }
}

#define SECTION(ignore, groups)                                                                    \
    "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"format\": "            \
    "\"pack-quantized\", \"quantization_status\": \"compressed\", \"ignore\": [" ignore            \
    "], \"config_groups\": {" groups "}}}"
#define WEIGHTS(bits)                                                                              \
    "\"weights\": {\"num_bits\": " bits                                                            \
    ", \"type\": \"int\", \"symmetric\": true, \"strategy\": \"channel\"}"

static void targets(void **state)
{
    (void)state;
    pons_quant_config q;
    json_t *root = json_loads(
        SECTION(
            "\"lm_head\", \"re:.*layers\\\\.2.*\"",
            "\"a\": {\"targets\": [\"Linear\"], " WEIGHTS(
                "4") "},"
                     "\"b\": {\"targets\": [\"re:.*down_proj$\"], " WEIGHTS(
                         "8") "},"
                              "\"c\": {\"targets\": [\"model.layers.1.mlp.down_proj\"], " WEIGHTS(
                                  "3") "}"),
        0, NULL);
    assert_non_null(root);
    /* ".*" in the middle is not among the patterns understood */
    assert_int_equal(pons_quant_config_read("f", root, &q), PONS_ERR_UNSUPPORTED);
    assert_non_null(
        strstr(pons_error_message(), "quantization_config.ignore[1]: found re:.*layers"));
    json_array_set_new(json_object_get(json_object_get(root, "quantization_config"), "ignore"), 1,
                       json_string("re:.*layers\\.2\\."));
    assert_int_equal(pons_quant_config_read("f", root, &q), PONS_OK);
    json_decref(root);
    assert_int_equal(pons_quant_config_find(&q, "model.layers.0.self_attn.q_proj")->bits, 4);
    assert_int_equal(pons_quant_config_find(&q, "model.layers.0.mlp.down_proj")->bits, 8);
    assert_int_equal(pons_quant_config_find(&q, "model.layers.1.mlp.down_proj")->bits, 3);
    assert_null(pons_quant_config_find(&q, "model.layers.2.mlp.down_proj"));
    assert_non_null(pons_quant_config_find(&q, "model.layers.12.mlp.up_proj"));
    assert_null(pons_quant_config_find(&q, "lm_head"));
    pons_quant_config_free(&q);
}

static void quantization_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value, *says;
    } cases[] = {
        {"format", "\"int-quantized\"", "quantization_config.format: found \"int-quantized\""},
        {"quantization_status", "\"frozen\"", "quantization_status: found \"frozen\""},
        {"kv_cache_scheme", "{\"num_bits\": 8}", "kv_cache_scheme: found an object"},
        {"transform_config", "{\"a\": 1}", "transform_config: found an object"},
        {"sparsity_config", "{\"format\": \"sparse-bitmask\"}", "sparsity_config: found"},
        {"g.input_activations", "{\"num_bits\": 4}", "config_groups.g.input_activations: found"},
        {"g.targets", "[\"Embedding\"]", "config_groups.g.targets[0]: found Embedding"},
        {"g.format", "\"dense\"", "config_groups.g.format: found \"dense\""},
        {"w.num_bits", "9", "config_groups.g.weights.num_bits: found 9"},
        {"w.type", "\"float\"", "weights.type: found \"float\""},
        {"w.strategy", "\"tensor\"", "weights.strategy: found \"tensor\""},
        {"w.strategy", "\"group\"", "weights.group_size: found nothing"},
        {"w.dynamic", "true", "weights.dynamic: found true"},
        {"w.actorder", "\"group\"", "weights.actorder: found \"group\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = json_loads(
            SECTION("\"lm_head\"", "\"g\": {\"targets\": [\"Linear\"], " WEIGHTS("4") "}"), 0,
            NULL);
        json_t *section = json_object_get(root, "quantization_config");
        json_t *group = json_object_get(json_object_get(section, "config_groups"), "g");
        const char *path = cases[i].path;
        json_t *object = path[1] != '.'   ? section
                         : path[0] == 'g' ? group
                                          : json_object_get(group, "weights");
        json_object_set_new(object, path[1] == '.' ? path + 2 : path,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        pons_quant_config q;
        pons_status st = pons_quant_config_read("config.json", root, &q);
        if (st == PONS_OK || !strstr(pons_error_message(), cases[i].says))
            fail_msg("%s: %s (wanted: %s)", path, pons_error_message(), cases[i].says);
        json_decref(root);
    }
}

static void runtime_json(void **state)
{
    (void)state;
    pons_runtime r = pons_runtime_plain(), again;
    json_t *o = NULL;
    r.hadamard_down = r.activations.o_proj_head_groups = r.kv.per_head = true;
    r.activations.bits = 4;
    r.activations.clip_ratio = 0.9f;
    r.activations.down_proj_bits = 8;
    r.kv.bits = 3;
    r.kv.symmetric = false;
    r.kv.clip_ratio = 0.95f;
    r.values = (pons_kv_quant){.bits = 6, .symmetric = true, .clip_ratio = 0.7f};
    assert_int_equal(pons_runtime_to_json(&r, &o), PONS_OK);
    assert_true(json_real_value(json_object_get(json_object_get(o, "kv"), "clip_ratio")) == 0.95);
    assert_int_equal(pons_runtime_from_json("pons.json", o, &again), PONS_OK);
    assert_false(again.hadamard_qk || again.hadamard_heads);
    assert_true(again.hadamard_down && again.activations.o_proj_head_groups && again.kv.per_head);
    assert_int_equal(again.activations.bits, 4);
    assert_int_equal(again.activations.down_proj_bits, 8);
    assert_true(again.activations.symmetric && !again.kv.symmetric);
    assert_true(again.activations.clip_ratio == 0.9f && again.kv.clip_ratio == 0.95f);
    assert_int_equal(again.kv.bits, 3);
    assert_true(again.values.bits == 6 && again.values.symmetric && !again.values.per_head);
    assert_true(again.values.clip_ratio == 0.7f);
    json_object_set_new(json_object_get(o, "values"), "bits", json_integer(1));
    assert_int_equal(pons_runtime_from_json("pons.json", o, &again), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "pons.json: runtime.values.bits: found 1"));
    json_object_del(o, "values"); /* an output of before: as keys */
    assert_int_equal(pons_runtime_from_json("pons.json", o, &again), PONS_OK);
    assert_true(again.values.bits == 3 && !again.values.symmetric && again.values.per_head);

    json_object_set_new(json_object_get(o, "kv"), "bits", json_integer(9));
    assert_int_equal(pons_runtime_from_json("pons.json", o, &again), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "pons.json: runtime.kv.bits: found 9"));
    json_object_set_new(json_object_get(o, "kv"), "bits", json_integer(4));
    json_object_set_new(o, "hadamard_up", json_true());
    assert_int_equal(pons_runtime_from_json("pons.json", o, &again), PONS_ERR_UNSUPPORTED);
    assert_non_null(strstr(pons_error_message(), "runtime.hadamard_up"));
    json_object_del(o, "hadamard_up");
    json_object_del(o, "hadamard_qk");
    assert_int_equal(pons_runtime_from_json("pons.json", o, &again), PONS_ERR_INPUT);
    json_decref(o);
}

/* Learned transforms are made for four kinds of inputs in one order: another family is refused by name. */
static void transforms_fit(void **state)
{
    (void)state;
    pons_arch_tap taps[PONS_TAPS];
    pons_arch other = pons_arch_llama;
    pons_model_config c = {.arch = &pons_arch_llama, .hidden = 96, .intermediate = 192};
    c.heads = c.kv_heads = 6;
    c.head_dim = 16;
    assert_int_equal(pons_transforms_check(&c), PONS_OK);
    memcpy(taps, pons_arch_llama.tap, sizeof taps);
    taps[PONS_TAP_O].kind = PONS_INPUT_MIDDLE;
    other.model_type = "other";
    other.tap = taps;
    c.arch = &other;
    assert_int_equal(pons_transforms_check(&c), PONS_ERR_UNSUPPORTED);
    assert_non_null(strstr(pons_error_message(), "model_type: found other"));
    other = pons_arch_llama;
    other.taps--;
    assert_int_equal(pons_transforms_check(&c), PONS_ERR_UNSUPPORTED);
}

static void nothing_leaks(void **state)
{
    (void)state;
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_styles),
                                       cmocka_unit_test(defaults),
                                       cmocka_unit_test(windows),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(rope),
                                       cmocka_unit_test(targets),
                                       cmocka_unit_test(quantization_refusals),
                                       cmocka_unit_test(runtime_json),
                                       cmocka_unit_test(transforms_fit),
                                       cmocka_unit_test(nothing_leaks)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

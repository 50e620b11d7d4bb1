/* Opening and reading models: every golden model against an independent reader, the same model as
 * GGUF, and edited copies that must be refused by tensor name. */
#include <float.h>
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "base/half.h"
#include "base/mem.h"
#include "io/scratch.h"
#include "model/arch_tables.h"
#include "model/model.h"
#include "support/fixture.h"
#include "support/model_files.h"

static const char *golden(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/models/%s", getenv("PONS_FIXTURES"), name);
    return path;
}

/* ---- Against the independent reader. */

typedef struct shards {
    glob_t files;
    fixture *file[256];
} shards;

static void shards_open(shards *s, const char *directory)
{
    char pattern[512];
    snprintf(pattern, sizeof pattern, "%s/model*.safetensors", directory);
    assert_int_equal(glob(pattern, 0, NULL, &s->files), 0);
    assert_true(s->files.gl_pathc <= 256);
    for (size_t i = 0; i < s->files.gl_pathc; i++)
        s->file[i] = fixture_open(s->files.gl_pathv[i]);
}

static void shards_close(shards *s)
{
    for (size_t i = 0; i < s->files.gl_pathc; i++)
        fixture_close(&s->file[i]);
    globfree(&s->files);
}

/* Compare `x` [n] with elements from `first` on of a tensor of any 16 or 32 bit type; false when
 * there is no such tensor. */
static bool equals(const shards *s, const char *name, int64_t first, int64_t n, const float *x)
{
    static const char *const types[] = {"F32", "BF16", "F16"};
    for (size_t f = 0; f < s->files.gl_pathc; f++)
        for (int k = 0; k < 3; k++) {
            int64_t shape[2];
            const void *data = fixture_tensor(s->file[f], name, types[k], shape);
            if (!data) continue;
            assert_true(first + n <= shape[0] * shape[1]);
            for (int64_t i = 0; i < n; i++) {
                float want;
                if (k == 0)
                    want = ((const float *)data)[first + i];
                else if (k == 1)
                    want = pons_bf16_to_float(((const uint16_t *)data)[first + i]);
                else
                    want = pons_f16_to_float(((const uint16_t *)data)[first + i]);
                if (want != x[i]) fail_msg("%s differs at %lld", name, (long long)(first + i));
            }
            return true;
        }
    return false;
}

static void check_against_files(const char *directory)
{
    pons_model *m = NULL;
    shards s;
    char name[128];
    if (pons_model_open(directory, &m) != PONS_OK) fail_msg("%s", pons_error_message());
    shards_open(&s, directory);
    const pons_model_config *c = pons_model_get_config(m);
    assert_string_equal(pons_model_path(m), directory);
    assert_false(pons_model_is_packed(m));
    assert_false(pons_model_runtime(m)->hadamard_down);
    assert_int_equal(pons_model_runtime(m)->activations.bits, 16);
    float *x = pons_mem_alloc((c->vocab + c->intermediate + c->heads * c->head_dim) * c->hidden,
                              sizeof *x);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        for (int l = 0; l < PONS_LINEARS; l++) {
            int64_t rows, cols, groups;
            int bits;
            bool present, symmetric;
            pons_linear_shape(c, l, &rows, &cols);
            assert_int_equal(pons_model_read_linear(m, layer, l, 0, rows, x), PONS_OK);
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)layer,
                     c->arch->linear[l].name);
            assert_true(equals(&s, name, 0, rows * cols, x));
            assert_int_equal(pons_model_read_linear(m, layer, l, 3, 2, x), PONS_OK);
            assert_true(equals(&s, name, 3 * cols, 2 * cols, x));
            pons_model_linear_format(m, layer, l, &bits, &groups, &symmetric);
            assert_int_equal(bits, 16);
            int8_t code;
            assert_int_equal(pons_model_read_codes(m, layer, l, &code, x, &code), PONS_ERR_INPUT);
            assert_int_equal(pons_model_read_bias(m, layer, l, x, &present), PONS_OK);
            snprintf(name, sizeof name, "model.layers.%d.%s.bias", (int)layer,
                     c->arch->linear[l].name);
            assert_int_equal(equals(&s, name, 0, present ? rows : 0, x), present);
        }
        assert_int_equal(pons_model_read_gains(m, layer, x), PONS_OK);
        for (int g = 0; g < c->arch->gains; g++) {
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)layer,
                     c->arch->gain[g].name);
            assert_true(equals(&s, name, 0, pons_width_of(c, c->arch->gain[g].width),
                               x + pons_gain_offset(c, g)));
        }
    }
    assert_int_equal(pons_model_read_final_norm(m, x), PONS_OK);
    assert_true(equals(&s, "model.norm.weight", 0, c->hidden, x));
    assert_int_equal(pons_model_read_embedding_rows(m, 0, c->vocab, x), PONS_OK);
    assert_true(equals(&s, "model.embed_tokens.weight", 0, c->vocab * c->hidden, x));
    assert_int_equal(pons_model_read_head_rows(m, 1, c->vocab - 1, x), PONS_OK);
    assert_true(equals(&s, c->tied ? "model.embed_tokens.weight" : "lm_head.weight", c->hidden,
                       (c->vocab - 1) * c->hidden, x));
    const int32_t ids[3] = {5, (int32_t)c->vocab - 1, 5};
    assert_int_equal(pons_model_read_embedding(m, ids, 3, x), PONS_OK);
    assert_true(equals(&s, "model.embed_tokens.weight", 5 * c->hidden, c->hidden, x));
    assert_memory_equal(x, x + 2 * c->hidden, (size_t)c->hidden * sizeof *x);
    const int32_t bad[2] = {0, (int32_t)c->vocab}, negative = -1;
    assert_int_equal(pons_model_read_embedding(m, bad, 2, x), PONS_ERR_INPUT);
    snprintf(name, sizeof name, "token id %d at position 1 ", bad[1]);
    assert_non_null(strstr(pons_error_message(), name));
    assert_int_equal(pons_model_read_embedding(m, &negative, 1, x), PONS_ERR_INPUT);
    pons_mem_free(x);
    shards_close(&s);
    pons_model_close(&m);
    assert_null(m);
}

static void golden_models(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(golden("*"), 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 4);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_against_files(found.gl_pathv[i]);
    globfree(&found);
    check_against_files(golden("../families/qwen3"));
}

/* ---- The same weights through GGUF. */

static void assert_equal_models(const pons_model *a, const pons_model *b)
{
    const pons_model_config *c = pons_model_get_config(a), *d = pons_model_get_config(b);
    int64_t elements = c->vocab * c->hidden;
    assert_int_equal(c->vocab, d->vocab);
    assert_int_equal(c->heads, d->heads);
    assert_int_equal(c->kv_heads, d->kv_heads);
    assert_int_equal(c->head_dim, d->head_dim);
    assert_int_equal(c->tied, d->tied);
    assert_int_equal(c->max_positions, d->max_positions);
    assert_true(c->rms_eps == d->rms_eps);
    assert_true(c->rope.theta == d->rope.theta);
    float *x = pons_mem_alloc(2 * elements, sizeof *x), *y = x + elements;
    for (int64_t layer = 0; layer < c->layers; layer++)
        for (int l = 0; l < PONS_LINEARS; l++) {
            int64_t rows, cols;
            bool p, q;
            pons_linear_shape(c, l, &rows, &cols);
            assert_int_equal(pons_model_read_linear(a, layer, l, 0, rows, x), PONS_OK);
            assert_int_equal(pons_model_read_linear(b, layer, l, 0, rows, y), PONS_OK);
            assert_memory_equal(x, y, (size_t)(rows * cols) * sizeof *x);
            assert_int_equal(pons_model_read_linear(b, layer, l, 5, 9, y), PONS_OK);
            assert_memory_equal(x + 5 * cols, y, (size_t)(9 * cols) * sizeof *x);
            assert_int_equal(pons_model_read_bias(a, layer, l, x, &p), PONS_OK);
            assert_int_equal(pons_model_read_bias(b, layer, l, y, &q), PONS_OK);
            assert_int_equal(p, q);
            if (p) assert_memory_equal(x, y, (size_t)rows * sizeof *x);
        }
    assert_int_equal(pons_model_read_head_rows(a, 0, c->vocab, x), PONS_OK);
    assert_int_equal(pons_model_read_head_rows(b, 0, c->vocab, y), PONS_OK);
    assert_memory_equal(x, y, (size_t)elements * sizeof *x);

    /* Frequency divisors only fix the function, not the four numbers: compare the tables. */
    enum { T = 64 };
    int64_t n = T * c->head_dim / 2;
    pons_rope_tables(c, T, x, x + n);
    pons_rope_tables(d, T, y, y + n);
    for (int64_t i = 0; i < 2 * n; i++)
        assert_true(fabsf(x[i] - y[i]) < 1e-5f);
    pons_mem_free(x);
}

static void gguf(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-gqa", "llama31-rope", "qwen2-bias-tied",
                                        "../families/qwen3"};
    const pons_arch *const archs[] = {&pons_arch_llama, &pons_arch_llama, &pons_arch_qwen2,
                                      &pons_arch_qwen3};
    for (int i = 0; i < 4; i++) {
        pons_model *a = NULL, *b = NULL;
        model_to_gguf(golden(names[i]), scratch("m.gguf"));
        assert_int_equal(pons_model_open(golden(names[i]), &a), PONS_OK);
        if (pons_model_open(scratch("m.gguf"), &b) != PONS_OK) fail_msg("%s", pons_error_message());
        const pons_model_config *c = pons_model_get_config(b);
        assert_ptr_equal(c->arch, archs[i]);
        assert_int_equal(c->rope.type, i == 1 ? PONS_ROPE_LLAMA3 : PONS_ROPE_DEFAULT);
        assert_equal_models(a, b);
        pons_model_close(&b);
        pons_model_close(&a);
    }
}

/* Llama 3 scaling out of divisors when several frequencies lie between the limits: also when the
 * numbers were written with another low_freq_factor, which changes nothing but the numbers. */
/* A GGUF file that is cut after it was opened: what is read from the lost part is an error. */
static void shortened_gguf(void **state)
{
    (void)state;
    pons_model *model = NULL;
    model_to_gguf(golden("llama-gqa"), scratch("m.gguf"));
    assert_int_equal(pons_model_open(scratch("m.gguf"), &model), PONS_OK);
    const pons_model_config *c = pons_model_get_config(model);
    int64_t rows, cols, layer = c->layers - 1;
    pons_linear_shape(c, PONS_Q, &rows, &cols);
    float *W = malloc((size_t)(rows * cols) * sizeof *W);
    assert_int_equal(truncate(scratch("m.gguf"), 20000), 0);
    assert_int_equal(pons_model_read_linear(model, layer, PONS_Q, 0, rows, W), PONS_ERR_IO);
    assert_non_null(strstr(pons_error_message(), "m.gguf: blk.2.attn_q.weight: the file had "));
    free(W);
    pons_model_close(&model);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void gguf_divisors(void **state)
{
    (void)state;
    static const char *const rope[] = {
        "{\"rope_type\": \"llama3\", \"rope_theta\": 20, \"factor\": 32.0, \"low_freq_factor\": 1,"
        "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}",
        "{\"rope_type\": \"llama3\", \"rope_theta\": 20, \"factor\": 32.0, \"low_freq_factor\": 2,"
        "\"high_freq_factor\": 8, \"original_max_position_embeddings\": 128}",
    };
    for (int i = 0; i < 2; i++) {
        pons_model *a = NULL, *b = NULL;
        model_edit edit = {.key = "rope_parameters", .json = rope[i]};
        model_copy(golden("llama31-rope"), scratch("edited"), &edit);
        model_to_gguf(scratch("edited"), scratch("m.gguf"));
        assert_int_equal(pons_model_open(scratch("edited"), &a), PONS_OK);
        if (pons_model_open(scratch("m.gguf"), &b) != PONS_OK) fail_msg("%s", pons_error_message());
        const pons_model_config *c = pons_model_get_config(b);
        assert_true(c->rope.factor == 32 && c->rope.low_freq_factor == 1);
        assert_true(c->rope.high_freq_factor == 4 && c->rope.original_max_positions == 64);
        assert_equal_models(a, b);
        pons_model_close(&b);
        pons_model_close(&a);
    }
}

/* ---- Refusals. */

static void expect(const char *from, const model_edit *edit, int status, const char *says)
{
    pons_model *m = NULL;
    const char *path = scratch("edited");
    model_copy(golden(from), path, edit);
    pons_status st = pons_model_open(path, &m);
    if ((int)st != status || (says && !strstr(pons_error_message(), says)))
        fail_msg("%s, %s (wanted: %s)", pons_status_text(st), pons_error_message(), says);
    pons_model_close(&m);
}

static void refusals(void **state)
{
    (void)state;
    enum { I = PONS_ERR_INPUT, U = PONS_ERR_UNSUPPORTED };
    expect("llama-gqa", NULL, PONS_OK, NULL);
    expect("llama-gqa", &(model_edit){.drop = "model.layers.1.mlp.up_proj.weight"}, I,
           "tensor model.layers.1.mlp.up_proj.weight is missing");
    expect("llama-gqa", &(model_edit){.drop = "lm_head.weight"}, I, "lm_head.weight is missing");
    expect("llama-gqa", &(model_edit){.drop = "model.norm.weight"}, I, "model.norm.weight");
    expect("llama-gqa", &(model_edit){.flatten = "model.layers.2.self_attn.k_proj.weight"}, I,
           "k_proj.weight: found shape [3072], expected [32, 96]");
    expect("llama-gqa", &(model_edit){.key = "head_dim", .json = "32"}, I,
           "found shape [32, 96], expected [64, 96]");
    expect("llama-gqa", &(model_edit){.key = "vocab_size", .json = "321"}, I,
           "found shape [320, 96], expected [321, 96]");
    expect("llama-gqa", &(model_edit){.key = "num_hidden_layers", .json = "2"}, U,
           "tensor model.layers.2.");
    expect("llama-gqa", &(model_edit){.key = "num_hidden_layers", .json = "2000000000"}, I,
           "model.layers.1999999999.input_layernorm.weight is missing");
    expect("llama-gqa", &(model_edit){.add = "model.layers.0.self_attn.q_norm.weight"}, U,
           "q_norm.weight is not part of");
    expect("llama-gqa", &(model_edit){.add = "score.weight"}, U, "score.weight");
    expect("llama-gqa", &(model_edit){.add = "model.layers.0.self_attn.rotary_emb.inv_freq"},
           PONS_OK, NULL);
    /* The class and its configuration decide which biases there are. */
    expect("qwen2-bias-tied", &(model_edit){.drop = "model.layers.0.self_attn.q_proj.bias"}, I,
           "tensor model.layers.0.self_attn.q_proj.bias is missing");
    expect("qwen2-bias-tied", &(model_edit){.add = "model.layers.0.self_attn.o_proj.bias"}, U,
           "o_proj.bias is not part of");
    expect("llama-gqa", &(model_edit){.add = "model.layers.0.self_attn.q_proj.bias"}, U,
           "q_proj.bias is not part of");
    expect("llama-gqa", &(model_edit){.add = "model.layers.0.mlp.up_proj.bias"}, U,
           "up_proj.bias is not part of");
    expect("llama-gqa", &(model_edit){.key = "attention_bias", .json = "true"}, I,
           "self_attn.k_proj.bias is missing");
    expect("llama-gqa", &(model_edit){.key = "mlp_bias", .json = "true"}, I,
           "mlp.up_proj.bias is missing");
    expect("llama-gqa", &(model_edit){.key = "tie_word_embeddings", .json = "true"}, U,
           "lm_head.weight is not the embedding");
    expect("qwen2-bias-tied",
           &(model_edit){.copy = "model.embed_tokens.weight", .as = "lm_head.weight"}, PONS_OK,
           NULL);
    expect("../families/qwen3", &(model_edit){.drop = "model.layers.1.self_attn.k_norm.weight"}, I,
           "k_norm.weight is missing");
    expect("mistral-headdim", &(model_edit){.key = "attention_bias", .json = "true"}, PONS_OK,
           NULL); /* not a key of the class */
    expect("llama-gqa",
           &(model_edit){.key = "quantization_config",
                         .json = "{\"quant_method\": \"compressed-tensors\", \"format\": "
                                 "\"pack-quantized\", \"quantization_status\": \"compressed\","
                                 "\"config_groups\": {\"g\": {\"targets\": [\"Linear\"], "
                                 "\"weights\": {\"num_bits\": 4, \"type\": \"int\", \"symmetric\": "
                                 "true, \"strategy\": \"channel\"}}}}"},
           I, "k_proj.weight_packed is missing");

    pons_model *m = NULL;
    assert_int_equal(pons_model_open(scratch("nowhere"), &m), PONS_ERR_IO);
    spill(scratch("edited/pons.json"), "{\"format\": 1}", 13);
    model_copy(golden("llama-gqa"), scratch("edited"), NULL);
    assert_int_equal(pons_model_open(scratch("edited"), &m), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "pons.json: runtime: found nothing"));
    assert_int_equal(pons_model_open(scratch("edited/model.safetensors"), &m), PONS_ERR_INPUT);
    remove(scratch("edited/pons.json"));
}

/* Opening touches no weights; reading a poisoned one names tensor and row. */
static void poisoned(void **state)
{
    (void)state;
    pons_model *m = NULL;
    static float x[320 * 96];
    model_edit edit = {.poison = "model.layers.1.self_attn.q_proj.weight", .poison_at = 7 * 96 + 5};
    model_copy(golden("llama-gqa"), scratch("edited"), &edit);
    assert_int_equal(pons_model_open(scratch("edited"), &m), PONS_OK);
    assert_int_equal(pons_model_read_linear(m, 1, PONS_Q, 0, 7, x), PONS_OK);
    assert_int_equal(pons_model_read_linear(m, 1, PONS_Q, 6, 3, x), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(),
                           "model.layers.1.self_attn.q_proj.weight holds NaN or Inf in row 7"));
    pons_model_close(&m);
    edit = (model_edit){.poison = "model.norm.weight", .poison_at = 95};
    model_copy(golden("llama-gqa"), scratch("edited"), &edit);
    assert_int_equal(pons_model_open(scratch("edited"), &m), PONS_OK);
    assert_int_equal(pons_model_read_final_norm(m, x), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "model.norm.weight holds NaN or Inf"));
    pons_model_close(&m);
}

static void nothing_leaks(void **state)
{
    (void)state;
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models),  cmocka_unit_test(gguf),
        cmocka_unit_test(shortened_gguf), cmocka_unit_test(gguf_divisors),
        cmocka_unit_test(refusals),       cmocka_unit_test(poisoned),
        cmocka_unit_test(nothing_leaks)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

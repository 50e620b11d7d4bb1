/* Packing: the vectors of the format, round trips at every width, whole directories written and
 * reopened, what may not appear, and what must disappear. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "base/half.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "io/scratch.h"
#include "model/arch_tables.h"
#include "pack/writer.h"
#include "support/model_files.h"

static const char *golden(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/models/%s", getenv("PONS_FIXTURES"), name);
    return path;
}

/* ---- Bits. */

static void vectors(void **state)
{
    (void)state;
    const int8_t codes[24] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
    uint32_t words[3];
    pons_pack_row(4, 24, codes, words);
    assert_int_equal(words[0], 0x76543210u);
    assert_int_equal(words[1], 0xFEDCBA98u);
    assert_int_equal(words[2], 0x88888888u);
    const int8_t three[11] = {-4, 3,  0, 1,  -1, 2,
                              -2, -3, 3, -4, 3}; /* 11 * 3 bits: element 10 straddles */
    uint32_t want[2] = {0, 0};
    for (int i = 0; i < 11; i++)
        for (int k = 0; k < 3; k++)
            want[(3 * i + k) / 32] |= (uint32_t)((three[i] + 4) >> k & 1) << (3 * i + k) % 32;
    pons_pack_row(3, 11, three, words);
    assert_int_equal(words[0], want[0]);
    assert_int_equal(words[1], want[1]);
    pons_pack_row(8, 5, (const int8_t[]){-128, 127, 0, -1, 1}, words);
    assert_int_equal(words[0], 0x7F80FF00u);
    assert_int_equal(words[1], 0x00000081u); /* padded with zero bits */
}

static void round_trips(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int bits = 2; bits <= 8; bits++)
        for (int64_t n = 1; n <= 100; n++) {
            int8_t codes[100], back[100];
            uint32_t words[26];
            int64_t count = (n * bits + 31) / 32;
            words[count] = 0xABCDu;
            for (int64_t i = 0; i < n; i++)
                codes[i] =
                    (int8_t)((int)(next_random(&seed) >> 8) % (1 << bits) - (1 << (bits - 1)));
            pons_pack_row(bits, n, codes, words);
            assert_int_equal(words[count], 0xABCDu);
            pons_unpack_row(bits, n, words, back);
            assert_memory_equal(codes, back, (size_t)n);
        }
}

/* ---- A whole model's worth of numbers. */

typedef struct block {
    pons_pack_linear linear[PONS_LINEARS];
    int8_t *codes[PONS_LINEARS], *zero[PONS_LINEARS];
    float *scale[PONS_LINEARS], *value[PONS_LINEARS], *bias[PONS_LINEARS];
    float gains[256];
} block;

typedef struct plan {
    int bits, down_bits;
    bool symmetric;
    int64_t group_size;
} plan;

static float uniform(uint64_t *seed) { return (float)next_random(seed) / 0x1p31f - 0.5f; }

/* Random codes, scales and zero points, and the weights they stand for; half the codes are the zero
 * point, as after pruning. */
static void block_make(block *b, const pons_model_config *c, const plan *p, uint64_t seed)
{
    for (int l = 0; l < PONS_LINEARS; l++) {
        int64_t rows, cols;
        int bits = l == PONS_DOWN && p->down_bits ? p->down_bits : p->bits,
            code_bits = bits < 16 ? bits : 4;
        pons_linear_shape(c, l, &rows, &cols);
        int64_t groups = p->group_size ? cols / p->group_size : 1, size = cols / groups;
        b->codes[l] = malloc((size_t)(rows * cols));
        b->zero[l] = malloc((size_t)(rows * groups));
        b->scale[l] = malloc((size_t)(rows * groups) * sizeof(float));
        b->value[l] = malloc((size_t)(rows * cols) * sizeof(float));
        b->bias[l] = malloc((size_t)rows * sizeof(float));
        for (int64_t i = 0; i < rows; i++)
            b->bias[l][i] = uniform(&seed) * 0.1f;
        for (int64_t i = 0; i < rows * groups; i++) {
            b->scale[l][i] = 0.001f + 0.02f * (uniform(&seed) + 0.5f);
            b->zero[l][i] = p->symmetric
                                ? 0
                                : (int8_t)((int)(next_random(&seed) >> 9) % (1 << code_bits) -
                                           (1 << (code_bits - 1)));
        }
        for (int64_t i = 0; i < rows * cols; i++) {
            int64_t g = i / cols * groups + i % cols / size;
            int code = (int)(next_random(&seed) >> 9) % (1 << code_bits) - (1 << (code_bits - 1));
            if (next_random(&seed) >> 30) code = b->zero[l][g];
            b->codes[l][i] = (int8_t)code;
            b->value[l][i] = b->scale[l][g] * (float)(code - b->zero[l][g]);
        }
        b->linear[l] = (pons_pack_linear){.linear = l,
                                          .bits = bits,
                                          .symmetric = p->symmetric,
                                          .group_size = p->group_size,
                                          .codes = b->codes[l],
                                          .scale = b->scale[l],
                                          .zero = p->symmetric ? NULL : b->zero[l],
                                          .value = b->value[l],
                                          .bias = pons_linear_has_bias(c, l) ? b->bias[l] : NULL};
    }
    for (int64_t i = 0; i < pons_gain_floats(c); i++)
        b->gains[i] = 1 + uniform(&seed) * 0.1f;
}

static void block_free(block *b)
{
    for (int l = 0; l < PONS_LINEARS; l++) {
        free(b->codes[l]);
        free(b->zero[l]);
        free(b->scale[l]);
        free(b->value[l]);
        free(b->bias[l]);
    }
}

static pons_status embedding_rows(void *user, int64_t row, int64_t n, float *out)
{
    return pons_model_read_embedding_rows(user, row, n, out);
}
static pons_status head_rows(void *user, int64_t row, int64_t n, float *out)
{
    return pons_model_read_head_rows(user, row, n, out);
}

static json_t *manifest_of(const pons_runtime *runtime)
{
    json_t *r = NULL;
    assert_int_equal(pons_runtime_to_json(runtime, &r), PONS_OK);
    return json_pack("{s:i, s:s, s:o}", "format", 1, "method", "rtn", "runtime", r);
}

static pons_recipe recipe_of(pons_output_format format, pons_dtype dtype)
{
    pons_recipe r;
    memset(&r, 0, sizeof r);
    r.output.format = format;
    r.output.dtype = dtype;
    return r;
}

enum { SEED = 77 };

/* Write `source` to `out` with made-up linears; blocks in reverse order, as a caller may. */
static pons_status write_model(const char *source, const char *out, const plan *p,
                               const pons_recipe *recipe, bool untie, bool force)
{
    pons_status st = PONS_OK;
    pons_model *m = NULL;
    pons_pack_writer *w = NULL;
    json_t *manifest = NULL;
    float gain[128];
    pons_runtime runtime = pons_runtime_plain();
    runtime.hadamard_down = true;
    PONS_TRY(st, pons_model_open(source, &m));
    const pons_model_config *c = pons_model_get_config(m);
    PONS_TRY(st, pons_pack_writer_create(out, force ? PONS_PACK_REPLACE : PONS_PACK_NEW, m, recipe,
                                         untie, &w));
    for (int64_t layer = c->layers - 1; layer >= 0; layer--) {
        block b;
        block_make(&b, c, p, SEED + (uint64_t)layer);
        st = pons_pack_writer_block(w, layer, b.linear, b.gains);
        block_free(&b);
        if (st != PONS_OK) goto done;
    }
    PONS_TRY(st, pons_model_read_final_norm(m, gain));
    PONS_TRY(st, pons_pack_writer_ends(w, embedding_rows, c->tied && !untie ? NULL : head_rows, m,
                                       gain));
    assert_false(pons_dir_exists(out) && !force);
    manifest = manifest_of(&runtime);
    st = pons_pack_writer_commit(&w, manifest);
    assert_null(w);
done:
    pons_pack_writer_abandon(&w);
    json_decref(manifest);
    pons_model_close(&m);
    return st;
}

/* Everything that went in comes out again. */
static void check_model(const char *source, const char *out, const plan *p,
                        const pons_recipe *recipe, bool untie)
{
    pons_model *m = NULL, *from = NULL;
    bool dense = recipe->output.format == PONS_OUTPUT_DENSE || p->bits == 16;
    if (pons_model_open(out, &m) != PONS_OK) fail_msg("%s", pons_error_message());
    assert_int_equal(pons_model_open(source, &from), PONS_OK);
    const pons_model_config *c = pons_model_get_config(m);
    assert_int_equal(pons_model_is_packed(m), !dense);
    assert_int_equal(c->dtype, recipe->output.dtype);
    assert_int_equal(c->tied, pons_model_get_config(from)->tied && !untie);
    assert_true(pons_model_runtime(m)->hadamard_down);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        block b;
        float gains[256];
        block_make(&b, c, p, SEED + (uint64_t)layer);
        for (int l = 0; l < PONS_LINEARS; l++) {
            int64_t rows, cols, groups;
            int bits;
            bool symmetric, present;
            pons_linear_shape(c, l, &rows, &cols);
            int8_t *codes = malloc((size_t)(rows * cols)), *zero = malloc((size_t)(rows * cols));
            float *x = malloc((size_t)(rows * cols) * sizeof *x);
            pons_model_linear_format(m, layer, l, &bits, &groups, &symmetric);
            assert_int_equal(bits, dense ? 16 : b.linear[l].bits);
            if (!dense) {
                assert_int_equal(groups, p->group_size ? cols / p->group_size : 1);
                assert_int_equal(symmetric, p->symmetric);
                assert_int_equal(pons_model_read_codes(m, layer, l, codes, x, zero), PONS_OK);
                assert_memory_equal(codes, b.codes[l], (size_t)(rows * cols));
                assert_memory_equal(x, b.scale[l], (size_t)(rows * groups) * sizeof *x);
                assert_memory_equal(zero, b.zero[l], (size_t)(rows * groups));
            }
            if (dense) pons_dtype_round(recipe->output.dtype, b.value[l], rows * cols);
            assert_int_equal(pons_model_read_linear(m, layer, l, 0, rows, x), PONS_OK);
            for (int64_t i = 0; i < rows * cols; i++)
                assert_true(x[i] == b.value[l][i]);
            assert_int_equal(pons_model_read_linear(m, layer, l, 7, 3, x), PONS_OK);
            for (int64_t i = 0; i < 3 * cols; i++)
                assert_true(x[i] == b.value[l][7 * cols + i]);
            assert_int_equal(pons_model_read_bias(m, layer, l, x, &present), PONS_OK);
            assert_int_equal(present, pons_linear_has_bias(c, l));
            pons_dtype_round(recipe->output.dtype, b.bias[l], rows);
            if (present) assert_memory_equal(x, b.bias[l], (size_t)rows * sizeof *x);
            free(x);
            free(zero);
            free(codes);
        }
        assert_int_equal(pons_model_read_gains(m, layer, gains), PONS_OK);
        pons_dtype_round(recipe->output.dtype, b.gains, pons_gain_floats(c));
        assert_memory_equal(gains, b.gains, (size_t)pons_gain_floats(c) * sizeof(float));
        block_free(&b);
    }
    int64_t n = c->vocab * c->hidden;
    float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
    for (int head = 0; head < 2; head++) {
        assert_int_equal(
            (head ? pons_model_read_head_rows : pons_model_read_embedding_rows)(m, 0, c->vocab, x),
            PONS_OK);
        assert_int_equal((head ? pons_model_read_head_rows
                               : pons_model_read_embedding_rows)(from, 0, c->vocab, y),
                         PONS_OK);
        pons_dtype_round(recipe->output.dtype, y, n);
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
    }
    free(y);
    free(x);
    pons_model_close(&from);
    pons_model_close(&m);
}

static void whole_models(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        plan plan;
        pons_output_format format;
        pons_dtype dtype;
        bool untie;
    } cases[] = {
        {"llama-gqa", {4, 0, true, 0}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_BF16, false},
        {"llama-gqa", {4, 8, true, 0}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_F16, false},
        {"llama31-rope", {3, 0, false, 0}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_F32, false},
        {"llama31-rope", {5, 0, false, 32}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_BF16, false},
        {"mistral-headdim", {6, 0, true, 16}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_F32, false},
        {"mistral-headdim", {7, 2, false, 32}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_F16, false},
        {"qwen2-bias-tied", {4, 0, true, 0}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_BF16, false},
        {"qwen2-bias-tied", {2, 0, true, 0}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_F32, true},
        {"qwen2-bias-tied", {4, 0, true, 0}, PONS_OUTPUT_DENSE, PONS_DTYPE_BF16, true},
        {"llama-gqa", {16, 0, true, 0}, PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_F16, false},
        {"llama-gqa", {4, 0, true, 0}, PONS_OUTPUT_DENSE, PONS_DTYPE_F32, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const pons_recipe recipe = recipe_of(cases[i].format, cases[i].dtype);
        const char *out = scratch("out");
        if (write_model(golden(cases[i].source), out, &cases[i].plan, &recipe, cases[i].untie,
                        true) != PONS_OK)
            fail_msg("case %zu: %s", i, pons_error_message());
        check_model(golden(cases[i].source), scratch("out"), &cases[i].plan, &recipe,
                    cases[i].untie);
        assert_false(pons_dir_exists(scratch("out.part")));
    }
}

/* The files a loader looks for, and what config.json says. */
static void directory(void **state)
{
    (void)state;
    const plan p = {4, 8, true, 0};
    const pons_recipe recipe = recipe_of(PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_BF16);
    const char *source = scratch("source");
    model_edit edit = {.key = "attention_dropout", .json = "0.25"};
    model_copy(golden("qwen2-bias-tied"), source, &edit);
    spill(scratch("source/tokenizer.json"), "{\"t\": 1}", 8);
    spill(scratch("source/LICENSE"), "yes", 3);
    spill(scratch("source/unrelated.txt"), "no", 2);
    assert_int_equal(write_model(scratch("source"), scratch("made"), &p, &recipe, true, false),
                     PONS_OK);
    assert_true(pons_file_exists(scratch("made/tokenizer.json")));
    assert_true(pons_file_exists(scratch("made/LICENSE")));
    assert_true(pons_file_exists(scratch("made/pons.json")));
    assert_false(pons_file_exists(scratch("made/unrelated.txt")));
    assert_true(pons_file_exists(scratch("made/model-00001-of-00004.safetensors")));
    assert_true(pons_file_exists(scratch("made/model-00004-of-00004.safetensors")));

    json_t *c = json_load_file(scratch("made/config.json"), 0, NULL), *q, *groups;
    assert_true(json_number_value(json_object_get(c, "attention_dropout")) == 0.25);
    assert_string_equal(json_string_value(json_object_get(c, "dtype")), "bfloat16");
    assert_null(json_object_get(c, "torch_dtype"));
    assert_true(json_is_false(json_object_get(c, "tie_word_embeddings")));
    assert_non_null(json_object_get(c, "rope_parameters")); /* the source's style is kept */
    assert_null(json_object_get(c, "attention_bias"));      /* not a key of Qwen2 */
    q = json_object_get(c, "quantization_config");
    assert_string_equal(json_string_value(json_object_get(q, "quant_method")),
                        "compressed-tensors");
    assert_string_equal(json_string_value(json_object_get(q, "format")), "pack-quantized");
    groups = json_object_get(q, "config_groups");
    assert_int_equal(json_object_size(groups), 2);
    const char *name, *last = NULL;
    json_t *group;
    json_object_foreach(groups, name, group)
    {
        json_t *weights = json_object_get(group, "weights");
        const char *target =
            json_string_value(json_array_get(json_object_get(group, "targets"), 0));
        bool down = json_integer_value(json_object_get(weights, "num_bits")) == 8;
        assert_string_equal(target, down ? "re:.*down_proj$" : "Linear");
        last = target;
        assert_int_equal(json_object_size(group), 4);
        assert_int_equal(json_object_size(weights), 6); /* unknown keys break strict loaders */
        assert_true(json_is_null(json_object_get(group, "input_activations")));
    }
    assert_string_equal(last, "Linear"); /* behind what overrides it */
    json_decref(c);

    json_t *index = json_load_file(scratch("made/model.safetensors.index.json"), 0, NULL);
    json_t *map = json_object_get(index, "weight_map");
    assert_string_equal(json_string_value(json_object_get(map, "lm_head.weight")),
                        "model-00001-of-00004.safetensors");
    assert_string_equal(
        json_string_value(json_object_get(map, "model.layers.2.mlp.up_proj.weight_packed")),
        "model-00004-of-00004.safetensors");
    pons_store *store = NULL;
    int64_t total = 0;
    assert_int_equal(pons_store_open(scratch("made"), &store), PONS_OK);
    assert_int_equal(json_object_size(map), pons_store_count(store));
    for (int64_t i = 0; i < pons_store_count(store); i++) {
        const pons_tensor_view *t = pons_store_at(store, i);
        total += (int64_t)pons_dtype_bytes(t->dtype, pons_tensor_elements(t));
    }
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")),
        total);
    pons_store_close(&store);
    json_decref(index);
}

/* The digest is over packed words, scales and zero points in block and linear order; computed here
 * from the made-up numbers, whatever the shards. */
static void digest(void **state)
{
    (void)state;
    const plan p = {4, 0, true, 0};
    const pons_recipe recipe = recipe_of(PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_BF16);
    char hex[65], want[65];
    pons_model *m = NULL;
    pons_sha256 s;
    assert_int_equal(write_model(golden("llama-gqa"), scratch("out"), &p, &recipe, false, true),
                     PONS_OK);
    assert_int_equal(pons_pack_digest(scratch("out"), hex), PONS_OK);
    assert_int_equal(pons_model_open(golden("llama-gqa"), &m), PONS_OK);
    const pons_model_config *c = pons_model_get_config(m);
    pons_sha256_begin(&s);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        block b;
        block_make(&b, c, &p, SEED + (uint64_t)layer);
        for (int l = 0; l < PONS_LINEARS; l++) {
            int64_t rows, cols;
            pons_linear_shape(c, l, &rows, &cols);
            for (int64_t i = 0; i < rows * cols; i += 2) { /* two nibbles a byte, low one first */
                uint8_t byte = (uint8_t)((b.codes[l][i] + 8) | (b.codes[l][i + 1] + 8) << 4);
                pons_sha256_update(&s, &byte, 1);
            }
            pons_sha256_update(&s, b.scale[l], (size_t)rows * sizeof(float));
        }
        block_free(&b);
    }
    pons_sha256_end(&s, want);
    assert_string_equal(hex, want);
    pons_model_close(&m);

    model_copy(scratch("out"), scratch("one"), NULL); /* one shard instead of four */
    assert_int_equal(pons_pack_digest(scratch("one"), hex), PONS_OK);
    assert_string_equal(hex, want);
}

static void from_gguf(void **state)
{
    (void)state;
    const plan p = {4, 0, true, 0};
    const pons_recipe recipe = recipe_of(PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_F16);
    model_to_gguf(golden("llama31-rope"), scratch("m.gguf"));
    if (write_model(scratch("m.gguf"), scratch("out"), &p, &recipe, true, true) != PONS_OK)
        fail_msg("%s", pons_error_message());
    check_model(scratch("m.gguf"), scratch("out"), &p, &recipe, true);
    assert_false(pons_file_exists(scratch("out/tokenizer.json"))); /* that file has none */
}

static void refusals(void **state)
{
    (void)state;
    const plan p = {4, 0, true, 0};
    const pons_recipe recipe = recipe_of(PONS_OUTPUT_PACK_QUANTIZED, PONS_DTYPE_F16);
    pons_model *m = NULL;
    pons_pack_writer *w = NULL;
    block b;
    float gain[128];

    /* an existing output, untouched */
    assert_int_equal(pons_dir_make(scratch("taken")), PONS_OK);
    spill(scratch("taken/mine"), "x", 1);
    assert_int_equal(write_model(golden("llama-gqa"), scratch("taken"), &p, &recipe, false, false),
                     PONS_ERR_EXISTS);
    assert_true(pons_file_exists(scratch("taken/mine")));

    /* the model itself, even by force */
    model_copy(golden("llama-gqa"), scratch("self"), NULL);
    assert_int_equal(write_model(scratch("self"), scratch("self"), &p, &recipe, false, true),
                     PONS_ERR_EXISTS);
    assert_true(pons_file_exists(scratch("self/model.safetensors")));

    /* abandoned half-way: nothing under either name */
    assert_int_equal(pons_model_open(golden("llama-gqa"), &m), PONS_OK);
    const pons_model_config *c = pons_model_get_config(m);
    block_make(&b, c, &p, SEED);
    assert_int_equal(pons_pack_writer_create(scratch("gone"), PONS_PACK_NEW, m, &recipe, false, &w),
                     PONS_OK);
    assert_int_equal(pons_pack_writer_block(w, 1, b.linear, b.gains), PONS_OK);
    assert_false(pons_dir_exists(scratch("gone")));
    pons_pack_writer_abandon(&w);
    assert_null(w);
    assert_false(pons_dir_exists(scratch("gone")));
    assert_false(pons_dir_exists(scratch("gone.part")));

    /* a value the output type cannot hold */
    assert_int_equal(pons_pack_writer_create(scratch("gone"), PONS_PACK_NEW, m, &recipe, false, &w),
                     PONS_OK);
    b.gains[pons_model_get_config(m)->hidden + 17] = 1e6f;
    assert_int_equal(pons_pack_writer_block(w, 0, b.linear, b.gains), PONS_ERR_NUMERIC);
    assert_non_null(strstr(pons_error_message(), "model.layers.0.post_attention_layernorm.weight"));
    pons_pack_writer_abandon(&w);
    block_free(&b);

    /* a group size that does not divide the columns */
    const plan odd = {4, 0, true, 64};
    block_make(&b, c, &odd, SEED);
    assert_int_equal(pons_pack_writer_create(scratch("gone"), PONS_PACK_NEW, m, &recipe, false, &w),
                     PONS_OK);
    assert_int_equal(pons_pack_writer_block(w, 0, b.linear, b.gains), PONS_ERR_SHAPE);
    pons_pack_writer_abandon(&w);
    block_free(&b);

    /* a file damaged between writing and commit */
    assert_int_equal(pons_pack_writer_create(scratch("gone"), PONS_PACK_NEW, m, &recipe, false, &w),
                     PONS_OK);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        block_make(&b, c, &p, SEED);
        assert_int_equal(pons_pack_writer_block(w, layer, b.linear, b.gains), PONS_OK);
        block_free(&b);
    }
    assert_int_equal(pons_model_read_final_norm(m, gain), PONS_OK);
    assert_int_equal(pons_pack_writer_ends(w, embedding_rows, head_rows, m, gain), PONS_OK);
    FILE *f = fopen(scratch("gone.part/model-00003-of-00004.safetensors"), "r+b");
    assert_non_null(f);
    fseek(f, -9, SEEK_END);
    int byte = fgetc(f);
    fseek(f, -9, SEEK_END);
    fputc(byte ^ 1, f);
    fclose(f);
    pons_runtime runtime = pons_runtime_plain();
    json_t *manifest = manifest_of(&runtime);
    assert_int_equal(pons_pack_writer_commit(&w, manifest), PONS_ERR_IO);
    assert_non_null(strstr(pons_error_message(), "model-00003-of-00004.safetensors"));
    assert_true(pons_dir_exists(scratch("gone.part")));
    pons_pack_writer_abandon(&w);
    json_decref(manifest);
    assert_false(pons_dir_exists(scratch("gone")));
    assert_false(pons_dir_exists(scratch("gone.part")));
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
        cmocka_unit_test(vectors),   cmocka_unit_test(round_trips),  cmocka_unit_test(whole_models),
        cmocka_unit_test(directory), cmocka_unit_test(digest),       cmocka_unit_test(from_gguf),
        cmocka_unit_test(refusals),  cmocka_unit_test(nothing_leaks)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

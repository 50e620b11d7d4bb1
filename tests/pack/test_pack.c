/* Packing: the vectors of the format, round trips at every width, whole directories written and
 * reopened, what may not appear, and what must disappear. */
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
#include "pack/bits.h"
#include "pack/block_file.h"
#include "pack/digest.h"
#include "pack/export.h"
#include "support/model_files.h"
#include "support/packed_run.h"

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

typedef struct output {
    const char *format;
    pons_dtype dtype;
} output;

/* RUN of `source` beside OUT, then OUT. */
static pons_status write_model(const char *source, const char *out, const packed_plan *p,
                               const output *o, bool untie, bool force)
{
    pons_export_result result;
    char run[300];
    snprintf(run, sizeof run, "%s.run", out);
    pons_status st = packed_run_write(source, run, p, o->dtype, o->format, untie);
    if (st != PONS_OK) return st;
    const pons_export_options options = {.source = run,
                                         .out = out,
                                         .format = pons_format_find(o->format),
                                         .staging = force ? PONS_EXPORT_REPLACE : PONS_EXPORT_NEW};
    return pons_export(pons_par_alone(), &options, &result);
}

/* Everything that went in comes out again. */
static void check_model(const char *source, const char *out, const packed_plan *p, const output *o,
                        bool untie)
{
    pons_model *m = NULL, *from = NULL;
    bool dense = !strcmp(o->format, "dense") || p->bits == 16;
    if (pons_model_open(out, &m) != PONS_OK) fail_msg("%s", pons_error_message());
    assert_int_equal(pons_model_open(source, &from), PONS_OK);
    const pons_model_config *c = pons_model_get_config(m);
    assert_int_equal(pons_model_is_packed(m), !dense);
    assert_int_equal(c->dtype, o->dtype);
    assert_int_equal(c->tied, pons_model_get_config(from)->tied && !untie);
    assert_true(pons_model_runtime(m)->hadamard_down);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        packed_block b;
        float gains[2 * PACKED_HIDDEN];
        packed_block_make(&b, c, p, PACKED_SEED + (uint64_t)layer);
        for (int l = 0; l < PONS_LINEARS; l++) {
            int64_t rows, cols, groups;
            int bits;
            bool symmetric, present;
            pons_linear_shape(c, l, &rows, &cols);
            int8_t *codes = malloc((size_t)(rows * cols)), *zero = malloc((size_t)(rows * cols));
            float *x = malloc((size_t)(rows * cols) * sizeof *x);
            pons_model_linear_format(m, layer, l, &bits, &groups, &symmetric);
            assert_int_equal(bits, dense ? 16 : b.linear[l].scheme.bits);
            if (!dense) {
                assert_int_equal(groups, p->group_size ? cols / p->group_size : 1);
                assert_int_equal(symmetric, p->symmetric);
                assert_int_equal(pons_model_read_codes(m, layer, l, codes, x, zero), PONS_OK);
                assert_memory_equal(codes, b.codes[l], (size_t)(rows * cols));
                assert_memory_equal(x, b.scale[l], (size_t)(rows * groups) * sizeof *x);
                assert_memory_equal(zero, b.zero[l], (size_t)(rows * groups));
            }
            if (dense) pons_dtype_round(o->dtype, b.value[l], rows * cols);
            assert_int_equal(pons_model_read_linear(m, layer, l, 0, rows, x), PONS_OK);
            for (int64_t i = 0; i < rows * cols; i++)
                assert_true(x[i] == b.value[l][i]);
            assert_int_equal(pons_model_read_linear(m, layer, l, 7, 3, x), PONS_OK);
            for (int64_t i = 0; i < 3 * cols; i++)
                assert_true(x[i] == b.value[l][7 * cols + i]);
            assert_int_equal(pons_model_read_bias(m, layer, l, x, &present), PONS_OK);
            assert_int_equal(present, pons_linear_has_bias(c, l));
            pons_dtype_round(o->dtype, b.bias[l], rows);
            if (present) assert_memory_equal(x, b.bias[l], (size_t)rows * sizeof *x);
            free(x);
            free(zero);
            free(codes);
        }
        assert_int_equal(pons_model_read_gains(m, layer, gains), PONS_OK);
        pons_dtype_round(o->dtype, b.gains, 2 * c->hidden);
        assert_memory_equal(gains, b.gains, (size_t)(2 * c->hidden) * sizeof(float));
        packed_block_free(&b);
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
        pons_dtype_round(o->dtype, y, n);
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
        packed_plan plan;
        output output;
        bool untie;
    } cases[] = {
        {"llama-gqa", {4, 0, true, 0}, {"compressed-tensors", PONS_DTYPE_BF16}, false},
        {"llama-gqa", {4, 8, true, 0}, {"compressed-tensors", PONS_DTYPE_F16}, false},
        {"llama31-rope", {3, 0, false, 0}, {"compressed-tensors", PONS_DTYPE_F32}, false},
        {"llama31-rope", {5, 0, false, 32}, {"compressed-tensors", PONS_DTYPE_BF16}, false},
        {"mistral-headdim", {6, 0, true, 16}, {"compressed-tensors", PONS_DTYPE_F32}, false},
        {"mistral-headdim", {7, 2, false, 32}, {"compressed-tensors", PONS_DTYPE_F16}, false},
        {"qwen2-bias-tied", {4, 0, true, 0}, {"compressed-tensors", PONS_DTYPE_BF16}, false},
        {"qwen2-bias-tied", {2, 0, true, 0}, {"compressed-tensors", PONS_DTYPE_F32}, true},
        {"qwen2-bias-tied", {4, 0, true, 0}, {"dense", PONS_DTYPE_BF16}, true},
        {"llama-gqa", {16, 0, true, 0}, {"compressed-tensors", PONS_DTYPE_F16}, false},
        {"llama-gqa", {4, 0, true, 0}, {"dense", PONS_DTYPE_F32}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *out = scratch("out");
        if (write_model(golden(cases[i].source), out, &cases[i].plan, &cases[i].output,
                        cases[i].untie, true) != PONS_OK)
            fail_msg("case %zu: %s", i, pons_error_message());
        check_model(golden(cases[i].source), scratch("out"), &cases[i].plan, &cases[i].output,
                    cases[i].untie);
        assert_false(pons_dir_exists(scratch("out.export")));
    }
}

/* The files a loader looks for, and what config.json says. */
static void directory(void **state)
{
    (void)state;
    const packed_plan p = {4, 8, true, 0};
    const output o = {"compressed-tensors", PONS_DTYPE_BF16};
    const char *source = scratch("source");
    model_edit edit = {.key = "attention_dropout", .json = "0.25"};
    model_copy(golden("qwen2-bias-tied"), source, &edit);
    spill(scratch("source/tokenizer.json"), "{\"t\": 1}", 8);
    spill(scratch("source/LICENSE"), "yes", 3);
    spill(scratch("source/unrelated.txt"), "no", 2);
    assert_int_equal(write_model(scratch("source"), scratch("made"), &p, &o, true, false), PONS_OK);
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
    const packed_plan p = {4, 0, true, 0};
    const output o = {"compressed-tensors", PONS_DTYPE_BF16};
    char hex[65], want[65];
    pons_model *m = NULL;
    pons_sha256 s;
    assert_int_equal(write_model(golden("llama-gqa"), scratch("out"), &p, &o, false, true),
                     PONS_OK);
    assert_int_equal(pons_pack_digest(scratch("out"), hex), PONS_OK);
    assert_int_equal(pons_model_open(golden("llama-gqa"), &m), PONS_OK);
    const pons_model_config *c = pons_model_get_config(m);
    pons_sha256_begin(&s);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        packed_block b;
        packed_block_make(&b, c, &p, PACKED_SEED + (uint64_t)layer);
        for (int l = 0; l < PONS_LINEARS; l++) {
            int64_t rows, cols;
            pons_linear_shape(c, l, &rows, &cols);
            for (int64_t i = 0; i < rows * cols; i += 2) { /* two nibbles a byte, low one first */
                uint8_t byte = (uint8_t)((b.codes[l][i] + 8) | (b.codes[l][i + 1] + 8) << 4);
                pons_sha256_update(&s, &byte, 1);
            }
            pons_sha256_update(&s, b.scale[l], (size_t)rows * sizeof(float));
        }
        packed_block_free(&b);
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
    const packed_plan p = {4, 0, true, 0};
    const output o = {"compressed-tensors", PONS_DTYPE_F16};
    model_to_gguf(golden("llama31-rope"), scratch("m.gguf"));
    if (write_model(scratch("m.gguf"), scratch("out"), &p, &o, true, true) != PONS_OK)
        fail_msg("%s", pons_error_message());
    check_model(scratch("m.gguf"), scratch("out"), &p, &o, true);
    assert_false(pons_file_exists(scratch("out/tokenizer.json"))); /* that file has none */
}

/* Exporting again: to the same form, to another one, from RUN and from OUT. */
static void again(void **state)
{
    (void)state;
    const packed_plan p = {4, 8, false, 16};
    const output o = {"compressed-tensors", PONS_DTYPE_BF16}, dense = {"dense", PONS_DTYPE_BF16};
    const pons_dtype wide = PONS_DTYPE_F32;
    static const char *const files[] = {"model-00001-of-00004.safetensors",
                                        "model-00003-of-00004.safetensors", "config.json",
                                        "model.safetensors.index.json", "pons.json"};
    pons_export_result result;
    if (write_model(golden("llama-gqa"), scratch("out"), &p, &o, false, true) != PONS_OK)
        fail_msg("%s", pons_error_message());
    struct {
        const char *source, *to, *format, *equal;
    } steps[] = {{"out.run", "same", "compressed-tensors", "out"},
                 {"out", "copy", "compressed-tensors", "out"},
                 {"out.run", "dense", "dense", NULL},
                 {"out", "dense2", "dense", "dense"},
                 {"dense2", "dense3", "dense", "dense"},
                 {"out", "plain", "dense", NULL}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool is_dense = !strcmp(steps[i].format, "dense");
        bool widen = is_dense && strcmp(steps[i].to, "plain");
        const pons_export_options options = {.source = scratch(steps[i].source),
                                             .out = scratch(steps[i].to),
                                             .format = pons_format_find(steps[i].format),
                                             .dtype = widen ? &wide : NULL};
        if (pons_export(pons_par_alone(), &options, &result) != PONS_OK)
            fail_msg("%s to %s: %s", steps[i].source, steps[i].to, pons_error_message());
        assert_int_equal(result.files, 4);
        for (size_t f = 0; steps[i].equal && f < sizeof files / sizeof *files; f++) {
            char a[300], b[300], x[65], y[65];
            snprintf(a, sizeof a, "%s/%s", scratch(steps[i].to), files[f]);
            snprintf(b, sizeof b, "%s/%s", scratch(steps[i].equal), files[f]);
            assert_int_equal(pons_file_digest(a, x), PONS_OK);
            assert_int_equal(pons_file_digest(b, y), PONS_OK);
            if (strcmp(x, y)) fail_msg("%s and %s differ", a, b);
        }
    }
    check_model(golden("llama-gqa"), scratch("plain"), &p, &dense, false);

    const pons_export_options back = {.source = scratch("dense"),
                                      .out = scratch("codes"),
                                      .format = &pons_format_compressed_tensors};
    assert_int_equal(pons_export(pons_par_alone(), &back, &result), PONS_ERR_UNSUPPORTED);
    assert_non_null(strstr(pons_error_message(), "which has no codes"));
    assert_false(pons_dir_exists(scratch("codes")));
}

static void damage(const char *path, long from_end)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, -from_end, SEEK_END);
    int byte = fgetc(f);
    fseek(f, -from_end, SEEK_END);
    fputc(byte ^ 1, f);
    fclose(f);
}

/* The source is refused with this sentence, and nothing is left. */
static void refuse(const char *source, const char *file, const char *cause)
{
    pons_export_result result;
    const pons_export_options options = {
        .source = source, .out = scratch("gone"), .format = &pons_format_compressed_tensors};
    assert_int_equal(pons_export(pons_par_alone(), &options, &result), PONS_ERR_INPUT);
    if (!strstr(pons_error_message(), file) || !strstr(pons_error_message(), cause))
        fail_msg("%s", pons_error_message());
    assert_false(pons_dir_exists(scratch("gone")));
    assert_false(pons_dir_exists(scratch("gone.export")));
}

static void refusals(void **state)
{
    (void)state;
    const packed_plan p = {4, 0, true, 0};
    const output o = {"compressed-tensors", PONS_DTYPE_F16};
    pons_export_result result;

    /* an existing output, untouched; with force only one of ours */
    assert_int_equal(pons_dir_make(scratch("taken")), PONS_OK);
    spill(scratch("taken/mine"), "x", 1);
    for (int force = 0; force < 2; force++)
        assert_int_equal(write_model(golden("llama-gqa"), scratch("taken"), &p, &o, false, force),
                         PONS_ERR_EXISTS);
    assert_true(pons_file_exists(scratch("taken/mine")));

    /* the source itself, even by force */
    const pons_export_options self = {.source = scratch("taken.run"),
                                      .out = scratch("taken.run"),
                                      .format = &pons_format_dense,
                                      .staging = PONS_EXPORT_REPLACE};
    assert_int_equal(pons_export(pons_par_alone(), &self, &result), PONS_ERR_USAGE);
    assert_true(pons_file_exists(scratch("taken.run/model/run.json")));

    /* an output that a run of compress is filling */
    assert_int_equal(pons_dir_make(scratch("busy.part")), PONS_OK);
    assert_int_equal(write_model(golden("llama-gqa"), scratch("busy"), &p, &o, false, false),
                     PONS_ERR_EXISTS);
    assert_non_null(strstr(pons_error_message(), "busy.part exists"));

    /* damage: the file is named, nothing is left */
    char run[256];
    snprintf(run, sizeof run, "%s", scratch("taken.run"));
    damage(scratch("taken.run/blocks/block-001.safetensors"), 2000);
    refuse(run, "blocks/block-001.safetensors: ", "is damaged");
    damage(scratch("taken.run/blocks/block-001.safetensors"), 2000); /* mended */

    /* a block of another run; neither RUN nor OUT */
    const packed_plan other = {4, 0, true, 16};
    assert_int_equal(
        packed_run_write(golden("llama-gqa"), scratch("other"), &other, o.dtype, o.format, false),
        PONS_OK);
    assert_int_equal(pons_file_copy(scratch("other/blocks/block-002.safetensors"),
                                    scratch("taken.run/blocks/block-002.safetensors")),
                     PONS_OK);
    refuse(run, "block-002.safetensors: ", "is not the block of this run");
    refuse(golden("llama-gqa"), "llama-gqa: ", "neither a state directory nor an output");
}

static void nothing_leaks(void **state)
{
    (void)state;
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),      cmocka_unit_test(round_trips),
        cmocka_unit_test(whole_models), cmocka_unit_test(directory),
        cmocka_unit_test(digest),       cmocka_unit_test(from_gguf),
        cmocka_unit_test(again),        cmocka_unit_test(refusals),
        cmocka_unit_test(nothing_leaks)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

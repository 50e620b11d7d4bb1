/* Block files: what is read is what was given, in every form; damage anywhere is found; what does not fit
 * is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "io/scratch.h"
#include "model/arch_tables.h"
#include "pack/block_file.h"
#include "support/packed_run.h"

static pons_model *open_model(const char *name)
{
    pons_model *m = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/models/%s", getenv("PONS_FIXTURES"), name);
    assert_int_equal(pons_model_open(path, &m), PONS_OK);
    return m;
}

static void check_linear(const pons_block_file *f, const pons_model_config *c, packed_block *b,
                         int l, pons_dtype dtype)
{
    int64_t rows, cols;
    pons_linear_shape(c, l, &rows, &cols);
    const pons_pack_scheme *given = &b->linear[l].scheme, *s = pons_block_file_scheme(f, l);
    size_t cells = (size_t)(rows * cols);
    size_t scales = (size_t)(rows * pons_pack_groups(given, cols));
    int8_t *codes = malloc(cells), *zero = malloc(scales);
    float *scale = malloc(scales * sizeof *scale), *W = malloc(cells * sizeof *W);
    assert_int_equal(s->bits, given->bits);
    if (given->bits < 16) {
        assert_int_equal(s->symmetric, given->symmetric);
        assert_int_equal(pons_block_file_read_codes(f, l, codes, scale, zero), PONS_OK);
        assert_memory_equal(codes, b->codes[l], cells);
        assert_memory_equal(scale, b->scale[l], scales * sizeof *scale);
        assert_memory_equal(zero, b->zero[l], scales);
    } else {
        pons_dtype_round(dtype, b->value[l], (int64_t)cells);
    }
    assert_int_equal(pons_block_file_read_values(f, l, W), PONS_OK);
    assert_memory_equal(W, b->value[l], cells * sizeof *W); /* bits: -0 stays -0 */
    const float *bias = pons_block_file_bias(f, l);
    assert_int_equal(bias != NULL, b->linear[l].bias != NULL);
    pons_dtype_round(dtype, b->bias[l], rows);
    if (bias) assert_memory_equal(bias, b->bias[l], (size_t)rows * sizeof *bias);
    free(W);
    free(scale);
    free(zero);
    free(codes);
}

static void round_trips(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        packed_plan plan;
        pons_dtype dtype;
    } cases[] = {{"llama-gqa", {4, 0, true, 0}, PONS_DTYPE_BF16},
                 {"llama-gqa", {3, 8, false, 32}, PONS_DTYPE_F16},
                 {"mistral-headdim", {2, 7, false, 16}, PONS_DTYPE_F32},
                 {"qwen2-bias-tied", {5, 0, false, 0}, PONS_DTYPE_BF16},
                 {"qwen2-bias-tied", {16, 0, true, 0}, PONS_DTYPE_BF16},
                 {"llama31-rope", {16, 4, true, 0}, PONS_DTYPE_F32},
                 {"llama31-rope", {16, 0, true, 0}, PONS_DTYPE_F16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pons_model *m = open_model(cases[i].model);
        const pons_model_config *c = pons_model_get_config(m);
        packed_block b;
        pons_block_file *f = NULL;
        char sum[17];
        packed_block_make(&b, c, &cases[i].plan, 5 + i);
        if (i == 0) { /* a row of which nothing is kept, one of which everything is */
            memset(b.codes[0], 0, (size_t)c->hidden);
            memset(b.value[0], 0, (size_t)c->hidden * sizeof(float));
            for (int64_t j = c->hidden; j < 2 * c->hidden; j++) {
                b.codes[0][j] = 3;
                b.value[0][j] = 3 * b.scale[0][1];
            }
        }
        if (pons_block_file_write(scratch("b"), c, 1, cases[i].dtype, false, b.linear, b.gains,
                                  sum) != PONS_OK ||
            pons_block_file_open(scratch("b"), c, 1, &f) != PONS_OK)
            fail_msg("case %zu: %s", i, pons_error_message());
        assert_string_equal(pons_block_file_checksum(f), sum);
        assert_int_equal(pons_block_file_check(f), PONS_OK);
        for (int l = 0; l < PACKED_LINEARS; l++)
            check_linear(f, c, &b, l, cases[i].dtype);
        pons_dtype_round(cases[i].dtype, b.gains, 2 * c->hidden);
        assert_memory_equal(pons_block_file_gains(f), b.gains,
                            (size_t)(2 * c->hidden) * sizeof(float));
        pons_block_file_close(&f);
        assert_int_equal(pons_block_file_open(scratch("b"), c, 0, &f), PONS_ERR_INPUT);
        assert_non_null(strstr(pons_error_message(), "layer: found 1, allowed"));
        packed_block_free(&b);
        pons_model_close(&m);
    }
}

/* Bits of the layout, from the description in src/pack/README.md. */
static void layout(void **state)
{
    (void)state;
    pons_model *m = open_model("llama-gqa");
    const pons_model_config *c = pons_model_get_config(m);
    const packed_plan p = {4, 0, true, 0};
    packed_block b;
    char sum[17], *text;
    size_t bytes;
    packed_block_make(&b, c, &p, 9);
    assert_int_equal(
        pons_block_file_write(scratch("b"), c, 0, PONS_DTYPE_BF16, false, b.linear, b.gains, sum),
        PONS_OK);
    assert_int_equal(pons_file_read(scratch("b"), &text, &bytes), PONS_OK);
    uint64_t length;
    memcpy(&length, text, 8);
    char *header = strndup(text + 8, length);
    const char *data = text + 8 + length;
    long begin, end;
    const char *entry = strstr(header, "\"self_attn.k_proj.mask\"");
    assert_int_equal(
        sscanf(strstr(entry, "data_offsets"), "data_offsets\":[%ld,%ld]", &begin, &end), 2);
    const unsigned char *mask = (const unsigned char *)data + begin;
    entry = strstr(header, "\"self_attn.k_proj.codes\"");
    assert_int_equal(
        sscanf(strstr(entry, "data_offsets"), "data_offsets\":[%ld,%ld]", &begin, &end), 2);
    const unsigned char *codes = (const unsigned char *)data + begin;
    int64_t rows, cols, kept = 0;
    pons_linear_shape(c, PONS_K, &rows, &cols);
    for (int64_t i = 0; i < rows * cols; i++) {
        int code = b.codes[PONS_K][i];
        assert_int_equal(mask[i / cols * (cols / 8) + i % cols / 8] >> i % 8 & 1, code != 0);
        if (!code) continue;
        assert_int_equal((codes[kept / 2] >> 4 * (kept % 2) & 15) - 8, code);
        kept++;
    }
    free(header);
    pons_mem_free(text);
    packed_block_free(&b);
    pons_model_close(&m);
}

/* One bit anywhere in the file: never another number without a word. */
static void damage(void **state)
{
    (void)state;
    pons_model *m = open_model("qwen2-bias-tied");
    const pons_model_config *c = pons_model_get_config(m);
    const packed_plan p = {4, 16, false, 0};
    packed_block b;
    char sum[17], *text;
    size_t bytes;
    uint64_t seed = 3;
    int found = 0, opened = 0, tries = 300;
    packed_block_make(&b, c, &p, 11);
    assert_int_equal(
        pons_block_file_write(scratch("b"), c, 0, PONS_DTYPE_BF16, false, b.linear, b.gains, sum),
        PONS_OK);
    assert_int_equal(pons_file_read(scratch("b"), &text, &bytes), PONS_OK);
    for (int i = 0; i < tries; i++) {
        pons_block_file *f = NULL;
        size_t at = i < 60 ? (size_t)i * 40 : next_random(&seed) % bytes;
        char was = text[at];
        text[at] ^= (char)(1 << i % 8);
        spill(scratch("x"), text, bytes);
        text[at] = was;
        pons_status st = pons_block_file_open(scratch("x"), c, 0, &f);
        if (st == PONS_OK) {
            opened++;
            st = pons_block_file_check(f);
        }
        found += st != PONS_OK;
        pons_block_file_close(&f);
    }
    assert_true(found >=
                tries - 3); /* the padding of the last word of codes, and spaces, may change */
    assert_true(opened > tries / 2);
    for (size_t n = 0; n < bytes; n += bytes / 37) { /* cut anywhere */
        pons_block_file *f = NULL;
        spill(scratch("x"), text, n);
        assert_int_equal(pons_block_file_open(scratch("x"), c, 0, &f), PONS_ERR_INPUT);
    }
    pons_mem_free(text);
    packed_block_free(&b);
    pons_model_close(&m);
}

static void refusals(void **state)
{
    (void)state;
    pons_model *m = open_model("llama-gqa");
    const pons_model_config *c = pons_model_get_config(m);
    const packed_plan p = {4, 0, true, 0}, odd = {4, 0, true, 64};
    packed_block b;
    char sum[17];

    /* values the output type cannot hold: a gain; a weight that only a dense output would store */
    packed_block_make(&b, c, &p, 1);
    b.gains[c->hidden + 17] = 1e6f;
    assert_int_equal(
        pons_block_file_write(scratch("r"), c, 0, PONS_DTYPE_F16, false, b.linear, b.gains, sum),
        PONS_ERR_NUMERIC);
    assert_non_null(strstr(pons_error_message(), "model.layers.0.post_attention_layernorm.weight"));
    b.gains[c->hidden + 17] = 1;
    b.scale[PONS_UP][5] = 1e5f;
    assert_int_equal(
        pons_block_file_write(scratch("r"), c, 0, PONS_DTYPE_F16, true, b.linear, b.gains, sum),
        PONS_ERR_NUMERIC);
    assert_non_null(strstr(pons_error_message(), "mlp.up_proj row 5"));
    assert_int_equal(
        pons_block_file_write(scratch("r"), c, 0, PONS_DTYPE_F16, false, b.linear, b.gains, sum),
        PONS_OK);
    packed_block_free(&b);

    packed_block_make(&b, c, &odd, 1);
    assert_int_equal(
        pons_block_file_write(scratch("s"), c, 0, PONS_DTYPE_F16, false, b.linear, b.gains, sum),
        PONS_ERR_SHAPE);
    assert_false(pons_file_exists(scratch("s")));
    assert_false(pons_file_exists(scratch("s.part")));
    packed_block_free(&b);
    pons_model_close(&m);
}

static void nothing_leaks(void **state)
{
    (void)state;
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trips), cmocka_unit_test(layout),
                                       cmocka_unit_test(damage), cmocka_unit_test(refusals),
                                       cmocka_unit_test(nothing_leaks)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

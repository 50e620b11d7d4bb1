/* GGUF: files spelt out byte by byte here, with every metadata type and every supported tensor
 * type; values against hand arithmetic; then each rule broken once, every truncation, and random
 * changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "io/scratch.h"
#include "io/store.h"
#include "support/stored.h"

enum { ALIGNMENT = 64 };

typedef struct image {
    uint8_t bytes[4096];
    size_t n;
    /* where to break it */
    size_t version, tensors, pairs, key, alignment_type, alignment, flag, string, array_type,
        array_count, strings_count, second_string, name, ndim, dim, type, offset, twin, data;
} image;

static void put(image *f, const void *data, size_t n)
{
    memcpy(f->bytes + f->n, data, n);
    f->n += n;
}

static size_t put_number(image *f, uint64_t value, size_t n)
{
    put(f, &value, n);
    return f->n - n;
}

static void put_string(image *f, const char *text)
{
    put_number(f, strlen(text), 8);
    put(f, text, strlen(text));
}

/* Key and type number of a pair; the caller adds the value. */
static void put_key(image *f, const char *key, uint32_t type)
{
    put_string(f, key);
    put_number(f, type, 4);
}

/* Dimensions fastest first. */
static void put_info(image *f, const char *name, uint32_t ndim, const uint64_t *dims, uint32_t type,
                     uint64_t offset)
{
    put_string(f, name);
    put_number(f, ndim, 4);
    put(f, dims, 8 * ndim);
    put_number(f, type, 4);
    put_number(f, offset, 8);
}

static void pad(image *f, size_t base)
{
    while ((f->n - base) % ALIGNMENT)
        put_number(f, 0, 1);
}

static void put_pairs(image *f)
{
    const float x = -0.75f;
    const double y = 1e-9;
    f->key = f->n;
    put_key(f, "u8", 0), put_number(f, 200, 1);
    put_key(f, "i8", 1), put_number(f, (uint64_t)-5, 1);
    put_key(f, "u16", 2), put_number(f, 60000, 2);
    put_key(f, "i16", 3), put_number(f, (uint64_t)-300, 2);
    put_key(f, "general.alignment", 4);
    f->alignment_type = f->n - 4;
    f->alignment = put_number(f, ALIGNMENT, 4);
    put_key(f, "i32", 5), put_number(f, (uint64_t)-70000, 4);
    put_key(f, "f32", 6), put(f, &x, 4);
    put_key(f, "flag", 7);
    f->flag = put_number(f, 1, 1);
    put_key(f, "text", 8);
    f->string = f->n;
    put_string(f, "hello");
    put_key(f, "numbers", 9);
    f->array_type = put_number(f, 5, 4);
    f->array_count = put_number(f, 3, 8);
    put_number(f, 7, 4), put_number(f, (uint64_t)-8, 4), put_number(f, 9, 4);
    put_key(f, "strings", 9);
    put_number(f, 8, 4);
    f->strings_count = put_number(f, 3, 8);
    put_string(f, "one");
    f->second_string = f->n;
    put_string(f, "");
    put_string(f, "three");
    put_key(f, "u64", 10), put_number(f, UINT64_MAX, 8);
    put_key(f, "i64", 11), put_number(f, (uint64_t)INT64_MIN, 8);
    put_key(f, "f64", 12), put(f, &y, 8);
    put_key(f, "floats", 9), put_number(f, 6, 4), put_number(f, 2, 8), put(f, &x, 4), put(f, &x, 4);
    put_key(f, "flags", 9), put_number(f, 7, 4), put_number(f, 2, 8), put_number(f, 1, 2);
}

/* Six tensors; the last one ends off the alignment and the file with it. */
static void compose(image *f)
{
    *f = (image){0};
    put(f, "GGUF", 4);
    f->version = put_number(f, 3, 4);
    f->tensors = put_number(f, 6, 8);
    f->pairs = put_number(f, 16, 8);
    put_pairs(f);

    const uint64_t d_f32[] = {3, 2}, d_f16[] = {4}, d_bf16[] = {2, 2, 1}, d_q8[] = {32, 2},
                   d_q40[] = {64, 1}, d_q41[] = {32};
    f->name = f->n;
    put_info(f, "f32", 2, d_f32, 0, 0); /* 24 bytes */
    f->ndim = f->name + 8 + 3;
    f->dim = f->ndim + 4;
    f->type = f->dim + 16;
    f->offset = f->type + 4;
    f->twin = f->n + 8;
    put_info(f, "f16", 1, d_f16, 1, 64);     /* 8 bytes */
    put_info(f, "bf16", 3, d_bf16, 30, 128); /* 8 bytes */
    put_info(f, "q8_0", 2, d_q8, 8, 192);    /* 68 bytes */
    put_info(f, "q4_0", 2, d_q40, 2, 320);   /* 36 bytes */
    put_info(f, "q4_1", 1, d_q41, 3, 384);   /* 20 bytes */
    pad(f, 0);
    f->data = f->n;

    const float f32[6] = {1, 2, 3, -4, 5.5f, 0};
    put(f, f32, sizeof f32), pad(f, f->data);
    const uint16_t f16[4] = {0x3c00, 0xc000, 0x3800, 0x0000}; /* 1 -2 0.5 0 */
    put(f, f16, sizeof f16), pad(f, f->data);
    const uint16_t bf16[4] = {0x3f80, 0xc040, 0x3e80, 0x4300}; /* 1 -3 0.25 128 */
    put(f, bf16, sizeof bf16), pad(f, f->data);
    for (int block = 0; block < 2; block++) {
        put_number(f, block ? 0xbc00 : 0x3000, 2); /* d = 1/8, then -1 */
        for (int i = 0; i < 32; i++)
            put_number(f, (uint64_t)(4 * i - 64), 1);
    }
    pad(f, f->data);
    for (int block = 0; block < 2; block++) {
        put_number(f, block ? 0x3c00 : 0x3800, 2); /* d = 1/2, then 1 */
        for (uint64_t i = 0; i < 16; i++)
            put_number(f, i | (15 - i) << 4, 1);
    }
    pad(f, f->data);
    put_number(f, 0x3400, 2), put_number(f, 0xbc00, 2); /* d = 1/4, m = -1 */
    for (uint64_t i = 0; i < 16; i++)
        put_number(f, (15 - i) | i << 4, 1);
}

static const char *file_path(void) { return scratch("m.gguf"); }

static pons_status open_image(const image *f, pons_store **store)
{
    spill(file_path(), f->bytes, f->n);
    *store = NULL;
    return pons_store_open(file_path(), store);
}

static const float *values(const pons_store *store, const char *name, int ndim, int64_t rows,
                           int64_t columns)
{
    static float out[64];
    const pons_tensor_view *t = pons_store_find(store, name);
    assert_non_null(t);
    assert_int_equal(t->ndim, ndim);
    if (ndim > 1) assert_int_equal(t->shape[ndim - 2], rows);
    assert_int_equal(t->shape[ndim - 1], columns);
    pons_dtype_to_float(t->dtype, stored(store, t), pons_tensor_elements(t), out);
    return out;
}

static void tensors(void **state)
{
    (void)state;
    image f;
    pons_store *store;
    compose(&f);
    if (open_image(&f, &store) != PONS_OK) fail_msg("%s", pons_error_message());
    assert_true(pons_store_is_gguf(store));
    assert_int_equal(pons_store_count(store), 6);
    assert_string_equal(pons_store_at(store, 0)->name, "bf16");
    assert_string_equal(pons_store_at(store, 5)->name, "q8_0");

    const float *x = values(store, "f32", 2, 2, 3);
    assert_true(x[0] == 1 && x[3] == -4 && x[4] == 5.5f);
    x = values(store, "f16", 1, 0, 4);
    assert_true(x[0] == 1 && x[1] == -2 && x[2] == 0.5f && x[3] == 0);
    assert_int_equal(pons_store_find(store, "bf16")->shape[0], 1);
    x = values(store, "bf16", 3, 2, 2);
    assert_true(x[0] == 1 && x[1] == -3 && x[2] == 0.25f && x[3] == 128);
    x = values(store, "q8_0", 2, 2, 32);
    for (int i = 0; i < 32; i++) {
        assert_true(x[i] == (float)(4 * i - 64) / 8);
        assert_true(x[32 + i] == (float)(64 - 4 * i));
    }
    x = values(store, "q4_0", 2, 1, 64);
    for (int i = 0; i < 16; i++) {
        assert_true(x[i] == (float)(i - 8) / 2);
        assert_true(x[16 + i] == (float)(7 - i) / 2);
        assert_true(x[32 + i] == (float)(i - 8));
        assert_true(x[48 + i] == (float)(7 - i));
    }
    x = values(store, "q4_1", 1, 0, 32);
    for (int i = 0; i < 16; i++) {
        assert_true(x[i] == (float)(15 - i) / 4 - 1);
        assert_true(x[16 + i] == (float)i / 4 - 1);
    }
    pons_store_close(&store);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static const pons_gguf_value *pair(const pons_store *store, const char *key, pons_gguf_type type)
{
    const pons_gguf_value *v = pons_store_metadata(store, key);
    if (!v) fail_msg("no key %s", key);
    assert_int_equal(v->type, type);
    return v;
}

static void metadata(void **state)
{
    (void)state;
    image f;
    pons_store *store;
    compose(&f);
    assert_int_equal(open_image(&f, &store), PONS_OK);
    assert_int_equal(pair(store, "u8", PONS_GGUF_UINT)->u, 200);
    assert_int_equal(pair(store, "u8", PONS_GGUF_UINT)->i, 200);
    assert_true(pair(store, "u8", PONS_GGUF_UINT)->f == 200);
    assert_int_equal(pair(store, "i8", PONS_GGUF_INT)->i, -5);
    assert_int_equal(pair(store, "u16", PONS_GGUF_UINT)->u, 60000);
    assert_int_equal(pair(store, "i16", PONS_GGUF_INT)->i, -300);
    assert_int_equal(pair(store, "general.alignment", PONS_GGUF_UINT)->u, ALIGNMENT);
    assert_int_equal(pair(store, "i32", PONS_GGUF_INT)->i, -70000);
    assert_true(pair(store, "f32", PONS_GGUF_FLOAT)->f == -0.75);
    assert_int_equal(pair(store, "flag", PONS_GGUF_UINT)->u, 1);
    assert_true(pair(store, "u64", PONS_GGUF_UINT)->u == UINT64_MAX);
    assert_true(pair(store, "i64", PONS_GGUF_INT)->i == INT64_MIN);
    assert_true(pair(store, "f64", PONS_GGUF_FLOAT)->f == 1e-9);
    assert_null(pons_store_metadata(store, "u"));
    assert_null(pons_store_metadata(store, "u88"));

    const pons_gguf_value *v = pair(store, "text", PONS_GGUF_STRING);
    assert_int_equal(v->length, 5);
    assert_memory_equal(v->text, "hello", 5);

    v = pair(store, "numbers", PONS_GGUF_ARRAY);
    assert_int_equal(v->element, PONS_GGUF_INT);
    assert_int_equal(v->count, 3);
    assert_int_equal(pons_gguf_array_int(v, 1), -8);
    assert_true(pons_gguf_array_float(v, 2) == 9);
    v = pair(store, "floats", PONS_GGUF_ARRAY);
    assert_int_equal(v->element, PONS_GGUF_FLOAT);
    assert_true(pons_gguf_array_float(v, 1) == -0.75);
    v = pair(store, "flags", PONS_GGUF_ARRAY);
    assert_int_equal(pons_gguf_array_int(v, 0), 1);
    assert_int_equal(pons_gguf_array_int(v, 1), 0);

    v = pair(store, "strings", PONS_GGUF_ARRAY);
    assert_int_equal(v->element, PONS_GGUF_STRING);
    assert_int_equal(v->count, 3);
    const char *expected[] = {"one", "", "three"};
    const void *cursor = v->raw;
    for (int i = 0; i < 3; i++) {
        size_t length;
        const char *text = pons_gguf_array_next_string(&cursor, &length);
        assert_int_equal(length, strlen(expected[i]));
        assert_memory_equal(text, expected[i], length);
    }
    pons_store_close(&store);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void assert_refused(const image *f, pons_status code, const char *words)
{
    pons_store *store;
    pons_status st = open_image(f, &store);
    if (st != code || !strstr(pons_error_message(), words) ||
        !strstr(pons_error_message(), "m.gguf: "))
        fail_msg("expected '%s' (%s), got %s: %s", words, pons_status_text(code),
                 pons_status_text(st), st == PONS_OK ? "" : pons_error_message());
    assert_null(store);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void each_rule_broken_once(void **state)
{
    (void)state;
    image good, f;
    compose(&good);
    const struct {
        size_t at, n;
        uint64_t value;
        pons_status code;
        const char *words;
    } cases[] = {
        {0, 1, 'X', PONS_ERR_INPUT, "begins with bytes 58 47 55 46"},
        {good.version, 4, 2, PONS_ERR_UNSUPPORTED, "GGUF version 2"},
        {good.version, 4, 3u << 24, PONS_ERR_UNSUPPORTED, "big-endian"},
        {good.tensors, 8, 7, PONS_ERR_INPUT, "tensor info 6"},
        {good.tensors, 8, UINT64_MAX, PONS_ERR_INPUT, "tensors announced"},
        {good.tensors, 8, 5, PONS_ERR_INPUT, "nothing may follow"},
        {good.pairs, 8, UINT64_MAX, PONS_ERR_INPUT, "metadata pairs announced"},
        {good.pairs, 8, 1u << 31, PONS_ERR_INPUT, "metadata pairs announced"},
        {good.key, 8, UINT64_MAX, PONS_ERR_INPUT, "metadata pair 0: 18446744073709551615 bytes"},
        {good.key, 8, 0, PONS_ERR_INPUT, "a name of 0 bytes"},
        {good.key + 8, 1, 0, PONS_ERR_INPUT, "zero byte"},
        {good.key + 8, 2, 0x3869 /* "i8" */, PONS_ERR_INPUT, "metadata 'i8' occurs twice"},
        {good.alignment_type, 4, 13, PONS_ERR_INPUT, "'general.alignment': value type 13"},
        {good.alignment_type, 4, 6, PONS_ERR_INPUT, "power of two"},
        {good.alignment, 4, 0, PONS_ERR_INPUT, "'general.alignment' is 0; allowed: a power of two"},
        {good.alignment, 4, 48, PONS_ERR_INPUT, "power of two"},
        {good.alignment, 4, 128, PONS_ERR_INPUT, "multiple of the alignment 128"},
        {good.flag, 1, 2, PONS_ERR_INPUT, "'flag': a boolean of value 2"},
        {good.string, 8, 1u << 20, PONS_ERR_INPUT, "'text': 1048576 bytes wanted"},
        {good.array_type, 4, 99, PONS_ERR_INPUT, "'numbers': array element type 99"},
        {good.array_type, 4, 9, PONS_ERR_UNSUPPORTED, "'numbers': an array of arrays"},
        {good.array_count, 8, UINT64_MAX, PONS_ERR_INPUT, "an array of 18446744073709551615"},
        {good.array_count, 8, UINT64_C(1) << 62, PONS_ERR_INPUT, "'numbers': an array of"},
        {good.strings_count, 8, UINT64_C(1) << 61, PONS_ERR_INPUT, "'strings': an array of"},
        {good.second_string, 8, UINT64_MAX - 7, PONS_ERR_INPUT, "'strings': 18446744073709551608"},
        {good.name, 8, 65, PONS_ERR_INPUT, "a name of 65 bytes"},
        {good.name, 8, 0, PONS_ERR_INPUT, "a name of 0 bytes"},
        {good.twin, 3, 0x323366 /* "f32" */, PONS_ERR_INPUT, "two tensors are named 'f32'"},
        {good.ndim, 4, 5, PONS_ERR_INPUT, "tensor 'f32' has 5 dimensions"},
        {good.dim, 8, UINT64_MAX, PONS_ERR_INPUT, "below 2^63"},
        {good.dim, 8, INT64_MAX, PONS_ERR_INPUT, "invalid for F32"},
        {good.dim, 8, UINT64_C(1) << 61, PONS_ERR_INPUT, "invalid for F32"},
        {good.dim, 8, UINT64_C(1) << 59, PONS_ERR_INPUT, "'f32' takes data bytes 0 to "},
        {good.dim, 8, 300, PONS_ERR_INPUT, "'f32' takes data bytes 0 to 2400"},
        {good.dim, 8, 9, PONS_ERR_INPUT, "'f16' begins at data byte 64, inside 'f32'"},
        {good.type, 4, 12, PONS_ERR_UNSUPPORTED, "tensor 'f32' has type Q4_K (number 12)"},
        {good.type, 4, 4, PONS_ERR_UNSUPPORTED, "type unknown (number 4)"},
        {good.type, 4, UINT32_MAX, PONS_ERR_UNSUPPORTED, "type unknown"},
        {good.type, 4, 2, PONS_ERR_INPUT, "invalid for Q4_0"},
        {good.offset, 8, 1, PONS_ERR_INPUT, "'f32': data offset 1; allowed: a multiple of"},
        {good.offset, 8, 64, PONS_ERR_INPUT, "no gap"},
        {good.twin + 19, 8, 0, PONS_ERR_INPUT, "'f32' begins at data byte 0, inside 'f16'"},
        {good.offset, 8, 448, PONS_ERR_INPUT, "no gap"},
        {good.offset, 8, UINT64_MAX - 63, PONS_ERR_INPUT, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f = good;
        memcpy(f.bytes + cases[i].at, &cases[i].value, cases[i].n);
        assert_refused(&f, cases[i].code, cases[i].words);
    }

    /* Padding after the last tensor is optional; more than padding is not allowed. */
    pons_store *store;
    f = good;
    pad(&f, f.data);
    assert_int_equal(open_image(&f, &store), PONS_OK);
    pons_store_close(&store);
    put_number(&f, 0, 1);
    assert_refused(&f, PONS_ERR_INPUT, "nothing may follow");

    /* A header alone is a file too (vocabulary files are like that). */
    f = (image){0};
    put(&f, "GGUF", 4), put_number(&f, 3, 4), put_number(&f, 0, 8), put_number(&f, 0, 8);
    assert_int_equal(open_image(&f, &store), PONS_OK);
    assert_int_equal(pons_store_count(store), 0);
    assert_null(pons_store_metadata(store, "x"));
    pons_store_close(&store);
    f = (image){0};
    assert_refused(&f, PONS_ERR_INPUT, "header");
}

/* Found by tests/fuzz: a file with neither pairs nor tensors, and bytes where none may be. */
static void nothing_but_zeros(void **state)
{
    (void)state;
    image f = {.n = 64};
    memcpy(f.bytes, "GGUF\3", 5);
    assert_refused(&f, PONS_ERR_INPUT, "nothing may follow them");
}

static void every_truncation(void **state)
{
    (void)state;
    image good, f;
    compose(&good);
    for (size_t cut = 0; cut < good.n; cut++) {
        f = good;
        f.n = cut;
        assert_refused(&f, PONS_ERR_INPUT, "");
    }
}

/* A head that does not fit into the first read: strings of 3 MB, then a tensor. */
static void a_long_head(void **state)
{
    (void)state;
    enum { STRINGS = 300, LENGTH = 10000 };
    const uint64_t dims[] = {2};
    const float values[] = {1.5f, -2};
    char text[LENGTH + 1];
    size_t length;
    image f = {0};
    FILE *file = fopen(file_path(), "wb");
    assert_non_null(file);
    put(&f, "GGUF", 4), put_number(&f, 3, 4), put_number(&f, 1, 8), put_number(&f, 2, 8);
    put_key(&f, "strings", 9), put_number(&f, 8, 4), put_number(&f, STRINGS, 8);
    fwrite(f.bytes, 1, f.n, file);
    for (uint64_t i = 0; i < STRINGS; i++) {
        memset(text, 'a' + (int)(i % 26), LENGTH);
        f = (image){0};
        put_number(&f, LENGTH, 8);
        fwrite(f.bytes, 1, f.n, file);
        fwrite(text, 1, LENGTH, file);
    }
    f = (image){0};
    put_key(&f, "last", 4), put_number(&f, 77, 4);
    put_info(&f, "t", 1, dims, 0, 0);
    fwrite(f.bytes, 1, f.n, file);
    while (ftell(file) % 32)
        fputc(0, file);
    fwrite(values, 1, sizeof values, file);
    fclose(file);

    pons_store *store = NULL;
    assert_int_equal(pons_store_open(file_path(), &store), PONS_OK);
    assert_int_equal(pons_store_metadata(store, "last")->u, 77);
    const pons_gguf_value *v = pons_store_metadata(store, "strings");
    const void *cursor = v->raw;
    for (int64_t i = 0; i < v->count; i++) {
        const char *p = pons_gguf_array_next_string(&cursor, &length);
        assert_int_equal(length, LENGTH);
        assert_int_equal(p[0], 'a' + i % 26);
        assert_int_equal(p[LENGTH - 1], 'a' + i % 26);
    }
    assert_int_equal(pons_store_count(store), 1);
    assert_memory_equal(stored(store, pons_store_find(store, "t")), values, sizeof values);
    pons_store_close(&store);

    /* cut inside the strings, past the first read */
    assert_int_equal(truncate(file_path(), 2500000), 0);
    assert_int_equal(pons_store_open(file_path(), &store), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "truncated or damaged"));
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Read everything a store shows. */
static void touch(const pons_store *store, size_t file_bytes)
{
    volatile uint32_t sum = 0;
    for (int64_t i = 0; i < pons_store_count(store); i++) {
        const pons_tensor_view *t = pons_store_at(store, i);
        size_t bytes = pons_dtype_bytes(t->dtype, pons_tensor_elements(t));
        const uint8_t *data = stored(store, t);
        assert_true(bytes <= file_bytes);
        for (size_t b = 0; b < bytes; b++)
            sum = sum + data[b];
    }
    const char *arrays[] = {"numbers", "strings", "floats", "flags"};
    for (int a = 0; a < 4; a++) {
        const pons_gguf_value *v = pons_store_metadata(store, arrays[a]);
        if (!v || v->type != PONS_GGUF_ARRAY) continue;
        const void *cursor = v->raw;
        for (int64_t i = 0; i < v->count; i++) {
            size_t length;
            if (v->element == PONS_GGUF_STRING) {
                const char *text = pons_gguf_array_next_string(&cursor, &length);
                for (size_t b = 0; b < length; b++)
                    sum += (uint8_t)text[b];
            } else
                sum += (uint32_t)pons_gguf_array_int(v, i);
        }
    }
}

static void random_changes(void **state)
{
    (void)state;
    image good, f;
    compose(&good);
    uint64_t seed = 11;
    int opened = 0, rounds = 2000;
    for (int round = 0; round < rounds; round++) {
        f = good;
        for (uint32_t k = 1 + next_random(&seed) % 3; k; k--) {
            uint32_t how = next_random(&seed) % 3;
            f.bytes[next_random(&seed) % f.data] = how == 0   ? (uint8_t)next_random(&seed)
                                                   : how == 1 ? (uint8_t)(next_random(&seed) % 14)
                                                              : 0xff;
        }
        pons_store *store;
        pons_status st = open_image(&f, &store);
        assert_true(st == PONS_OK || st == PONS_ERR_INPUT || st == PONS_ERR_UNSUPPORTED);
        if (st == PONS_OK) {
            opened++;
            touch(store, f.n);
            pons_store_close(&store);
        }
    }
    assert_true(opened > rounds / 50 && opened < rounds * 9 / 10); /* both ways were exercised */
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tensors),
                                       cmocka_unit_test(metadata),
                                       cmocka_unit_test(each_rule_broken_once),
                                       cmocka_unit_test(nothing_but_zeros),
                                       cmocka_unit_test(every_truncation),
                                       cmocka_unit_test(a_long_head),
                                       cmocka_unit_test(random_changes)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

/*
 * Torch files: what torch wrote is read back (tests/golden/torch, made by make.py there), pickles
 * that are not plain data are refused, damaged files end in one line, and what is written is read
 * again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <zip.h>

#include "base/mem.h"
#include "io/scratch.h"
#include "io/torch_file.h"

static pons_torch_file *open_golden(const char *name)
{
    char path[2048];
    pons_torch_file *file = NULL;
    snprintf(path, sizeof path, "%s/torch/%s", getenv("PONS_FIXTURES"), name);
    if (pons_torch_open(path, &file) != PONS_OK) fail_msg("%s", pons_error_message());
    return file;
}

static void refuses_golden(const char *name, pons_status code, const char *part)
{
    char path[2048];
    pons_torch_file *file = NULL;
    snprintf(path, sizeof path, "%s/torch/%s", getenv("PONS_FIXTURES"), name);
    assert_int_equal(pons_torch_open(path, &file), code);
    assert_non_null(strstr(pons_error_message(), part));
}

/* The tensor under a name has this type, shape and these values. */
static void expect(pons_torch_file *file, const char *name, pons_dtype dtype, int ndim,
                   const int64_t *shape, const float *values)
{
    float got[64];
    int64_t n = 1;
    const pons_torch_value *t = pons_torch_find(pons_torch_root(file), name);
    assert_non_null(t);
    assert_int_equal(pons_torch_value_kind(t), PONS_TORCH_TENSOR);
    assert_int_equal(pons_torch_tensor_dtype(t), dtype);
    assert_int_equal(pons_torch_tensor_ndim(t), ndim);
    for (int i = 0; i < ndim; i++) {
        assert_int_equal(pons_torch_tensor_shape(t)[i], shape[i]);
        n *= shape[i];
    }
    if (pons_torch_read(file, t, got) != PONS_OK) fail_msg("%s", pons_error_message());
    for (int64_t i = 0; i < n; i++)
        if (got[i] != values[i]) fail_msg("%s[%d]: %g, not %g", name, (int)i, got[i], values[i]);
}

static void tensors_of_torch(void **state)
{
    (void)state;
    float base[24], view[9], expanded[6], third[24];
    pons_torch_file *file = open_golden("mixed.pt");
    for (int i = 0; i < 24; i++) {
        base[i] = (float)i * 0.25f;
        third[i] = (float)(i * 0.25 / 3);
    }
    for (int i = 0; i < 3; i++) /* base[1:, ::2] transposed */
        for (int j = 0; j < 3; j++)
            view[3 * i + j] = base[6 * (j + 1) + 2 * i];
    for (int i = 0; i < 6; i++)
        expanded[i] = 0.25f;
    expect(file, "base", PONS_DTYPE_F32, 2, (const int64_t[]){4, 6}, base);
    expect(file, "view", PONS_DTYPE_F32, 2, (const int64_t[]){3, 3}, view);
    expect(file, "expanded", PONS_DTYPE_F32, 2, (const int64_t[]){2, 3}, expanded);
    expect(file, "half", PONS_DTYPE_F16, 2, (const int64_t[]){4, 6}, base);
    expect(file, "bfloat16", PONS_DTYPE_BF16, 2, (const int64_t[]){4, 6}, base);
    expect(file, "double", PONS_DTYPE_F64, 2, (const int64_t[]){4, 6}, third);
    expect(file, "scalar", PONS_DTYPE_F32, 0, NULL, (const float[]){7});
    expect(file, "empty", PONS_DTYPE_F32, 2, (const int64_t[]){0, 5}, NULL);
    expect(file, "parameter", PONS_DTYPE_F32, 1, (const int64_t[]){1}, (const float[]){3});
    pons_torch_close(&file);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void values_of_torch(void **state)
{
    (void)state;
    pons_torch_file *file = open_golden("mixed.pt");
    const pons_torch_value *root = pons_torch_root(file), *v, *key;
    const char *text;
    int64_t number;
    double real;
    assert_int_equal(pons_torch_value_count(root), 14);
    v = pons_torch_value_at(root, 1, &key);
    assert_true(pons_torch_value_text(key, &text));
    assert_string_equal(text, "view");
    assert_null(pons_torch_find(root, "absent"));
    assert_null(pons_torch_find(v, "a tensor has no entries"));

    v = pons_torch_find(root, "state"); /* an ordered dictionary that carries attributes */
    assert_int_equal(pons_torch_value_count(v), 2);
    assert_non_null(pons_torch_find(v, "weight"));

    v = pons_torch_find(root, "ordered");
    assert_true(pons_torch_value_text(pons_torch_find_int(v, -1), &text));
    assert_string_equal(text, "minus one");
    assert_true(pons_torch_value_text(pons_torch_find_int(v, (int64_t)1 << 40), &text));
    assert_string_equal(text, "large");

    const int64_t whole[] = {0, 255, 256, 70000, -5, (int64_t)1 << 62, -((int64_t)1 << 62)};
    v = pons_torch_find(root, "numbers");
    assert_int_equal(pons_torch_value_kind(v), PONS_TORCH_LIST);
    assert_int_equal(pons_torch_value_count(v), 12);
    for (int i = 0; i < 7; i++) {
        assert_true(pons_torch_value_int(pons_torch_value_at(v, i, NULL), &number));
        assert_int_equal(number, whole[i]);
    }
    assert_true(pons_torch_value_float(pons_torch_value_at(v, 7, NULL), &real));
    assert_true(real == 0.5);
    assert_true(pons_torch_value_float(pons_torch_value_at(v, 8, NULL), &real));
    assert_true(real == -1e300);
    assert_true(pons_torch_value_int(pons_torch_value_at(v, 9, NULL), &number) && number == 1);
    assert_true(pons_torch_value_int(pons_torch_value_at(v, 10, NULL), &number) && number == 0);
    assert_int_equal(pons_torch_value_kind(pons_torch_value_at(v, 11, NULL)), PONS_TORCH_NONE);
    assert_false(pons_torch_value_float(pons_torch_value_at(v, 11, NULL), &real));

    v = pons_torch_find(root, "nested");
    assert_int_equal(pons_torch_value_count(v), 6);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pons_torch_value_count(pons_torch_value_at(v, i, NULL)), i);
    assert_true(pons_torch_value_text(pons_torch_find(root, "text"), &text));
    assert_string_equal(text, "\xc3\xa9\xe4\xb8\xad");
    pons_torch_close(&file);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void other_files_of_torch(void **state)
{
    (void)state;
    refuses_golden("legacy.pt", PONS_ERR_UNSUPPORTED, "torch.save(torch.load(");
    refuses_golden("refused.pt", PONS_ERR_UNSUPPORTED, "torch.IntStorage");
    refuses_golden("make.py", PONS_ERR_INPUT, "not a torch file");
    refuses_golden("absent.pt", PONS_ERR_IO, "absent.pt");
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* ---- Archives of the test's own. */

static void add(zip_t *archive, const char *name, const void *data, size_t bytes)
{
    zip_source_t *source = zip_source_buffer(archive, data, bytes, 0);
    if (!source || zip_file_add(archive, name, source, 0) < 0) abort();
}

/* An archive with this pickle and a record of 16 bytes. */
static const char *archive_of(const void *pickle, size_t bytes)
{
    static const char record[16];
    const char *path = scratch("made.pt");
    unlink(path);
    zip_t *archive = zip_open(path, ZIP_CREATE, NULL);
    if (!archive) abort();
    add(archive, "x/data.pkl", pickle, bytes);
    add(archive, "x/data/0", record, sizeof record);
    if (zip_close(archive)) abort();
    return path;
}

static pons_status try_pickle(const void *pickle, size_t bytes)
{
    pons_torch_file *file = NULL;
    pons_status st = pons_torch_open(archive_of(pickle, bytes), &file);
    pons_torch_close(&file);
    assert_int_equal(pons_mem_outstanding(), 0);
    if (st != PONS_OK) assert_null(strchr(pons_error_message(), '\n'));
    return st;
}

/* A tensor from record 0: its storage has `elements` floats; offset, shape, strides as given. */
#define STORAGE(elements)                                                                          \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"         \
    "0X\3\0\0\0cpuK" elements "tQ"
#define TENSOR(elements, offset, shape, strides)                                                   \
    "\x80\2" STORAGE(elements) "K" offset shape strides "\x89N"                                    \
                               "tR."

static void pickles(void **state)
{
    (void)state;
    static const struct {
        const char *pickle;
        size_t bytes;
        pons_status code;
        const char *part;
    } cases[] = {
#define PICKLE(text, code, part) {text, sizeof text - 1, code, part}
        PICKLE("\x80\2N.", PONS_OK, ""),
        PICKLE(TENSOR("\4", "\0", "K\2K\2\x86", "K\2K\1\x86"), PONS_OK, ""),
        PICKLE(TENSOR("\4", "\0", "K\2K\2\x86", "K\1K\2\x86"), PONS_OK, ""),
        PICKLE(TENSOR("\4", "\3", "J\xff\xff\xff\x7f\x85", "K\0\x85"), PONS_OK, ""),
        /* code that would run elsewhere */
        PICKLE("\x80\2cos\nsystem\nX\4\0\0\0true\x85R.", PONS_ERR_UNSUPPORTED, "os.system"),
        PICKLE("\x80\2cposix\nsystem\n.", PONS_ERR_UNSUPPORTED, "nothing was executed"),
        PICKLE("\x80\4\x8c\x08"
               "builtins\x8c\4eval\x93.",
               PONS_ERR_UNSUPPORTED, "builtins.eval"),
        PICKLE("\x80\2ctorch._utils\n_rebuild_sparse_tensor\n.", PONS_ERR_UNSUPPORTED,
               "_rebuild_sparse_tensor"),
        PICKLE("\x80\2(ios\nsystem\n.", PONS_ERR_UNSUPPORTED, "INST"),
        PICKLE("\x80\2)\x81.", PONS_ERR_UNSUPPORTED, "NEWOBJ"),
        PICKLE("\x80\2K\1N"
               "b.",
               PONS_ERR_UNSUPPORTED, "BUILD on a whole number"),
        PICKLE("\x80\2K\1)R.", PONS_ERR_INPUT, "cannot be called"),
        PICKLE("\x80\2ccollections\nOrderedDict\nK\1\x85R.", PONS_ERR_INPUT, "with arguments"),
        PICKLE("\x80\2}NK\1s.", PONS_ERR_UNSUPPORTED, "nothing as a key"),
        /* tensors that reach outside */
        PICKLE(TENSOR("\5", "\0", "K\2\x85", "K\1\x85"), PONS_ERR_INPUT, "x/data/0"),
        PICKLE(TENSOR("\3", "\0", "K\2\x85", "K\1\x85"), PONS_ERR_INPUT, "found 16 bytes"),
        PICKLE(TENSOR("\4", "\1", "K\2K\2\x86", "K\2K\1\x86"), PONS_ERR_INPUT, "outside"),
        PICKLE(TENSOR("\4", "\0", "K\2K\2\x86", "K\3K\1\x86"), PONS_ERR_INPUT, "outside"),
        PICKLE(TENSOR("\4", "\4", ")", ")"), PONS_ERR_INPUT, "outside"),
        PICKLE(TENSOR("\4", "\0", "K\2\x85", "J\xff\xff\xff\xff\x85"), PONS_ERR_INPUT, "strides"),
        PICKLE(TENSOR("\4", "\0", "K\2\x85", "K\1K\1\x86"), PONS_ERR_INPUT, "strides"),
        PICKLE(TENSOR("\4", "\0", "\x8a\x08\0\0\0\0\0\0\0\x40K\4\x86", "K\0K\0\x86"),
               PONS_ERR_INPUT, "outside"),
        PICKLE(TENSOR("\4", "\0", "K\2\x85", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
               PONS_ERR_INPUT, "outside"),
        PICKLE("\x80\2"
               "X\1\0\0\0"
               "aQ.",
               PONS_ERR_INPUT, "not a storage"),
        /* nonsense */
        PICKLE("", PONS_ERR_INPUT, "does not stop"),
        PICKLE("\x80\1N.", PONS_ERR_UNSUPPORTED, "protocol 1"),
        PICKLE("\x80\2.", PONS_ERR_INPUT, "no value"),
        PICKLE("\x80\2(.", PONS_ERR_INPUT, "no value"),
        PICKLE("\x80\2NN.", PONS_ERR_INPUT, "left on the stack"),
        PICKLE("\x80\2Nu.", PONS_ERR_INPUT, "no mark"),
        PICKLE("\x80\2(K\1u.", PONS_ERR_INPUT, "no dictionary"),
        PICKLE("\x80\2}(K\1u.", PONS_ERR_INPUT, "without a value"),
        PICKLE("\x80\2](s.", PONS_ERR_INPUT, "no "),
        PICKLE("\x80\2\x87.", PONS_ERR_INPUT, "no value"),
        PICKLE("\x80\2h\0.", PONS_ERR_INPUT, "memo"),
        PICKLE("\x80\2Nr\xff\xff\xff\xff.", PONS_ERR_INPUT, "memo"),
        PICKLE("\x80\2X\xff\xff\xff\xff.", PONS_ERR_INPUT, "text beyond"),
        PICKLE("\x80\2\x8a\xff.", PONS_ERR_UNSUPPORTED, "255 bytes"),
        PICKLE("\x80\2\x8a\x08.", PONS_ERR_INPUT, "beyond the end"),
        PICKLE("\x80\2\xfe.", PONS_ERR_INPUT, "not a pickle opcode"),
        PICKLE("\x80\2cos", PONS_ERR_INPUT, "beyond the end"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pons_status st = try_pickle(cases[i].pickle, cases[i].bytes);
        if (st != cases[i].code || (st != PONS_OK && !strstr(pons_error_message(), cases[i].part)))
            fail_msg("pickle %d: status %d, %s", (int)i, (int)st, pons_error_message());
    }
}

static void archives(void **state)
{
    (void)state;
    pons_torch_file *file = NULL;
    const char *path = scratch("archive.pt");
    zip_t *archive = zip_open(path, ZIP_CREATE, NULL);
    add(archive, "x/other", "a", 1);
    assert_int_equal(zip_close(archive), 0);
    assert_int_equal(pons_torch_open(path, &file), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "found 0 records named data.pkl"));

    archive = zip_open(path, 0, NULL);
    add(archive, "x/data.pkl", "\x80\2N.", 4);
    add(archive, "y/data.pkl", "\x80\2N.", 4);
    assert_int_equal(zip_close(archive), 0);
    assert_int_equal(pons_torch_open(path, &file), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "found 2 records"));

    archive = zip_open(path, 0, NULL);
    zip_delete(archive, 2);
    add(archive, "x/byteorder", "big", 3);
    assert_int_equal(zip_close(archive), 0);
    assert_int_equal(pons_torch_open(path, &file), PONS_ERR_UNSUPPORTED);
    assert_non_null(strstr(pons_error_message(), "byteorder: found big"));
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* ---- Damage. */

/* Read everything that can be read; whatever happens must end in a status and one line. */
static pons_status read_all(const char *path)
{
    static float values[64];
    pons_torch_file *file = NULL;
    pons_status st = pons_torch_open(path, &file);
    const pons_torch_value *root = st == PONS_OK ? pons_torch_root(file) : NULL;
    for (int64_t i = 0; root && st == PONS_OK && i < pons_torch_value_count(root); i++) {
        const pons_torch_value *v = pons_torch_value_at(root, i, NULL);
        int64_t n = 1;
        if (pons_torch_value_kind(v) != PONS_TORCH_TENSOR) continue;
        for (int d = 0; d < pons_torch_tensor_ndim(v); d++)
            n *= pons_torch_tensor_shape(v)[d];
        if (n <= 64) st = pons_torch_read(file, v, values);
    }
    pons_torch_close(&file);
    assert_int_equal(pons_mem_outstanding(), 0);
    if (st != PONS_OK) {
        assert_null(strchr(pons_error_message(), '\n'));
        assert_non_null(strstr(pons_error_message(), path));
    }
    return st;
}

static char *golden_bytes(const char *name, size_t *bytes)
{
    char path[2048], *data = NULL;
    snprintf(path, sizeof path, "%s/torch/%s", getenv("PONS_FIXTURES"), name);
    assert_int_equal(pons_file_read(path, &data, bytes), PONS_OK);
    char *copy = malloc(*bytes);
    memcpy(copy, data, *bytes);
    pons_mem_free(data);
    return copy;
}

static void truncation(void **state)
{
    (void)state;
    size_t bytes;
    char *data = golden_bytes("mixed.pt", &bytes);
    const char *path = scratch("cut.pt");
    for (size_t n = 0; n < bytes; n += 7) {
        spill(path, data, n);
        assert_int_not_equal(read_all(path), PONS_OK);
    }
    free(data);
}

static void flipped_bits(void **state)
{
    (void)state;
    size_t bytes;
    uint64_t seed = 1;
    int refused = 0;
    char *data = golden_bytes("mixed.pt", &bytes);
    const char *path = scratch("flip.pt");
    for (int i = 0; i < 3000; i++) {
        size_t at = next_random(&seed) % bytes;
        char old = data[at];
        data[at] ^= (char)(1 << next_random(&seed) % 8);
        spill(path, data, bytes);
        refused += read_all(path) != PONS_OK;
        data[at] = old;
    }
    assert_true(refused > 1000); /* the rest hit padding, names, times */

    for (size_t at = 0; at + 96 <= bytes; at++) /* the values of `base` */
        if (!memcmp(data + at, "\0\0\0\0\0\0\x80\x3e\0\0\0\x3f", 12)) {
            data[at + 8] ^= 1;
            spill(path, data, bytes);
            assert_int_equal(read_all(path), PONS_ERR_INPUT);
            assert_non_null(strstr(pons_error_message(), "CRC"));
            free(data);
            return;
        }
    fail_msg("the values of mixed.pt were not found");
}

/* Pickles of random opcodes: the checksum of the archive is right, so that the machine meets them. */
static void random_pickles(void **state)
{
    (void)state;
    static const char opcodes[] =
        "(.0JKMNQRXabcehjqrstuG])}\x80\x85\x86\x87\x88\x89\x8a\x8c\x93\x94"
        "KKKNN((])}tus\x86\x87";
    static const char calls[] = STORAGE("\4") "K\0K\2\x85K\1\x85\x89NtR";
    uint64_t seed = 7;
    for (int i = 0; i < 4000; i++) {
        char pickle[256] = "\x80\2";
        size_t n = 2, length = 4 + next_random(&seed) % 60;
        while (n < length) {
            if (next_random(&seed) % 16 == 0 && n + sizeof calls < sizeof pickle) {
                memcpy(pickle + n, calls, sizeof calls - 1);
                n += sizeof calls - 1;
            } else if (next_random(&seed) % 4 == 0) {
                pickle[n++] = (char)next_random(&seed);
            } else {
                pickle[n++] = opcodes[next_random(&seed) % (sizeof opcodes - 1)];
            }
        }
        pickle[n++] = '.';
        try_pickle(pickle, n);
    }
}

/* ---- Writing. */

static void round_trip(void **state)
{
    (void)state;
    const char *path = scratch("written.pt"), *again = scratch("again.pt");
    const float R1[6] = {1, -2, 3.5f, 0, 1e-30f, -7};
    const uint16_t half[2] = {0x3c00, 0xc000};
    const double wide[1] = {0.1};
    const pons_tensor_view tensors[] = {
        {.name = "R1", .dtype = PONS_DTYPE_F32, .ndim = 2, .shape = {2, 3}, .data = R1},
        {.name = "h", .dtype = PONS_DTYPE_F16, .ndim = 1, .shape = {2}, .data = half},
        {.name = "w", .dtype = PONS_DTYPE_F64, .ndim = 0, .data = wide}};
    pons_torch_file *file = NULL;
    assert_int_equal(pons_torch_write(path, 3, tensors), PONS_OK);
    assert_int_equal(pons_torch_open(path, &file), PONS_OK);
    assert_int_equal(pons_torch_value_count(pons_torch_root(file)), 3);
    expect(file, "R1", PONS_DTYPE_F32, 2, (const int64_t[]){2, 3}, R1);
    expect(file, "h", PONS_DTYPE_F16, 1, (const int64_t[]){2}, (const float[]){1, -2});
    expect(file, "w", PONS_DTYPE_F64, 0, NULL, (const float[]){0.1f});
    pons_torch_close(&file);

    char *a = NULL, *b = NULL;
    size_t n, m;
    assert_int_equal(pons_torch_write(again, 3, tensors), PONS_OK);
    assert_int_equal(pons_file_read(path, &a, &n), PONS_OK);
    assert_int_equal(pons_file_read(again, &b, &m), PONS_OK);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    pons_mem_free(b);
    pons_mem_free(a);
    assert_false(pons_file_exists(scratch("written.pt.part")));
    assert_int_equal(pons_torch_write(scratch("nowhere/file.pt"), 3, tensors), PONS_ERR_IO);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tensors_of_torch),
                                       cmocka_unit_test(values_of_torch),
                                       cmocka_unit_test(other_files_of_torch),
                                       cmocka_unit_test(pickles),
                                       cmocka_unit_test(archives),
                                       cmocka_unit_test(truncation),
                                       cmocka_unit_test(flipped_bits),
                                       cmocka_unit_test(random_pickles),
                                       cmocka_unit_test(round_trip)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

/* Safetensors: what the writer writes is read back; every rule of the format, broken one at a time
 * by bytes spelt out here, is refused with the right code and a sentence naming the place; fixture
 * models made by the public library open with the shapes their config.json implies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include <sys/stat.h>

#include "base/mem.h"
#include "io/safetensors_writer.h"
#include "io/scratch.h"
#include "io/store.h"
#include "support/stored.h"

/* Header length, header text, then `bytes` data bytes 0, 1, 2, ... */
static size_t compose(uint8_t *file, const char *header, size_t bytes)
{
    uint64_t n = strlen(header);
    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    for (size_t i = 0; i < bytes; i++)
        file[8 + n + i] = (uint8_t)i;
    return 8 + n + bytes;
}

static void spill_tensors(const char *path, const char *header, size_t bytes)
{
    uint8_t file[8192];
    spill(path, file, compose(file, header, bytes));
}

static void assert_refused(const char *path, pons_status code, const char *words)
{
    pons_store *store = NULL;
    pons_status st = pons_store_open(path, &store);
    if (st != code || !strstr(pons_error_message(), words))
        fail_msg("expected '%s' (%s), got %s: %s", words, pons_status_text(code),
                 pons_status_text(st), st == PONS_OK ? "" : pons_error_message());
    assert_null(store);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void round_trip(void **state)
{
    (void)state;
    const char *path = scratch("model.safetensors");
    pons_st_writer *w;
    const int64_t shape_a[] = {2, 3}, shape_b[] = {5}, shape_d[] = {0, 7};
    const double a[6] = {1.5, -2, 3, 4, 5, 1e300};
    const uint16_t b[5] = {0x3f80, 0xc000, 0, 1, 0xffff};
    const int8_t c = -7;

    assert_int_equal(pons_st_writer_create(path, &w), PONS_OK);
    assert_int_equal(pons_st_writer_declare(w, "a \"quoted\" \xc3\xa4", PONS_DTYPE_F64, 2, shape_a),
                     PONS_OK);
    assert_int_equal(pons_st_writer_declare(w, "b", PONS_DTYPE_BF16, 1, shape_b), PONS_OK);
    assert_int_equal(pons_st_writer_declare(w, "c", PONS_DTYPE_I8, 0, NULL), PONS_OK);
    assert_int_equal(pons_st_writer_declare(w, "d", PONS_DTYPE_F32, 2, shape_d), PONS_OK);
    assert_int_equal(pons_st_writer_declare(w, "b", PONS_DTYPE_BF16, 1, shape_b), PONS_ERR_BUG);
    assert_int_equal(pons_st_writer_declare(w, "__metadata__", PONS_DTYPE_BF16, 1, shape_b),
                     PONS_ERR_BUG);
    assert_int_equal(pons_st_writer_declare(w, "q", PONS_DTYPE_Q4_0, 1, shape_b), PONS_ERR_BUG);
    assert_int_equal(pons_st_writer_declare(w, "\xff", PONS_DTYPE_I8, 0, NULL), PONS_ERR_BUG);
    assert_int_equal(pons_st_writer_write(w, a, 20), PONS_OK);
    assert_int_equal(pons_st_writer_declare(w, "late", PONS_DTYPE_I8, 0, NULL), PONS_ERR_BUG);
    assert_int_equal(pons_st_writer_write(w, (const char *)a + 20, 28), PONS_OK);
    assert_int_equal(pons_st_writer_write(w, b, 10), PONS_OK);
    assert_int_equal(pons_st_writer_write(w, b, 2), PONS_ERR_BUG);
    assert_int_equal(pons_st_writer_write(w, &c, 1), PONS_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(pons_st_writer_commit(&w), PONS_OK);
    assert_null(w);

    pons_store *store;
    assert_int_equal(pons_store_open(path, &store), PONS_OK);
    assert_string_equal(pons_store_path(store), path);
    assert_false(pons_store_is_gguf(store));
    assert_null(pons_store_metadata(store, "format"));
    assert_int_equal(pons_store_count(store), 4);
    const pons_tensor_view *t = pons_store_find(store, "a \"quoted\" \xc3\xa4");
    assert_non_null(t);
    assert_ptr_equal(t, pons_store_at(store, 0));
    assert_int_equal(t->dtype, PONS_DTYPE_F64);
    assert_int_equal(t->ndim, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    assert_memory_equal(stored(store, t), a, sizeof a);
    t = pons_store_find(store, "b");
    assert_memory_equal(stored(store, t), b, sizeof b);
    t = pons_store_find(store, "c");
    assert_int_equal(t->ndim, 0);
    assert_int_equal(*(const int8_t *)stored(store, t), -7);
    assert_int_equal(pons_tensor_elements(pons_store_find(store, "d")), 0);
    assert_null(pons_store_find(store, "e"));
    assert_null(pons_store_find(store, "__metadata__"));
    pons_store_close(&store);
    assert_null(store);
    pons_store_close(&store);

    /* Loaders want the metadata: it is the first entry, as text. */
    char *raw;
    size_t bytes;
    uint64_t length;
    assert_int_equal(pons_file_read(path, &raw, &bytes), PONS_OK);
    memcpy(&length, raw, 8);
    assert_int_equal(length % 8, 0);
    assert_int_equal(bytes, 8 + length + 48 + 10 + 1);
    const char *head = "{\"__metadata__\":{\"format\":\"pt\"},\"a \\\"quoted\\\" ";
    assert_memory_equal(raw + 8, head, strlen(head));
    pons_mem_free(raw);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void writer_leaves_nothing_behind(void **state)
{
    (void)state;
    const char *path = scratch("w.safetensors"), *part = scratch("w.safetensors.part");
    const int64_t shape[] = {4};
    pons_st_writer *w;
    assert_int_equal(pons_st_writer_create(path, &w), PONS_OK);
    assert_int_equal(pons_st_writer_declare(w, "x", PONS_DTYPE_F32, 1, shape), PONS_OK);
    assert_int_equal(pons_st_writer_write(w, "12345678", 8), PONS_OK);
    assert_int_equal(pons_st_writer_commit(&w), PONS_ERR_BUG); /* 8 of 16 bytes */
    assert_null(w);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_not_equal(access(part, F_OK), 0);

    assert_int_equal(pons_st_writer_create(path, &w), PONS_OK);
    assert_int_equal(access(part, F_OK), 0);
    pons_st_writer_abandon(&w);
    assert_null(w);
    pons_st_writer_abandon(&w);
    assert_int_not_equal(access(part, F_OK), 0);

    assert_int_equal(symlink("/dev/full", part), 0);
    assert_int_equal(pons_st_writer_create(path, &w), PONS_OK);
    assert_int_equal(pons_st_writer_declare(w, "x", PONS_DTYPE_F32, 1, shape), PONS_OK);
    assert_int_equal(pons_st_writer_write(w, "1234567812345678", 16), PONS_OK); /* still buffered */
    assert_int_equal(pons_st_writer_commit(&w), PONS_ERR_IO);
    assert_non_null(strstr(pons_error_message(), "No space left"));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_not_equal(unlink(part), 0);
    assert_int_equal(pons_st_writer_create(scratch("absent/x"), &w), PONS_ERR_IO);
    assert_int_equal(pons_mem_outstanding(), 0);
}

#define T(dtype, shape, begin, end)                                                                \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void each_rule_broken_once(void **state)
{
    (void)state;
    const struct {
        const char *header;
        size_t bytes;
        pons_status code;
        const char *words;
    } cases[] = {
        {"{\"x\":" T("F32", "[2]", "0", "8") "}", 7, PONS_ERR_INPUT, "only 7 data bytes"},
        {"{\"x\":" T("F32", "[2]", "0", "8") "}", 9, PONS_ERR_INPUT, "end at 8"},
        {"{}", 1, PONS_ERR_INPUT, "nothing may follow"},
        {"{\"x\":" T("F32", "[2]", "0", "12") "}", 12, PONS_ERR_INPUT, "span 12 bytes"},
        {"{\"x\":" T("F32", "[2]", "4", "12") "}", 12, PONS_ERR_INPUT, "no gap"},
        {"{\"x\":" T("U8", "[2]", "0", "2") ",\"y\":" T("U8", "[2]", "3", "5") "}", 5,
         PONS_ERR_INPUT, "tensor 'y' begins at data byte 3, but 'x' ends at 2; no gap"},
        {"{\"y\":" T("U8", "[3]", "1", "4") ",\"x\":" T("U8", "[2]", "0", "2") "}", 4,
         PONS_ERR_INPUT, "tensor 'y' begins at data byte 1, inside 'x', which ends at 2"},
        {"{\"x\":" T("U8", "[2]", "0", "2") ",\"y\":" T("U8", "[2]", "0", "2") "}", 2,
         PONS_ERR_INPUT, "may not overlap"},
        {"{\"x\":" T("U8", "[2]", "0", "2") ",\"x\":" T("U8", "[2]", "2", "4") "}", 4,
         PONS_ERR_INPUT, "duplicate"},
        {"{\"x\":" T("F32", "[2]", "8", "0") "}", 8, PONS_ERR_INPUT, "0 <= begin <= end"},
        {"{\"x\":" T("F32", "[2]", "-8", "0") "}", 8, PONS_ERR_INPUT, "0 <= begin <= end"},
        {"{\"x\":" T("F32", "[-2]", "0", "8") "}", 8, PONS_ERR_INPUT, "shape[0]"},
        {"{\"x\":" T("F32", "[2.0]", "0", "8") "}", 8, PONS_ERR_INPUT, "shape[0]"},
        {"{\"x\":" T("F32", "2", "0", "8") "}", 8, PONS_ERR_INPUT, "shape is not an array"},
        {"{\"x\":" T("F32", "[1,1,1,1,2]", "0", "8") "}", 8, PONS_ERR_UNSUPPORTED, "5 dimensions"},
        {"{\"x\":" T("F32", "[4611686018427387904,4]", "0", "0") "}", 0, PONS_ERR_INPUT,
         "too large"},
        {"{\"x\":" T("F32", "[4611686018427387904]", "0", "0") "}", 0, PONS_ERR_INPUT, "too large"},
        {"{\"x\":" T("F32", "[99999999999999999999]", "0", "0") "}", 0, PONS_ERR_INPUT,
         "not valid JSON"},
        {"{\"x\":" T("F8_E4M3", "[2]", "0", "2") "}", 2, PONS_ERR_UNSUPPORTED, "dtype 'F8_E4M3'"},
        {"{\"x\":{\"dtype\":3,\"shape\":[2],\"data_offsets\":[0,2]}}", 2, PONS_ERR_INPUT, "dtype"},
        {"{\"x\":{\"shape\":[2],\"data_offsets\":[0,2]}}", 2, PONS_ERR_INPUT, "dtype is missing"},
        {"{\"x\":{\"dtype\":\"U8\",\"data_offsets\":[0,2]}}", 2, PONS_ERR_INPUT, "shape"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2]}}", 2, PONS_ERR_INPUT, "data_offsets"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0]}}", 2, PONS_ERR_INPUT,
         "data_offsets"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2],\"strides\":[1]}}", 2,
         PONS_ERR_INPUT, "unknown field 'strides'"},
        {"{\"x\":7}", 0, PONS_ERR_INPUT, "not an object"},
        {"[1]", 0, PONS_ERR_INPUT, "begin with '{'"},
        {" {}", 0, PONS_ERR_INPUT, "begin with '{'"},
        {"{\"x\":", 0, PONS_ERR_INPUT, "not valid JSON"},
        {"{\"\\u0000\":" T("U8", "[2]", "0", "2") "}", 2, PONS_ERR_INPUT, "not valid JSON"},
        {"{\"x\xff\":" T("U8", "[2]", "0", "2") "}", 2, PONS_ERR_INPUT, "not valid JSON"},
        {"{\"__metadata__\":{\"format\":1}}", 0, PONS_ERR_INPUT, "__metadata__: 'format'"},
        {"{\"__metadata__\":[]}", 0, PONS_ERR_INPUT, "__metadata__"},
    };
    const char *path = scratch("bad.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spill_tensors(path, cases[i].header, cases[i].bytes);
        assert_refused(path, cases[i].code, cases[i].words);
        assert_non_null(strstr(pons_error_message(), "bad.safetensors: "));
    }

    uint64_t length = 100000001;
    spill(path, &length, 8);
    assert_refused(path, PONS_ERR_INPUT, "header length 100000001; allowed: at most 100000000");
    length = 3;
    spill(path, &length, 8);
    assert_refused(path, PONS_ERR_INPUT, "only 0 bytes follow");
    length = UINT64_MAX;
    spill(path, &length, 8);
    assert_refused(path, PONS_ERR_INPUT, "header length");
    length = 0;
    spill(path, &length, 8);
    assert_refused(path, PONS_ERR_INPUT, "begin with");
    spill(path, "1234567", 7);
    assert_refused(path, PONS_ERR_INPUT, "7 bytes, too few");
    spill(path, "", 0);
    assert_refused(path, PONS_ERR_INPUT, "0 bytes, too few");
    assert_refused(scratch("absent"), PONS_ERR_IO, "cannot open ");
    assert_refused("/dev/null", PONS_ERR_IO, "not a regular file");

    /* The rules do not ask for sorted offsets, for padding to 8, or for tensors at all. */
    pons_store *store;
    spill_tensors(path,
                  "{\"y\":" T("U8", "[2]", "2", "4") ",\"x\":" T(
                      "U8", "[1,2]", "0", "2") ",\"e\":" T("F32", "[0]", "2", "2") "}   ",
                  4);
    assert_int_equal(pons_store_open(path, &store), PONS_OK);
    assert_int_equal(*(const uint8_t *)stored(store, pons_store_find(store, "y")), 2);
    assert_string_equal(pons_store_at(store, 1)->name, "x");
    pons_store_close(&store);
    spill_tensors(path, "{}", 0);
    assert_int_equal(pons_store_open(path, &store), PONS_OK);
    assert_int_equal(pons_store_count(store), 0);
    assert_null(pons_store_find(store, "x"));
    pons_store_close(&store);
}

#define INDEX(map) "{\"metadata\":{\"total_size\":4},\"weight_map\":" map "}"

static void shards(void **state)
{
    (void)state;
    char index[256], directory[256], one[256], two[256];
    snprintf(directory, sizeof directory, "%s", scratch("sharded"));
    snprintf(one, sizeof one, "%s", scratch("sharded/m-1.safetensors"));
    snprintf(two, sizeof two, "%s", scratch("sharded/m-2.safetensors"));
    snprintf(index, sizeof index, "%s", scratch("sharded/model.safetensors.index.json"));
    pons_dir_make(directory);
    assert_refused(directory, PONS_ERR_INPUT,
                   "looked for model.safetensors and model.safetensors.index.json");
    spill_tensors(one, "{\"x\":" T("U8", "[2]", "0", "2") "}", 2);
    spill_tensors(two, "{\"y\":" T("U8", "[3]", "0", "3") "}", 3);

    pons_store *store;
    const char *good = INDEX("{\"y\":\"m-2.safetensors\",\"x\":\"m-1.safetensors\"}");
    spill(index, good, strlen(good));
    assert_int_equal(pons_store_open(directory, &store), PONS_OK);
    assert_int_equal(pons_store_count(store), 2);
    assert_string_equal(pons_store_at(store, 0)->name, "x");
    assert_int_equal(pons_store_find(store, "y")->shape[0], 3);
    pons_store_close(&store);

    const struct {
        const char *text, *words;
    } cases[] = {
        {INDEX("{\"x\":\"m-1.safetensors\",\"y\":\"m-3.safetensors\"}"),
         "'y' is in file 'm-3.safetensors', which does not exist"},
        {INDEX("{\"x\":\"m-1.safetensors\",\"y\":\"m-2.safetensors\",\"z\":\"m-2.safetensors\"}"),
         "'z' is in file 'm-2.safetensors', which has no such tensor"},
        {INDEX("{\"x\":\"m-2.safetensors\",\"y\":\"m-1.safetensors\"}"), "but it was found in"},
        {INDEX("{\"x\":\"m-1.safetensors\",\"x\":\"m-2.safetensors\"}"), "duplicate"},
        {INDEX("{\"x\":\"../sharded/m-1.safetensors\"}"), "same directory"},
        {INDEX("{\"x\":\"\"}"), "same directory"},
        {INDEX("{\"x\":1}"), "not a file name"},
        {INDEX("{}"), "missing or empty"},
        {INDEX("3"), "missing or empty"},
        {"{}", "missing or empty"},
        {"{\"weight_map\":", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spill(index, cases[i].text, strlen(cases[i].text));
        assert_refused(directory, PONS_ERR_INPUT, cases[i].words);
    }
    spill(index, good, strlen(good));
    spill_tensors(two, "{\"y\":" T("U8", "[3]", "0", "3") "}", 2);
    assert_refused(directory, PONS_ERR_INPUT,
                   "m-2.safetensors: tensor 'y' takes data bytes 0 to 3");
    spill_tensors(two, "{\"y\":" T("U8", "[3]", "0", "3") ",\"x\":" T("U8", "[1]", "3", "4") "}",
                  4);
    assert_refused(directory, PONS_ERR_INPUT, "tensor 'x' is in both ");
    spill_tensors(two, "{\"y\":" T("U8", "[3]", "0", "3") ",\"z\":" T("U8", "[1]", "3", "4") "}",
                  4);
    assert_refused(directory, PONS_ERR_INPUT, "tensor 'z' is not in weight_map of ");
    unlink(two);
    assert_refused(directory, PONS_ERR_INPUT, "which does not exist");
}

/* A cut at any length is refused; changed bytes are refused or harmless, and never read outside the
 * file (the sanitizers watch the map's end only loosely, so every byte of a view is read). */
static void truncated_or_mutated(void **state)
{
    (void)state;
    uint8_t file[1024], changed[1024];
    const char *path = scratch("m.safetensors");
    size_t n = compose(file,
                       "{\"__metadata__\":{\"format\":\"pt\"},\"x\":" T(
                           "F32", "[2,3]", "0", "24") ",\"y\":" T("BF16", "[4]", "24", "32") "}",
                       32);
    for (size_t cut = 0; cut < n; cut++) {
        spill(path, file, cut);
        assert_refused(path, PONS_ERR_INPUT, path);
    }
    uint64_t seed = 7;
    int opened = 0;
    for (int round = 0; round < 1000; round++) {
        memcpy(changed, file, n);
        for (uint32_t k = 1 + next_random(&seed) % 3; k; k--)
            changed[next_random(&seed) % (n - 32)] = next_random(&seed) % 2
                                                         ? (uint8_t)next_random(&seed)
                                                         : (uint8_t)('0' + next_random(&seed) % 10);
        spill(path, changed, n);
        pons_store *store;
        pons_status st = pons_store_open(path, &store);
        assert_true(st == PONS_OK || st == PONS_ERR_INPUT || st == PONS_ERR_UNSUPPORTED);
        if (st == PONS_OK) {
            opened++;
            volatile uint32_t sum = 0;
            for (int64_t i = 0; i < pons_store_count(store); i++) {
                const pons_tensor_view *t = pons_store_at(store, i);
                size_t bytes = pons_dtype_bytes(t->dtype, pons_tensor_elements(t));
                const uint8_t *data = stored(store, t);
                assert_true(bytes <= 32);
                for (size_t b = 0; b < bytes; b++)
                    sum = sum + data[b];
            }
            pons_store_close(&store);
        }
    }
    assert_true(opened > 10 && opened < 900); /* both ways were exercised */
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* A file that is cut after it was opened, as a failing disk or another process would: an error with the
 * file's name, for bytes that are gone only; what was read ahead before is there still. */
static void shortened_while_open(void **state)
{
    (void)state;
    const char *path = scratch("shortened.safetensors");
    pons_store *store = NULL;
    uint8_t got[4] = {0};
    pons_task_span span = {0, 0};
    spill_tensors(path,
                  "{\"a\":" T("U8", "[4]", "0", "4") ",\"b\":" T("U8", "[4]", "4", "8") ",\"c\":" T(
                      "U8", "[4]", "8", "12") "}   ",
                  12);
    assert_int_equal(pons_store_open(path, &store), PONS_OK);
    const pons_tensor_view *a = pons_store_find(store, "a"), *b = pons_store_find(store, "b"),
                           *c = pons_store_find(store, "c");
    const uint8_t *whole = stored(store, c);
    pons_store_read_ahead(store, c);
    assert_int_equal(pons_store_read(store, c, 1, 2, got), PONS_OK); /* it has been read */
    assert_memory_equal(got, whole + 1, 2);

    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 6), 0); /* in the middle of b */
    pons_store_read_ahead(store, b);
    assert_int_equal(pons_store_read(store, a, 0, 4, got), PONS_OK);
    assert_int_equal(pons_store_read(store, b, 0, 2, got), PONS_OK);
    assert_int_equal(pons_store_read(store, b, 0, 4, got), PONS_ERR_IO);
    assert_non_null(strstr(pons_error_message(), "shortened.safetensors: b: the file had "));
    assert_int_equal(pons_store_read(store, c, 0, 4, got), PONS_OK);
    assert_memory_equal(got, whole, 4);
    assert_true(pons_store_forget(store, c, &span));
    assert_true(span.end >= span.start && span.start > 0);
    assert_false(pons_store_forget(store, c, NULL));
    assert_false(pons_store_forget(store, b, NULL)); /* it could not be read ahead */
    assert_int_equal(pons_store_read(store, c, 0, 4, got), PONS_ERR_IO);
    pons_store_read_ahead(store,
                          a); /* closing frees both, and says nothing of the second's failure */
    pons_store_read_ahead(store, b);
    (void)pons_fail(PONS_ERR_INPUT, "the sentence to print");
    pons_store_close(&store);
    assert_string_equal(pons_error_message(), "the sentence to print");
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void open_fixture(const char *name, pons_store **store)
{
    char path[512];
    snprintf(path, sizeof path, "%s/models/%s", getenv("PONS_FIXTURES"), name);
    if (pons_store_open(path, store) != PONS_OK) fail_msg("%s", pons_error_message());
}

static void assert_shape(const pons_store *store, const char *name, int64_t rows, int64_t columns)
{
    const pons_tensor_view *t = pons_store_find(store, name);
    if (!t) fail_msg("no tensor %s", name);
    assert_int_equal(t->ndim, columns ? 2 : 1);
    assert_int_equal(t->shape[0], rows);
    if (columns) assert_int_equal(t->shape[1], columns);
}

/* Shapes follow from config.json: hidden 96, 6 heads of 16, 2 key-value heads, intermediate 192,
 * vocabulary 320. */
static void fixtures(void **state)
{
    (void)state;
    if (!getenv("PONS_FIXTURES")) skip();
    pons_store *store;
    open_fixture("llama-gqa", &store); /* four shards */
    assert_shape(store, "model.embed_tokens.weight", 320, 96);
    assert_shape(store, "lm_head.weight", 320, 96);
    assert_shape(store, "model.norm.weight", 96, 0);
    for (int layer = 0; layer < 3; layer++) {
        char name[80];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.k_proj.weight", layer);
        assert_shape(store, name, 32, 96);
        snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight", layer);
        assert_shape(store, name, 96, 192);
    }
    int64_t parameters = 0;
    for (int64_t i = 0; i < pons_store_count(store); i++)
        parameters += pons_tensor_elements(pons_store_at(store, i));
    assert_int_equal(parameters, 301728); /* total_parameters of the index */
    pons_store_close(&store);

    open_fixture("llama31-rope", &store);
    assert_int_equal(pons_store_find(store, "model.embed_tokens.weight")->dtype, PONS_DTYPE_F16);
    pons_store_close(&store);
    open_fixture("qwen2-bias-tied", &store);
    assert_null(pons_store_find(store, "lm_head.weight"));
    assert_non_null(pons_store_find(store, "model.layers.0.self_attn.q_proj.bias"));
    pons_store_close(&store);
    open_fixture("mistral-headdim", &store);
    assert_int_equal(pons_store_count(store) > 0, 1);
    pons_store_close(&store);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip),
                                       cmocka_unit_test(writer_leaves_nothing_behind),
                                       cmocka_unit_test(each_rule_broken_once),
                                       cmocka_unit_test(shards),
                                       cmocka_unit_test(truncated_or_mutated),
                                       cmocka_unit_test(shortened_while_open),
                                       cmocka_unit_test(fixtures)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

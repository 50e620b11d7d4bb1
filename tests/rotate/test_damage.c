/* Rotation files that are damaged anywhere end in a status and one line that names the file: bytes flipped and cut off
 * under the archive's checksums, then pickles changed and storages cut short with checksums that are right. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "base/mem.h"
#include "io/file.h"
#include "rotate/rotation.h"

static char folder[] = "/tmp/pons-damage.XXXXXX", path[64];

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    remove(path);
    return rmdir(folder);
}

typedef struct golden {
    pons_model *model;
    pons_recipe recipe; /* with the damaged file */
    char *data;
    size_t bytes;
} golden;

static golden open_golden(pons_rotation_kind kind, const char *file)
{
    golden g;
    char place[2048], *data;
    const char *fixtures = getenv("PONS_FIXTURES");
    snprintf(place, sizeof place, "%s/models/llama-gqa", fixtures);
    assert_int_equal(pons_model_open(place, &g.model), PONS_OK);
    snprintf(place, sizeof place, "%s/frameworks/%s", fixtures, file);
    assert_int_equal(pons_file_read(place, &data, &g.bytes), PONS_OK);
    g.data = malloc(g.bytes);
    memcpy(g.data, data, g.bytes);
    pons_mem_free(data);
    pons_recipe_default(&g.recipe);
    g.recipe.rotation.kind = kind;
    snprintf(g.recipe.rotation.file, sizeof g.recipe.rotation.file, "%s", path);
    return g;
}

static void close_golden(golden *g)
{
    pons_model_close(&g->model);
    free(g->data);
}

static void spill(const char *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* Whether the file is refused; how is checked here. */
static bool is_refused(const golden *g)
{
    size_t before = pons_mem_outstanding();
    pons_rotation *rotation = NULL;
    pons_status st = pons_rotation_create(&g->recipe, pons_model_get_config(g->model), &rotation);
    pons_rotation_destroy(&rotation);
    assert_int_equal(pons_mem_outstanding(), before);
    if (st == PONS_OK) return false;
    if (strchr(pons_error_message(), '\n') || !strstr(pons_error_message(), path))
        fail_msg("status %d: %s", (int)st, pons_error_message());
    assert_true(st == PONS_ERR_INPUT || st == PONS_ERR_UNSUPPORTED || st == PONS_ERR_SHAPE);
    return true;
}

/* Every 64th byte turned over; cuts at 200 lengths. */
static void check_bytes(pons_rotation_kind kind, const char *file)
{
    golden g = open_golden(kind, file);
    size_t refused = 0, tried = 0;
    spill(g.data, g.bytes);
    assert_false(is_refused(&g));
    for (size_t at = 0; at < g.bytes; at += 64) {
        g.data[at] = (char)~g.data[at];
        spill(g.data, g.bytes);
        refused += is_refused(&g);
        tried++;
        g.data[at] = (char)~g.data[at];
    }
    assert_true(refused > tried / 2); /* the rest met padding */
    for (size_t n = 0; n < g.bytes; n += 1 + g.bytes / 200) {
        spill(g.data, n);
        assert_true(is_refused(&g));
    }
    close_golden(&g);
}

/* The archive with one record replaced. @param name the end of the record's name */
static void replace(const golden *g, const char *name, const void *data, size_t bytes)
{
    spill(g->data, g->bytes);
    zip_t *archive = zip_open(path, 0, NULL);
    assert_non_null(archive);
    for (zip_int64_t i = 0; i < zip_get_num_entries(archive, 0); i++) {
        const char *entry = zip_get_name(archive, (zip_uint64_t)i, 0);
        size_t n = strlen(entry), m = strlen(name);
        if (n < m || strcmp(entry + n - m, name)) continue;
        zip_source_t *source = zip_source_buffer(archive, data, bytes, 0);
        assert_int_equal(zip_file_replace(archive, (zip_uint64_t)i, source, 0), 0);
        zip_set_file_compression(archive, (zip_uint64_t)i, ZIP_CM_STORE, 0);
    }
    assert_int_equal(zip_close(archive), 0);
}

static unsigned char *record_of(const golden *g, const char *name, size_t *bytes)
{
    unsigned char *data = NULL;
    spill(g->data, g->bytes);
    zip_t *archive = zip_open(path, ZIP_RDONLY, NULL);
    for (zip_int64_t i = 0; i < zip_get_num_entries(archive, 0); i++) {
        zip_stat_t entry;
        assert_int_equal(zip_stat_index(archive, (zip_uint64_t)i, 0, &entry), 0);
        size_t n = strlen(entry.name), m = strlen(name);
        if (n < m || strcmp(entry.name + n - m, name)) continue;
        zip_file_t *file = zip_fopen_index(archive, (zip_uint64_t)i, 0);
        data = malloc(entry.size);
        *bytes = entry.size;
        assert_int_equal(zip_fread(file, data, entry.size), entry.size);
        zip_fclose(file);
    }
    zip_discard(archive);
    assert_non_null(data);
    return data;
}

/* Bytes of the pickle changed, `steps` apart; a storage cut short, emptied, and filled with NaN. */
static void check_records(pons_rotation_kind kind, const char *file, size_t steps)
{
    golden g = open_golden(kind, file);
    size_t bytes, refused = 0, tried = 0;
    unsigned char *pickle = record_of(&g, "/data.pkl", &bytes);
    replace(&g, "/data.pkl", pickle, bytes);
    assert_false(is_refused(&g));
    for (size_t at = 0; at < bytes; at += steps)
        for (int flip = 1; flip < 256; flip = 2 * flip + 1) {
            pickle[at] ^= (unsigned char)flip;
            replace(&g, "/data.pkl", pickle, bytes);
            refused += is_refused(&g);
            tried++;
            pickle[at] ^= (unsigned char)flip;
        }
    assert_true(refused > tried / 2); /* the rest renamed what nobody asks for, or a memo's slot */
    for (size_t n = 0; n < bytes; n += 1 + bytes / 50) {
        replace(&g, "/data.pkl", pickle, n);
        assert_true(is_refused(&g));
    }
    free(pickle);
    unsigned char *storage = record_of(&g, "/data/0", &bytes);
    for (size_t n = 0; n < bytes; n += 1 + bytes / 7) {
        replace(&g, "/data/0", storage, n);
        assert_true(is_refused(&g));
    }
    memset(storage, 0xff, bytes);
    replace(&g, "/data/0", storage, bytes);
    assert_true(is_refused(&g));
    memset(storage, 0, bytes);
    replace(&g, "/data/0", storage, bytes);
    assert_true(is_refused(&g));
    free(storage);
    close_golden(&g);
}

static void spinquant(void **state)
{
    (void)state;
    check_bytes(PONS_ROTATION_SPINQUANT, "llama-gqa-spinquant/R.bin");
    check_records(PONS_ROTATION_SPINQUANT, "llama-gqa-spinquant/R.bin", 3);
}

static void flatquant(void **state)
{
    (void)state;
    check_bytes(PONS_ROTATION_FLATQUANT, "llama-gqa-flatquant/flat_matrices.pth");
    check_records(PONS_ROTATION_FLATQUANT, "llama-gqa-flatquant/flat_matrices.pth", 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(spinquant), cmocka_unit_test(flatquant)};
    return cmocka_run_group_tests(tests, begin, end);
}

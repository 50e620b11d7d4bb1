/* golden.tokenizer: ids that Hugging Face tokenizers gave for awkward strings and for whole files.
 *
 * Reads every expected*.json under $PONS_GOLDEN/tokenizers. Two forms: tokenizer -> list of {text,
 * ids, ids_no_special}, and text file -> tokenizer -> {count, sha256, first, last} with the digest
 * over int32 little-endian ids without special tokens. A tokenizer NAME is NAME.json beside it; a
 * name with "GGUF" in it is the file $PONS_SMOLLM2. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sha256.h"
#include "text/tokenizer.h"
#include "support/fixture.h"

static char directory[4096];
static long failures, checks;

/* Tokenizer of a name, NULL when it is a GGUF that is not here. */
static pons_tokenizer *open_named(const char *name)
{
    char path[8192];
    pons_tokenizer *tokenizer = NULL;
    if (strstr(name, "GGUF")) {
        const char *gguf = getenv("PONS_SMOLLM2");
        if (!gguf || access(gguf, R_OK)) {
            printf("skipped: %s (PONS_SMOLLM2 names no file)\n", name);
            return NULL;
        }
        snprintf(path, sizeof path, "%s", gguf);
    } else {
        snprintf(path, sizeof path, "%s/%s.json", directory, name);
    }
    if (pons_tokenizer_open(path, &tokenizer) != PONS_OK) {
        printf("FAIL %s: %s\n", name, pons_error_message());
        failures++;
    }
    return tokenizer;
}

static void check_ids(const char *name, const pons_tokenizer *tokenizer, const json_t *entry,
                      const char *key, bool special)
{
    const json_t *text = json_object_get(entry, "text"), *want = json_object_get(entry, key);
    if (!want) return;
    int32_t *ids = NULL;
    int64_t count = 0;
    pons_status st = pons_tokenizer_encode(tokenizer, json_string_value(text),
                                           json_string_length(text), special, &ids, &count);
    bool same = st == PONS_OK && count == (int64_t)json_array_size(want);
    for (int64_t i = 0; same && i < count; i++)
        same = ids[i] == json_integer_value(json_array_get(want, (size_t)i));
    checks++;
    if (!same) {
        failures++;
        printf("FAIL %s %s: \"%s\": %s\n", name, key, json_string_value(text),
               st == PONS_OK ? "other ids" : pons_error_message());
        for (int64_t i = 0; i < count; i++)
            printf(" %d", ids[i]);
        printf("\n wanted");
        for (size_t i = 0; i < json_array_size(want); i++)
            printf(" %lld", (long long)json_integer_value(json_array_get(want, i)));
        printf("\n");
    }
    pons_mem_free(ids);
}

static void check_strings(const char *name, const json_t *entries)
{
    pons_tokenizer *tokenizer = open_named(name);
    size_t i;
    json_t *entry;
    if (!tokenizer) return;
    json_array_foreach(entries, i, entry)
    {
        check_ids(name, tokenizer, entry, "ids", true);
        check_ids(name, tokenizer, entry, "ids_no_special", false);
    }
    pons_tokenizer_close(&tokenizer);
}

/* Digest of ids as little-endian bytes whatever the machine. */
static void digest(const int32_t *ids, int64_t count, char hex[65])
{
    pons_sha256 s;
    pons_sha256_begin(&s);
    for (int64_t i = 0; i < count; i++) {
        uint32_t u = (uint32_t)ids[i];
        unsigned char bytes[4] = {u & 255, u >> 8 & 255, u >> 16 & 255, u >> 24};
        pons_sha256_update(&s, bytes, 4);
    }
    pons_sha256_end(&s, hex);
}

static void check_file(const char *file, const char *name, const json_t *entry)
{
    char path[8192], hex[65];
    const char *source = getenv("PONS_SOURCE");
    pons_tokenizer *tokenizer = open_named(name);
    if (!tokenizer) return;
    snprintf(path, sizeof path, "%s/tests/data/wikitext2-%s.txt", source ? source : ".", file);
    int32_t *ids = NULL;
    int64_t count = 0;
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    pons_status st = pons_text_load_ids(path, tokenizer, false, &ids, &count);
    clock_gettime(CLOCK_MONOTONIC, &b);
    digest(ids, st == PONS_OK ? count : 0, hex);
    checks++;
    if (st != PONS_OK || count != json_integer_value(json_object_get(entry, "count")) ||
        strcmp(hex, json_string_value(json_object_get(entry, "sha256")))) {
        failures++;
        printf("FAIL %s, %s: %s, %lld ids, wanted %lld\n", file, name,
               st == PONS_OK ? hex : pons_error_message(), (long long)count,
               (long long)json_integer_value(json_object_get(entry, "count")));
    } else {
        printf("%s, %s: %lld ids in %.2f s\n", file, name, (long long)count,
               (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec));
    }
    pons_mem_free(ids);
    pons_tokenizer_close(&tokenizer);
}

static void check_expectations(const char *path)
{
    json_error_t error;
    json_t *document = json_load_file(path, JSON_ALLOW_NUL, &error), *value, *entry;
    const char *key, *name;
    if (!document) fail_msg("%s: line %d: %s", path, error.line, error.text);
    json_object_foreach(document, key, value)
    {
        if (json_is_array(value)) {
            check_strings(key, value);
        } else {
            json_object_foreach(value, name, entry) check_file(key, name, entry);
        }
    }
    json_decref(document);
}

static void ids_are_equal(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "%s/tokenizers", fixture_root());
    DIR *folder = opendir(directory);
    if (!folder) fail_msg("%s: no such directory", directory);
    for (struct dirent *item; (item = readdir(folder));) {
        char path[8192];
        const char *dot = strrchr(item->d_name, '.');
        if (!dot || strcmp(dot, ".json") || strncmp(item->d_name, "expected", 8)) continue;
        snprintf(path, sizeof path, "%s/%s", directory, item->d_name);
        check_expectations(path);
    }
    closedir(folder);
    printf("%ld checks, %ld failures\n", checks, failures);
    assert_true(checks > 0);
    assert_int_equal(failures, 0);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids_are_equal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

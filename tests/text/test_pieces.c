/* The parts of a tokenizer one by one: bytes and characters, maps, patterns, normalizers,
 * pre-tokenizers, merging. Oracles are definitions, documented examples and naive code. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/normalize.h"
#include "text/parts.h"
#include "text/pretokenize.h"
#include "text/utf8.h"

static uint32_t random_state = 1;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* The definition: listed bytes are themselves, the others get 256, 257, ... in order. */
static void alphabet_is_the_definition(void **state)
{
    (void)state;
    int32_t next = 256;
    for (int b = 0; b < 256; b++) {
        int same = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae);
        int32_t want = same ? b : next++;
        assert_int_equal(pons_byte_alphabet_character((unsigned char)b), want);
        assert_int_equal(pons_byte_alphabet_byte(want), b);
    }
    assert_int_equal(next, 256 + 68);
    assert_int_equal(pons_byte_alphabet_byte(next), -1);
    assert_int_equal(pons_byte_alphabet_byte(' '), -1);
    assert_int_equal(pons_byte_alphabet_byte(0xad), -1);
}

static void utf8_good_and_bad(void **state)
{
    (void)state;
    for (int32_t c = 0; c < 0x110000; c++) {
        char text[4];
        if (c >= 0xd800 && c < 0xe000) continue;
        int n = pons_utf8_encode(c, text);
        assert_int_equal(pons_utf8_check(text, n), n);
        assert_int_equal(pons_utf8_length(text), n);
        assert_int_equal(pons_utf8_decode(text), c);
        assert_int_equal(pons_utf8_before(text, n), 0);
        if (n > 1) assert_int_equal(pons_utf8_check(text, n - 1), 0); /* cut off */
    }
    static const char *const bad[] = {
        "\x80", "\xc0\x80",         "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf5", "\xf4\x90\x80\x80", "\xff",     "\xc3(",        "\xe2\x82(",    "\xf0\x9f\x98("};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "ab%s", bad[i]);
        assert_int_equal(pons_utf8_check(text, n), 2);
    }
}

static void maps_remember(void **state)
{
    (void)state;
    enum { N = 3000 };
    pons_map map = {0};
    pons_merges merges = {0};
    static int64_t want[N];
    int64_t value;
    for (int i = 0; i < N; i++) {
        char key[32];
        int k = (int)draw(N);
        int n = snprintf(key, sizeof key, "%d%s", k, k % 3 ? "" : "a longer key");
        want[k] = i + 1;
        assert_int_equal(pons_map_put(&map, key, n, i + 1), PONS_OK);
        pons_merge m = {k % 70, k / 70, i + 1, k};
        assert_int_equal(pons_merges_put(&merges, m), PONS_OK);
    }
    int64_t present = 0;
    for (int k = 0; k < N; k++) {
        char key[32];
        int n = snprintf(key, sizeof key, "%d%s", k, k % 3 ? "" : "a longer key");
        const pons_merge *m = pons_merges_get(&merges, k % 70, k / 70);
        assert_int_equal(pons_map_get(&map, key, n, &value), want[k] != 0);
        assert_int_equal(m != NULL, want[k] != 0);
        if (!want[k]) continue;
        present++;
        assert_int_equal(value, want[k]);
        assert_int_equal(m->rank, want[k]);
    }
    assert_int_equal(map.count, present);
    assert_int_equal(merges.count, present);
    assert_false(pons_map_get(&map, "", 0, &value));
    assert_int_equal(pons_map_put(&map, "", 0, 7), PONS_OK);
    assert_true(pons_map_get(&map, "", 0, &value) && value == 7);
    pons_map_free(&map);
    pons_merges_free(&merges);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Words that stages make of a text, joined by "|". */
static pons_status collect(void *context, const char *word, int64_t bytes)
{
    pons_bytes *out = context;
    pons_status st = out->count ? pons_bytes_append(out, "|", 1) : PONS_OK;
    return st == PONS_OK ? pons_bytes_append(out, word, bytes) : st;
}

static void check_stages(const pons_stages *stages, const char *text, const char *want)
{
    pons_bytes got = {0};
    pons_matcher *matcher = NULL;
    pons_stage_work work[8];
    memset(work, 0, sizeof work);
    assert_true(stages->count <= 8);
    assert_int_equal(pons_matcher_make(&matcher), PONS_OK);
    pons_pretokenizer run = {stages, work, matcher, collect, &got};
    assert_int_equal(pons_pretokenize(&run, text, (int64_t)strlen(text), true), PONS_OK);
    assert_int_equal(pons_bytes_append(&got, "", 1), PONS_OK);
    assert_string_equal(got.data, want);
    for (int i = 0; i < 8; i++) {
        pons_ranges_free(&work[i].ranges);
        pons_bytes_free(&work[i].text);
    }
    pons_matcher_free(&matcher);
    pons_bytes_free(&got);
}

static void check_pretokenizer(const char *json, const char *text, const char *want)
{
    pons_json_place place = pons_json_top("test", "pre_tokenizer");
    pons_stages stages = {0};
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    pons_status st = pons_build_pretokenizer(&place, value, &stages);
    if (st != PONS_OK) fail_msg("%s", pons_error_message());
    check_stages(&stages, text, want);
    pons_stages_free(&stages);
    json_decref(value);
}

/* The documented example of every behavior. */
static void behaviors(void **state)
{
    (void)state;
    static const char *const want[][3] = {
        {"Removed", "the|final|countdown", "-|-|-"},
        {"Isolated", "the|-|final|-|-|countdown", "the|-|final|-|-|countdown"},
        {"MergedWithPrevious", "the-|final-|-|countdown", "the|-final|-|-countdown"},
        {"MergedWithNext", "the|-final|-|-countdown", "the-|final-|-|countdown"},
        {"Contiguous", "the|-|final|--|countdown", "the|-|final|--|countdown"}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        for (int invert = 0; invert < 2; invert++) {
            for (int regex = 0; regex < 2; regex++) {
                char json[256];
                snprintf(json, sizeof json,
                         "{\"type\": \"Split\", \"pattern\": {\"%s\": \"-\"}, \"behavior\": "
                         "\"%s\", \"invert\": %s}",
                         regex ? "Regex" : "String", want[i][0], invert ? "true" : "false");
                check_pretokenizer(json, "the-final--countdown", want[i][1 + invert]);
            }
        }
    }
}

#define LLAMA3(digits)                                                                             \
    "{\"type\": \"Split\", \"behavior\": \"Isolated\", \"invert\": false, \"pattern\": "           \
    "{\"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" digits   \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}}"

static void known_pretokenizers(void **state)
{
    (void)state;
    static const char bytes_only[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                                     "\"trim_offsets\": true, \"use_regex\": false}";
    static const char gpt2[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                               "\"trim_offsets\": true, \"use_regex\": true}";
    static const char prefixed[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                                   "\"trim_offsets\": true, \"use_regex\": true}";
    check_pretokenizer(bytes_only, "a \xc3\xa9\n", "a\xc4\xa0\xc3\x83\xc2\xa9\xc4\x8a");
    check_pretokenizer(gpt2, "they'll go  12",
                       "they|'ll|\xc4\xa0go|\xc4\xa0|\xc4\xa0"
                       "12");
    check_pretokenizer(gpt2, "it'S 1a",
                       "it|'|S|\xc4\xa0"
                       "1|a");
    check_pretokenizer(prefixed, "go", "\xc4\xa0go");
    check_pretokenizer(prefixed, " go", "\xc4\xa0go");
    /* U+00A0 is white space, U+180E is not: it opens a run of its own kind. */
    check_pretokenizer("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\s+\"}, \"behavior\": "
                       "\"Isolated\", \"invert\": false}",
                       "a\xc2\xa0\xe1\xa0\x8e\xe2\x80\x83z",
                       "a|\xc2\xa0|\xe1\xa0\x8e|\xe2\x80\x83|z");
    check_pretokenizer(LLAMA3("\\\\p{N}{1,3}"), "I'LL pay 12345\n\n  now!!\n.x",
                       "I|'LL| pay| |123|45|\n\n| | now|!!\n|.x");
    check_pretokenizer(LLAMA3("\\\\p{N}"), "x 123", "x| |1|2|3");
    check_pretokenizer("{\"type\": \"Digits\", \"individual_digits\": true}", "a12\xe0\xa5\xa7",
                       "a|1|2|\xe0\xa5\xa7");
    check_pretokenizer("{\"type\": \"Digits\", \"individual_digits\": false}", "a12 3", "a|12| |3");
    check_pretokenizer("null", "as it is", "as it is");
}

#define METASPACE(rest) "{\"type\": \"Metaspace\", \"replacement\": \"_\"" rest "}"

static void metaspace(void **state)
{
    (void)state;
    check_pretokenizer(METASPACE(", \"prepend_scheme\": \"always\", \"split\": true"), "a b  c",
                       "_a|_b|_|_c");
    check_pretokenizer(METASPACE(", \"prepend_scheme\": \"always\", \"split\": false"), "a b",
                       "_a_b");
    check_pretokenizer(METASPACE(", \"prepend_scheme\": \"never\""), "a b", "a|_b");
    check_pretokenizer(METASPACE(", \"prepend_scheme\": \"always\""), " a", "_a");
    check_pretokenizer(METASPACE(", \"add_prefix_space\": true"), "a", "_a");
    check_pretokenizer("{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", "
                       "\"pattern\": {\"String\": \"x\"}, \"behavior\": \"Removed\"}, " METASPACE(
                           ", \"prepend_scheme\": \"first\"") "]}",
                       "axb", "_a|b");
}

static void check_normalizer(const char *json, const char *text, const char *want)
{
    pons_json_place place = pons_json_top("test", "normalizer");
    pons_normalizer normalizer = {0};
    pons_bytes scratch[2] = {{0}, {0}};
    pons_ranges ranges = {0};
    pons_matcher *matcher = NULL;
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    int64_t bytes = (int64_t)strlen(text);
    assert_non_null(value);
    assert_int_equal(pons_matcher_make(&matcher), PONS_OK);
    assert_int_equal(pons_build_normalizer(&place, value, &normalizer), PONS_OK);
    assert_int_equal(pons_normalizer_apply(&normalizer, matcher, scratch, &ranges, &text, &bytes),
                     PONS_OK);
    assert_int_equal(bytes, strlen(want));
    assert_memory_equal(text, want, bytes);
    pons_matcher_free(&matcher);
    pons_normalizer_free(&normalizer);
    pons_ranges_free(&ranges);
    pons_bytes_free(&scratch[0]);
    pons_bytes_free(&scratch[1]);
    json_decref(value);
}

static void normalizers(void **state)
{
    (void)state;
    check_normalizer("null", "e\xcc\x81", "e\xcc\x81");
    check_normalizer("{\"type\": \"NFC\"}", "e\xcc\x81 \xe2\x84\xab", "\xc3\xa9 \xc3\x85");
    check_normalizer("{\"type\": \"NFD\"}", "\xc3\xa9", "e\xcc\x81");
    check_normalizer("{\"type\": \"NFKC\"}", "\xef\xac\x81 \xc2\xbd",
                     "fi 1\xe2\x81\x84"
                     "2");
    check_normalizer("{\"type\": \"NFKD\"}", "\xef\xac\x81\xc3\xa9", "fie\xcc\x81");
    check_normalizer("{\"type\": \"Prepend\", \"prepend\": \"_\"}", "a", "_a");
    check_normalizer("{\"type\": \"Prepend\", \"prepend\": \"_\"}", "", "");
    check_normalizer("{\"type\": \"Replace\", \"pattern\": {\"String\": \"ab\"}, \"content\": "
                     "\"x\"}",
                     "abab a.b", "xx a.b");
    check_normalizer("{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a.?b\"}, \"content\": "
                     "\"\"}",
                     "ab a.b!", " !");
    check_normalizer("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", "
                     "\"prepend\": \"_\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" "
                     "\"}, \"content\": \"_\"}, {\"type\": \"NFC\"}]}",
                     "e\xcc\x81 b", "_\xc3\xa9_b");
}

static void expressions_are_rewritten_or_refused(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "\\w+",   "\\b",     "^a",      "a$",    "[[:alpha:]]", "[a&&b]", "\\p{Han}", "\\p{^L}",
        "(?m:.)", "(?<n>a)", "a{1,2}+", "a{,3}", "a{2}?",       "[\\S]",  "\\xff",    "(*UCP)a",
        "(a)\\1", "\\h",     "[]a]",    "\\R",   "(?i)a",       "\\p{L",  "\\"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        pons_bytes out = {0};
        pons_status st =
            pons_pattern_rewrite("here", refused[i], (int64_t)strlen(refused[i]), &out);
        if (st != PONS_ERR_UNSUPPORTED) fail_msg("accepted: %s", refused[i]);
        assert_non_null(strstr(pons_error_message(), "here: "));
        pons_bytes_free(&out);
    }
    static const char *const kept[] = {"a++|b{1,3}", "(?>a)(?<=b)(?<!c)", "[^\\r\\n\\p{Lu}]",
                                       "\\x{1F600}\\.\\[", "{a}"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        pons_bytes out = {0};
        int64_t n = (int64_t)strlen(kept[i]);
        assert_int_equal(pons_pattern_rewrite("here", kept[i], n, &out), PONS_OK);
        assert_int_equal(out.count, n);
        assert_memory_equal(out.data, kept[i], n);
        pons_bytes_free(&out);
    }
    pons_pattern *pattern = NULL;
    assert_int_equal(pons_pattern_compile("here", "(a", 2, false, &pattern), PONS_ERR_INPUT);
    assert_int_equal(pons_pattern_compile("here", "", 0, true, &pattern), PONS_ERR_INPUT);
}

/* \s, \S and \d on every character, against the definitions. */
static void classes_are_unicode(void **state)
{
    (void)state;
    static const char *const expressions[] = {"\\s", "\\S", "[x\\s]", "\\d", "\\D"};
    pons_matcher *matcher = NULL;
    pons_ranges ranges = {0};
    assert_int_equal(pons_matcher_make(&matcher), PONS_OK);
    for (int e = 0; e < 5; e++) {
        pons_pattern *pattern = NULL;
        assert_int_equal(pons_pattern_compile("here", expressions[e],
                                              (int64_t)strlen(expressions[e]), false, &pattern),
                         PONS_OK);
        int64_t digits = 0;
        for (int32_t c = 0; c < 0x110000; c++) {
            char text[4];
            if (c >= 0xd800 && c < 0xe000) continue;
            int n = pons_utf8_encode(c, text);
            assert_int_equal(pons_pattern_cut(pattern, matcher, text, n, &ranges), PONS_OK);
            bool space = pons_utf8_is_space(c), match = ranges.data[0].match;
            if (e == 0) assert_int_equal(match, space);
            if (e == 1) assert_int_equal(match, !space);
            if (e == 2) assert_int_equal(match, space || c == 'x');
            if (c < 128 && e == 3) assert_int_equal(match, c >= '0' && c <= '9');
            digits += e == 4 ? !match : match;
        }
        if (e == 0) assert_int_equal(digits, 25); /* White_Space has 25 characters */
        if (e >= 3) assert_true(digits % 10 == 0 && digits >= 600); /* Nd comes in tens */
        pons_pattern_free(&pattern);
    }
    pons_ranges_free(&ranges);
    pons_matcher_free(&matcher);
}

/* Repeat: of the pairs present take the one of lowest rank, leftmost; join it. */
static int naive(const pons_bpe *bpe, int32_t *ids, int n)
{
    for (;;) {
        int best = -1;
        const pons_merge *merge = NULL;
        for (int i = 0; i + 1 < n; i++) {
            const pons_merge *m = pons_merges_get(&bpe->merges, ids[i], ids[i + 1]);
            if (m && (!merge || m->rank < merge->rank)) {
                merge = m;
                best = i;
            }
        }
        if (best < 0) return n;
        ids[best] = merge->result;
        for (int i = best + 1; i + 1 < n; i++)
            ids[i] = ids[i + 1];
        n--;
    }
}

static void merging_equals_naive(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        pons_bpe bpe = {.unk = -1};
        char tokens[64][64] = {"a", "b", "c"};
        int count = 3;
        for (int i = 0; i < 3; i++)
            assert_int_equal(pons_map_put(&bpe.vocab, tokens[i], 1, i), PONS_OK);
        for (int32_t rank = 0; rank < 60; rank++) {
            const char *left = tokens[draw((uint32_t)count)],
                       *right = tokens[draw((uint32_t)count)];
            char joined[128];
            int64_t known;
            int n = snprintf(joined, sizeof joined, "%s%s", left, right);
            if (n > 12) continue;
            if (!pons_map_get(&bpe.vocab, joined, n, &known)) {
                assert_int_equal(pons_map_put(&bpe.vocab, joined, n, count), PONS_OK);
                strcpy(tokens[count++], joined);
            }
            assert_int_equal(pons_bpe_add_merge(&bpe, left, (int64_t)strlen(left), right,
                                                (int64_t)strlen(right), rank),
                             PONS_OK);
        }
        pons_bpe_find_bytes(&bpe);
        pons_bpe_work work = {0};
        for (int word = 0; word < 200; word++) {
            char text[400];
            int32_t want[400];
            int n = 1 + (int)draw(word % 10 ? 12 : 399);
            for (int i = 0; i < n; i++) {
                want[i] = (int32_t)draw(3);
                text[i] = (char)('a' + want[i]);
            }
            pons_ids got = {0};
            for (int twice = 0; twice < 2; twice++) { /* the second from the cache */
                got.count = 0;
                assert_int_equal(pons_bpe_encode(&bpe, &work, text, n, &got), PONS_OK);
            }
            int m = naive(&bpe, want, n);
            assert_int_equal(got.count, m);
            assert_memory_equal(got.data, want, (size_t)m * sizeof *want);
            pons_ids_free(&got);
        }
        pons_bpe_work_free(&work);
        pons_bpe_free(&bpe);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(alphabet_is_the_definition),
                                       cmocka_unit_test(utf8_good_and_bad),
                                       cmocka_unit_test(maps_remember),
                                       cmocka_unit_test(behaviors),
                                       cmocka_unit_test(known_pretokenizers),
                                       cmocka_unit_test(metaspace),
                                       cmocka_unit_test(normalizers),
                                       cmocka_unit_test(expressions_are_rewritten_or_refused),
                                       cmocka_unit_test(classes_are_unicode),
                                       cmocka_unit_test(merging_equals_naive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

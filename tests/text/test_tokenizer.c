/* Whole tokenizers made of short documents: added tokens, unknown characters, post-processors, and
 * what is refused by name. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/scratch.h"
#include "text/tokenizer.h"

static const char *write_text(const char *name, const char *text)
{
    const char *path = scratch(name);
    spill(path, text, strlen(text));
    return path;
}

static pons_tokenizer *open_text(const char *text)
{
    pons_tokenizer *tokenizer = NULL;
    if (pons_tokenizer_open(write_text("tokenizer.json", text), &tokenizer) != PONS_OK)
        fail_msg("%s", pons_error_message());
    return tokenizer;
}

/* Ids as text, "1 2 3", or the error. */
static const char *encode(const pons_tokenizer *tokenizer, const char *text, bool special)
{
    static char out[1024];
    int32_t *ids = NULL;
    int64_t count = 0;
    out[0] = 0;
    if (pons_tokenizer_encode(tokenizer, text, strlen(text), special, &ids, &count) != PONS_OK)
        return pons_error_message();
    for (int64_t i = 0; i < count; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s%d", i ? " " : "", ids[i]);
    pons_mem_free(ids);
    return out;
}

#define DOCUMENT(added, normalizer, pre, post, model)                                              \
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [" added    \
    "], \"normalizer\": " normalizer ", \"pre_tokenizer\": " pre ", \"post_processor\": " post     \
    ", \"decoder\": null, \"model\": " model "}"
#define MODEL(fields)                                                                              \
    "{\"type\": \"BPE\", \"vocab\": {\"<u>\": 0, \"a\": 1, \"b\": 2, \" \": 3, \"ab\": 4, "        \
    "\"<0xC3>\": 5, \"<0xA9>\": 6, \"c\": 7, \"abc\": 8}, \"merges\": [[\"a\", \"b\"]" fields      \
    ", \"dropout\": null}"
#define ADDED(id, content, flags)                                                                  \
    "{\"id\": " id ", \"content\": \"" content "\", \"special\": true" flags "}"

static void added_tokens(void **state)
{
    (void)state;
    pons_tokenizer *t = open_text(DOCUMENT(
        ADDED("20", "<x>", "") "," ADDED("21", "<x>>", "") "," ADDED(
            "22", "L",
            ", \"lstrip\": true") "," ADDED("23", "R",
                                            ", \"rstrip\": true") "," ADDED("24", "W",
                                                                            ", \"single_word\": "
                                                                            "true") "," ADDED("25",
                                                                                              "b a",
                                                                                              ", "
                                                                                              "\"no"
                                                                                              "rmal"
                                                                                              "ized"
                                                                                              "\": "
                                                                                              "tru"
                                                                                              "e"),
        "{\"type\": \"Replace\", \"pattern\": {\"String\": \"Q\"}, \"content\": \"b\"}", "null",
        "null", MODEL("]")));
    assert_string_equal(encode(t, "a<x>b", false), "1 20 2");
    assert_string_equal(encode(t, "a<x>>b<", false),
                        "the text has the character U+003C, for which the tokenizer has no token, "
                        "no byte fallback and no unknown token");
    assert_string_equal(encode(t, "a<x>>b", false), "1 21 2"); /* the longest */
    assert_string_equal(encode(t, "a  L  b", false), "1 22 3 3 2");
    assert_string_equal(encode(t, "a  R  b", false), "1 3 3 23 2");
    assert_string_equal(encode(t, "a R L", false), "1 3 23 22"); /* R took the space */
    assert_string_equal(encode(t, "W a W", false), "24 3 1 3 24");
    assert_string_equal(encode(t, "W", false), "24");
    assert_non_null(strstr(encode(t, "Wa", false), "U+0057"));
    assert_string_equal(encode(t, "Q a", false), "25"); /* found after normalizing */
    assert_string_equal(encode(t, "", true), "");
    assert_int_equal(pons_tokenizer_vocab_size(t), 26);
    pons_tokenizer_close(&t);
    assert_null(t);
    pons_tokenizer_close(&t);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void model_fields(void **state)
{
    (void)state;
    static const struct {
        const char *document, *text, *ids;
    } cases[] = {
        {DOCUMENT("", "null", "null", "null", MODEL("]")), "abcab", "4 7 4"},
        {DOCUMENT("", "null", "null", "null", MODEL(", \"ab c\"]")), "x", NULL},
        {DOCUMENT("", "null", "null", "null", MODEL("], \"unk_token\": \"<u>\"")), "xya", "0 0 1"},
        {DOCUMENT("", "null", "null", "null",
                  MODEL("], \"unk_token\": \"<u>\", \"fuse_unk\": true")),
         "xyaz", "0 1 0"},
        {DOCUMENT("", "null", "null", "null",
                  MODEL("], \"unk_token\": \"<u>\", \"byte_fallback\": true")),
         "a\xc3\xa9z", "1 5 6 0"},
        {DOCUMENT("", "null", "null", "null", MODEL("]")), "abc", "4 7"},
        {DOCUMENT("", "null", "null", "null", MODEL("], \"ignore_merges\": true")), "abc", "8"},
        {DOCUMENT("", "null", "null", "null", MODEL("], \"ignore_merges\": true")), "abcb",
         "4 7 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pons_tokenizer *t = open_text(cases[i].document);
        if (cases[i].ids)
            assert_string_equal(encode(t, cases[i].text, false), cases[i].ids);
        else
            assert_non_null(strstr(encode(t, cases[i].text, false), "no unknown token"));
        pons_tokenizer_close(&t);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

#define SINGLE(pieces)                                                                             \
    "{\"type\": \"TemplateProcessing\", \"single\": [" pieces "], \"pair\": [], "                  \
    "\"special_tokens\": {\"<u>\": {\"id\": \"<u>\", \"ids\": [0, 9], \"tokens\": []}}}"
#define SPECIAL "{\"SpecialToken\": {\"id\": \"<u>\", \"type_id\": 0}}"
#define TEXT "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"

static void templates(void **state)
{
    (void)state;
    pons_tokenizer *t = open_text(
        DOCUMENT("", "null", "null", SINGLE(SPECIAL "," TEXT "," SPECIAL "," SPECIAL), MODEL("]")));
    assert_string_equal(encode(t, "ab", false), "4");
    assert_string_equal(encode(t, "ab", true), "0 9 4 0 9 0 9");
    assert_string_equal(encode(t, "", true), "0 9 0 9 0 9");
    pons_tokenizer_close(&t);
    t = open_text(DOCUMENT("", "null", "null",
                           "{\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\", "
                           "\"trim_offsets\": true}, " SINGLE(SPECIAL "," TEXT) "]}",
                           MODEL("]")));
    assert_string_equal(encode(t, "ab", true), "0 9 4");
    pons_tokenizer_close(&t);
}

static void bad_text_is_placed(void **state)
{
    (void)state;
    pons_tokenizer *t = open_text(DOCUMENT("", "null", "null", "null", MODEL("]")));
    assert_string_equal(encode(t,
                               "abab\xff"
                               "ab",
                               false),
                        "the text is not UTF-8: byte 0xff at offset 4");
    int32_t *ids = NULL;
    int64_t count = 0;
    const char zero[] = {'a', 0, 'b'}; /* a zero is a character like any other */
    assert_int_equal(pons_tokenizer_encode(t, zero, 3, false, &ids, &count), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "U+0000"));
    pons_tokenizer_close(&t);
}

/* Each document says one thing that is not implemented or not right; the error names it. */
static void refused_by_name(void **state)
{
    (void)state;
    static const struct {
        pons_status status;
        const char *document, *names;
    } cases[] = {
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("", "{\"type\": \"Lowercase\"}", "null", "null", MODEL("]")),
         "normalizer: normalizer \"Lowercase\" is not supported"},
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("",
                  "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": "
                  "\"Precompiled\"}]}",
                  "null", "null", MODEL("]")),
         "normalizer.normalizers[1]: normalizer \"Precompiled\""},
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("", "null", "{\"type\": \"Whitespace\"}", "null", MODEL("]")),
         "pre_tokenizer: pre-tokenizer \"Whitespace\" is not supported"},
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("", "null", "{\"type\": \"ByteLevel\", \"new_field\": 1}", "null", MODEL("]")),
         "pre_tokenizer: field \"new_field\" is not supported"},
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("", "null",
                  "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\w\"}, \"behavior\": "
                  "\"Isolated\"}",
                  "null", MODEL("]")),
         "pre_tokenizer.pattern: regular expression construct \"\\w\""},
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("", "null",
                  "{\"type\": \"Split\", \"pattern\": {\"String\": \"x\"}, \"behavior\": "
                  "\"Sideways\"}",
                  "null", MODEL("]")),
         "behavior: \"Sideways\""},
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("", "null", "null", "{\"type\": \"BertProcessing\"}", MODEL("]")),
         "post_processor: post-processor \"BertProcessing\""},
        {PONS_ERR_UNSUPPORTED, DOCUMENT("", "null", "null", SINGLE(TEXT "," TEXT), MODEL("]")),
         "occurs 2 times"},
        {PONS_ERR_INPUT,
         DOCUMENT("", "null", "null",
                  SINGLE("{\"SpecialToken\": {\"id\": \"<q>\", \"type_id\": 0}}," TEXT),
                  MODEL("]")),
         "special token \"<q>\" has no ids"},
        {PONS_ERR_UNSUPPORTED, DOCUMENT("", "null", "null", "null", "{\"type\": \"Unigram\"}"),
         "model \"Unigram\" is not supported"},
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("", "null", "null", "null",
                  "{\"type\": \"BPE\", \"dropout\": 0.1, \"vocab\": {\"a\": 0}, \"merges\": []}"),
         "model.dropout"},
        {PONS_ERR_UNSUPPORTED,
         DOCUMENT("", "null", "null", "null", MODEL("], \"end_of_word_suffix\": \"</w>\"")),
         "model.end_of_word_suffix"},
        {PONS_ERR_INPUT, DOCUMENT("", "null", "null", "null", MODEL("], \"unk_token\": \"?\"")),
         "model.unk_token"},
        {PONS_ERR_INPUT, DOCUMENT("", "null", "null", "null", MODEL(", [\"b\", \"q\"]]")),
         "model: merge 1 (\"b\" with \"q\")"},
        {PONS_ERR_INPUT, DOCUMENT("", "null", "null", "null", MODEL(", \"a b c\"]")),
         "merges[1]: \"a b c\" is not two tokens"},
        {PONS_ERR_INPUT, DOCUMENT(ADDED("9", "ab", ""), "null", "null", "null", MODEL("]")),
         "added_tokens[0]: \"ab\" has id 9 here and 4 in the vocabulary"},
        {PONS_ERR_UNSUPPORTED, "{\"version\": \"2.0\"}", "version \"2.0\""},
        {PONS_ERR_UNSUPPORTED, "{\"version\": \"1.0\", \"truncation\": {\"max_length\": 5}}",
         "truncation is not supported"},
        {PONS_ERR_UNSUPPORTED, "{\"version\": \"1.0\", \"sparkle\": 1}", "field \"sparkle\""},
        {PONS_ERR_INPUT, "{\"version\": \"1.0\",\n \"model\"}", "line 2"},
        {PONS_ERR_INPUT, "", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pons_tokenizer *t = NULL;
        pons_status st = pons_tokenizer_open(write_text("bad.json", cases[i].document), &t);
        assert_null(t);
        if (!strstr(pons_error_message(), cases[i].names) ||
            !strstr(pons_error_message(), "bad.json"))
            fail_msg("\"%s\" lacks \"%s\"", pons_error_message(), cases[i].names);
        assert_int_equal(st, cases[i].status);
        assert_null(strchr(pons_error_message(), '\n'));
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void directories_and_copies(void **state)
{
    (void)state;
    const char document[] = DOCUMENT("", "null", "null", "null", MODEL("]"));
    pons_tokenizer *t = open_text(document), *again = NULL, *none = NULL;
    assert_int_equal(pons_tokenizer_open(scratch_directory, &again), PONS_OK);
    assert_string_equal(encode(again, "abc", false), "4 7");
    const char *copy = scratch("copy.json");
    assert_int_equal(pons_tokenizer_write_json(t, copy), PONS_OK);
    char *bytes = NULL;
    size_t count = 0;
    assert_int_equal(pons_file_read(copy, &bytes, &count), PONS_OK);
    assert_int_equal(count, strlen(document));
    assert_memory_equal(bytes, document, count);
    pons_mem_free(bytes);
    pons_tokenizer_close(&t);
    pons_tokenizer_close(&again);
    assert_int_equal(pons_tokenizer_open(scratch("missing.json"), &none), PONS_ERR_IO);
    assert_non_null(strstr(pons_error_message(), "missing.json"));
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added_tokens),    cmocka_unit_test(model_fields),
        cmocka_unit_test(templates),       cmocka_unit_test(bad_text_is_placed),
        cmocka_unit_test(refused_by_name), cmocka_unit_test(directories_and_copies)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

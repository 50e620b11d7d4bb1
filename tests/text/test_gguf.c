/* Tokenizers from GGUF metadata, in files that the test writes byte by byte. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/scratch.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

enum { U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9 };

static unsigned char file[1 << 16];
static size_t length;
static uint64_t pairs;

static void put(const void *data, size_t bytes)
{
    assert_true(length + bytes <= sizeof file);
    memcpy(file + length, data, bytes);
    length += bytes;
}

static void put_u32(uint32_t x) { put(&x, 4); }
static void put_u64(uint64_t x) { put(&x, 8); }

static void put_string(const char *text)
{
    put_u64(strlen(text));
    put(text, strlen(text));
}

static void key(const char *name, uint32_t type)
{
    pairs++;
    put_string(name);
    put_u32(type);
}

static void key_string(const char *name, const char *value)
{
    key(name, STRING);
    put_string(value);
}

static void key_array(const char *name, uint32_t type, uint64_t count)
{
    key(name, ARRAY);
    put_u32(type);
    put_u64(count);
}

static void key_flag(const char *name, bool value)
{
    key(name, BOOL);
    put(&value, 1);
}

static void begin(void)
{
    length = 0;
    pairs = 0;
    put("GGUF", 4);
    put_u32(3);
    put_u64(0);
    put_u64(0); /* number of pairs, set at the end */
    key_string("general.architecture", "llama");
}

static pons_status finish(pons_tokenizer **out)
{
    memcpy(file + 16, &pairs, 8);
    while (length % 32)
        file[length++] = 0;
    const char *path = scratch("model.gguf");
    spill(path, file, length);
    return pons_tokenizer_open(path, out);
}

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

/* Ids from the file, and the same from the tokenizer.json it writes. */
static void check(pons_tokenizer *tokenizer, const char *text, bool special, const char *want)
{
    pons_tokenizer *again = NULL;
    const char *path = scratch("tokenizer.json");
    assert_string_equal(encode(tokenizer, text, special), want);
    assert_int_equal(pons_tokenizer_write_json(tokenizer, path), PONS_OK);
    assert_int_equal(pons_tokenizer_open(path, &again), PONS_OK);
    assert_string_equal(encode(again, text, special), want);
    assert_int_equal(pons_tokenizer_vocab_size(again), pons_tokenizer_vocab_size(tokenizer));
    pons_tokenizer_close(&again);
}

/* Ids 0 to 255 are the bytes, 256 "ab", 257 "11", 258 "<bos>", 259 "<eos>", 260 "USER", 261 " ab",
 * 262 an accented e. */
static void byte_level(const char *pre)
{
    static const char *const rest[] = {"ab",
                                       "11",
                                       "<bos>",
                                       "<eos>",
                                       "USER",
                                       ("\xc4\xa0"
                                        "ab"),
                                       "\xc3\x83\xc2\xa9"};
    begin();
    key_string("tokenizer.ggml.model", "gpt2");
    if (pre) key_string("tokenizer.ggml.pre", pre);
    key_array("tokenizer.ggml.tokens", STRING, 263);
    for (int b = 0; b < 256; b++) {
        char character[5] = {0};
        pons_utf8_encode(pons_byte_alphabet_character((unsigned char)b), character);
        put_string(character);
    }
    for (int i = 0; i < 7; i++)
        put_string(rest[i]);
    key_array("tokenizer.ggml.token_type", I32, 263);
    for (int i = 0; i < 263; i++)
        put_u32(i == 258 || i == 259 ? 3 : i == 260 ? 4 : 1);
    key_array("tokenizer.ggml.merges", STRING, 4);
    put_string("a b");
    put_string("1 1");
    put_string("\xc4\xa0 ab");
    put_string("\xc3\x83 \xc2\xa9");
    key("tokenizer.ggml.bos_token_id", U32);
    put_u32(258);
    key("tokenizer.ggml.eos_token_id", U32);
    put_u32(259);
}

static void pre_tokenizers(void **state)
{
    (void)state;
    static const struct {
        const char *pre, *text, *ids;
    } cases[] = {
        {"smollm", "ab 11", "256 32 49 49"},              /* digits stand alone */
        {"gpt-2", "ab 1111", "256 32 257 257"},           /* one run of digits */
        {"llama-bpe", "ab 1111", "258 256 32 257 49 49"}, /* digits in threes; starts with BOS */
        {"qwen2", "ab11", "256 49 49"},
        {"qwen2", "e\xcc\x81", "262"}, /* NFC */
        {"smollm", "e\xcc\x81", "101 204 129"},
        {"default", "ab 1111", "256 32 257 49 49"},
        {"smollm", "a<bos>USERab", "97 258 260 256"},
        {"smollm", " ab", "261"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pons_tokenizer *t = NULL;
        byte_level(cases[i].pre);
        if (finish(&t) != PONS_OK) fail_msg("%s", pons_error_message());
        check(t, cases[i].text, true, cases[i].ids);
        assert_int_equal(pons_tokenizer_vocab_size(t), 263);
        pons_tokenizer_close(&t);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void flags_and_refusals(void **state)
{
    (void)state;
    pons_tokenizer *t = NULL;
    byte_level("smollm");
    key_flag("tokenizer.ggml.add_bos_token", true);
    key_flag("tokenizer.ggml.add_eos_token", true);
    key_flag("tokenizer.ggml.add_space_prefix", false);
    assert_int_equal(finish(&t), PONS_OK);
    check(t, "ab", true, "258 256 259");
    check(t, "ab", false, "256");
    pons_tokenizer_close(&t);

    byte_level("llama-bpe");
    key_flag("tokenizer.ggml.add_bos_token", false);
    assert_int_equal(finish(&t), PONS_OK);
    check(t, "ab", true, "256");
    pons_tokenizer_close(&t);

    byte_level("unheard-of");
    assert_int_equal(finish(&t), PONS_ERR_UNSUPPORTED);
    assert_non_null(strstr(pons_error_message(), "tokenizer.ggml.pre \"unheard-of\""));
    byte_level(NULL);
    assert_int_equal(finish(&t), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "tokenizer.ggml.pre is missing"));
    byte_level("smollm");
    key_flag("tokenizer.ggml.add_space_prefix", true);
    assert_int_equal(finish(&t), PONS_ERR_UNSUPPORTED);
    begin();
    assert_int_equal(finish(&t), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "tokenizer.ggml.model is missing"));
    assert_null(t);
    assert_int_equal(pons_mem_outstanding(), 0);
}

#define MARK "\xe2\x96\x81"

/* A score-based vocabulary; the score of "bc" may tie with that of "ab". */
static void score_based(bool tie, bool bytes)
{
    static const char *const tokens[] = {"<unk>", "<s>", MARK, "a", "b", "c", "ab", "bc", MARK "a"};
    const float scores[] = {0, 0, -20, -21, -22, -23, tie ? -1.0f : -2.0f, -1, -3};
    const uint32_t types[] = {2, 3, 1, 1, 1, 1, 1, 1, 1};
    uint64_t count = 9 + (bytes ? 256 : 0);
    begin();
    key_string("tokenizer.ggml.model", "llama");
    key_array("tokenizer.ggml.tokens", STRING, count);
    for (uint64_t i = 0; i < count; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)(i - 9) & 255u);
        put_string(i < 9 ? tokens[i] : name);
    }
    key_array("tokenizer.ggml.scores", F32, count);
    for (uint64_t i = 0; i < count; i++) {
        float score = i < 9 ? scores[i] : 0;
        put(&score, 4);
    }
    key_array("tokenizer.ggml.token_type", I32, count);
    for (uint64_t i = 0; i < count; i++)
        put_u32(i < 9 ? types[i] : 6);
    key("tokenizer.ggml.bos_token_id", U32);
    put_u32(1);
    key("tokenizer.ggml.unknown_token_id", U32);
    put_u32(0);
}

static void scores(void **state)
{
    (void)state;
    pons_tokenizer *t = NULL;
    score_based(false, true);
    if (finish(&t) != PONS_OK) fail_msg("%s", pons_error_message());
    check(t, "abc", true, "1 8 7");      /* "bc" beats "ab" */
    check(t, "ab ab", false, "2 6 2 6"); /* "ab" beats mark + "a" */
    check(t, "a<s>\xc3\xa9", false, "8 1 2 204 178");
    pons_tokenizer_close(&t);
    score_based(false, false);
    key_flag("tokenizer.ggml.add_space_prefix", false);
    key_flag("tokenizer.ggml.add_bos_token", false);
    assert_int_equal(finish(&t), PONS_OK);
    check(t, "axyb", true, "3 0 4"); /* unknown characters are fused */
    pons_tokenizer_close(&t);
    score_based(true, true);
    assert_int_equal(finish(&t), PONS_ERR_UNSUPPORTED);
    assert_non_null(strstr(pons_error_message(), "tokenizer.ggml.scores: tokens 6 and 7"));
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pre_tokenizers),
                                       cmocka_unit_test(flags_and_refusals),
                                       cmocka_unit_test(scores)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

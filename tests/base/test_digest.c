/* SHA-256 against the examples of FIPS 180-4 and its independence of how the bytes are cut; the checksum finds every
 * change of one word. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/checksum.h"
#include "base/sha256.h"

static void check(const char *text, int64_t times, const char *expected)
{
    pons_sha256 s;
    char hex[65];
    pons_sha256_begin(&s);
    for (int64_t i = 0; i < times; i++)
        pons_sha256_update(&s, text, strlen(text));
    pons_sha256_end(&s, hex);
    assert_string_equal(hex, expected);
}

static void sha256_examples(void **state)
{
    (void)state;
    check("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check("a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void sha256_cuts(void **state)
{
    (void)state;
    unsigned char data[300];
    for (int i = 0; i < 300; i++)
        data[i] = (unsigned char)(i * 37 + 11);
    char whole[65], parts[65];
    pons_sha256 s;
    for (size_t n = 0; n <= sizeof data; n += 7) {
        pons_sha256_begin(&s);
        pons_sha256_update(&s, data, n);
        pons_sha256_end(&s, whole);
        for (size_t cut = 0; cut <= n; cut += 13) {
            pons_sha256_begin(&s);
            pons_sha256_update(&s, data, cut);
            pons_sha256_update(&s, data + cut, n - cut);
            pons_sha256_end(&s, parts);
            assert_string_equal(whole, parts);
        }
    }
}

static void checksum_sees_every_word(void **state)
{
    (void)state;
    unsigned char data[61]; /* the last word is not full */
    for (int i = 0; i < 61; i++)
        data[i] = (unsigned char)(i * 73);
    uint64_t plain = pons_checksum(1, data, sizeof data);
    assert_true(plain == pons_checksum(1, data, sizeof data));
    assert_true(plain != pons_checksum(2, data, sizeof data));
    for (size_t i = 0; i < sizeof data; i++)
        for (int bit = 0; bit < 8; bit++) {
            data[i] ^= (unsigned char)(1 << bit);
            assert_true(plain != pons_checksum(1, data, sizeof data));
            data[i] ^= (unsigned char)(1 << bit);
        }
    /* exchanged words */
    unsigned char swapped[16], ordered[16];
    memcpy(ordered, data, 16);
    memcpy(swapped, data + 8, 8);
    memcpy(swapped + 8, data, 8);
    assert_true(pons_checksum(1, ordered, 16) != pons_checksum(1, swapped, 16));
    assert_true(pons_checksum(1, data, 0) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sha256_examples),
                                       cmocka_unit_test(sha256_cuts),
                                       cmocka_unit_test(checksum_sees_every_word)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

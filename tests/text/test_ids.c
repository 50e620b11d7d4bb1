/* Prepared id files: .ids, .npy and .i32, good and bad. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/scratch.h"
#include "text/tokenizer.h"

/* Ids as text, or the error after the path. */
static const char *load(const char *name, const void *data, size_t bytes)
{
    static char out[1024];
    const char *path = scratch(name);
    int32_t *ids = NULL;
    int64_t count = 0;
    spill(path, data, bytes);
    out[0] = 0;
    if (pons_text_load_ids(path, NULL, false, &ids, &count) != PONS_OK) {
        assert_memory_equal(pons_error_message(), path, strlen(path));
        return pons_error_message() + strlen(path);
    }
    for (int64_t i = 0; i < count; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s%d", i ? " " : "", ids[i]);
    pons_mem_free(ids);
    return out;
}

static const char *load_text(const char *name, const char *text)
{
    return load(name, text, strlen(text));
}

static void decimal(void **state)
{
    (void)state;
    assert_string_equal(load_text("a.ids", "1 22\n\t2147483647 0\r\n"), "1 22 2147483647 0");
    assert_string_equal(load_text("a.ids", " \n"), "");
    assert_string_equal(load_text("a.ids", "1 -2"),
                        ": offset 2: \"-2\" is not a decimal id (digits only)");
    assert_string_equal(load_text("a.ids", "1,2"),
                        ": offset 0: \"1,2\" is not a decimal id (digits only)");
    assert_string_equal(load_text("a.ids", "7 2147483648"),
                        ": offset 2: id 2147483648 is not in 0 .. 2^31-1");
    assert_non_null(strstr(load_text("a.ids", "99999999999999999999"), "offset 0"));
    assert_non_null(strstr(load_text("a.txt", "text"), "needs a tokenizer"));
}

static void raw(void **state)
{
    (void)state;
    const unsigned char good[] = {1, 0, 0, 0, 0, 1, 0, 0, 255, 255, 255, 127};
    const unsigned char negative[] = {1, 0, 0, 0, 254, 255, 255, 255};
    assert_string_equal(load("a.i32", good, sizeof good), "1 256 2147483647");
    assert_string_equal(load("a.i32", good, 0), "");
    assert_string_equal(load("a.i32", good, 10), ": offset 8: 2 bytes left over after int32 ids");
    assert_string_equal(load("a.i32", negative, sizeof negative),
                        ": offset 4: id -2 is not in 0 .. 2^31-1");
}

/* A file as numpy.save writes it: padded header that ends in a newline, data 64-aligned. */
static const char *load_npy(int version, const char *header, const void *data, size_t bytes)
{
    char file[512];
    size_t start = version == 1 ? 10 : 12, length = strlen(header);
    size_t total = (start + length + 1 + 63) / 64 * 64;
    memset(file, ' ', sizeof file);
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (char)version;
    file[7] = 0;
    file[8] = (char)((total - start) & 255);
    file[9] = (char)((total - start) >> 8);
    if (version > 1) file[10] = file[11] = 0;
    memcpy(file + start, header, length);
    file[total - 1] = '\n';
    memcpy(file + total, data, bytes);
    return load("a.npy", file, total + bytes);
}

static void npy(void **state)
{
    (void)state;
    const int32_t narrow[] = {5, 0, 70000};
    const int64_t wide[] = {5, 0, 70000}, negative[] = {5, -1}, large[] = {1LL << 31};
    const char i4[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }";
    const char i8[] = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }";
    assert_string_equal(load_npy(1, i4, narrow, sizeof narrow), "5 0 70000");
    assert_string_equal(load_npy(2, i8, wide, sizeof wide), "5 0 70000");
    assert_non_null(strstr(load_npy(1, i4, narrow, 8), "3 ids announced, 8 bytes follow"));
    assert_non_null(strstr(load_npy(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }",
                                    negative, sizeof negative),
                           ": offset 136: id -1"));
    assert_non_null(strstr(load_npy(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }",
                                    large, sizeof large),
                           "id 2147483648"));
    static const char *const bad[] = {"{'descr': '>i4', 'fortran_order': False, 'shape': (3,), }",
                                      "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
                                      "{'descr': '<i4', 'fortran_order': True, 'shape': (3,), }",
                                      "{'descr': '<i4', 'fortran_order': False, 'shape': (3, 1), }",
                                      "{'descr': '<i4', 'fortran_order': False, 'shape': (), }",
                                      "{'descr': '<i4', 'shape': (3,), }",
                                      "{}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(strstr(load_npy(1, bad[i], narrow, sizeof narrow), "allowed are int32"));
    assert_non_null(strstr(load_text("a.npy", "not an array"), "not an npy file"));
    assert_non_null(strstr(load("a.npy", "\x93NUMPY\1\0\xff\xff{}", 12), "header of 65535 bytes"));
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decimal), cmocka_unit_test(raw),
                                       cmocka_unit_test(npy)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

/* Files and directories appear whole or not at all: the tests look at what is on disk after
 * success, after a full disk, and with the remains of a killed run lying about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/scratch.h"

static void assert_content(const char *path, const char *expected)
{
    char *data;
    size_t bytes;
    assert_int_equal(pons_file_read(path, &data, &bytes), PONS_OK);
    assert_int_equal(bytes, strlen(expected));
    assert_string_equal(data, expected);
    pons_mem_free(data);
}

static bool anything_at(const char *path)
{
    struct stat info;
    return !lstat(path, &info);
}

static void write_replaces_whole(void **state)
{
    (void)state;
    const char *path = scratch("a.txt");
    assert_int_equal(pons_file_write(path, "first, the longer one", 21), PONS_OK);
    assert_content(path, "first, the longer one");
    spill(scratch("a.txt.part"), "left by a killed run", 20);
    assert_int_equal(pons_file_write(path, "second", 6), PONS_OK);
    assert_content(path, "second");
    assert_false(anything_at(scratch("a.txt.part")));
    assert_int_equal(pons_file_write(path, NULL, 0), PONS_OK);
    assert_content(path, "");
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* The .part is a link to the device that is always full. */
static void full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    const char *path = scratch("b.txt"), *part = scratch("b.txt.part");
    assert_int_equal(pons_file_write(path, "old", 3), PONS_OK);
    assert_int_equal(symlink("/dev/full", part), 0);
    assert_int_equal(pons_file_write(path, "new", 3), PONS_ERR_IO);
    assert_non_null(strstr(pons_error_message(), "b.txt.part: No space left on device"));
    assert_false(anything_at(part));
    assert_content(path, "old");

    size_t bytes = 3 << 20; /* more than any buffer on the way */
    char *big = pons_mem_calloc((int64_t)bytes, 1);
    assert_int_equal(symlink("/dev/full", part), 0);
    assert_int_equal(pons_file_write(path, big, bytes), PONS_ERR_IO);
    assert_false(anything_at(part));
    assert_content(path, "old");

    assert_int_equal(symlink("/dev/full", part), 0);
    json_t *value = json_pack("{s:i}", "x", 1);
    assert_int_equal(pons_json_write(path, value), PONS_ERR_IO);
    json_decref(value);
    assert_false(anything_at(part));
    assert_content(path, "old");

    spill(scratch("source"), "new", 3);
    assert_int_equal(symlink("/dev/full", part), 0);
    assert_int_equal(pons_file_copy(scratch("source"), path), PONS_ERR_IO);
    assert_false(anything_at(part));
    assert_content(path, "old");
    pons_mem_free(big);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void append_adds_whole_lines(void **state)
{
    (void)state;
    const char *path = scratch("journal");
    assert_int_equal(pons_file_append_line(path, "one"), PONS_OK);
    assert_int_equal(pons_file_append_line(path, "two"), PONS_OK);
    assert_content(path, "one\ntwo\n");
    assert_int_equal(pons_file_append_line(path, "th\nree"), PONS_ERR_BUG);
    assert_int_equal(pons_file_append_line("/dev/full", "x"), PONS_ERR_IO);

    /* A limit in the middle of the line stands for a disk that fills up. */
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 10;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    pons_status st = pons_file_append_line(path, "three and more");
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_int_equal(st, PONS_ERR_IO);
    assert_content(path, "one\ntwo\n");
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void read_and_copy(void **state)
{
    (void)state;
    char *data;
    size_t bytes;
    assert_int_equal(pons_file_read(scratch("absent"), &data, &bytes), PONS_ERR_IO);
    assert_non_null(strstr(pons_error_message(), "cannot open "));
    assert_int_equal(pons_file_read(scratch_directory, &data, &bytes), PONS_ERR_IO);
    assert_int_equal(pons_file_copy(scratch("absent"), scratch("copy")), PONS_ERR_IO);
    assert_false(anything_at(scratch("copy")));

    size_t n = (2 << 20) + 13;
    char *big = pons_mem_alloc((int64_t)n, 1);
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++)
        big[i] = (char)next_random(&seed);
    assert_int_equal(pons_file_write(scratch("big"), big, n), PONS_OK);
    assert_int_equal(pons_file_copy(scratch("big"), scratch("copy")), PONS_OK);
    assert_int_equal(pons_file_read(scratch("copy"), &data, &bytes), PONS_OK);
    assert_int_equal(bytes, n);
    assert_memory_equal(data, big, n);
    pons_mem_free(data);
    pons_mem_free(big);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void directories(void **state)
{
    (void)state;
    assert_int_equal(pons_dir_make(scratch("d/e//f/")), PONS_OK);
    assert_true(pons_dir_exists(scratch("d/e/f")));
    assert_int_equal(pons_dir_make(scratch("d/e/f")), PONS_OK);
    spill(scratch("d/file"), "x", 1);
    assert_int_equal(pons_dir_make(scratch("d/file/g")), PONS_ERR_IO);
    assert_false(pons_dir_exists(scratch("d/file")));
    assert_false(pons_file_exists(scratch("d")));

    /* A link inside is removed, what it points to is not. */
    spill(scratch("kept"), "x", 1);
    pons_dir_make(scratch("linked"));
    spill(scratch("linked/kept"), "x", 1);
    assert_int_equal(symlink(scratch("linked"), scratch("d/e/link")), 0);
    assert_int_equal(pons_dir_remove(scratch("d/")), PONS_OK);
    assert_false(anything_at(scratch("d")));
    assert_true(pons_file_exists(scratch("linked/kept")));

    assert_int_equal(pons_dir_remove(scratch("d")), PONS_OK);
    assert_int_equal(pons_dir_remove(scratch("kept")), PONS_ERR_IO);
    assert_true(pons_file_exists(scratch("kept")));
    const char *never[] = {"", "/", "//", ".", "./", "..", "x/.", "x/../"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_int_equal(pons_dir_remove(never[i]), PONS_ERR_USAGE);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void staged_directory(void **state)
{
    (void)state;
    char *part;
    char out[256], file[300];
    snprintf(out, sizeof out, "%s", scratch("runs/out"));

    /* A killed run left a staging directory: it goes. */
    pons_dir_make(scratch("runs/out.part/deep"));
    spill(scratch("runs/out.part/deep/stale"), "x", 1);
    assert_int_equal(pons_dir_stage(scratch("runs/out/"), ".part", false, &part), PONS_OK);
    assert_string_equal(part, scratch("runs/out.part"));
    assert_false(anything_at(scratch("runs/out.part/deep")));
    assert_false(anything_at(out));
    snprintf(file, sizeof file, "%s/a", part);
    assert_int_equal(pons_file_write(file, "one", 3), PONS_OK);
    assert_int_equal(pons_dir_commit(part, out), PONS_OK);
    assert_false(anything_at(part));
    assert_content(scratch("runs/out/a"), "one");
    pons_mem_free(part);

    /* It is there now: refused, untouched. */
    assert_int_equal(pons_dir_stage(out, ".part", false, &part), PONS_ERR_EXISTS);
    assert_false(anything_at(scratch("runs/out.part")));
    assert_content(scratch("runs/out/a"), "one");

    /* With force the old one stays until the commit, then goes. */
    assert_int_equal(pons_dir_stage(out, ".part", true, &part), PONS_OK);
    assert_content(scratch("runs/out/a"), "one");
    snprintf(file, sizeof file, "%s/b", part);
    assert_int_equal(pons_file_write(file, "two", 3), PONS_OK);
    assert_int_equal(pons_dir_commit(part, out), PONS_OK);
    assert_false(anything_at(scratch("runs/out/a")));
    assert_content(scratch("runs/out/b"), "two");
    assert_false(anything_at(scratch("runs/out.old")));
    assert_false(anything_at(part));
    pons_mem_free(part);

    /* Someone's OUT.old is never removed unasked. */
    pons_dir_make(scratch("runs/out.old/precious"));
    assert_int_equal(pons_dir_stage(out, ".part", true, &part), PONS_ERR_EXISTS);
    assert_non_null(strstr(pons_error_message(), "out.old"));
    assert_true(pons_dir_exists(scratch("runs/out.old/precious")));

    /* A commit that cannot rename leaves OUT as it was. */
    assert_int_equal(pons_dir_commit(scratch("runs/no-such.part"), out), PONS_ERR_IO);
    assert_content(scratch("runs/out/b"), "two");

    spill(scratch("plain"), "x", 1);
    assert_int_equal(pons_dir_stage(scratch("plain"), ".part", true, &part), PONS_ERR_EXISTS);
    assert_int_equal(pons_dir_stage(scratch("plain/out"), ".part", false, &part), PONS_ERR_IO);
    assert_int_equal(pons_dir_stage("/", ".part", true, &part), PONS_ERR_USAGE);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void json(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:i, s:[f, s], s:{}}", "zeta", 1, "alpha", 0.1, "x", "m"), *back;
    const char *path = scratch("v.json");
    assert_int_equal(pons_json_write(path, value), PONS_OK);
    assert_content(path,
                   "{\n  \"zeta\": 1,\n  \"alpha\": [\n    0.10000000000000001,\n    \"x\"\n  ],\n"
                   "  \"m\": {}\n}\n");
    assert_int_equal(pons_json_read(path, &back), PONS_OK);
    assert_true(json_equal(value, back));
    json_decref(back);
    json_decref(value);

    spill(path, "{\n  \"a\": 1,\n  \"b\" 2\n}\n", 23);
    assert_int_equal(pons_json_read(path, &back), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "v.json: line 3: "));
    spill(path, "{\"a\": 1, \"a\": 2}", 16);
    assert_int_equal(pons_json_read(path, &back), PONS_ERR_INPUT);
    spill(path, "", 0);
    assert_int_equal(pons_json_read(path, &back), PONS_ERR_INPUT);
    assert_int_equal(pons_json_read(scratch("absent.json"), &back), PONS_ERR_IO);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(write_replaces_whole),
                                       cmocka_unit_test(full_disk_keeps_the_old_file),
                                       cmocka_unit_test(append_adds_whole_lines),
                                       cmocka_unit_test(read_and_copy),
                                       cmocka_unit_test(directories),
                                       cmocka_unit_test(staged_directory),
                                       cmocka_unit_test(json)};
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}

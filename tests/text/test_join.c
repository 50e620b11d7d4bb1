/* Lines joined as the reference programs join WikiText's records: literal examples of both forms. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "text/join.h"

static void check(const char *text, bool stripped, const char *expected)
{
    char *out = NULL;
    size_t bytes = 0;
    assert_int_equal(pons_text_join_lines(text, strlen(text), stripped, &out, &bytes), PONS_OK);
    assert_string_equal(out, expected);
    assert_int_equal(bytes, strlen(expected));
    pons_mem_free(out);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* "\n\n".join(rows) where a row is the line with its newline, or "" for a blank line. */
static void lines(void **state)
{
    (void)state;
    check("", false, "");
    check("a", false, "a");
    check(" = T = \n \n text \nend\n", false, " = T = \n\n\n\n\n text \n\n\nend\n");
    check("\n\n", false, "\n\n");
    check("no newline\nat the end", false, "no newline\n\n\nat the end");
}

/* "\n\n".join(row.strip() for row in rows) */
static void stripped(void **state)
{
    (void)state;
    check(" = T = \n \n text \nend\n", true, "= T =\n\n\n\ntext\n\nend");
    check("\xc2\xa0 caf\xc3\xa9\xe3\x80\x80\n", true, "caf\xc3\xa9"); /* any Unicode white space */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(stripped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

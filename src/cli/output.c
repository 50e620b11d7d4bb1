/* Owns what results look like on stdout. Does not decide what is in them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* Width of the longest flattened key. */
static size_t key_width(const json_t *object, size_t prefix)
{
    size_t width = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        size_t n = prefix + strlen(key);
        if (json_is_object(value)) n = key_width(value, n + 1);
        if (n > width) width = n;
    }
    return width;
}

static void print_lines(const json_t *object, const char *prefix, int width)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char name[256];
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (json_is_object(value)) {
            print_lines(value, name, width);
            continue;
        }
        printf("%-*s  ", width, name);
        if (json_is_integer(value))
            printf("%lld\n", (long long)json_integer_value(value));
        else if (json_is_real(value))
            printf("%.6g\n", json_real_value(value));
        else if (json_is_string(value))
            printf("%s\n", json_string_value(value));
        else if (json_is_boolean(value))
            printf("%s\n", json_boolean_value(value) ? "true" : "false");
        else
            printf("-\n");
    }
}

pons_status pons_cli_flush(void)
{
    errno = 0;
    if (fflush(stdout) || ferror(stdout))
        return pons_fail_errno(PONS_ERR_IO, errno ? errno : EIO, "standard output");
    return PONS_OK;
}

pons_status pons_cli_print(const json_t *result, bool json)
{
    if (json) {
        json_dumpf(result, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
        putchar('\n');
    } else {
        print_lines(result, "", (int)key_width(result, 0));
    }
    return pons_cli_flush();
}

void pons_cli_set(json_t *object, const char *key, json_t *value, bool *ok)
{
    if (json_object_set_new(object, key, value)) *ok = false; /* also when value is NULL */
}

json_t *pons_cli_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

/* Joining the lines of a text. Does not read files. */
#include "text/join.h"

#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

/* Narrow [*from, *to) to what is left without white space at its ends. */
static void strip(const char *text, int64_t *from, int64_t *to)
{
    while (*from < *to && pons_utf8_is_space(pons_utf8_decode(text + *from)))
        *from += pons_utf8_length(text + *from);
    while (*from < *to) {
        int64_t last = pons_utf8_before(text, *to);
        if (!pons_utf8_is_space(pons_utf8_decode(text + last))) return;
        *to = last;
    }
}

pons_status pons_text_join_lines(const char *text, size_t bytes, bool stripped, char **out,
                                 size_t *out_bytes)
{
    pons_status st = PONS_OK;
    char *joined = NULL;
    int64_t at = 0, end = (int64_t)bytes, length = 0;
    PONS_ALLOC(st, joined, 3 * end + 1); /* every newline becomes three at most */
    while (at < end) {
        const char *newline = memchr(text + at, '\n', (size_t)(end - at));
        int64_t next = newline ? newline + 1 - text : end, from = at, to = next;
        if (at > 0) {
            memcpy(joined + length, "\n\n", 2);
            length += 2;
        }
        strip(text, &from, &to);
        if (!stripped && from < to) {
            from = at;
            to = next;
        }
        memcpy(joined + length, text + from, (size_t)(to - from));
        length += to - from;
        at = next;
    }
    joined[length] = 0;
    *out = joined;
    *out_bytes = (size_t)length;
done:
    return st;
}

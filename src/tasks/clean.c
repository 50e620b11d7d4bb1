/* Text changes that HellaSwag's prompt asks for, as Python's str and re do them. */
#include <string.h>

#include <utf8proc.h>

#include "base/mem.h"
#include "tasks/item.h"
#include "text/utf8.h"

void pons_task_strip(char *text)
{
    char *from = text;
    while (*from && pons_utf8_is_space(pons_utf8_decode(from)))
        from += pons_utf8_length(from);
    int64_t end = (int64_t)strlen(from);
    while (end > 0 && pons_utf8_is_space(pons_utf8_decode(from + pons_utf8_before(from, end))))
        end = pons_utf8_before(from, end);
    memmove(text, from, (size_t)end);
    text[end] = 0;
}

/* Every `old`, left to right, to the text `new`, which is not longer. */
static void replace(char *text, const char *old, const char *new)
{
    size_t n = strlen(old), m = strlen(new);
    char *to = text;
    for (const char *from = text; *from;) {
        if (strncmp(from, old, n)) {
            *to++ = *from++;
        } else {
            memcpy(to, new, m);
            to += m;
            from += n;
        }
    }
    *to = 0;
}

/* Each "[" up to the next "]" on the same line goes. */
static void drop_brackets(char *text)
{
    char *to = text;
    for (const char *from = text; *from;) {
        size_t n = *from == '[' ? strcspn(from, "]\n") : 0;
        if (n && from[n] == ']')
            from += n + 1;
        else
            *to++ = *from++;
    }
    *to = 0;
}

void pons_task_clean(char *text)
{
    pons_task_strip(text);
    replace(text, " [title]", ". ");
    drop_brackets(text);
    replace(text, "  ", " ");
}

char *pons_task_capitalize(const char *text)
{
    char *out = pons_mem_alloc(4 * (int64_t)strlen(text) + 1, 1), *to = out;
    if (!out) return NULL;
    for (const char *from = text; *from; from += pons_utf8_length(from)) {
        int32_t c = pons_utf8_decode(from);
        to += pons_utf8_encode(from == text ? utf8proc_totitle(c) : utf8proc_tolower(c), to);
    }
    *to = 0;
    return out;
}

/* Owns the lines of the journal, on disk and in memory. Does not know what makes a run resumable
 * (resume.c). */
#include "pipeline/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "base/fault.h"
#include "base/mem.h"
#include "io/file.h"

struct pons_journal {
    mtx_t mutex; /* a block's line comes from the thread that commits it */
    char *path;
    json_t *lines; /* array */
};

/* Parse the lines of a text that ends with a newline. */
static pons_status parse(const char *path, char *text, json_t *lines)
{
    int number = 1;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, number++) {
        json_error_t error;
        json_t *object = json_loadb(line, (size_t)(end - line), 0, &error);
        if (!json_is_object(object) || !json_is_string(json_object_get(object, "event"))) {
            json_decref(object);
            return pons_fail(PONS_ERR_INPUT, "%s: line %d is not a line of a journal", path,
                             number);
        }
        if (json_array_append_new(lines, object))
            return pons_fail(PONS_ERR_NOMEM, "out of memory for %s", path);
    }
    return PONS_OK;
}

static pons_status read_lines(pons_journal *j)
{
    pons_status st = PONS_OK;
    char *text = NULL;
    size_t bytes = 0;
    if (!pons_file_exists(j->path)) return PONS_OK;
    PONS_TRY(st, pons_file_read(j->path, &text, &bytes));
    const char *last = memrchr(text, '\n', bytes);
    size_t whole = last ? (size_t)(last + 1 - text) : 0;
    if (whole < bytes) PONS_TRY(st, pons_file_write(j->path, text, whole));
    text[whole] = 0;
    PONS_TRY(st, parse(j->path, text, j->lines));
done:
    pons_mem_free(text);
    return st;
}

pons_status pons_journal_open(const char *run, pons_journal **out)
{
    pons_status st = PONS_OK;
    pons_journal *j = NULL;
    PONS_CALLOC(st, j, 1);
    mtx_init(&j->mutex, mtx_plain);
    j->path = pons_mem_printf("%s/journal.jsonl", run);
    j->lines = json_array();
    if (!j->path || !j->lines) {
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for the journal of %s", run);
        goto done;
    }
    PONS_TRY(st, read_lines(j));
    *out = j;
    j = NULL;
done:
    pons_journal_close(&j);
    return st;
}

void pons_journal_close(pons_journal **journal)
{
    pons_journal *j = *journal;
    if (!j) return;
    mtx_destroy(&j->mutex);
    json_decref(j->lines);
    pons_mem_free(j->path);
    pons_mem_free(j);
    *journal = NULL;
}

pons_status pons_journal_append(pons_journal *journal, json_t *line)
{
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    pons_status st = PONS_OK;
    mtx_lock(&journal->mutex);
    if (!text)
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for a journal line");
    else if (pons_fault(PONS_FAULT_JOURNAL_APPEND))
        st = pons_fail_errno(PONS_ERR_IO, ENOSPC, "cannot append to %s", journal->path);
    else
        st = pons_file_append_line(journal->path, text);
    pons_fault_die(PONS_FAULT_JOURNAL_DIE);
    if (st == PONS_OK && json_array_append(journal->lines, line))
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for a journal line");
    mtx_unlock(&journal->mutex);
    free(text);
    json_decref(line);
    return st;
}

const json_t *pons_journal_find(const pons_journal *journal, const char *event, const char *key,
                                int64_t value)
{
    for (size_t i = json_array_size(journal->lines); i-- > 0;) {
        const json_t *line = json_array_get(journal->lines, i);
        if (strcmp(json_string_value(json_object_get(line, "event")), event)) continue;
        if (!key || json_integer_value(json_object_get(line, key)) == value) return line;
    }
    return NULL;
}

/* Owns the table of `pons plan --run`. Never writes to the state directory, whose run may be going on. */
#include "cli/plan_allocation.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"

static bool is_allocation(const json_t *line)
{
    const char *event = json_string_value(json_object_get(line, "event"));
    return event && strcmp(event, "allocation") == 0;
}

pons_status pons_cli_read_allocation(const char *run, json_t **out)
{
    pons_status st = PONS_OK;
    char *text = NULL, *path = pons_mem_printf("%s/journal.jsonl", run);
    size_t bytes = 0;
    json_t *found = NULL;
    PONS_TRY(st, path ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_file_read(path, &text, &bytes));
    /* a last line without its end is still being written */
    for (char *line = text, *end; (end = memchr(line, '\n', bytes - (size_t)(line - text)));
         line = end + 1) {
        json_t *object = json_loadb(line, (size_t)(end - line), 0, NULL);
        if (is_allocation(object)) {
            json_decref(found);
            found = json_incref(object);
        }
        json_decref(object);
    }
    if (!found)
        st = pons_fail(
            PONS_ERR_INPUT,
            "%s: no allocation in it: prune.allocate is uniform, or its pass is not over", path);
    else
        *out = found;
done:
    pons_mem_free(text);
    pons_mem_free(path);
    return st;
}

/* "model.layers.0.self_attn.k_proj" */
static const char *name_of(const json_t *linears, size_t i)
{
    const char *name = json_string_value(json_object_get(json_array_get(linears, i), "name"));
    return name ? name : "";
}

/* Linears of a block: those of the first one. */
static size_t count_columns(const json_t *linears)
{
    static const char first[] = "model.layers.0.";
    size_t n = 0;
    while (!strncmp(name_of(linears, n), first, sizeof first - 1))
        n++;
    return n ? n : 1;
}

/* A table of blocks and linears. @param key of a linear in the journal */
static void print_table(const json_t *linears, const char *key, const char *title, int digits)
{
    const json_t *linear;
    size_t i, columns = count_columns(linears);
    printf("\n%s chosen for each linear:\n%-6s", title, "block");
    for (i = 0; i < columns; i++) {
        const char *name = name_of(linears, i), *dot = strrchr(name, '.');
        printf(" %9s", dot ? dot + 1 : name);
    }
    json_array_foreach(linears, i, linear)
    {
        if (i % columns == 0) printf("\n%-6zu", i / columns);
        printf(" %9.*f", digits, json_number_value(json_object_get(linear, key)));
    }
    printf("\n");
}

void pons_cli_print_allocation(const json_t *allocation)
{
    const json_t *linears = json_object_get(allocation, "linears");
    print_table(linears, "sparsity", "sparsity", 3);
    if (json_object_get(json_array_get(linears, 0), "bits"))
        print_table(linears, "bits", "bits", 0);
}

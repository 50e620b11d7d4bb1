/* Reading a run: its files, whatever of them is there, as numbers per block and linear. */
#include "report/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"

double pons_report_number(const json_t *object, const char *path)
{
    char key[64];
    while (object) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        object = json_object_get(object, key);
        if (!path[n]) return json_is_number(object) ? json_number_value(object) : NAN;
        path += n + 1;
    }
    return NAN;
}

/* The JSON file of this name in a directory; *out stays NULL when there is none. */
static pons_status read_json(const char *directory, const char *name, json_t **out)
{
    pons_status st = PONS_OK;
    char *path = pons_mem_printf("%s/%s", directory, name);
    if (!path) return PONS_ERR_NOMEM;
    if (pons_file_exists(path)) st = pons_json_read(path, out);
    if (st == PONS_OK && *out && !json_is_object(*out))
        st = pons_fail(PONS_ERR_INPUT, "%s: found no JSON object", path);
    pons_mem_free(path);
    return st;
}

/* A line that an interrupted write left without its end is not part of the journal. */
static pons_status read_journal(pons_report_run *run)
{
    pons_status st = PONS_OK;
    char *path = pons_mem_printf("%s/journal.jsonl", run->path), *text = NULL, *end;
    size_t bytes = 0;
    run->journal = json_array();
    if (!path || !run->journal) st = PONS_ERR_NOMEM;
    if (st != PONS_OK || !pons_file_exists(path)) goto done;
    PONS_TRY(st, pons_file_read(path, &text, &bytes));
    int number = 1;
    for (char *line = text; (end = strchr(line, '\n')); line = end + 1, number++) {
        json_error_t error;
        json_t *object = json_loadb(line, (size_t)(end - line), 0, &error);
        if (!json_is_object(object)) {
            json_decref(object);
            st = pons_fail(PONS_ERR_INPUT, "%s: line %d: found no JSON object", path, number);
            goto done;
        }
        if (json_array_append_new(run->journal, object)) st = PONS_ERR_NOMEM;
    }
done:
    pons_mem_free(text);
    pons_mem_free(path);
    return st;
}

static bool is_event(const json_t *line, const char *event)
{
    const char *text = json_string_value(json_object_get(line, "event"));
    return text && !strcmp(text, event);
}

/* Where the journal says that the output is; else RUN without its ".run". */
static pons_status find_output(pons_report_run *run)
{
    const char *named = NULL;
    size_t i, n = strlen(run->path);
    const json_t *line;
    json_array_foreach(run->journal, i, line)
    {
        const char *out = json_string_value(json_object_get(line, "out"));
        if (is_event(line, "finished") && out) named = out;
    }
    if (named && pons_dir_exists(named)) {
        run->out = pons_mem_strdup(named);
        return run->out ? PONS_OK : PONS_ERR_NOMEM;
    }
    if (n <= 4 || strcmp(run->path + n - 4, ".run")) return PONS_OK;
    run->out = pons_mem_strdup(run->path);
    if (!run->out) return PONS_ERR_NOMEM;
    run->out[n - 4] = 0;
    if (pons_dir_exists(run->out)) return PONS_OK;
    pons_mem_free(run->out);
    run->out = NULL;
    return PONS_OK;
}

/* "model.layers.3.self_attn.k_proj": block and the rest, or NULL. */
static const char *parse_name(const json_t *linear, int64_t *block)
{
    static const char prefix[] = "model.layers.";
    const char *name = json_string_value(json_object_get(linear, "name"));
    char *end;
    if (!name || strncmp(name, prefix, sizeof prefix - 1)) return NULL;
    *block = strtoll(name + sizeof prefix - 1, &end, 10);
    return *block < 0 || *block > 100000 || *end != '.' ? NULL : end + 1;
}

/* Place of a name among the linears of a block; run->linears when it is not there. */
static int find_linear(const pons_report_run *run, const char *name)
{
    int i = 0;
    while (i < run->linears && strcmp(run->linear[i], name))
        i++;
    return i;
}

const char *pons_report_linear_name(const pons_report_run *run, int linear)
{
    const char *dot = strrchr(run->linear[linear], '.');
    return dot ? dot + 1 : run->linear[linear];
}

/* Count the blocks and take the names of a list of linears, in its order. */
static pons_status note_linears(pons_report_run *run, const json_t *linears)
{
    const json_t *item;
    int64_t block;
    size_t i;
    json_array_foreach(linears, i, item)
    {
        const char *name = parse_name(item, &block);
        if (!name) continue;
        if (block >= run->blocks) run->blocks = block + 1;
        if (find_linear(run, name) < run->linears) continue;
        char(*more)[sizeof *run->linear] = pons_mem_alloc(run->linears + 1, sizeof *more);
        if (!more) return PONS_ERR_NOMEM;
        if (run->linears) memcpy(more, run->linear, (size_t)run->linears * sizeof *more);
        snprintf(more[run->linears++], sizeof *more, "%s", name);
        pons_mem_free(run->linear);
        run->linear = more;
    }
    return PONS_OK;
}

static double ratio(double part, double whole) { return whole > 0 ? part / whole : NAN; }

/* A linear as the manifest or a line of the journal has it. */
static void take_linear(pons_report_run *run, const json_t *linear)
{
    int64_t block;
    const char *name = parse_name(linear, &block);
    int index = name ? find_linear(run, name) : 0;
    if (!name || block >= run->blocks || index == run->linears) return;
    double *error = &run->error[block * run->linears + index];
    *error = pons_report_number(linear, "relative_error");
    if (isnan(*error))
        *error = ratio(pons_report_number(linear, "error"), pons_report_number(linear, "energy"));
    run->sparsity[block * run->linears + index] =
        ratio(pons_report_number(linear, "zeros"),
              pons_report_number(linear, "rows") * pons_report_number(linear, "cols"));
}

static void take_line(pons_report_run *run, const json_t *line)
{
    int64_t block = json_integer_value(json_object_get(line, "block"));
    double error = 0, energy = 0;
    size_t i;
    const json_t *linear, *linears = json_object_get(line, "linears");
    if (!is_event(line, "block") || block < 0 || block >= run->blocks) return;
    run->block_seconds[block] = pons_report_number(line, "seconds");
    json_array_foreach(linears, i, linear)
    {
        error += pons_report_number(linear, "error");
        energy += pons_report_number(linear, "energy");
        take_linear(run, linear);
    }
    run->block_error[block] =
        linears ? ratio(error, energy) : pons_report_number(line, "relative_error");
}

/* Numbers per block, from the journal, then from the manifest where there is one. */
static pons_status collect(pons_report_run *run)
{
    pons_status st = PONS_OK;
    const json_t *linears = json_object_get(run->manifest, "linears"), *item;
    int64_t block;
    size_t i;
    json_array_foreach(run->journal, i, item)
    {
        block = json_integer_value(json_object_get(item, "block"));
        if (!is_event(item, "block")) continue;
        if (block >= run->blocks && block < 100000) run->blocks = block + 1;
        PONS_TRY(st, note_linears(run, json_object_get(item, "linears")));
    }
    PONS_TRY(st, note_linears(run, linears));
    int64_t cells = run->blocks * run->linears;
    PONS_ALLOC(st, run->error, cells);
    PONS_ALLOC(st, run->sparsity, cells);
    PONS_ALLOC(st, run->block_error, run->blocks);
    PONS_ALLOC(st, run->block_seconds, run->blocks);
    for (int64_t c = 0; c < cells; c++)
        run->error[c] = run->sparsity[c] = NAN;
    for (int64_t b = 0; b < run->blocks; b++)
        run->block_error[b] = run->block_seconds[b] = NAN;
    json_array_foreach(run->journal, i, item) take_line(run, item);
    json_array_foreach(linears, i, item) take_linear(run, item);
done:
    return st;
}

static void set_name(pons_report_run *run)
{
    size_t n = strlen(run->path);
    while (n > 1 && run->path[n - 1] == '/')
        run->path[--n] = 0;
    const char *slash = strrchr(run->path, '/');
    snprintf(run->name, sizeof run->name, "%s",
             *run->recipe.label ? run->recipe.label
             : slash            ? slash + 1
                                : run->path);
}

pons_status pons_report_run_read(const char *path, pons_report_run *out)
{
    pons_status st = PONS_OK;
    char *recipe = NULL;
    size_t bytes;
    *out = (pons_report_run){0};
    recipe = pons_mem_printf("%s/recipe.yaml", path);
    out->path = pons_mem_strdup(path);
    if (!recipe || !out->path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    if (!pons_file_exists(recipe)) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: found no recipe.yaml, allowed: the RUN of a pons compress", path);
        goto done;
    }
    PONS_TRY(st, pons_recipe_load(recipe, NULL, 0, &out->recipe));
    PONS_TRY(st, pons_file_read(recipe, &out->recipe_text, &bytes));
    PONS_TRY(st, read_journal(out));
    PONS_TRY(st, read_json(path, "report.json", &out->report));
    PONS_TRY(st, read_json(path, "tasks.json", &out->tasks));
    set_name(out);
    PONS_TRY(st, find_output(out));
    if (out->out) PONS_TRY(st, read_json(out->out, "pons.json", &out->manifest));
    PONS_TRY(st, collect(out));
done:
    pons_mem_free(recipe);
    return st;
}

void pons_report_run_free(pons_report_run *run)
{
    json_decref(run->journal);
    json_decref(run->report);
    json_decref(run->tasks);
    json_decref(run->manifest);
    pons_mem_free(run->path);
    pons_mem_free(run->out);
    pons_mem_free(run->recipe_text);
    pons_mem_free(run->linear);
    pons_mem_free(run->error);
    pons_mem_free(run->sparsity);
    pons_mem_free(run->block_error);
    pons_mem_free(run->block_seconds);
    *run = (pons_report_run){0};
}

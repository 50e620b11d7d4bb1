/* Owns the reading of YAML: two levels of mappings with plain values, each with its line. Anchors,
 * aliases, tags, lists and second documents have no meaning in a recipe and are refused. What a
 * value may be is known to recipe_keys.c. */
#include "config/recipe_source.h"

#include <string.h>

#include <yaml.h>

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    const char *text;
    size_t bytes;
    pons_recipe_source *source;
    pons_recipe *recipe;
} reader;

static int line_of(const reader *r) { return (int)r->event.start_mark.line + 1; }

/* Whether line `line` (from 0) is indented with a tab, which YAML forbids and libyaml reports
 * obscurely. */
static bool has_tab_indent(const reader *r, size_t line)
{
    const char *c = r->text, *end = r->text + r->bytes;
    for (; line > 0 && c < end; c++)
        line -= *c == '\n';
    while (c < end && *c == ' ')
        c++;
    return c < end && *c == '\t';
}

static pons_status refuse_syntax(const reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *file = r->source->file;
    if (p->error == YAML_MEMORY_ERROR)
        return pons_fail(PONS_ERR_NOMEM, "%s: out of memory while reading YAML", file);
    if (p->error == YAML_READER_ERROR) {
        int line = 1;
        for (size_t i = 0; i < p->problem_offset && i < r->bytes; i++)
            line += r->text[i] == '\n';
        return pons_fail(
            PONS_ERR_CONFIG,
            "%s:%d: found bytes that are not text (%s), allowed: UTF-8 without control "
            "characters",
            file, line, p->problem);
    }
    if (has_tab_indent(r, p->problem_mark.line))
        return pons_fail(PONS_ERR_CONFIG, "%s:%zu: found a tab in the indentation, allowed: spaces",
                         file, p->problem_mark.line + 1);
    char context[128] = "";
    if (p->context)
        snprintf(context, sizeof context, "%s from line %zu, ", p->context,
                 p->context_mark.line + 1);
    return pons_fail(PONS_ERR_CONFIG, "%s:%zu: not valid YAML: %s%s", file,
                     p->problem_mark.line + 1, context, p->problem ? p->problem : "unknown error");
}

/* Step to the next event; refuses what no recipe uses anywhere. */
static pons_status next(reader *r)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event)) return refuse_syntax(r);
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    }
    const char *what = e->type == YAML_ALIAS_EVENT ? "an alias (*name)"
                       : anchor                    ? "an anchor (&name)"
                       : tag                       ? "a tag (!name)"
                                                   : NULL;
    if (what)
        return pons_fail(PONS_ERR_CONFIG, "%s:%d: found %s, allowed: plain keys and values",
                         r->source->file, line_of(r), what);
    return PONS_OK;
}

static const char *scalar_text(const reader *r) { return (const char *)r->event.data.scalar.value; }

static bool is_plain(const reader *r)
{
    return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* Nothing written: what YAML calls null. */
static bool is_nothing(const reader *r)
{
    return r->event.type == YAML_SCALAR_EVENT && is_plain(r) && !*scalar_text(r);
}

static bool has_zero_byte(const reader *r)
{
    return strlen(scalar_text(r)) != r->event.data.scalar.length;
}

/* The event's value for messages. */
static void describe(const reader *r, char out[PONS_RECIPE_VALUE_BYTES])
{
    size_t size = PONS_RECIPE_VALUE_BYTES;
    if (r->event.type == YAML_MAPPING_START_EVENT)
        snprintf(out, size, "a section");
    else if (r->event.type == YAML_SEQUENCE_START_EVENT)
        snprintf(out, size, "a list");
    else if (is_nothing(r))
        snprintf(out, size, "nothing");
    else if (is_plain(r))
        snprintf(out, size, "%s", scalar_text(r));
    else
        snprintf(out, size, "the string \"%s\"%s", scalar_text(r),
                 has_zero_byte(r) ? " and a zero byte" : "");
}

static pons_status read_value(reader *r, int index)
{
    const pons_recipe_key *key = &pons_recipe_keys[index];
    bool is_null =
        r->event.type == YAML_SCALAR_EVENT && is_plain(r) &&
        (is_nothing(r) || !strcmp(scalar_text(r), "~") || !strcmp(scalar_text(r), "null"));
    if (r->event.type == YAML_SCALAR_EVENT && !is_null && !has_zero_byte(r) &&
        pons_recipe_key_parse(key, scalar_text(r), !is_plain(r), r->recipe))
        return PONS_OK;
    char found[PONS_RECIPE_VALUE_BYTES], allowed[PONS_RECIPE_ALLOWED_BYTES];
    describe(r, found);
    pons_recipe_key_allowed(key, allowed);
    return pons_recipe_refuse(r->source, key->name, NULL, found, allowed);
}

static pons_status note_line(reader *r, int *noted, const char *name, int line)
{
    if (*noted)
        return pons_fail(PONS_ERR_CONFIG,
                         "%s:%d: found %s a second time (first on line %d), "
                         "allowed: once",
                         r->source->file, line, name, *noted);
    *noted = line;
    return PONS_OK;
}

/* The keys of one section (NULL: the top level); the current event is its MAPPING-START. Recurses
 * once. */
static pons_status read_mapping(reader *r, const char *section)
{
    for (;;) {
        pons_status st = next(r);
        if (st != PONS_OK) return st;
        if (r->event.type == YAML_MAPPING_END_EVENT) return PONS_OK;
        int line = line_of(r);
        char found[PONS_RECIPE_VALUE_BYTES], name[2 * PONS_RECIPE_NAME_BYTES];
        if (r->event.type != YAML_SCALAR_EVENT || has_zero_byte(r)) {
            describe(r, found);
            return pons_fail(PONS_ERR_CONFIG, "%s:%d: found %.80s as a key, allowed: a name",
                             r->source->file, line, found);
        }
        snprintf(name, sizeof name, "%s%s%s", section ? section : "", section ? "." : "",
                 scalar_text(r));
        int key = pons_recipe_key_find(name);
        int first = section || key >= 0 ? -1 : pons_recipe_section_find(name);
        if (key < 0 && first < 0) {
            char where[PONS_ERROR_MESSAGE_BYTES];
            snprintf(where, sizeof where, "%s:%d", r->source->file, line);
            return pons_recipe_refuse_unknown(where, name);
        }
        st = note_line(r, key >= 0 ? &r->source->key[key].line : &r->source->section_line[first],
                       name, line);
        if (st != PONS_OK || (st = next(r)) != PONS_OK) return st;
        if (key >= 0) {
            st = read_value(r, key);
        } else if (r->event.type == YAML_MAPPING_START_EVENT) {
            st = read_mapping(r, name);
        } else if (!is_nothing(r)) { /* a section with all its keys commented out is fine */
            describe(r, found);
            st = pons_fail(PONS_ERR_CONFIG, "%s:%d: %s: found %.80s, allowed: a section of keys",
                           r->source->file, line_of(r), name, found);
        }
        if (st != PONS_OK) return st;
    }
}

static pons_status read_stream(reader *r)
{
    pons_status st;
    PONS_TRY(st, next(r)); /* STREAM-START */
    PONS_TRY(st, next(r));
    if (r->event.type == YAML_STREAM_END_EVENT) return PONS_OK;
    PONS_TRY(st, next(r)); /* after DOCUMENT-START */
    if (r->event.type == YAML_MAPPING_START_EVENT) {
        PONS_TRY(st, read_mapping(r, NULL));
    } else if (!is_nothing(r)) {
        char found[PONS_RECIPE_VALUE_BYTES];
        describe(r, found);
        return pons_fail(PONS_ERR_CONFIG, "%s:%d: found %.80s, allowed: sections and keys",
                         r->source->file, line_of(r), found);
    }
    PONS_TRY(st, next(r)); /* DOCUMENT-END */
    PONS_TRY(st, next(r));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return pons_fail(PONS_ERR_CONFIG, "%s:%d: found a second YAML document, allowed: one",
                         r->source->file, line_of(r));
done:
    return st;
}

pons_status pons_recipe_read_yaml(pons_recipe_source *source, const char *text, size_t bytes,
                                  pons_recipe *recipe)
{
    reader r = {.text = text, .bytes = bytes, .source = source, .recipe = recipe};
    if (!yaml_parser_initialize(&r.parser))
        return pons_fail(PONS_ERR_NOMEM, "%s: out of memory while reading YAML", source->file);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
    pons_status st = read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return st;
}

/* Owns opening and closing; reading the parts is build*.c, using them encode.c. */
#include "text/tokenizer.h"

#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/store.h"
#include "text/parts.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* The source is kept as it was read, so that writing it again changes nothing. */
static pons_status open_json(const char *path, pons_tokenizer *tokenizer)
{
    size_t bytes;
    json_error_t error;
    pons_status st = pons_file_read(path, &tokenizer->source, &bytes);
    if (st != PONS_OK) return st;
    tokenizer->source_bytes = (int64_t)bytes;
    json_t *document =
        json_loadb(tokenizer->source, bytes, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!document)
        return pons_fail(PONS_ERR_INPUT, "%s: line %d: %s", path, error.line, error.text);
    st = pons_tokenizer_build(path, document, tokenizer);
    json_decref(document);
    return st;
}

static pons_status open_gguf(const char *path, pons_tokenizer *tokenizer)
{
    pons_status st = PONS_OK;
    json_t *document = NULL;
    PONS_TRY(st, pons_gguf_tokenizer_json(path, &document));
    PONS_TRY(st, pons_tokenizer_build(path, document, tokenizer));
    size_t bytes = json_dumpb(document, NULL, 0, JSON_INDENT(1));
    if (!bytes) {
        st = pons_fail(PONS_ERR_INPUT, "%s: its tokenizer cannot be written as JSON", path);
        goto done;
    }
    PONS_ALLOC(st, tokenizer->source, (int64_t)bytes);
    tokenizer->source_bytes =
        (int64_t)json_dumpb(document, tokenizer->source, bytes, JSON_INDENT(1));
done:
    json_decref(document);
    return st;
}

pons_status pons_tokenizer_open(const char *path, pons_tokenizer **out)
{
    pons_status st = PONS_OK;
    pons_tokenizer *tokenizer = NULL;
    char *found = NULL, *inside = NULL;
    PONS_CALLOC(st, tokenizer, 1);
    PONS_TRY(st, pons_store_locate(path, &found));
    if (pons_dir_exists(found)) {
        inside = pons_mem_printf("%s/tokenizer.json", found);
        if (!inside) {
            st = PONS_ERR_NOMEM;
            goto done;
        }
        PONS_TRY(st, open_json(inside, tokenizer));
    } else if (ends_with(found, ".gguf")) {
        PONS_TRY(st, open_gguf(found, tokenizer));
    } else {
        PONS_TRY(st, open_json(found, tokenizer));
    }
    *out = tokenizer;
    tokenizer = NULL;
done:
    pons_mem_free(inside);
    pons_mem_free(found);
    pons_tokenizer_close(&tokenizer);
    return st;
}

void pons_tokenizer_close(pons_tokenizer **tokenizer)
{
    pons_tokenizer *t = *tokenizer;
    if (!t) return;
    pons_added_free(&t->raw);
    pons_normalizer_free(&t->normalizer);
    pons_added_free(&t->normalized);
    pons_stages_free(&t->stages);
    pons_bpe_free(&t->bpe);
    pons_ids_free(&t->prefix);
    pons_ids_free(&t->suffix);
    pons_mem_free(t->source);
    pons_mem_free(t);
    *tokenizer = NULL;
}

int64_t pons_tokenizer_vocab_size(const pons_tokenizer *tokenizer) { return tokenizer->vocab_size; }

pons_status pons_tokenizer_write_json(const pons_tokenizer *tokenizer, const char *path)
{
    return pons_file_write(path, tokenizer->source, (size_t)tokenizer->source_bytes);
}

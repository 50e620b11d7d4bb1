/* Owns prepared id files: .ids (text), .npy and .i32; any other file is text for the tokenizer. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "text/bytes.h"
#include "text/join.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static pons_status check_id(const char *path, int64_t offset, int64_t id)
{
    if (id >= 0 && id <= INT32_MAX) return PONS_OK;
    return pons_fail(PONS_ERR_INPUT, "%s: offset %lld: id %lld is not in 0 .. 2^31-1", path,
                     (long long)offset, (long long)id);
}

static pons_status read_words(const char *path, const char *data, int64_t bytes, pons_ids *out)
{
    pons_status st = PONS_OK;
    for (int64_t i = 0; i < bytes;) {
        if (isspace((unsigned char)data[i])) {
            i++;
            continue;
        }
        int64_t start = i, id = 0;
        for (; i < bytes && isdigit((unsigned char)data[i]) && i - start < 18; i++)
            id = id * 10 + (data[i] - '0');
        if (i == start || (i < bytes && !isspace((unsigned char)data[i])))
            return pons_fail(
                PONS_ERR_INPUT, "%s: offset %lld: \"%.*s\" is not a decimal id (digits only)", path,
                (long long)start, (int)(bytes - start > 20 ? 20 : bytes - start), data + start);
        PONS_TRY(st, check_id(path, start, id));
        int32_t narrow = (int32_t)id;
        PONS_TRY(st, pons_ids_append(out, &narrow, 1));
    }
done:
    return st;
}

/* `count` little-endian signed integers of `size` bytes at `offset`. */
static pons_status read_binary(const char *path, const char *data, int64_t offset, int64_t count,
                               int64_t size, pons_ids *out)
{
    pons_status st = PONS_OK;
    for (int64_t i = 0; i < count; i++) {
        const unsigned char *p = (const unsigned char *)data + offset + i * size;
        uint64_t bits = 0;
        for (int64_t k = 0; k < size; k++)
            bits |= (uint64_t)p[k] << (8 * k);
        int64_t id = size == 4 ? (int32_t)(uint32_t)bits : (int64_t)bits;
        PONS_TRY(st, check_id(path, offset + i * size, id));
        int32_t narrow = (int32_t)id;
        PONS_TRY(st, pons_ids_append(out, &narrow, 1));
    }
done:
    return st;
}

/* What follows 'key': in the header's dictionary, NULL when it is not there. */
static const char *npy_field(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (!at) return NULL;
    at += strlen(quoted);
    while (*at == ' ')
        at++;
    return at;
}

/* The format: 6 magic bytes, 2 version bytes, header length (2 bytes in version 1, else 4), a
 * Python dictionary as text, the data. */
static pons_status read_npy(const char *path, const char *data, int64_t bytes, pons_ids *out)
{
    pons_status st = PONS_OK;
    const unsigned char *p = (const unsigned char *)data;
    char *header = NULL;
    if (bytes < 12 || memcmp(data, "\x93NUMPY", 6) || p[6] < 1 || p[6] > 3)
        return pons_fail(PONS_ERR_INPUT, "%s: offset 0: not an npy file of version 1 to 3", path);
    int64_t start = p[6] == 1 ? 10 : 12;
    int64_t length = p[8] | p[9] << 8;
    if (p[6] > 1) length |= (int64_t)p[10] << 16 | (int64_t)p[11] << 24;
    if (length > bytes - start)
        return pons_fail(PONS_ERR_INPUT, "%s: offset 8: header of %lld bytes in a file of %lld",
                         path, (long long)length, (long long)bytes);
    PONS_ALLOC(st, header, length + 1);
    memcpy(header, data + start, (size_t)length);
    header[length] = 0;
    const char *type = npy_field(header, "descr"), *fortran = npy_field(header, "fortran_order");
    const char *shape = npy_field(header, "shape");
    int64_t size = !type ? 0 : !strncmp(type, "'<i4'", 5) ? 4 : !strncmp(type, "'<i8'", 5) ? 8 : 0;
    char *end = NULL;
    long long count = shape && *shape == '(' && isdigit((unsigned char)shape[1])
                          ? strtoll(shape + 1, &end, 10)
                          : -1;
    if (!size || !fortran || strncmp(fortran, "False", 5) || count < 0 || strncmp(end, ",)", 2)) {
        st = pons_fail(
            PONS_ERR_INPUT,
            "%s: offset %lld: header \"%.*s\": allowed are int32 or int64, little-endian, "
            "C order, one dimension",
            path, (long long)start, (int)strcspn(header, "\n"), header);
        goto done;
    }
    start += length;
    if (count > (bytes - start) / size || count * size != bytes - start) {
        st = pons_fail(PONS_ERR_INPUT, "%s: offset %lld: %lld ids announced, %lld bytes follow",
                       path, (long long)start, count, (long long)(bytes - start));
        goto done;
    }
    st = read_binary(path, data, start, count, size, out);
done:
    pons_mem_free(header);
    return st;
}

static pons_status encode_file(const char *path, const pons_tokenizer *tokenizer, bool special,
                               const char *data, size_t bytes, int32_t **ids, int64_t *count)
{
    if (!tokenizer)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: a text needs a tokenizer; prepared ids are .ids, .npy or .i32", path);
    pons_status st = pons_tokenizer_encode(tokenizer, data, bytes, special, ids, count);
    if (st == PONS_OK || st == PONS_ERR_NOMEM) return st;
    return pons_fail_within(st, "%s", path);
}

pons_status pons_text_load_ids(const char *path, const pons_tokenizer *tokenizer, bool special,
                               int32_t **ids, int64_t *count)
{
    pons_status st = PONS_OK;
    char *data = NULL;
    size_t bytes = 0;
    pons_ids read = {0};
    PONS_TRY(st, pons_file_read(path, &data, &bytes));
    if (ends_with(path, ".ids")) {
        PONS_TRY(st, read_words(path, data, (int64_t)bytes, &read));
    } else if (ends_with(path, ".npy")) {
        PONS_TRY(st, read_npy(path, data, (int64_t)bytes, &read));
    } else if (ends_with(path, ".i32")) {
        if (bytes % 4) {
            st = pons_fail(PONS_ERR_INPUT, "%s: offset %zu: %zu bytes left over after int32 ids",
                           path, bytes - bytes % 4, bytes % 4);
            goto done;
        }
        PONS_TRY(st, read_binary(path, data, 0, (int64_t)bytes / 4, 4, &read));
    } else {
        st = encode_file(path, tokenizer, special, data, bytes, ids, count);
        goto done;
    }
    if (!read.data) PONS_ALLOC(st, read.data, 1); /* an empty list still is a block to free */
    *ids = read.data;
    *count = read.count;
    read = (pons_ids){0};
done:
    pons_ids_free(&read);
    pons_mem_free(data);
    return st;
}

static pons_status load_joined(const char *path, const pons_tokenizer *tokenizer, bool special,
                               pons_text_join join, int32_t **ids, int64_t *count)
{
    pons_status st = PONS_OK;
    char *data = NULL, *text = NULL;
    size_t bytes = 0;
    PONS_TRY(st, pons_file_read(path, &data, &bytes));
    int64_t valid = pons_utf8_check(data, (int64_t)bytes);
    if (valid < (int64_t)bytes) {
        st = pons_fail(PONS_ERR_INPUT, "%s: byte %lld is not UTF-8", path, (long long)valid);
        goto done;
    }
    PONS_TRY(st, pons_text_join_lines(data, bytes, join == PONS_JOIN_STRIPPED, &text, &bytes));
    PONS_TRY(st, encode_file(path, tokenizer, special, text, bytes, ids, count));
done:
    pons_mem_free(text);
    pons_mem_free(data);
    return st;
}

pons_status pons_text_load(const char *path, const char *model, int64_t vocab, bool special,
                           pons_text_join join, int32_t **ids, int64_t *count)
{
    pons_status st = PONS_OK;
    pons_tokenizer *tokenizer = NULL;
    pons_ids read = {0};
    bool prepared = ends_with(path, ".ids") || ends_with(path, ".npy") || ends_with(path, ".i32");
    if (prepared && join != PONS_JOIN_NONE)
        return pons_fail(PONS_ERR_INPUT, "%s: prepared ids have no lines to join; use join: none",
                         path);
    if (!prepared) PONS_TRY(st, pons_tokenizer_open(model, &tokenizer));
    PONS_TRY(st, join == PONS_JOIN_NONE
                     ? pons_text_load_ids(path, tokenizer, special, &read.data, &read.count)
                     : load_joined(path, tokenizer, special, join, &read.data, &read.count));
    for (int64_t i = 0; i < read.count; i++)
        if (read.data[i] < 0 || read.data[i] >= vocab)
            PONS_TRY(st,
                     pons_fail(PONS_ERR_INPUT,
                               "%s: token %lld has id %d, outside the model's vocabulary of %lld",
                               path, (long long)i, read.data[i], (long long)vocab));
    *ids = read.data;
    *count = read.count;
    read = (pons_ids){0};
done:
    pons_ids_free(&read);
    pons_tokenizer_close(&tokenizer);
    return st;
}

/* Owns reading the header of one GGUF v3 file: metadata pairs, tensor infos, alignment. Does not
 * give meaning to any key but general.alignment, nor map tensor names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/store_build.h"

enum {
    VERSION = 3,
    MAX_NDIM = 4,
    MAX_NAME = 64,
    MAX_KEY = 65535,
    DEFAULT_ALIGNMENT = 32,
    MIN_PAIR_BYTES = 8 + 4 + 1,     /* key length, type, smallest value */
    MIN_INFO_BYTES = 8 + 4 + 4 + 8, /* name length, n_dims, type, offset */
    FIRST_BYTES = 1 << 20,          /* of the head, before it is known how long it is */
};

/* Metadata value types by their numbers in the file. */
enum {
    T_U8,
    T_I8,
    T_U16,
    T_I16,
    T_U32,
    T_I32,
    T_F32,
    T_BOOL,
    T_STRING,
    T_ARRAY,
    T_U64,
    T_I64,
    T_F64,
    T_COUNT
};

static const struct {
    size_t bytes; /* 0: variable */
    pons_gguf_type type;
} value_types[T_COUNT] = {
    [T_U8] = {1, PONS_GGUF_UINT},       [T_I8] = {1, PONS_GGUF_INT},
    [T_U16] = {2, PONS_GGUF_UINT},      [T_I16] = {2, PONS_GGUF_INT},
    [T_U32] = {4, PONS_GGUF_UINT},      [T_I32] = {4, PONS_GGUF_INT},
    [T_F32] = {4, PONS_GGUF_FLOAT},     [T_BOOL] = {1, PONS_GGUF_UINT},
    [T_STRING] = {0, PONS_GGUF_STRING}, [T_ARRAY] = {0, PONS_GGUF_ARRAY},
    [T_U64] = {8, PONS_GGUF_UINT},      [T_I64] = {8, PONS_GGUF_INT},
    [T_F64] = {8, PONS_GGUF_FLOAT},
};

/* Tensor types by their numbers in the file; those without a dtype are refused by name. */
static const struct {
    const char *name;
    int dtype; /* pons_dtype, or -1 */
} tensor_types[] = {
    [0] = {"F32", PONS_DTYPE_F32},
    [1] = {"F16", PONS_DTYPE_F16},
    [2] = {"Q4_0", PONS_DTYPE_Q4_0},
    [3] = {"Q4_1", PONS_DTYPE_Q4_1},
    [6] = {"Q5_0", -1},
    [7] = {"Q5_1", -1},
    [8] = {"Q8_0", PONS_DTYPE_Q8_0},
    [9] = {"Q8_1", -1},
    [10] = {"Q2_K", -1},
    [11] = {"Q3_K", -1},
    [12] = {"Q4_K", -1},
    [13] = {"Q5_K", -1},
    [14] = {"Q6_K", -1},
    [15] = {"Q8_K", -1},
    [16] = {"IQ2_XXS", -1},
    [17] = {"IQ2_XS", -1},
    [18] = {"IQ3_XXS", -1},
    [19] = {"IQ1_S", -1},
    [20] = {"IQ4_NL", -1},
    [21] = {"IQ3_S", -1},
    [22] = {"IQ2_S", -1},
    [23] = {"IQ4_XS", -1},
    [24] = {"I8", -1},
    [25] = {"I16", -1},
    [26] = {"I32", -1},
    [27] = {"I64", -1},
    [28] = {"F64", -1},
    [29] = {"IQ1_M", -1},
    [30] = {"BF16", PONS_DTYPE_BF16},
    [34] = {"TQ1_0", -1},
    [35] = {"TQ2_0", -1},
    [39] = {"MXFP4", -1},
    [40] = {"NVFP4", -1},
    [41] = {"Q1_0", -1},
};

enum { TENSOR_TYPES = sizeof tensor_types / sizeof tensor_types[0] };

/* A position in the file, and what is being read there, for messages. */
typedef struct reader {
    const char *path;
    const uint8_t *data; /* the first `loaded` bytes */
    size_t bytes, loaded, at;
    bool more; /* a byte past `loaded` was wanted */
    char where[PONS_LABEL_BYTES + 32];
} reader;

/* The next n bytes. */
static pons_status take(reader *r, uint64_t n, const uint8_t **out)
{
    size_t left = r->bytes - r->at;
    if (n > left)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: %s: %llu bytes wanted at byte %zu, but only %zu are left: truncated "
                         "or damaged",
                         r->path, r->where, (unsigned long long)n, r->at, left);
    r->more = n > r->loaded - r->at;
    if (r->more) return PONS_ERR_INPUT; /* without a sentence: pons_gguf_scan begins again */
    *out = r->data + r->at;
    r->at += n;
    return PONS_OK;
}

static pons_status take_u32(reader *r, uint32_t *out)
{
    const uint8_t *p = NULL;
    pons_status st = take(r, sizeof *out, &p);
    if (st == PONS_OK) memcpy(out, p, sizeof *out);
    return st;
}

static pons_status take_u64(reader *r, uint64_t *out)
{
    const uint8_t *p = NULL;
    pons_status st = take(r, sizeof *out, &p);
    if (st == PONS_OK) memcpy(out, p, sizeof *out);
    return st;
}

/* A string: length, then bytes without a terminating zero. */
static pons_status take_string(reader *r, const char **text, size_t *length)
{
    uint64_t n = 0;
    const uint8_t *p = NULL;
    pons_status st;
    PONS_TRY(st, take_u64(r, &n));
    PONS_TRY(st, take(r, n, &p));
    *text = (const char *)p;
    *length = n;
done:
    return st;
}

/* A name or key: a string that can be looked up, so without zero bytes. */
static pons_status take_name(reader *r, size_t longest, const char **text, size_t *length)
{
    pons_status st = take_string(r, text, length);
    if (st != PONS_OK) return st;
    if (*length == 0 || *length > longest)
        return pons_fail(PONS_ERR_INPUT, "%s: %s: a name of %zu bytes; allowed: 1..%zu", r->path,
                         r->where, *length, longest);
    if (memchr(*text, 0, *length))
        return pons_fail(PONS_ERR_INPUT, "%s: %s: a name with a zero byte", r->path, r->where);
    return PONS_OK;
}

/* Number of a fixed-size type at p, in every form it fits. */
static void load_number(const uint8_t *p, uint32_t raw, pons_gguf_value *v)
{
    size_t n = value_types[raw].bytes;
    uint64_t bits = 0;
    memcpy(&bits, p, n);
    v->type = value_types[raw].type;
    switch (v->type) {
    case PONS_GGUF_UINT:
        v->u = bits;
        v->i = bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
        v->f = (double)bits;
        break;
    case PONS_GGUF_INT: {
        unsigned shift = 64 - 8 * (unsigned)n;
        v->i = (int64_t)(bits << shift) >> shift; /* sign extension */
        v->u = v->i < 0 ? 0 : (uint64_t)v->i;
        v->f = (double)v->i;
        break;
    }
    default:
        if (raw == T_F32) {
            float x;
            memcpy(&x, p, sizeof x);
            v->f = x;
        } else
            memcpy(&v->f, p, sizeof v->f);
        v->i = v->f >= -0x1p63 && v->f < 0x1p63 ? (int64_t)v->f : INT64_MIN;
        v->u = v->i < 0 ? 0 : (uint64_t)v->i;
    }
}

static pons_status check_bools(const reader *r, const uint8_t *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1)
            return pons_fail(PONS_ERR_INPUT, "%s: %s: a boolean of value %d; allowed: 0, 1",
                             r->path, r->where, p[i]);
    return PONS_OK;
}

/* An array: element type, count, elements. Strings are walked once so that later walks need no
 * checks. */
static pons_status take_array(reader *r, pons_gguf_value *v)
{
    uint64_t count = 0;
    const uint8_t *p = NULL;
    pons_status st;
    PONS_TRY(st, take_u32(r, &v->raw_type));
    PONS_TRY(st, take_u64(r, &count));
    v->type = PONS_GGUF_ARRAY;
    v->raw = r->data + r->at; /* also where nothing follows */
    if (v->raw_type >= T_COUNT) {
        st = pons_fail(PONS_ERR_INPUT, "%s: %s: array element type %u; allowed: 0..%d", r->path,
                       r->where, v->raw_type, T_COUNT - 1);
        goto done;
    }
    if (v->raw_type == T_ARRAY) {
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s: %s: an array of arrays is not supported", r->path,
                       r->where);
        goto done;
    }
    size_t least = v->raw_type == T_STRING ? 8 : value_types[v->raw_type].bytes;
    if (count > (r->bytes - r->at) / least) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: %s: an array of %llu elements, but only %zu bytes are left: truncated "
                       "or damaged",
                       r->path, r->where, (unsigned long long)count, r->bytes - r->at);
        goto done;
    }
    v->element = value_types[v->raw_type].type;
    v->count = (int64_t)count;
    if (v->raw_type == T_STRING) {
        const char *text;
        size_t length;
        for (uint64_t i = 0; i < count; i++)
            PONS_TRY(st, take_string(r, &text, &length));
    } else {
        PONS_TRY(st, take(r, count * least, &p));
        if (v->raw_type == T_BOOL) PONS_TRY(st, check_bools(r, p, count));
    }
done:
    return st;
}

static pons_status take_value(reader *r, uint32_t raw, pons_gguf_value *v)
{
    const uint8_t *p = NULL;
    pons_status st;
    if (raw >= T_COUNT)
        return pons_fail(PONS_ERR_INPUT, "%s: %s: value type %u; allowed: 0..%d", r->path, r->where,
                         raw, T_COUNT - 1);
    if (raw == T_ARRAY) return take_array(r, v);
    if (raw == T_STRING) {
        v->type = PONS_GGUF_STRING;
        return take_string(r, &v->text, &v->length);
    }
    PONS_TRY(st, take(r, value_types[raw].bytes, &p));
    if (raw == T_BOOL) PONS_TRY(st, check_bools(r, p, 1));
    load_number(p, raw, v);
done:
    return st;
}

static int by_key(const void *a, const void *b)
{
    const pons_gguf_pair *x = a, *y = b;
    size_t n = x->key_length < y->key_length ? x->key_length : y->key_length;
    int order = memcmp(x->key, y->key, n);
    return order ? order : (x->key_length > y->key_length) - (x->key_length < y->key_length);
}

static pons_status read_pairs(reader *r, pons_store *store, uint64_t count)
{
    char label[PONS_LABEL_BYTES];
    uint32_t raw = 0;
    pons_status st = PONS_OK;
    if (count > (r->bytes - r->at) / MIN_PAIR_BYTES)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: %llu metadata pairs announced, but only %zu bytes follow: truncated "
                         "or damaged",
                         r->path, (unsigned long long)count, r->bytes - r->at);
    pons_mem_free(store->pairs);
    PONS_CALLOC(st, store->pairs, (int64_t)count);
    for (uint64_t i = 0; i < count; i++) {
        pons_gguf_pair *pair = &store->pairs[i];
        snprintf(r->where, sizeof r->where, "metadata pair %llu", (unsigned long long)i);
        PONS_TRY(st, take_name(r, MAX_KEY, &pair->key, &pair->key_length));
        snprintf(r->where, sizeof r->where, "metadata '%s'",
                 pons_store_label(label, pair->key, pair->key_length));
        PONS_TRY(st, take_u32(r, &raw));
        PONS_TRY(st, take_value(r, raw, &pair->value));
    }
    store->pair_count = (int64_t)count;
    qsort(store->pairs, count, sizeof *store->pairs, by_key);
    for (uint64_t i = 1; i < count; i++)
        if (!by_key(&store->pairs[i - 1], &store->pairs[i])) {
            st =
                pons_fail(PONS_ERR_INPUT, "%s: metadata '%s' occurs twice", r->path,
                          pons_store_label(label, store->pairs[i].key, store->pairs[i].key_length));
            goto done;
        }
done:
    return st;
}

static pons_status read_alignment(const reader *r, const pons_store *store, uint64_t *alignment)
{
    const pons_gguf_value *v = pons_store_metadata(store, "general.alignment");
    *alignment = DEFAULT_ALIGNMENT;
    if (!v) return PONS_OK;
    if (v->type != PONS_GGUF_UINT || v->u < 8 || v->u > (1u << 30) || (v->u & (v->u - 1)))
        return pons_fail(
            PONS_ERR_INPUT,
            "%s: metadata 'general.alignment' is %.17g; allowed: a power of two from 8 "
            "to 2^30, of an unsigned type",
            r->path, v->f);
    *alignment = v->u;
    return PONS_OK;
}

/* The type number of a tensor. */
static pons_status read_type(reader *r, pons_dtype *dtype)
{
    uint32_t raw = 0;
    pons_status st = take_u32(r, &raw);
    if (st != PONS_OK) return st;
    const char *name = raw < TENSOR_TYPES ? tensor_types[raw].name : NULL;
    if (!name || tensor_types[raw].dtype < 0)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: %s has type %s (number %u); supported: F32 F16 BF16 Q8_0 Q4_0 Q4_1",
                         r->path, r->where, name ? name : "unknown", raw);
    *dtype = (pons_dtype)tensor_types[raw].dtype;
    return PONS_OK;
}

static pons_status read_info(reader *r, pons_store *store, int64_t file, int64_t number,
                             uint64_t alignment)
{
    char label[PONS_LABEL_BYTES];
    pons_store_tensor t = {.file = file};
    const char *name = NULL;
    size_t length = 0;
    uint32_t ndim = 0;
    uint64_t dim = 0;
    int64_t bytes;
    pons_status st;

    snprintf(r->where, sizeof r->where, "tensor info %lld", (long long)number);
    PONS_TRY(st, take_name(r, MAX_NAME, &name, &length));
    snprintf(r->where, sizeof r->where, "tensor '%s'", pons_store_label(label, name, length));
    PONS_TRY(st, take_u32(r, &ndim));
    if (ndim > MAX_NDIM) {
        st = pons_fail(PONS_ERR_INPUT, "%s: %s has %u dimensions; allowed: 0..%d", r->path,
                       r->where, ndim, MAX_NDIM);
        goto done;
    }
    t.view.ndim = (int)ndim;
    for (uint32_t i = 0; i < ndim; i++) { /* the file has the fastest dimension first */
        PONS_TRY(st, take_u64(r, &dim));
        if (dim > INT64_MAX) {
            st = pons_fail(PONS_ERR_INPUT, "%s: %s: dimension %u is %llu; allowed: below 2^63",
                           r->path, r->where, i, (unsigned long long)dim);
            goto done;
        }
        t.view.shape[ndim - 1 - i] = (int64_t)dim;
    }
    PONS_TRY(st, read_type(r, &t.view.dtype));
    PONS_TRY(st, take_u64(r, &t.begin));
    if (!pons_shape_bytes(t.view.dtype, t.view.ndim, t.view.shape, &bytes)) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: %s: its shape is invalid for %s: too large, or rows are not multiples "
                       "of %lld elements",
                       r->path, r->where, pons_dtype_name(t.view.dtype),
                       (long long)pons_dtype_unit_elements(t.view.dtype));
        goto done;
    }
    if (t.begin % alignment || __builtin_add_overflow(t.begin, (uint64_t)bytes, &t.end)) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: %s: data offset %llu; allowed: a multiple of the alignment %llu inside "
                       "the file",
                       r->path, r->where, (unsigned long long)t.begin,
                       (unsigned long long)alignment);
        goto done;
    }
    PONS_TRY(st, pons_store_add_tensor(store, name, length, &t));
done:
    return st;
}

/* Magic, version, counts. */
static pons_status read_preamble(reader *r, uint64_t *tensors, uint64_t *pairs)
{
    const uint8_t *magic = NULL;
    uint32_t version = 0;
    pons_status st;
    snprintf(r->where, sizeof r->where, "header");
    PONS_TRY(st, take(r, 4, &magic));
    if (memcmp(magic, "GGUF", 4)) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: not a GGUF file: it begins with bytes %02x %02x %02x "
                       "%02x; allowed: 47 47 55 46",
                       r->path, magic[0], magic[1], magic[2], magic[3]);
        goto done;
    }
    PONS_TRY(st, take_u32(r, &version));
    if (version != VERSION) {
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s: GGUF version %u%s; supported: %d", r->path,
                       version, version == (uint32_t)VERSION << 24 ? " (3, big-endian)" : "",
                       VERSION);
        goto done;
    }
    PONS_TRY(st, take_u64(r, tensors));
    PONS_TRY(st, take_u64(r, pairs));
done:
    return st;
}

/* Everything before the tensors' bytes. */
static pons_status read_head(reader *r, pons_store *store, int64_t file)
{
    uint64_t tensors = 0, pairs = 0, alignment = 0;
    int64_t first = store->count;
    pons_status st;

    PONS_TRY(st, read_preamble(r, &tensors, &pairs));
    PONS_TRY(st, read_pairs(r, store, pairs));
    PONS_TRY(st, read_alignment(r, store, &alignment));
    if (tensors > (r->bytes - r->at) / MIN_INFO_BYTES) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: %llu tensors announced, but only %zu bytes follow the metadata: "
                       "truncated or damaged",
                       r->path, (unsigned long long)tensors, r->bytes - r->at);
        goto done;
    }
    for (uint64_t i = 0; i < tensors; i++)
        PONS_TRY(st, read_info(r, store, file, (int64_t)i, alignment));
    uint64_t section = (r->at + alignment - 1) / alignment * alignment;
    PONS_TRY(st, pons_store_place(store, file, first, section < r->bytes ? section : r->bytes,
                                  section < r->bytes ? r->bytes - section : 0, alignment));
done:
    return st;
}

/* How long the head is shows at its end only: when what was read of the file does not do, more of it is
 * read, and the head from its beginning. */
pons_status pons_gguf_scan(pons_store *store, int64_t file)
{
    pons_store_file *f = &store->files[file];
    int64_t first = store->count;
    reader r = {.path = f->path, .bytes = f->bytes};
    pons_status st = PONS_OK;
    for (size_t wanted = FIRST_BYTES; wanted == FIRST_BYTES || r.more; wanted *= 4) {
        store->count = first;
        r = (reader){.path = f->path, .bytes = f->bytes};
        r.loaded = wanted < f->bytes ? wanted : f->bytes;
        pons_mem_free(f->head);
        PONS_ALLOC(st, f->head, (int64_t)r.loaded);
        PONS_TRY(st, pons_store_read_file(f, "header", 0, r.loaded, f->head));
        r.data = f->head;
        st = read_head(&r, store, file);
    }
done:
    return st;
}

const pons_gguf_value *pons_store_metadata(const pons_store *store, const char *key)
{
    pons_gguf_pair wanted = {.key = key, .key_length = strlen(key)};
    if (!store->pair_count) return NULL;
    const pons_gguf_pair *found =
        bsearch(&wanted, store->pairs, (size_t)store->pair_count, sizeof wanted, by_key);
    return found ? &found->value : NULL;
}

const char *pons_gguf_array_next_string(const void **cursor, size_t *length)
{
    const char *p = *cursor;
    uint64_t n;
    memcpy(&n, p, sizeof n);
    *length = n;
    *cursor = p + sizeof n + n;
    return p + sizeof n;
}

/* Element i of an array of numbers. */
static pons_gguf_value element(const pons_gguf_value *value, int64_t i)
{
    pons_gguf_value v = {0};
    PONS_ASSERT(value->type == PONS_GGUF_ARRAY && value->element != PONS_GGUF_STRING);
    PONS_ASSERT(i >= 0 && i < value->count);
    size_t bytes = value_types[value->raw_type].bytes;
    load_number((const uint8_t *)value->raw + (size_t)i * bytes, value->raw_type, &v);
    return v;
}

double pons_gguf_array_float(const pons_gguf_value *value, int64_t i)
{
    return element(value, i).f;
}

int64_t pons_gguf_array_int(const pons_gguf_value *value, int64_t i) { return element(value, i).i; }

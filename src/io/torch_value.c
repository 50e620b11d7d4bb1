/* Owns the values of a torch file: making them while the pickle is interpreted, and looking at
 * them. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/store_build.h"
#include "io/torch_build.h"

pons_torch_value *pons_torch_value_new(pons_torch_file *file, pons_torch_kind kind)
{
    pons_torch_value *v = pons_mem_calloc(1, sizeof *v);
    if (!v) return NULL;
    v->kind = kind;
    v->next = file->values;
    file->values = v;
    return v;
}

pons_status pons_torch_value_append(pons_torch_value *value, pons_torch_value *item)
{
    if (value->count == value->capacity) {
        int64_t capacity = value->capacity ? 2 * value->capacity : 8;
        size_t old = (size_t)value->count * sizeof *value->items;
        void *items = pons_mem_resize(value->items, old, capacity, sizeof *value->items);
        if (!items) return PONS_ERR_NOMEM;
        value->items = items;
        value->capacity = capacity;
    }
    value->items[value->count++] = item;
    return PONS_OK;
}

pons_torch_kind pons_torch_value_kind(const pons_torch_value *value) { return value->kind; }

const char *pons_torch_kind_name(pons_torch_kind kind)
{
    static const char *const names[] = {"nothing",  "a boolean",    "a whole number",
                                        "a number", "text",         "a tuple",
                                        "a list",   "a dictionary", "a tensor"};
    return kind < PONS_TORCH_OTHER ? names[kind] : "a type";
}

bool pons_torch_value_int(const pons_torch_value *value, int64_t *out)
{
    *out = value->number;
    return value->kind == PONS_TORCH_INT || value->kind == PONS_TORCH_BOOL;
}

bool pons_torch_value_float(const pons_torch_value *value, double *out)
{
    int64_t number;
    *out = value->real;
    if (pons_torch_value_int(value, &number)) *out = (double)number;
    return value->kind == PONS_TORCH_FLOAT || pons_torch_value_int(value, &number);
}

bool pons_torch_value_text(const pons_torch_value *value, const char **out)
{
    *out = value->text;
    return value->kind == PONS_TORCH_TEXT;
}

_Static_assert((int)PONS_TORCH_LABEL_BYTES == PONS_LABEL_BYTES, "labels have one size");

const char *pons_torch_value_label(const pons_torch_value *value,
                                   char label[PONS_TORCH_LABEL_BYTES])
{
    if (value->kind == PONS_TORCH_TEXT)
        return pons_store_label(label, value->text, (size_t)value->number);
    if (value->kind == PONS_TORCH_INT)
        snprintf(label, PONS_TORCH_LABEL_BYTES, "%lld", (long long)value->number);
    else
        snprintf(label, PONS_TORCH_LABEL_BYTES, "%s", pons_torch_kind_name(value->kind));
    return label;
}

int64_t pons_torch_value_count(const pons_torch_value *value)
{
    return value->kind == PONS_TORCH_DICT ? value->count / 2 : value->count;
}

const pons_torch_value *pons_torch_value_at(const pons_torch_value *value, int64_t i,
                                            const pons_torch_value **key)
{
    PONS_ASSERT(i >= 0 && i < pons_torch_value_count(value));
    if (value->kind != PONS_TORCH_DICT) return value->items[i];
    if (key) *key = value->items[2 * i];
    return value->items[2 * i + 1];
}

const pons_torch_value *pons_torch_find(const pons_torch_value *dict, const char *key)
{
    for (int64_t i = pons_torch_value_count(dict) - 1; i >= 0; i--) {
        const pons_torch_value *found, *value = pons_torch_value_at(dict, i, &found);
        if (dict->kind == PONS_TORCH_DICT && found->kind == PONS_TORCH_TEXT &&
            !strcmp(found->text, key))
            return value;
    }
    return NULL;
}

const pons_torch_value *pons_torch_find_int(const pons_torch_value *dict, int64_t key)
{
    for (int64_t i = pons_torch_value_count(dict) - 1; i >= 0; i--) {
        const pons_torch_value *found, *value = pons_torch_value_at(dict, i, &found);
        if (dict->kind == PONS_TORCH_DICT && found->kind == PONS_TORCH_INT && found->number == key)
            return value;
    }
    return NULL;
}

pons_dtype pons_torch_tensor_dtype(const pons_torch_value *tensor) { return tensor->storage.dtype; }

int pons_torch_tensor_ndim(const pons_torch_value *tensor) { return tensor->ndim; }

const int64_t *pons_torch_tensor_shape(const pons_torch_value *tensor) { return tensor->shape; }

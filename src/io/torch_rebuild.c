/* Owns what the names in a torch pickle stand for: types of elements, ordered dictionaries, tensors
 * and the storages they look into. Any other name is refused. */
#include "io/torch_build.h"

#include <string.h>

#include "io/store_build.h"

static const struct {
    const char *module, *name;
    pons_torch_global global;
    pons_dtype dtype;
} known[] = {
    {"collections", "OrderedDict", PONS_TORCH_ORDERED_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", PONS_TORCH_REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", PONS_TORCH_REBUILD_PARAMETER, 0},
    {"torch", "FloatStorage", PONS_TORCH_STORAGE, PONS_DTYPE_F32},
    {"torch", "DoubleStorage", PONS_TORCH_STORAGE, PONS_DTYPE_F64},
    {"torch", "HalfStorage", PONS_TORCH_STORAGE, PONS_DTYPE_F16},
    {"torch", "BFloat16Storage", PONS_TORCH_STORAGE, PONS_DTYPE_BF16},
};

static bool same(const char *text, size_t bytes, const char *name)
{
    return strlen(name) == bytes && !memcmp(text, name, bytes);
}

pons_status pons_torch_look_up(pons_torch_file *file, size_t at, const char *module,
                               size_t module_bytes, const char *name, size_t name_bytes,
                               pons_torch_value **out)
{
    char module_label[PONS_LABEL_BYTES], name_label[PONS_LABEL_BYTES];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!same(module, module_bytes, known[i].module) || !same(name, name_bytes, known[i].name))
            continue;
        pons_torch_value *v = pons_torch_value_new(file, PONS_TORCH_OTHER);
        if (!v) return PONS_ERR_NOMEM;
        v->number = known[i].global;
        v->storage.dtype = known[i].dtype;
        *out = v;
        return PONS_OK;
    }
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "%s: data.pkl byte %zu: found the global %s.%s, allowed: float, double, half "
                     "and bfloat16 tensors and ordered dictionaries; nothing was executed",
                     file->path, at, pons_store_label(module_label, module, module_bytes),
                     pons_store_label(name_label, name, name_bytes));
}

static pons_status bad_call(const pons_torch_file *file, size_t at, const char *what)
{
    return pons_fail(PONS_ERR_INPUT, "%s: data.pkl byte %zu: %s", file->path, at, what);
}

static bool is_global(const pons_torch_value *v, pons_torch_global global)
{
    return v->kind == PONS_TORCH_OTHER && !v->is_storage && v->number == (int64_t)global;
}

/* A tuple of whole numbers >= 0. */
static bool read_counts(const pons_torch_value *tuple, int64_t out[PONS_TORCH_DIMENSIONS])
{
    if (tuple->kind != PONS_TORCH_TUPLE || tuple->count > PONS_TORCH_DIMENSIONS) return false;
    for (int64_t i = 0; i < tuple->count; i++) {
        if (tuple->items[i]->kind != PONS_TORCH_INT || tuple->items[i]->number < 0) return false;
        out[i] = tuple->items[i]->number;
    }
    return true;
}

/* Whether every element lies inside the storage and the elements can be counted. */
static bool fits(const pons_torch_value *t)
{
    int64_t last = t->offset, elements = 1, reach;
    for (int i = 0; i < t->ndim; i++)
        if (__builtin_mul_overflow(elements, t->shape[i], &elements)) return false;
    if (elements == 0) return t->offset <= t->storage.elements;
    for (int i = 0; i < t->ndim; i++)
        if (__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return false;
    return last < t->storage.elements && elements <= INT64_MAX / 8;
}

/* _rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks[, metadata]) */
static pons_status rebuild_tensor(pons_torch_file *file, size_t at, const pons_torch_value *a,
                                  pons_torch_value **out)
{
    if (a->count < 4 || a->count > 7 || a->items[0]->kind != PONS_TORCH_OTHER ||
        !a->items[0]->is_storage || a->items[1]->kind != PONS_TORCH_INT || a->items[1]->number < 0)
        return bad_call(file, at, "a tensor without storage and offset");
    pons_torch_value *t = pons_torch_value_new(file, PONS_TORCH_TENSOR);
    if (!t) return PONS_ERR_NOMEM;
    t->storage = a->items[0]->storage;
    t->offset = a->items[1]->number;
    if (!read_counts(a->items[2], t->shape) || !read_counts(a->items[3], t->stride) ||
        a->items[2]->count != a->items[3]->count)
        return bad_call(file, at,
                        "shape and strides of a tensor are not two lists of up to 8 whole numbers "
                        ">= 0");
    t->ndim = (int)a->items[2]->count;
    if (!fits(t))
        return pons_fail(PONS_ERR_INPUT,
                         "%s: data.pkl byte %zu: shape, strides and offset of a tensor reach "
                         "outside its storage of %lld elements",
                         file->path, at, (long long)t->storage.elements);
    *out = t;
    return PONS_OK;
}

pons_status pons_torch_reduce(pons_torch_file *file, size_t at, const pons_torch_value *callable,
                              const pons_torch_value *arguments, pons_torch_value **out)
{
    if (arguments->kind != PONS_TORCH_TUPLE)
        return bad_call(file, at, "arguments are not a tuple: damaged");
    if (is_global(callable, PONS_TORCH_REBUILD_TENSOR))
        return rebuild_tensor(file, at, arguments, out);
    if (is_global(callable, PONS_TORCH_REBUILD_PARAMETER)) {
        if (arguments->count < 1 || arguments->items[0]->kind != PONS_TORCH_TENSOR)
            return bad_call(file, at, "a parameter that is not a tensor");
        *out = arguments->items[0];
        return PONS_OK;
    }
    if (is_global(callable, PONS_TORCH_ORDERED_DICT)) {
        if (arguments->count)
            return bad_call(file, at, "an ordered dictionary made with arguments");
        *out = pons_torch_value_new(file, PONS_TORCH_DICT);
        return *out ? PONS_OK : PONS_ERR_NOMEM;
    }
    return bad_call(file, at, "a call of something that cannot be called: damaged");
}

/* ('storage', type, key, location, elements) */
pons_status pons_torch_persistent(pons_torch_file *file, size_t at, const pons_torch_value *id,
                                  pons_torch_value **out)
{
    if (id->kind != PONS_TORCH_TUPLE || id->count != 5 || id->items[0]->kind != PONS_TORCH_TEXT ||
        strcmp(id->items[0]->text, "storage") || !is_global(id->items[1], PONS_TORCH_STORAGE) ||
        id->items[2]->kind != PONS_TORCH_TEXT || id->items[4]->kind != PONS_TORCH_INT ||
        id->items[4]->number < 0)
        return bad_call(file, at, "a persistent id that is not a storage");
    pons_torch_value *v = pons_torch_value_new(file, PONS_TORCH_OTHER);
    if (!v) return PONS_ERR_NOMEM;
    v->is_storage = true;
    v->storage.dtype = id->items[1]->storage.dtype;
    v->storage.elements = id->items[4]->number;
    *out = v;
    return pons_torch_find_storage(file, id->items[2]->text, at, &v->storage);
}

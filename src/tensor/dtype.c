/* Owns the table of element types. Does not know files. */
#include "tensor/dtype.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/half.h"

static const struct {
    const char *name, *safetensors;
    int64_t elements;
    size_t bytes;
} table[PONS_DTYPE_COUNT] = {
#define PONS_DTYPE_ROW(name, text, elements, bytes) {#name, text, elements, bytes},
    PONS_DTYPE_LIST(PONS_DTYPE_ROW)
#undef PONS_DTYPE_ROW
};

const char *pons_dtype_name(pons_dtype type) { return table[type].name; }

bool pons_dtype_from_name(const char *name, pons_dtype *type)
{
    for (int i = 0; i < PONS_DTYPE_COUNT; i++)
        if (table[i].safetensors && !strcmp(table[i].safetensors, name)) {
            *type = (pons_dtype)i;
            return true;
        }
    return false;
}

int64_t pons_dtype_unit_elements(pons_dtype type) { return table[type].elements; }

int pons_dtype_bits(pons_dtype type)
{
    switch (type) {
    case PONS_DTYPE_Q4_0:
    case PONS_DTYPE_Q4_1: return 4;
    case PONS_DTYPE_Q8_0: return 8;
    default: return (int)(8 * table[type].bytes);
    }
}

size_t pons_dtype_bytes(pons_dtype type, int64_t n)
{
    return (size_t)(n / table[type].elements) * table[type].bytes;
}

bool pons_dtype_is_real(pons_dtype type)
{
    switch (type) {
    case PONS_DTYPE_F32:
    case PONS_DTYPE_F16:
    case PONS_DTYPE_BF16:
    case PONS_DTYPE_F64:
    case PONS_DTYPE_Q4_0:
    case PONS_DTYPE_Q4_1:
    case PONS_DTYPE_Q8_0: return true;
    default: return false;
    }
}

static uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

/* Blocks of 32: low nibbles are elements 0..15, high nibbles 16..31. */
static void q4_to_float(const uint8_t *p, int64_t n, bool with_minimum, float *out)
{
    size_t head = with_minimum ? 4 : 2;
    for (int64_t b = 0; b < n / 32; b++, p += head + 16, out += 32) {
        float d = pons_f16_to_float(load16(p));
        float m = with_minimum ? pons_f16_to_float(load16(p + 2)) : -8.0f * d;
        for (int i = 0; i < 16; i++) {
            uint8_t byte = p[head + (size_t)i];
            out[i] = with_minimum ? (float)(byte & 15) * d + m : (float)((byte & 15) - 8) * d;
            out[i + 16] = with_minimum ? (float)(byte >> 4) * d + m : (float)((byte >> 4) - 8) * d;
        }
    }
}

void pons_dtype_to_float(pons_dtype type, const void *source, int64_t n, float *out)
{
    const uint8_t *p = source;
    switch (type) {
    case PONS_DTYPE_F32: memcpy(out, p, (size_t)n * 4); break;
    case PONS_DTYPE_F16:
        for (int64_t i = 0; i < n; i++)
            out[i] = pons_f16_to_float(load16(p + 2 * i));
        break;
    case PONS_DTYPE_BF16:
        for (int64_t i = 0; i < n; i++)
            out[i] = pons_bf16_to_float(load16(p + 2 * i));
        break;
    case PONS_DTYPE_F64:
        for (int64_t i = 0; i < n; i++) {
            double x;
            memcpy(&x, p + 8 * i, 8);
            out[i] = (float)x;
        }
        break;
    case PONS_DTYPE_Q4_0: q4_to_float(p, n, false, out); break;
    case PONS_DTYPE_Q4_1: q4_to_float(p, n, true, out); break;
    case PONS_DTYPE_Q8_0:
        for (int64_t b = 0; b < n / 32; b++, p += 34, out += 32) {
            float d = pons_f16_to_float(load16(p));
            for (int i = 0; i < 32; i++)
                out[i] = (float)(int8_t)p[2 + i] * d;
        }
        break;
    default: PONS_ASSERT(pons_dtype_is_real(type));
    }
}

void pons_dtype_from_float(pons_dtype type, const float *source, int64_t n, void *out)
{
    uint16_t *h = out;
    switch (type) {
    case PONS_DTYPE_F32: memcpy(out, source, (size_t)n * 4); break;
    case PONS_DTYPE_F16:
        for (int64_t i = 0; i < n; i++)
            h[i] = pons_f16_from_float(source[i]);
        break;
    case PONS_DTYPE_BF16:
        for (int64_t i = 0; i < n; i++)
            h[i] = pons_bf16_from_float(source[i]);
        break;
    default: PONS_ASSERT(type == PONS_DTYPE_F32);
    }
}

float pons_dtype_largest(pons_dtype type)
{
    return type == PONS_DTYPE_F16 ? 65504.0f : type == PONS_DTYPE_BF16 ? 0x1.FEp127f : FLT_MAX;
}

int64_t pons_dtype_first_beyond(pons_dtype type, const float *x, int64_t n)
{
    /* the midpoint between the largest number and what would follow rounds away from it */
    float limit = type == PONS_DTYPE_F16 ? 65520.0f : 0x1.FFp127f;
    if (type != PONS_DTYPE_F16 && type != PONS_DTYPE_BF16) return n;
    for (int64_t i = 0; i < n; i++)
        if (fabsf(x[i]) >= limit && isfinite(x[i])) return i;
    return n;
}

void pons_dtype_round(pons_dtype type, float *x, int64_t n)
{
    switch (type) {
    case PONS_DTYPE_F32: break;
    case PONS_DTYPE_F16:
        for (int64_t i = 0; i < n; i++)
            x[i] = pons_f16_round(x[i]);
        break;
    case PONS_DTYPE_BF16:
        for (int64_t i = 0; i < n; i++)
            x[i] = pons_bf16_round(x[i]);
        break;
    default: PONS_ASSERT(type == PONS_DTYPE_F32);
    }
}

int64_t pons_tensor_elements(const pons_tensor_view *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->ndim; i++)
        n *= t->shape[i];
    return n;
}

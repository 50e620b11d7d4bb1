/* Owns the growing of arrays; what they mean belongs to their users. */
#include "text/bytes.h"

#include <string.h>

#include "base/mem.h"

pons_status pons_grow(void **data, int64_t *capacity, int64_t needed, size_t size)
{
    if (needed <= *capacity) return PONS_OK;
    int64_t grown = *capacity ? *capacity : 64;
    while (grown < needed)
        grown *= 2;
    void *block = pons_mem_resize(*data, (size_t)*capacity * size, grown, size);
    if (!block) return PONS_ERR_NOMEM;
    *data = block;
    *capacity = grown;
    return PONS_OK;
}

pons_status pons_bytes_append(pons_bytes *bytes, const char *data, int64_t count)
{
    void *block = bytes->data;
    pons_status st = pons_grow(&block, &bytes->capacity, bytes->count + count, 1);
    if (st != PONS_OK) return st;
    bytes->data = block;
    if (count > 0) memcpy(bytes->data + bytes->count, data, (size_t)count);
    bytes->count += count;
    return PONS_OK;
}

pons_status pons_ids_append(pons_ids *ids, const int32_t *data, int64_t count)
{
    void *block = ids->data;
    pons_status st = pons_grow(&block, &ids->capacity, ids->count + count, sizeof *data);
    if (st != PONS_OK) return st;
    ids->data = block;
    if (count > 0) memcpy(ids->data + ids->count, data, (size_t)count * sizeof *data);
    ids->count += count;
    return PONS_OK;
}

pons_status pons_ranges_append(pons_ranges *ranges, int64_t start, int64_t end, bool match)
{
    void *block = ranges->data;
    pons_status st = pons_grow(&block, &ranges->capacity, ranges->count + 1, sizeof(pons_range));
    if (st != PONS_OK) return st;
    ranges->data = block;
    ranges->data[ranges->count++] = (pons_range){start, end, match};
    return PONS_OK;
}

void pons_bytes_free(pons_bytes *bytes)
{
    pons_mem_free(bytes->data);
    *bytes = (pons_bytes){0};
}

void pons_ids_free(pons_ids *ids)
{
    pons_mem_free(ids->data);
    *ids = (pons_ids){0};
}

void pons_ranges_free(pons_ranges *ranges)
{
    pons_mem_free(ranges->data);
    *ranges = (pons_ranges){0};
}

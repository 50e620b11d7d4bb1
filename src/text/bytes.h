/**
 * Growable arrays of the text room: bytes, token ids and ranges of a text.
 *
 * Zero-initialised is empty. All Local.
 */
#ifndef PONS_TEXT_BYTES_H
#define PONS_TEXT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct pons_bytes {
    char *data;
    int64_t count, capacity;
} pons_bytes;

typedef struct pons_ids {
    int32_t *data;
    int64_t count, capacity;
} pons_ids;

/** Bytes [start, end) of a text; `match`: covered by the pattern rather than between matches. */
typedef struct pons_range {
    int64_t start, end;
    bool match;
} pons_range;

typedef struct pons_ranges {
    pons_range *data;
    int64_t count, capacity;
} pons_ranges;

/** Make room for `needed` elements of `size` bytes in *data (doubling). @return PONS_ERR_NOMEM. */
pons_status pons_grow(void **data, int64_t *capacity, int64_t needed, size_t size);

/** Append; @return PONS_ERR_NOMEM. */
pons_status pons_bytes_append(pons_bytes *bytes, const char *data, int64_t count);
pons_status pons_ids_append(pons_ids *ids, const int32_t *data, int64_t count);
pons_status pons_ranges_append(pons_ranges *ranges, int64_t start, int64_t end, bool match);

/** Free the data and leave an empty array. */
void pons_bytes_free(pons_bytes *bytes);
void pons_ids_free(pons_ids *ids);
void pons_ranges_free(pons_ranges *ranges);

#endif

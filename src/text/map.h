/**
 * Two hash maps with open addressing: strings to numbers (vocabulary, word cache) and pairs of
 * token ids to merges.
 *
 * Zero-initialised is empty. Nothing is ever removed. All Local.
 */
#ifndef PONS_TEXT_MAP_H
#define PONS_TEXT_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "text/bytes.h"

typedef struct pons_map_slot {
    uint64_t hash;
    int64_t key;    /* offset of the key in `keys` */
    int64_t length; /* -1: free */
    int64_t value;
} pons_map_slot;

/** String (any bytes, also empty) to int64. */
typedef struct pons_map {
    pons_map_slot *slots;
    int64_t capacity, count; /* capacity: 0 or a power of two */
    pons_bytes keys;
} pons_map;

/** Set key's value, replacing an older one; the key is copied. @return PONS_ERR_NOMEM. */
pons_status pons_map_put(pons_map *map, const char *key, int64_t length, int64_t value);

/** Whether the key is there; if so *value is set. */
bool pons_map_get(const pons_map *map, const char *key, int64_t length, int64_t *value);

void pons_map_free(pons_map *map);

/** What happens when `left` and `right` stand side by side: the merge's rank and result. */
typedef struct pons_merge {
    int32_t left, right; /* left -1: free slot */
    int32_t rank, result;
} pons_merge;

typedef struct pons_merges {
    pons_merge *slots;
    int64_t capacity, count;
} pons_merges;

/** Set the merge of a pair, replacing an older one. @return PONS_ERR_NOMEM. */
pons_status pons_merges_put(pons_merges *merges, pons_merge merge);

/** The merge of a pair, NULL when there is none. Borrowed until the next put. */
const pons_merge *pons_merges_get(const pons_merges *merges, int32_t left, int32_t right);

void pons_merges_free(pons_merges *merges);

#endif

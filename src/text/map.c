/* Owns the slots of both maps and the copies of string keys. */
#include "text/map.h"

#include <string.h>

#include "base/mem.h"

static uint64_t hash_bytes(const char *key, int64_t length)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ (uint64_t)length;
    for (; length >= 8; key += 8, length -= 8) {
        uint64_t chunk;
        memcpy(&chunk, key, 8);
        h = (h ^ chunk) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    uint64_t rest = 0;
    memcpy(&rest, key, (size_t)length);
    h = (h ^ rest) * 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 29);
}

/* Slot of the key, or the free one where it belongs; capacity > count, so the walk ends. */
static pons_map_slot *find(const pons_map *map, const char *key, int64_t length, uint64_t hash)
{
    uint64_t mask = (uint64_t)map->capacity - 1;
    for (uint64_t i = hash & mask;; i = (i + 1) & mask) {
        pons_map_slot *slot = &map->slots[i];
        if (slot->length < 0) return slot;
        if (slot->hash == hash && slot->length == length &&
            memcmp(map->keys.data + slot->key, key, (size_t)length) == 0)
            return slot;
    }
}

static pons_status enlarge(pons_map *map)
{
    int64_t capacity = map->capacity ? map->capacity * 2 : 64;
    pons_map_slot *slots = pons_mem_alloc(capacity, sizeof *slots);
    if (!slots) return PONS_ERR_NOMEM;
    for (int64_t i = 0; i < capacity; i++)
        slots[i].length = -1;
    uint64_t mask = (uint64_t)capacity - 1;
    for (int64_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].length < 0) continue;
        uint64_t at = map->slots[i].hash & mask;
        while (slots[at].length >= 0)
            at = (at + 1) & mask;
        slots[at] = map->slots[i];
    }
    pons_mem_free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return PONS_OK;
}

pons_status pons_map_put(pons_map *map, const char *key, int64_t length, int64_t value)
{
    if (map->count * 2 >= map->capacity) {
        pons_status st = enlarge(map);
        if (st != PONS_OK) return st;
    }
    uint64_t hash = hash_bytes(key, length);
    pons_map_slot *slot = find(map, key, length, hash);
    if (slot->length < 0) {
        int64_t offset = map->keys.count;
        pons_status st = pons_bytes_append(&map->keys, key, length);
        if (st != PONS_OK) return st;
        *slot = (pons_map_slot){hash, offset, length, value};
        map->count++;
    }
    slot->value = value;
    return PONS_OK;
}

bool pons_map_get(const pons_map *map, const char *key, int64_t length, int64_t *value)
{
    if (!map->count) return false;
    const pons_map_slot *slot = find(map, key, length, hash_bytes(key, length));
    if (slot->length < 0) return false;
    *value = slot->value;
    return true;
}

void pons_map_free(pons_map *map)
{
    pons_mem_free(map->slots);
    pons_bytes_free(&map->keys);
    *map = (pons_map){0};
}

static uint64_t hash_pair(int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 32);
}

static pons_merge *find_pair(const pons_merges *merges, int32_t left, int32_t right)
{
    uint64_t mask = (uint64_t)merges->capacity - 1;
    for (uint64_t i = hash_pair(left, right) & mask;; i = (i + 1) & mask) {
        pons_merge *slot = &merges->slots[i];
        if (slot->left < 0 || (slot->left == left && slot->right == right)) return slot;
    }
}

pons_status pons_merges_put(pons_merges *merges, pons_merge merge)
{
    if (merges->count * 2 >= merges->capacity) {
        pons_merges grown = {.capacity = merges->capacity ? merges->capacity * 2 : 64,
                             .count = merges->count};
        grown.slots = pons_mem_alloc(grown.capacity, sizeof *grown.slots);
        if (!grown.slots) return PONS_ERR_NOMEM;
        for (int64_t i = 0; i < grown.capacity; i++)
            grown.slots[i].left = -1;
        for (int64_t i = 0; i < merges->capacity; i++) {
            const pons_merge *m = &merges->slots[i];
            if (m->left >= 0) *find_pair(&grown, m->left, m->right) = *m;
        }
        pons_mem_free(merges->slots);
        *merges = grown;
    }
    pons_merge *slot = find_pair(merges, merge.left, merge.right);
    if (slot->left < 0) merges->count++;
    *slot = merge;
    return PONS_OK;
}

const pons_merge *pons_merges_get(const pons_merges *merges, int32_t left, int32_t right)
{
    if (!merges->count) return NULL;
    const pons_merge *slot = find_pair(merges, left, right);
    return slot->left < 0 ? NULL : slot;
}

void pons_merges_free(pons_merges *merges)
{
    pons_mem_free(merges->slots);
    *merges = (pons_merges){0};
}

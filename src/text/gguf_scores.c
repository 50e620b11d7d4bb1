/* Owns the translation of token scores to ranked merges.
 *
 * A score-based vocabulary merges the neighbours whose union is the token with the best score. The
 * same pairs in that order, as ranks, make an ordinary list of merges. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/parts.h"
#include "text/utf8.h"

typedef struct candidate {
    double score; /* of the union */
    int64_t left_characters, right_characters;
    int64_t token, left, right; /* ids */
    const char *text;
    int64_t bytes, left_bytes;
} candidate;

static int order(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

/* Best score first; among equals the longer left, then right part, then the order of ids: the order
 * that the usual conversion of such vocabularies to tokenizer.json gives. */
static int compare(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    int c = order(y->left_characters, x->left_characters);
    if (!c) c = order(y->right_characters, x->right_characters);
    if (!c) c = order(x->token, y->token);
    if (!c) c = order(x->left, y->left);
    return c ? c : order(x->right, y->right);
}

static pons_status add_candidates(const pons_map *ids, const pons_map_slot *slot, double score,
                                  candidate **list, int64_t *count, int64_t *capacity)
{
    const char *text = ids->keys.data + slot->key;
    int64_t characters = 0, before = 0;
    for (int64_t i = 0; i < slot->length; i += pons_utf8_length(text + i))
        characters++;
    for (int64_t i = 0; i < slot->length; i += pons_utf8_length(text + i), before++) {
        int64_t left, right;
        if (i == 0 || !pons_map_get(ids, text, i, &left) ||
            !pons_map_get(ids, text + i, slot->length - i, &right))
            continue;
        void *block = *list;
        pons_status st = pons_grow(&block, capacity, *count + 1, sizeof **list);
        if (st != PONS_OK) return st;
        *list = block;
        (*list)[(*count)++] = (candidate){
            score, before, characters - before, slot->value, left, right, text, slot->length, i};
    }
    return PONS_OK;
}

pons_status pons_gguf_score_merges(const pons_map *ids, const double *scores, json_t **out)
{
    pons_status st = PONS_OK;
    candidate *list = NULL;
    int64_t count = 0, capacity = 0;
    json_t *merges = NULL;
    for (int64_t i = 0; i < ids->capacity; i++)
        if (ids->slots[i].length > 0)
            PONS_TRY(st, add_candidates(ids, &ids->slots[i], scores[ids->slots[i].value], &list,
                                        &count, &capacity));
    if (count) qsort(list, (size_t)count, sizeof *list, compare);
    for (int64_t i = 1; i < count; i++) {
        const candidate *a = &list[i - 1], *b = &list[i];
        if (a->score != b->score || a->token == b->token) continue;
        st = pons_fail(PONS_ERR_UNSUPPORTED,
                       "tokens %lld and %lld have the same score: ranks cannot express that the "
                       "leftmost of their merges comes first",
                       (long long)a->token, (long long)b->token);
        goto done;
    }
    merges = json_array();
    for (int64_t i = 0; i < count; i++) {
        const candidate *c = &list[i];
        json_t *pair = json_pack("[s%, s%]", c->text, (size_t)c->left_bytes,
                                 c->text + c->left_bytes, (size_t)(c->bytes - c->left_bytes));
        if (json_array_append_new(merges, pair)) {
            st = pons_fail(PONS_ERR_NOMEM, "out of memory for %lld merges", (long long)count);
            goto done;
        }
    }
    *out = merges;
    merges = NULL;
done:
    json_decref(merges);
    pons_mem_free(list);
    return st;
}

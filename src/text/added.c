/* Owns the trie of added tokens; what becomes of the text between them belongs to encode.c. */
#include "text/added.h"

#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

static pons_status add_node(pons_added_set *set, unsigned char byte, int32_t *node)
{
    void *block = set->nodes;
    pons_status st =
        pons_grow(&block, &set->node_capacity, set->node_count + 1, sizeof(pons_added_node));
    if (st != PONS_OK) return st;
    set->nodes = block;
    *node = (int32_t)set->node_count++;
    set->nodes[*node] = (pons_added_node){.token = -1, .byte = byte};
    return PONS_OK;
}

static int32_t find_child(const pons_added_set *set, int32_t node, unsigned char byte)
{
    if (node == 0) return set->roots[byte];
    int32_t child = set->nodes[node].child;
    while (child && set->nodes[child].byte != byte)
        child = set->nodes[child].sibling;
    return child;
}

pons_status pons_added_put(pons_added_set *set, const char *content, int64_t bytes,
                           pons_added_token token)
{
    pons_status st = PONS_OK;
    int32_t node = 0;
    if (bytes == 0) return PONS_OK;
    if (!set->node_count) PONS_TRY(st, add_node(set, 0, &node));
    for (int64_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)content[i];
        int32_t child = find_child(set, node, byte);
        if (!child) {
            PONS_TRY(st, add_node(set, byte, &child));
            if (node == 0) set->roots[byte] = child;
            set->nodes[child].sibling = set->nodes[node].child;
            set->nodes[node].child = child;
        }
        node = child;
    }
    if (set->nodes[node].token >= 0) return PONS_OK;
    void *block = set->tokens;
    PONS_TRY(st, pons_grow(&block, &set->token_capacity, set->count + 1, sizeof token));
    set->tokens = block;
    set->tokens[set->count] = token;
    set->nodes[node].token = (int32_t)set->count++;
done:
    return st;
}

/* Longest token that starts at `from`: its number, -1 when none. */
static int32_t longest(const pons_added_set *set, const char *text, int64_t bytes, int64_t from,
                       int64_t *end)
{
    int32_t token = -1, node = 0;
    for (int64_t i = from; i < bytes; i++) {
        node = find_child(set, node, (unsigned char)text[i]);
        if (!node) break;
        if (set->nodes[node].token >= 0) {
            token = set->nodes[node].token;
            *end = i + 1;
        }
    }
    return token;
}

static bool stands_alone(const char *text, int64_t bytes, int64_t start, int64_t end)
{
    if (start > 0 && pons_utf8_is_word(pons_utf8_decode(text + pons_utf8_before(text, start))))
        return false;
    return end == bytes || !pons_utf8_is_word(pons_utf8_decode(text + end));
}

int32_t pons_added_next(const pons_added_set *set, const char *text, int64_t bytes, int64_t *from,
                        int64_t previous, pons_range *span)
{
    if (!set->count) return -1;
    while (*from < bytes) {
        int64_t start = *from, end = 0;
        if (!set->roots[(unsigned char)text[start]]) {
            ++*from;
            continue;
        }
        int32_t number = longest(set, text, bytes, start, &end);
        *from = number < 0 ? start + 1 : end;
        if (number < 0) continue;
        const pons_added_token *token = &set->tokens[number];
        if (token->single_word && !stands_alone(text, bytes, start, end)) continue;
        if (token->lstrip) {
            while (start > 0) {
                int64_t before = pons_utf8_before(text, start);
                if (!pons_utf8_is_space(pons_utf8_decode(text + before))) break;
                start = before;
            }
            if (start < previous) start = previous;
        }
        if (token->rstrip)
            while (end < bytes && pons_utf8_is_space(pons_utf8_decode(text + end)))
                end += pons_utf8_length(text + end);
        if (start >= end) continue; /* white space that the token before took already */
        *span = (pons_range){start, end, true};
        return token->id;
    }
    return -1;
}

void pons_added_free(pons_added_set *set)
{
    pons_mem_free(set->tokens);
    pons_mem_free(set->nodes);
    *set = (pons_added_set){0};
}

/**
 * Added tokens: contents that are matched in the text before any other step.
 *
 * A set is a byte trie; of the tokens that start at one place the longest wins, and contents found
 * do not overlap (spans may, when a token swallows white space that is a token too). All Local.
 */
#ifndef PONS_TEXT_ADDED_H
#define PONS_TEXT_ADDED_H

#include "text/bytes.h"

typedef struct pons_added_token {
    int32_t id;
    bool lstrip, rstrip; /* include the white space before, after */
    bool single_word;    /* only where no word character touches it */
} pons_added_token;

typedef struct pons_added_node {
    int32_t child, sibling; /* node numbers, 0: none */
    int32_t token;          /* of the path that ends here, -1: none */
    unsigned char byte;
} pons_added_node;

typedef struct pons_added_set {
    pons_added_token *tokens;
    int64_t count, token_capacity;
    pons_added_node *nodes; /* node 0 is the root */
    int64_t node_count, node_capacity;
    int32_t roots[256]; /* child of the root by byte, 0: none */
} pons_added_set;

/** Add a token; an empty or already present content is ignored. @return PONS_ERR_NOMEM. */
pons_status pons_added_put(pons_added_set *set, const char *content, int64_t bytes,
                           pons_added_token token);

/**
 * The next token at or after *from whose conditions hold.
 * @param[in,out] from      where to look; moved behind the token's content
 * @param         previous  end of the span of the token before (0 at first): lstrip stops there
 * @param[out]    span      what the token covers with the white space it swallows
 * @return its id, or -1 when there is none.
 */
int32_t pons_added_next(const pons_added_set *set, const char *text, int64_t bytes, int64_t *from,
                        int64_t previous, pons_range *span);

void pons_added_free(pons_added_set *set);

#endif

/**
 * The byte-pair encoding model: a word becomes characters, and neighbouring tokens merge, lowest
 * rank first and leftmost among equals, until no pair merges.
 *
 * All Local.
 */
#ifndef PONS_TEXT_BPE_H
#define PONS_TEXT_BPE_H

#include "text/map.h"

typedef struct pons_bpe {
    pons_map vocab; /* token text to id */
    pons_merges merges;
    bool ignore_merges;    /* a word that is a token is that token */
    bool byte_fallback;    /* a character that is no token becomes its bytes' tokens */
    bool fuse_unk;         /* adjacent unknown characters become one token */
    int32_t unk;           /* id for unknown characters, -1: they are an error */
    int32_t byte_ids[256]; /* ids of <0x00> to <0xFF>, -1 where absent */
} pons_bpe;

typedef struct pons_symbol {
    int32_t id;       /* -1: merged into its left neighbour */
    int32_t previous; /* index, -1 at the ends */
    int32_t next;
} pons_symbol;

/** Working memory of one encoding: symbols and candidate merges of a word, and the words already
 * encoded. Zero-initialised is empty. */
typedef struct pons_bpe_work {
    pons_symbol *symbols;
    int64_t symbol_count, symbol_capacity;
    uint64_t *heap; /* rank << 32 | position, smallest on top */
    int64_t heap_count, heap_capacity;
    pons_map words; /* word to offset in `ids` << 16 | count */
    pons_ids ids;
} pons_bpe_work;

/** Merge two tokens of the vocabulary into a third. `rank` is the merge's place in the file.
 * @return PONS_ERR_INPUT (a token is not in the vocabulary; says which), PONS_ERR_NOMEM. */
pons_status pons_bpe_add_merge(pons_bpe *bpe, const char *left, int64_t left_bytes,
                               const char *right, int64_t right_bytes, int32_t rank);

/** Look up <0x00> to <0xFF>. Call when the vocabulary is complete. */
void pons_bpe_find_bytes(pons_bpe *bpe);

/**
 * Append the ids of one word (valid UTF-8).
 * @return PONS_ERR_INPUT when a character has no token and the model knows no substitute.
 * Cost: n log n in the word's characters; a word seen before is looked up.
 */
pons_status pons_bpe_encode(const pons_bpe *bpe, pons_bpe_work *work, const char *word,
                            int64_t bytes, pons_ids *out);

void pons_bpe_free(pons_bpe *bpe);
void pons_bpe_work_free(pons_bpe_work *work);

#endif

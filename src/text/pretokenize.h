/**
 * Pre-tokenizers of tokenizer.json as a list of elementary stages: a piece of text goes through
 * them in order, each may cut or change it, and what leaves the last one is a word.
 *
 * ByteLevel is [PREFIX_SPACE] [CUT] BYTES; Digits is a CUT; Metaspace is METASPACE [CUT]. All
 * Local.
 */
#ifndef PONS_TEXT_PRETOKENIZE_H
#define PONS_TEXT_PRETOKENIZE_H

#include "text/pattern.h"

typedef enum pons_stage_kind {
    PONS_STAGE_CUT,
    PONS_STAGE_PREFIX_SPACE, /* " " before a piece that does not start with one */
    PONS_STAGE_BYTES,        /* bytes to the byte-level alphabet */
    PONS_STAGE_METASPACE     /* " " to `content`, which is also prepended */
} pons_stage_kind;

/** What becomes of a match: a piece of its own, nothing, or a part of a neighbour. */
typedef enum pons_cut_behavior {
    PONS_CUT_ISOLATED,
    PONS_CUT_REMOVED,
    PONS_CUT_MERGED_WITH_PREVIOUS,
    PONS_CUT_MERGED_WITH_NEXT,
    PONS_CUT_CONTIGUOUS /* neighbouring matches are one piece */
} pons_cut_behavior;

typedef enum pons_prepend_scheme {
    PONS_PREPEND_ALWAYS,
    PONS_PREPEND_FIRST, /* only to a piece at the start of the whole text */
    PONS_PREPEND_NEVER
} pons_prepend_scheme;

typedef struct pons_stage {
    pons_stage_kind kind;
    pons_pattern *pattern; /* CUT; owned */
    pons_cut_behavior behavior;
    bool invert; /* pieces between matches are the matches */
    pons_prepend_scheme scheme;
    pons_bytes content;
} pons_stage;

typedef struct pons_stages {
    pons_stage *stages;
    int64_t count, capacity;
} pons_stages;

/** Append a stage; its pattern and content are given away, also on failure. @return
 * PONS_ERR_NOMEM. */
pons_status pons_stages_add(pons_stages *stages, pons_stage *stage);

void pons_stages_free(pons_stages *stages);

/** Working memory of one stage. */
typedef struct pons_stage_work {
    pons_ranges ranges;
    pons_bytes text;
} pons_stage_work;

/** Takes a word; `context` is the caller's. */
typedef pons_status (*pons_word_sink)(void *context, const char *word, int64_t bytes);

/** One run: the stages, working memory for each, and who takes the words. */
typedef struct pons_pretokenizer {
    const pons_stages *stages;
    pons_stage_work *work; /* one per stage */
    pons_matcher *matcher;
    pons_word_sink sink;
    void *context;
} pons_pretokenizer;

/** Send the words of a piece to the sink. @param first  the piece starts where the text starts. */
pons_status pons_pretokenize(const pons_pretokenizer *run, const char *text, int64_t bytes,
                             bool first);

/** Turn the ranges of pons_pattern_cut into pieces; those to be dropped become empty. */
void pons_cut_merge(pons_ranges *ranges, pons_cut_behavior behavior, bool invert);

#endif

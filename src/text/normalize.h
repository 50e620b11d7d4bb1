/**
 * Normalizers of tokenizer.json: a list of steps applied to a text in order.
 *
 * All Local.
 */
#ifndef PONS_TEXT_NORMALIZE_H
#define PONS_TEXT_NORMALIZE_H

#include "text/pattern.h"

typedef enum pons_normal_kind {
    PONS_NORMAL_NFC,
    PONS_NORMAL_NFD,
    PONS_NORMAL_NFKC,
    PONS_NORMAL_NFKD,
    PONS_NORMAL_PREPEND, /* `content` before a text that is not empty */
    PONS_NORMAL_REPLACE  /* each match of `pattern` by `content` */
} pons_normal_kind;

typedef struct pons_normal_step {
    pons_normal_kind kind;
    pons_pattern *pattern; /* owned */
    pons_bytes content;
} pons_normal_step;

typedef struct pons_normalizer {
    pons_normal_step *steps;
    int64_t count, capacity;
} pons_normalizer;

/** Append a step; its pattern and content are given away, also on failure. @return
 * PONS_ERR_NOMEM. */
pons_status pons_normalizer_add(pons_normalizer *normalizer, pons_normal_step *step);

/**
 * Normalize valid UTF-8.
 * @param scratch  two buffers; the result lives in one of them or is the input itself, and is
 * borrowed until the next call with the same scratch
 */
pons_status pons_normalizer_apply(const pons_normalizer *normalizer, pons_matcher *matcher,
                                  pons_bytes scratch[2], pons_ranges *ranges, const char **text,
                                  int64_t *bytes);

void pons_normalizer_free(pons_normalizer *normalizer);

#endif

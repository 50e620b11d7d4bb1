/**
 * What a tokenizer is made of; private to the room.
 */
#ifndef PONS_TEXT_PARTS_H
#define PONS_TEXT_PARTS_H

#include <jansson.h>

#include "text/added.h"
#include "text/bpe.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"

struct pons_tokenizer {
    pons_added_set raw; /* added tokens found in the text as it is */
    pons_normalizer normalizer;
    pons_added_set normalized; /* added tokens found after it, their contents normalized too */
    pons_stages stages;
    pons_bpe bpe;
    pons_ids prefix, suffix; /* of the post-processor */
    int64_t vocab_size;
    char *source; /* tokenizer.json, as read or as made from GGUF metadata */
    int64_t source_bytes;
};

/** A place in a tokenizer file, for errors: "FILE: normalizer.normalizers[1]". */
typedef struct pons_json_place {
    char text[512];
} pons_json_place;

pons_json_place pons_json_top(const char *path, const char *field);
pons_json_place pons_json_in(const pons_json_place *place, const char *field);
pons_json_place pons_json_at(const pons_json_place *place, const char *field, size_t index);

/** Fail unless `object` is an object with no other keys than these (NULL-terminated list). Local.
 * @return PONS_ERR_INPUT, PONS_ERR_UNSUPPORTED (unknown key, by name). */
pons_status pons_json_check(const pons_json_place *place, const json_t *object,
                            const char *const *keys);

/** Read a member. A flag that is absent keeps the value it has; a text must be there. @return
 * PONS_ERR_INPUT. Borrowed. */
pons_status pons_json_flag(const pons_json_place *place, const json_t *object, const char *key,
                           bool *out);
pons_status pons_json_text(const pons_json_place *place, const json_t *object, const char *key,
                           const char **text, int64_t *bytes);

/** The member "type" of a component object. @return PONS_ERR_INPUT. Borrowed. */
pons_status pons_json_type(const pons_json_place *place, const json_t *object, const char **type);

/** The member "pattern": {"String": text} or {"Regex": expression}. Local. @return
 * PONS_ERR_INPUT, PONS_ERR_UNSUPPORTED, PONS_ERR_NOMEM. */
pons_status pons_build_pattern(const pons_json_place *place, const json_t *object,
                               pons_pattern **out);

/** Build the parts from a tokenizer.json document; `name` is the file. Local. @return
 * PONS_ERR_INPUT, PONS_ERR_UNSUPPORTED, PONS_ERR_NOMEM. */
pons_status pons_tokenizer_build(const char *name, const json_t *document,
                                 pons_tokenizer *tokenizer);

/** One component of the document each; null gives nothing. */
pons_status pons_build_normalizer(const pons_json_place *place, const json_t *value,
                                  pons_normalizer *out);
pons_status pons_build_pretokenizer(const pons_json_place *place, const json_t *value,
                                    pons_stages *out);
pons_status pons_build_postprocessor(const pons_json_place *place, const json_t *value,
                                     pons_ids *prefix, pons_ids *suffix);
pons_status pons_build_model(const pons_json_place *place, const json_t *value, pons_bpe *out);

/** A tokenizer.json document that does what the metadata of a GGUF file says. Local. The caller
 * json_decref()s. @return PONS_ERR_INPUT, PONS_ERR_UNSUPPORTED, PONS_ERR_NOMEM. */
pons_status pons_gguf_tokenizer_json(const char *path, json_t **out);

/** Merges that a score-based (sentencepiece) vocabulary amounts to: every way to write a token as
 * two others, best score first. `ids` maps the texts of the tokens that take part. Local. @return
 * PONS_ERR_UNSUPPORTED (two tokens with the same score), PONS_ERR_NOMEM. */
pons_status pons_gguf_score_merges(const pons_map *ids, const double *scores, json_t **out);

#endif

/**
 * Text to token ids, as Hugging Face tokenizers does it, from tokenizer.json or from the metadata
 * of a GGUF file.
 *
 * Byte-level BPE (GPT-2, Llama-3 and Qwen2 splits, single-digit splitting), Llama-2 style metaspace
 * BPE with byte fallback, NFC, added tokens, template post-processor. Every value comes from the
 * file; a component Pons does not implement is refused by name.
 */
#ifndef PONS_TEXT_TOKENIZER_H
#define PONS_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/recipe.h"

typedef struct pons_tokenizer pons_tokenizer;

/** Open from a model directory, a tokenizer.json or a .gguf file. Local. */
pons_status pons_tokenizer_open(const char *path, pons_tokenizer **out);

/** Free; takes the address. Local. */
void pons_tokenizer_close(pons_tokenizer **tokenizer);

/**
 * Encode UTF-8 text. Local.
 * @param special  apply the post-processor (BOS and the like)
 * @param ids      receives counted memory, freed with pons_mem_free
 * @return PONS_ERR_INPUT on invalid UTF-8 (byte offset named) or an unencodable character.
 * Cost: close to linear in the text: words are cached, merges use a heap.
 */
pons_status pons_tokenizer_encode(const pons_tokenizer *tokenizer, const char *text, size_t bytes,
                                  bool special, int32_t **ids, int64_t *count);

/** Number of ids (largest id + 1). Local. */
int64_t pons_tokenizer_vocab_size(const pons_tokenizer *tokenizer);

/** Write an equivalent tokenizer.json (for output directories made from GGUF). Local. */
pons_status pons_tokenizer_write_json(const pons_tokenizer *tokenizer, const char *path);

/**
 * Ids from a file: a prepared id file (.ids: text, decimal ids separated by white space; .npy or
 * raw .i32: little-endian int32) or any other file, which is text for the tokenizer. Local.
 */
pons_status pons_text_load_ids(const char *path, const pons_tokenizer *tokenizer, bool special,
                               int32_t **ids, int64_t *count);

/**
 * The same for a model of `vocab` embedding rows, opening the tokenizer of `model` (a path as for
 * pons_tokenizer_open) only when the file is text: prepared ids need none. Local.
 * @param join how the lines of a text become the string that is encoded (text/join.h); prepared ids
 * have none
 * @return also PONS_ERR_INPUT for an id outside [0, vocab), and for prepared ids to be joined
 */
pons_status pons_text_load(const char *path, const char *model, int64_t vocab, bool special,
                           pons_text_join join, int32_t **ids, int64_t *count);

#endif

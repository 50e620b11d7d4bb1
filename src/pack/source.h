/**
 * What an export reads: the blocks of a state directory (RUN), or an output directory, in one shape.
 *
 * A linear is codes, scales and zero points, or plain values; a weight is zero where its code is its zero
 * point, or its value is 0: that is the mask. One block is open at a time. All Local.
 */
#ifndef PONS_PACK_SOURCE_H
#define PONS_PACK_SOURCE_H

#include <jansson.h>

#include "model/model.h"
#include "pack/ends.h"
#include "pack/linear.h"

typedef struct pons_pack_source pons_pack_source;

/** Open a finished RUN or an output directory of Pons. @return PONS_ERR_INPUT when it is neither, or
 * damaged; PONS_ERR_IO. */
pons_status pons_pack_source_open(const char *path, pons_pack_source **out);
void pons_pack_source_close(pons_pack_source **source);

/** Configuration of the model, whose dtype is that of its plain floats. */
const pons_model_config *pons_pack_source_config(const pons_pack_source *source);

/** Directory with config.json, tokenizer files and learned transforms. Borrowed. */
const char *pons_pack_source_files(const pons_pack_source *source);

/** The manifest (pons.json) without its list of files: recipe, runtime, linears, totals. Borrowed. */
const json_t *pons_pack_source_manifest(const pons_pack_source *source);

/** Name of the form that the run wrote, or that the directory is in. Borrowed. */
const char *pons_pack_source_format(const pons_pack_source *source);

/** Open a block; closes the one before. @return as pons_block_file_open. */
pons_status pons_pack_source_open_block(pons_pack_source *source, int64_t layer);

/** Form of a linear of the open block. */
pons_pack_scheme pons_pack_source_scheme(const pons_pack_source *source, int linear);

/** Codes [rows, cols], scales and zero points [rows, groups] of a linear with codes. */
pons_status pons_pack_source_codes(const pons_pack_source *source, int linear, int8_t *codes,
                                   float *scale, int8_t *zero);

/** Values [rows, cols] of any linear. */
pons_status pons_pack_source_values(const pons_pack_source *source, int linear, float *W);

/** Bias [rows], or *present = false; norm gains of the open block, one after the other. */
pons_status pons_pack_source_bias(const pons_pack_source *source, int linear, float *bias,
                                  bool *present);
pons_status pons_pack_source_gains(const pons_pack_source *source, float *gains);

/** Readers of embedding and head for pons_ends_write, and the final norm [hidden], which is read into
 * `gain`. */
pons_status pons_pack_source_ends(pons_pack_source *source, float *gain, pons_ends_source *out);

#endif

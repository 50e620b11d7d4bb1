/**
 * RUN/model: what an output has besides its blocks. A directory that appears whole, after the last block:
 *
 *   run.json              layout, the form that the run writes, the checksum of every block
 *   config.json           of the dense model in the output dtype
 *   manifest.json         pons.json without the list of files
 *   ends.safetensors      embedding, final norm, head
 *   tokenizer.json, ...   what goes with the model, copied or made from GGUF metadata
 *   pons-transforms.safetensors   with learned transforms
 *
 * With RUN/blocks it is all that an export reads. All Local.
 */
#ifndef PONS_PACK_RUN_MODEL_H
#define PONS_PACK_RUN_MODEL_H

#include <jansson.h>

#include "model/model.h"
#include "pack/ends.h"

/** What is written. Borrowed. */
typedef struct pons_run_model {
    const pons_model *source; /* the model that was compressed */
    pons_dtype dtype;         /* of the output */
    const char *format;       /* name of its form */
    const pons_ends_source *ends;
    const float *transforms; /* [layers, pons_transforms_floats]; NULL: none */
    const json_t *manifest;  /* what becomes pons.json */
} pons_run_model;

/** Write RUN/model in place of an older one; all blocks are in RUN/blocks. @return PONS_ERR_IO; what the
 * readers and pons_block_file_open return. */
pons_status pons_run_model_write(const char *run, const pons_run_model *model);

/** Whether RUN/model is there: the run can be exported. */
bool pons_run_model_exists(const char *run);

/** SHA-256 of a manifest without its list of files and without what an export adds: the same for RUN and
 * each output made of it. @return PONS_ERR_NOMEM. */
pons_status pons_manifest_digest(const json_t *manifest, char hex[65]);

#endif

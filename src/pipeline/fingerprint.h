/**
 * What the bits of a run depend on besides its recipe, part by part, so that a refusal can name the
 * part that changed.
 */
#ifndef PONS_PIPELINE_FINGERPRINT_H
#define PONS_PIPELINE_FINGERPRINT_H

#include <jansson.h>

#include "model/model.h"

/** X(PART, name in the journal, what it is in a sentence). */
#define PONS_FINGERPRINT_LIST(X)                                                                   \
    X(PROGRAM, "program", "the program")                                                           \
    X(PRODUCTS, "products", "the arithmetic of this processor and build")                          \
    X(MODEL, "model", "the model")                                                                 \
    X(ROTATION, "rotation", "the file of rotations")                                               \
    X(CALIBRATION, "calibration", "the calibration text")                                          \
    X(EVALUATION, "evaluation", "the evaluation text")

typedef enum pons_fingerprint_part {
#define PONS_FINGERPRINT_ENUM(part, name, text) PONS_FINGERPRINT_##part,
    PONS_FINGERPRINT_LIST(PONS_FINGERPRINT_ENUM)
#undef PONS_FINGERPRINT_ENUM
        PONS_FINGERPRINT_PARTS
} pons_fingerprint_part;

/** A short text or the SHA-256 of each part; "" for one the run does without. */
typedef struct pons_fingerprint {
    char part[PONS_FINGERPRINT_PARTS][256];
} pons_fingerprint;

/** "0.2.0, commit 1a2b3c4d5e6f, gcc 12.2.0, avx2": version, commit (unknown in a tarball), compiler and the instruction
 * set that this file was compiled for. Static. */
const char *pons_fingerprint_program(void);

/**
 * SHA-256 of a model: its configuration and of every tensor name, type, shape and a sample of its
 * bytes. Local. To read a model of hundreds of gigabytes whole would cost more than the job.
 * @return PONS_ERR_NOMEM.
 */
pons_status pons_fingerprint_model(const pons_model *model, char hex[65]);

/** As a JSON object, for the journal; NULL when memory is out. Local. */
json_t *pons_fingerprint_to_json(const pons_fingerprint *f);

/** Refuse a fingerprint that differs from a recorded one. Local. @param where names the record
 * @return PONS_ERR_INPUT naming the first part that differs. */
pons_status pons_fingerprint_check(const pons_fingerprint *f, const json_t *recorded,
                                   const char *where);

#endif

/**
 * FlatQuant: learned Kronecker transforms, scales and clipping of one model, from flat_matrices.pth.
 * Private to the room; everything is Local. Source: specification 5.4 and 4.4.
 */
#ifndef PONS_ROTATE_FLATQUANT_H
#define PONS_ROTATE_FLATQUANT_H

#include "model/config.h"

/** What the file holds for a layer. INVERSE is the inverse of the transpose, which multiplies
 * weights as the matrix itself multiplies inputs. */
typedef enum pons_flat_part {
    PONS_FLAT_QKV_LEFT,
    PONS_FLAT_QKV_RIGHT,
    PONS_FLAT_QKV_LEFT_INVERSE,
    PONS_FLAT_QKV_RIGHT_INVERSE,
    PONS_FLAT_QKV_SCALE,
    PONS_FLAT_HEADS,
    PONS_FLAT_HEADS_INVERSE,
    PONS_FLAT_KEY,
    PONS_FLAT_KEY_INVERSE,
    PONS_FLAT_VALUE,
    PONS_FLAT_VALUE_INVERSE,
    PONS_FLAT_GATE_UP_LEFT,
    PONS_FLAT_GATE_UP_RIGHT,
    PONS_FLAT_GATE_UP_LEFT_INVERSE,
    PONS_FLAT_GATE_UP_RIGHT_INVERSE,
    PONS_FLAT_GATE_UP_SCALE,
    PONS_FLAT_DOWN_LEFT,
    PONS_FLAT_DOWN_RIGHT,
    PONS_FLAT_DOWN_LEFT_INVERSE,
    PONS_FLAT_DOWN_RIGHT_INVERSE,
    PONS_FLAT_DOWN_SCALE,
    PONS_FLAT_KEY_CLIP_MAX, /* logits of the shares of the range that are kept */
    PONS_FLAT_KEY_CLIP_MIN,
    PONS_FLAT_VALUE_CLIP_MAX,
    PONS_FLAT_VALUE_CLIP_MIN,
    PONS_FLAT_LINEARS /* from here on per linear: weight max, min; input max, min */
} pons_flat_part;

/** Parts of a linear, from PONS_FLAT_LINEARS + 4 linear on. */
enum { PONS_FLAT_WEIGHT_MAX, PONS_FLAT_WEIGHT_MIN, PONS_FLAT_INPUT_MAX, PONS_FLAT_INPUT_MIN };

typedef struct pons_flatquant {
    pons_model_config config;
    int parts;        /* PONS_FLAT_LINEARS and four of each linear */
    int64_t *offset;  /* [parts + 1] of each part in a layer's values */
    float *values;    /* [layers, offset[parts]] */
    double deviation; /* largest entry of |M^T M^-T - I| over all pairs of the file */
} pons_flatquant;

/**
 * Read a file and check it: every layer and entry there and no other, shapes, finite numbers, no
 * scale 0, and that each matrix and its INVERSE belong together, which no singular matrix does.
 *
 * @param tolerance largest entry of |M^T M^-T - I| that is accepted
 * @return what pons_torch_open and pons_torch_read return; PONS_ERR_INPUT, PONS_ERR_SHAPE,
 * PONS_ERR_UNSUPPORTED naming layer and entry; PONS_ERR_NOMEM.
 */
pons_status pons_flatquant_read(const char *path, const pons_model_config *config, double tolerance,
                                pons_flatquant **out);

/** Free; takes the address, nulls it, accepts NULL. */
void pons_flatquant_destroy(pons_flatquant **flat);

/** Values of a part. Borrowed. */
const float *pons_flatquant_part(const pons_flatquant *flat, int64_t layer, int part);

/** Norm gains [pons_gain_floats] of a block, in place: times the scales that the linears are divided by. */
void pons_flatquant_gains(const pons_flatquant *flat, int64_t layer, float *gains);

/**
 * Reparameterize one whole linear in place: W [rows, cols] divided by its scale, transformed,
 * clipped, then the output side of v (per head) and of up (the scale of down).
 * @param bias [rows] or NULL @return PONS_OK, PONS_ERR_NOMEM. Cost 2 rows cols (L + R) flop, fp64.
 */
pons_status pons_flatquant_linear(const pons_flatquant *flat, int64_t layer, int linear, float *W,
                                  float *bias);

/** A block's online transforms as model/transforms.h lays them out. @param out
 * [pons_transforms_floats] */
void pons_flatquant_transforms(const pons_flatquant *flat, int64_t layer, float *out);

#endif

/**
 * Compression of one linear layer in memory: W and H in, codes and scales out, on one rank.
 */
#ifndef PONS_LAYER_H
#define PONS_LAYER_H

#include "pons/session.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is compressed. Everything is borrowed. */
typedef struct pons_layer {
    size_t size;          /* set by PONS_LAYER_INIT */
    int version;          /* set by PONS_LAYER_INIT */
    int64_t rows, cols;   /* outputs and inputs of the layer */
    const float *weights; /* W [rows, cols], row-major, finite */
    const double *
        hessian; /* H [cols, cols], symmetric, undamped: a multiple of the sum of x x^T over the inputs x; the
                                upper triangle is read. NULL for method rtn: errors are then not known */
    const char *
        recipe; /* YAML text; NULL: the defaults. The keys method, compat, weights, prune, obr and polish count */
    const char *const *set; /* [set_count] "section.key=value" applied after the text */
    int set_count;          /* 0: set may be NULL */
} pons_layer;

/** Initial value of pons_layer. */
#define PONS_LAYER_INIT                                                                            \
    {                                                                                              \
        sizeof(pons_layer), PONS_API_VERSION, 0, 0, NULL, NULL, NULL, NULL, 0                      \
    }

/** The compressed layer. Arrays belong to it until pons_layer_free. */
typedef struct pons_layer_result {
    size_t size;        /* set by PONS_LAYER_RESULT_INIT */
    int version;        /* set by PONS_LAYER_RESULT_INIT */
    int64_t rows, cols; /* of the layer */
    int bits;           /* 2 to 8; 16: the method only prunes, codes, scales and zeros are NULL */
    int64_t group_size; /* columns that share a scale */
    int64_t groups;     /* scales of a row: cols / group_size, rounded up */
    int8_t *codes;      /* [rows, cols] in [-2^(bits-1), 2^(bits-1) - 1] */
    float *scales;      /* [rows, groups] */
    int8_t *zeros;  /* [rows, groups] zero points, in the range of codes; 0 for symmetric grids */
    float *values;  /* [rows, cols] scale (code - zero); exactly 0 where pruned */
    int64_t pruned; /* values that are 0 */
    double error;   /* tr((Q - W) H (Q - W)^T) with the undamped H, Q = values; 0 without H */
    double energy;  /* tr(W H W^T); 0 without H */
    double
        damping; /* share of H's mean diagonal that was added; above obr.damping where obr.damping_retries raised it */
} pons_layer_result;

/** Initial value of pons_layer_result. */
#define PONS_LAYER_RESULT_INIT                                                                     \
    {                                                                                              \
        sizeof(pons_layer_result), PONS_API_VERSION, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0,  \
            0, 0                                                                                   \
    }

/**
 * Prune, compensate and round one layer by the recipe's method.
 *
 * Local, also in a session of many ranks; uses the session's threads. The result does not depend on their number.
 * Pruning scores take column norms from the diagonal of H. Cost with the default method: about rows x cols^2 x 30 flop and a
 * factorization of 2/3 cols^3; memory: 8 to 24 cols^2 and 20 rows x cols bytes.
 * @param[out] result initialized by PONS_LAYER_RESULT_INIT; unchanged on failure
 * @return PONS_OK; PONS_ERR_USAGE for missing matrices and options of a newer version; PONS_ERR_CONFIG for a wrong
 * recipe and for method none; PONS_ERR_UNSUPPORTED for keys that need a whole model (obr.target, prune.allocate);
 * PONS_ERR_SHAPE; PONS_ERR_NUMERIC where H is not positive definite after damping or something is not finite;
 * PONS_ERR_NOMEM; PONS_STOPPED when the cancel function asked for it before the work began.
 */
PONS_API pons_status pons_layer_compress(pons_session *session, const pons_layer *layer,
                                         pons_layer_result *result);

/** Free the arrays of a result and reset it; an initial one is fine. Local. */
PONS_API void pons_layer_free(pons_layer_result *result);

#ifdef __cplusplus
}
#endif

#endif

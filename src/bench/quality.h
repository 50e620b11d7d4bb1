/**
 * Layer errors of every method on real layers: the effect of each improvement over the published
 * algorithm alone, and of leaving it out of the best recipe.
 */
#ifndef PONS_BENCH_QUALITY_H
#define PONS_BENCH_QUALITY_H

#include "config/recipe.h"

/** One method on one layer. */
typedef struct pons_quality_result {
    char fixture[128];  /* file name without .safetensors */
    const char *method; /* "obr_gptq", "mask admm", "best without blocks" ... */
    int64_t rows, d;
    double relative_error; /* tr(D H D^T) / tr(W H W^T), D = Q - W, H undamped */
    double ratio;          /* relative_error over that of obr_gptq */
    double products;       /* of all rows with a matrix of the layer's width */
    double seconds;        /* of the rows, with what they share; not the Cholesky factor */
} pons_quality_result;

/** Growing list of results. */
typedef struct pons_quality {
    int64_t count, capacity;
    pons_quality_result *result;
} pons_quality;

/** Settings of all methods. */
typedef struct pons_quality_setting {
    double sparsity;
    int n, m; /* n:m pattern; 0: unstructured */
    double damping;
} pons_quality_setting;

/**
 * Every layer fixture under a folder or one folder below it: *.safetensors with tensors W [rows, d] and
 * H [d, d]. Others are skipped.
 *
 * Local. exact_obs is left out where a layer is wider than WIDEST_EXACT of quality.c: it takes d / 3 products.
 * @param out free with pons_quality_clear
 * @return PONS_ERR_INPUT when there is none, PONS_ERR_NUMERIC, PONS_ERR_SHAPE, PONS_ERR_NOMEM.
 */
pons_status pons_bench_quality(const pons_quality_setting *setting, const char *folder,
                               pons_quality *out);

/** Free what it holds. Local. */
void pons_quality_clear(pons_quality *quality);

#endif

/* Owns the library's compression of one layer (include/pons/layer.h). The work is obr's. */
#include "pons/layer.h"

#include <omp.h>
#include <string.h>

#include "api/session.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "kern/limits.h"
#include "obr/compress.h"
#include "quant/weight.h"

/* What one rank can do for one layer. */
static pons_status check(const pons_layer *l, const pons_recipe *r)
{
    if (l->rows < 1 || l->cols < 1)
        return pons_fail(PONS_ERR_SHAPE,
                         "pons_layer: found %lld rows and %lld cols, allowed: from 1",
                         (long long)l->rows, (long long)l->cols);
    if (!l->weights) return pons_fail(PONS_ERR_USAGE, "pons_layer: weights is NULL");
    if (!l->hessian && pons_method_needs_hessian(r->method))
        return pons_fail(PONS_ERR_USAGE, "pons_layer: hessian is NULL; method %s needs it",
                         pons_method_name(r->method));
    if (r->method == PONS_METHOD_NONE)
        return pons_fail(PONS_ERR_CONFIG, "pons_layer: method none compresses nothing");
    if (r->obr.target != PONS_TARGET_DENSE)
        return pons_fail(
            PONS_ERR_UNSUPPORTED,
            "pons_layer: obr.target needs a whole model; allowed for one layer: dense");
    if (r->prune.allocate != PONS_ALLOCATE_UNIFORM)
        return pons_fail(PONS_ERR_UNSUPPORTED, "pons_layer: prune.allocate needs a whole model; "
                                               "allowed for one layer: uniform");
    if (pons_method_quantizes(r->method) && r->weights.group_size &&
        l->cols % r->weights.group_size)
        return pons_fail(PONS_ERR_SHAPE,
                         "pons_layer: weights.group_size: found %lld, allowed: a divisor of %lld",
                         (long long)r->weights.group_size, (long long)l->cols);
    return PONS_OK;
}

/* Damped and factored, the damping raised as often as the recipe allows. */
static pons_status factor_hessian(const pons_layer *l, const pons_recipe *r, double *damping,
                                  pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    int64_t d = l->cols, info = 0;
    double *norm = NULL;
    PONS_ALLOC(st, norm, d);
    for (int64_t j = 0; j < d; j++)
        norm[j] = l->hessian[j * d + j] / 2;
    *damping = r->obr.damping;
    for (int retries = 0;; retries++) {
        PONS_TRY(st, pons_hessian_factor_create(d, l->hessian, norm, *damping, &info, out));
        if (info <= 0 || retries == r->obr.damping_retries) break;
        *damping = *damping > 0 ? 10 * *damping : 1e-4;
        pons_log(PONS_LOG_WARN, "layer: Hessian is not positive definite; damping raised to %g",
                 *damping);
    }
    if (info < 0) st = pons_fail(PONS_ERR_NUMERIC, "pons_layer: hessian holds NaN or Inf");
    if (info > 0)
        st = pons_fail(PONS_ERR_NUMERIC,
                       "pons_layer: the damped hessian is not positive definite (minor %lld of "
                       "%lld); raise obr.damping (now %g) or allow obr.damping_retries",
                       (long long)info, (long long)d, *damping);
done:
    pons_mem_free(norm);
    return st;
}

/* Arrays of a result, and what of its rows only their sums are kept. */
typedef struct rows {
    double *error, *energy;
    int64_t *zeros;
} rows;

static pons_status allocate(const pons_layer *l, const pons_recipe *r, pons_layer_result *out,
                            rows *sums)
{
    pons_status st = PONS_OK;
    out->rows = l->rows;
    out->cols = l->cols;
    out->bits = pons_method_quantizes(r->method) ? r->weights.bits : 16;
    if (out->bits < 16) {
        out->group_size = pons_weight_group_size(&r->weights, l->cols);
        out->groups = pons_weight_groups(&r->weights, l->cols);
        PONS_ALLOC(st, out->codes, l->rows * l->cols);
        PONS_ALLOC(st, out->scales, l->rows * out->groups);
        PONS_ALLOC(st, out->zeros, l->rows * out->groups);
    }
    PONS_ALLOC(st, out->values, l->rows * l->cols);
    PONS_CALLOC(st, sums->error, l->rows);
    PONS_CALLOC(st, sums->energy, l->rows);
    PONS_CALLOC(st, sums->zeros, l->rows);
done:
    return st;
}

static pons_status compress(const pons_layer *l, pons_layer_result *out)
{
    pons_status st = PONS_OK;
    pons_recipe recipe;
    pons_hessian_factor *factor = NULL;
    rows sums = {0};
    PONS_TRY(st, pons_recipe_load_text(l->recipe, l->set, l->set_count, &recipe));
    PONS_TRY(st, check(l, &recipe));
    PONS_TRY(st, pons_stop_check());
    PONS_TRY(st, pons_kern_reserve_blas(omp_get_max_threads()));
    PONS_TRY(st, allocate(l, &recipe, out, &sums));
    if (l->hessian) PONS_TRY(st, factor_hessian(l, &recipe, &out->damping, &factor));
    const pons_row_task task = {.name = "layer",
                                .rows = l->rows,
                                .d = l->cols,
                                .W = l->weights,
                                .factor = factor,
                                .recipe = &recipe,
                                .bits = recipe.weights.bits};
    pons_row_result result = {.codes = out->codes,
                              .scale = out->scales,
                              .zero = out->zeros,
                              .value = out->values,
                              .error = sums.error,
                              .energy = sums.energy,
                              .zeros = sums.zeros};
    PONS_TRY(st, pons_compress_rows(&task, &result, NULL));
    for (int64_t i = 0; i < l->rows; i++) {
        out->error += sums.error[i];
        out->energy += sums.energy[i];
        out->pruned += sums.zeros[i];
    }
done:
    pons_mem_free(sums.zeros);
    pons_mem_free(sums.energy);
    pons_mem_free(sums.error);
    pons_hessian_factor_destroy(&factor);
    return st;
}

static void release(pons_layer_result *r)
{
    pons_mem_free(r->codes);
    pons_mem_free(r->scales);
    pons_mem_free(r->zeros);
    pons_mem_free(r->values);
}

pons_status pons_layer_compress(pons_session *session, const pons_layer *layer,
                                pons_layer_result *result)
{
    pons_status st = PONS_OK;
    pons_session_scope before = pons_session_enter(session);
    pons_layer l = PONS_LAYER_INIT;
    pons_layer_result made = PONS_LAYER_RESULT_INIT;
    PONS_TRY(st, pons_options_take("pons_layer", layer, sizeof l, &l));
    PONS_TRY(st, pons_options_take("pons_layer_result", result, sizeof made, &made));
    made = (pons_layer_result)PONS_LAYER_RESULT_INIT;
    PONS_TRY(st, compress(&l, &made));
    made.size = result->size;
    made.version = result->version;
    memcpy(result, &made, result->size);
    made = (pons_layer_result)PONS_LAYER_RESULT_INIT;
done:
    release(&made);
    pons_session_leave(before);
    return st;
}

void pons_layer_free(pons_layer_result *result)
{
    pons_layer_result initial = PONS_LAYER_RESULT_INIT;
    release(result);
    initial.size = result->size;
    initial.version = result->version;
    memcpy(result, &initial, result->size);
}

/* Owns the running sums of a cross Hessian. The caller decides what the two sides are. */
#include "hessian/cross.h"

#include <math.h>

#include "base/mem.h"
#include "hessian/columns.h"
#include "kern/cross.h"

typedef struct side {
    int64_t d;
    double *largest; /* [d] of the squared column norms of the windows seen */
    float *scale;    /* [d] powers of two */
} side;

struct pons_cross {
    int64_t windows;
    bool bf16;
    double quantum; /* every added entry is a multiple of it, in scaled units */
    side left, right;
    double *C;           /* [left.d, right.d] scaled sums; after reduce the cross Hessian */
    pons_cross_sum *sum; /* into C, from the first window until reduce */
};

static pons_status side_create(int64_t d, side *s)
{
    pons_status st = PONS_OK;
    s->d = d;
    PONS_CALLOC(st, s->largest, d);
    PONS_ALLOC(st, s->scale, d);
done:
    return st;
}

static void side_destroy(side *s)
{
    pons_mem_free(s->scale);
    pons_mem_free(s->largest);
}

pons_status pons_cross_create(int64_t p, int64_t d, int64_t windows, bool bf16, pons_cross **out)
{
    pons_status st = PONS_OK;
    pons_cross *c = NULL;
    PONS_CALLOC(st, c, 1);
    c->windows = windows;
    c->bf16 = bf16;
    c->quantum = pons_columns_quantum(windows);
    PONS_TRY(st, side_create(p, &c->left));
    PONS_TRY(st, side_create(d, &c->right));
    PONS_CALLOC(st, c->C, p * d);
    *out = c;
    c = NULL;
done:
    pons_cross_destroy(&c);
    return st;
}

void pons_cross_destroy(pons_cross **cross)
{
    pons_cross *c = *cross;
    if (!c) return;
    pons_cross_sum_destroy(&c->sum);
    side_destroy(&c->left);
    side_destroy(&c->right);
    pons_mem_free(c->C);
    pons_mem_free(c);
    *cross = NULL;
}

static pons_status observe_side(side *s, bool bf16, int64_t window, int64_t S, const float *X)
{
    pons_status st = PONS_OK;
    double *norm = NULL;
    PONS_ALLOC(st, norm, s->d);
    PONS_TRY(st, pons_columns_norms(S, s->d, X, bf16, norm));
    for (int64_t j = 0; j < s->d; j++) {
        if (!isfinite(norm[j])) {
            st = pons_fail(PONS_ERR_NUMERIC,
                           "calibration window %lld: column %lld of a cross Hessian holds NaN or "
                           "Inf",
                           (long long)window, (long long)j);
            goto done;
        }
        s->largest[j] = fmax(s->largest[j], norm[j]);
    }
done:
    pons_mem_free(norm);
    return st;
}

pons_status pons_cross_observe(pons_cross *c, int64_t window, int64_t S, const float *A,
                               const float *X)
{
    pons_status st = observe_side(&c->left, c->bf16, window, S, A);
    return st == PONS_OK ? observe_side(&c->right, c->bf16, window, S, X) : st;
}

static void agree_side(side *s, pons_comm *comm)
{
    pons_comm_max_f64(comm, s->largest, s->d);
    for (int64_t j = 0; j < s->d; j++)
        s->scale[j] = (float)ldexp(1.0, -pons_columns_exponent(s->largest[j]));
}

void pons_cross_agree(pons_cross *c, pons_comm *comm)
{
    agree_side(&c->left, comm);
    agree_side(&c->right, comm);
}

pons_status pons_cross_accumulate(pons_cross *c, int64_t S, const float *A, const float *X)
{
    pons_status st = PONS_OK;
    if (!c->sum)
        PONS_TRY(st, pons_cross_sum_create(S, c->left.d, c->right.d, c->bf16, c->quantum, c->C,
                                           &c->sum));
    st = pons_cross_sum_add(c->sum, (pons_cross_side){A, c->left.scale},
                            (pons_cross_side){X, c->right.scale});
done:
    return st;
}

void pons_cross_release_work(pons_cross *c) { pons_cross_sum_destroy(&c->sum); }

void pons_cross_reduce(pons_cross *c, pons_comm *comm)
{
    int64_t p = c->left.d, d = c->right.d;
    double factor = 2.0 / (double)c->windows;
    pons_cross_sum_destroy(&c->sum);
    pons_comm_sum_f64(comm, c->C, p * d);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < p; i++)
        for (int64_t j = 0; j < d; j++)
            c->C[i * d + j] *= factor / ((double)c->left.scale[i] * (double)c->right.scale[j]);
}

const double *pons_cross_matrix(const pons_cross *c) { return c->C; }

/* Owns the running sums of one group's Hessian. Does not damp, factor or store it. */
#include "hessian/accumulate.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "hessian/columns.h"
#include "kern/gemm.h"

struct pons_hessian {
    int64_t d, windows;
    bool bf16;
    double quantum;      /* every added entry is a multiple of it, in scaled units */
    int64_t *window;     /* [observed] global index of each window seen on this rank */
    double *window_norm; /* [observed, d] squared column norms n_t */
    int64_t observed, capacity;
    float *inverse_scale;    /* [d] 1 / s_j, powers of two */
    double *largest;         /* [d] work: largest squared norms of a window */
    int64_t first, rows;     /* of the panel */
    double *H;               /* [rows, d - first] scaled sums; after reduce the Hessian */
    pons_gram_work *work;    /* of pons_gram_add_rows, until the sums are done */
    double *mean, *harmonic; /* [d] */
    bool normed;             /* these are summed over ranks */
};

pons_status pons_hessian_create(int64_t d, int64_t windows, bool bf16, pons_hessian **out)
{
    pons_status st = PONS_OK;
    pons_hessian *h = NULL;
    *out = NULL;
    PONS_CALLOC(st, h, 1);
    h->d = d;
    h->windows = windows;
    h->bf16 = bf16;
    PONS_CALLOC(st, h->mean, d);
    PONS_CALLOC(st, h->harmonic, d);
    PONS_ALLOC(st, h->inverse_scale, d);
    PONS_ALLOC(st, h->largest, d);
    h->quantum = pons_columns_quantum(windows);
    *out = h;
    h = NULL;
done:
    pons_hessian_destroy(&h);
    return st;
}

void pons_hessian_destroy(pons_hessian **hessian)
{
    pons_hessian *h = *hessian;
    if (!h) return;
    pons_gram_work_destroy(&h->work);
    pons_mem_free(h->window);
    pons_mem_free(h->window_norm);
    pons_mem_free(h->largest);
    pons_mem_free(h->inverse_scale);
    pons_mem_free(h->H);
    pons_mem_free(h->mean);
    pons_mem_free(h->harmonic);
    pons_mem_free(h);
    *hessian = NULL;
}

static pons_status grow(pons_hessian *h)
{
    if (h->observed < h->capacity) return PONS_OK;
    int64_t capacity = h->capacity ? 2 * h->capacity : 8;
    size_t used = (size_t)h->observed;
    int64_t *window = pons_mem_resize(h->window, used * sizeof *window, capacity, sizeof *window);
    if (!window) return PONS_ERR_NOMEM;
    h->window = window;
    double *norm = pons_mem_resize(h->window_norm, used * (size_t)h->d * sizeof *norm,
                                   capacity * h->d, sizeof *norm);
    if (!norm) return PONS_ERR_NOMEM;
    h->window_norm = norm;
    h->capacity = capacity;
    return PONS_OK;
}

pons_status pons_hessian_observe(pons_hessian *h, int64_t window, int64_t S, const float *X)
{
    pons_status st = PONS_OK;
    PONS_TRY(st, grow(h));
    PONS_TRY(st, pons_columns_norms(S, h->d, X, h->bf16, h->window_norm + h->observed * h->d));
    h->window[h->observed++] = window;
done:
    return st;
}

static pons_status check_finite(const pons_hessian *h)
{
    for (int64_t t = 0; t < h->observed; t++)
        for (int64_t j = 0; j < h->d; j++)
            if (!isfinite(h->window_norm[t * h->d + j]))
                return pons_fail(PONS_ERR_NUMERIC,
                                 "calibration window %lld: input column %lld holds NaN or Inf",
                                 (long long)h->window[t], (long long)j);
    return PONS_OK;
}

/* The nearest multiple of the quantum, exactly: |v| is far below 2^51 quanta. */
static double on_grid(double v, double quantum)
{
    double magic = 0x1.8p52 * quantum;
    volatile double shifted = v + magic;
    return shifted - magic;
}

/* Largest norms of the windows of all ranks. Collective. @param largest [d] */
static void find_largest(const pons_hessian *h, pons_comm *comm, double *largest)
{
    for (int64_t j = 0; j < h->d; j++)
        largest[j] = 0;
    for (int64_t t = 0; t < h->observed; t++)
        for (int64_t j = 0; j < h->d; j++) {
            double norm = h->window_norm[t * h->d + j];
            largest[j] = fmax(largest[j], isfinite(norm) ? norm : INFINITY);
        }
    pons_comm_max_f64(comm, largest, h->d);
}

pons_status pons_hessian_agree(pons_hessian *h, pons_comm *comm)
{
    pons_status st = PONS_OK;
    PONS_TRY_ALL(st, comm, check_finite(h));
    find_largest(h, comm, h->largest);
    for (int64_t j = 0; j < h->d; j++)
        h->inverse_scale[j] = (float)ldexp(1.0, -pons_columns_exponent(h->largest[j]));
    pons_gram_work_destroy(&h->work);
    pons_mem_free(h->H);
    h->H = NULL;
done:
    return st;
}

/* Of the square of a scale over a norm that it was guessed from. */
#define HEADROOM 0x1p16

void pons_hessian_estimate_scales(pons_hessian *h, pons_comm *comm, int root)
{
    double most = 0, *norm = h->largest;
    for (int64_t j = 0; j < h->d; j++) {
        double n = h->observed ? h->window_norm[j] : 0;
        norm[j] = isfinite(n) ? n : 0;
    }
    pons_comm_bcast(comm, norm, (size_t)h->d * sizeof *norm, root);
    for (int64_t j = 0; j < h->d; j++)
        most = fmax(most, norm[j]);
    for (int64_t j = 0; j < h->d; j++) {
        /* a column that is zero in this window gets the scale of a small one */
        double square = HEADROOM * (norm[j] > 0 ? norm[j] : most * 0x1p-20);
        h->inverse_scale[j] = (float)ldexp(1.0, -pons_columns_exponent(square));
    }
}

bool pons_hessian_fits(pons_hessian *h, pons_comm *comm)
{
    bool fits = true;
    find_largest(h, comm, h->largest);
    for (int64_t j = 0; j < h->d; j++) {
        double scaled = h->largest[j] * (double)h->inverse_scale[j] * (double)h->inverse_scale[j];
        fits &= scaled == 0 || (scaled <= 1 && scaled >= 0x1p-20);
    }
    return fits;
}

int64_t pons_hessian_panel_rows(int64_t d)
{
    const int64_t bytes = 512LL << 20, width = pons_gram_width(d);
    int64_t tiles = bytes / (width * d * (int64_t)sizeof(double));
    if (tiles < 1) tiles = 1;
    return tiles * width < d ? tiles * width : d;
}

pons_status pons_hessian_take_rows(pons_hessian *h, int64_t first, int64_t rows)
{
    pons_gram_work_destroy(&h->work);
    pons_mem_free(h->H);
    h->first = first;
    h->rows = rows;
    h->H = pons_mem_calloc(rows * (h->d - first), sizeof *h->H);
    return h->H ? PONS_OK : PONS_ERR_NOMEM;
}

/* The whole matrix, unless rows were taken. */
static pons_status ready(pons_hessian *h)
{
    return h->H ? PONS_OK : pons_hessian_take_rows(h, 0, h->d);
}

pons_status pons_hessian_add(pons_hessian *h, int64_t S, const float *X)
{
    pons_status st = ready(h);
    if (st != PONS_OK) return st;
    return pons_gram_add_rows(S, h->d, X, h->inverse_scale, h->bf16, h->quantum, h->first,
                              h->first + h->rows, &h->work, h->H);
}

void pons_hessian_release_work(pons_hessian *h) { pons_gram_work_destroy(&h->work); }

/* Sums over ranks of the norms, in the unit of X; once. Collective. */
static void reduce_norms(pons_hessian *h, pons_comm *comm)
{
    if (h->normed) return;
    for (int64_t j = 0; j < h->d; j++) {
        double square = (double)h->inverse_scale[j] * (double)h->inverse_scale[j];
        for (int64_t t = 0; t < h->observed; t++) {
            double scaled = h->window_norm[t * h->d + j] * square;
            h->mean[j] += on_grid(scaled, h->quantum);
            h->harmonic[j] += on_grid(scaled / (double)(h->window[t] + 1), h->quantum);
        }
    }
    pons_comm_sum_f64(comm, h->mean, h->d);
    pons_comm_sum_f64(comm, h->harmonic, h->d);
    for (int64_t j = 0; j < h->d; j++) {
        double unit = 1.0 / ((double)h->inverse_scale[j] * (double)h->inverse_scale[j]);
        h->mean[j] *= unit / (double)h->windows;
        h->harmonic[j] *= unit;
    }
    h->normed = true;
}

pons_status pons_hessian_reduce(pons_hessian *h, pons_comm *comm)
{
    pons_status st = PONS_OK;
    int64_t d = h->d;
    double factor = 2.0 / (double)h->windows;
    pons_hessian_release_work(h);
    PONS_TRY_ALL(st, comm, ready(h)); /* a rank without windows */
    int64_t ld = d - h->first;
    const float *scale = h->inverse_scale + h->first;
    pons_comm_sum_f64(comm, h->H, h->rows * ld);
    reduce_norms(h, comm);
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < h->rows; i++)
        for (int64_t j = i; j < ld; j++)
            h->H[i * ld + j] *= factor / ((double)scale[i] * (double)scale[j]);
    if (h->rows < d) return PONS_OK;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < i; j++)
            h->H[i * d + j] = h->H[j * d + i];
done:
    return st;
}

const double *pons_hessian_matrix(const pons_hessian *h) { return h->H; }

const double *pons_hessian_norm(const pons_hessian *h, bool harmonic)
{
    return harmonic ? h->harmonic : h->mean;
}

/* The inverse Cholesky factor of one Hessian over all ranks: ours and ScaLAPACK's, each against LAPACK on
 * the same cores. Does not damp or round; that is hessian's. */
#include <cblas.h>
#include <math.h>
#include <omp.h>

#include "base/log.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "linalg/scalapack.h"

extern void dpotrf_(const char *uplo, const int *n, double *A, const int *lda, int *info,
                    size_t uplo_length);
extern void dtrtri_(const char *uplo, const char *diagonal, const int *n, double *A, const int *lda,
                    int *info, size_t uplo_length, size_t diagonal_length);

typedef struct work {
    int64_t d;
    pons_tiles *tiles;
    bool scalapack;
} work;

/* Symmetric, diagonally dominant. */
static double entry(int64_t d, int64_t i, int64_t j)
{
    int64_t low = i < j ? i : j, high = i < j ? j : i;
    double noise = (double)((low * 40503 ^ high * 9973) & 0xffff) / 65536.0 - 0.5;
    return i == j ? (double)d : noise;
}

static void fill(const work *w)
{
    int64_t d = w->d, b = pons_tiles_side(d), n = (d + b - 1) / b;
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < n * n; item++) {
        int64_t i = item / n, j = item % n;
        double *tile = j <= i ? pons_tiles_at(w->tiles, i, j) : NULL;
        for (int64_t r = 0; tile && r < b && i * b + r < d; r++)
            for (int64_t c = 0; c < b && j * b + c < d; c++)
                tile[r * b + c] = entry(d, i * b + r, j * b + c);
    }
}

static pons_status run(void *user)
{
    work *w = user;
    int64_t info = 0;
    double seconds[2];
    fill(w);
    pons_status st = w->scalapack ? pons_scalapack_invert_factor(w->tiles, seconds, &info)
                                  : pons_tiles_invert_factor(w->tiles, NULL, NULL, &info);
    PONS_ASSERT(st != PONS_OK || info == 0);
    return st;
}

typedef struct lapack {
    int64_t d;
    double *A; /* [d, d] */
} lapack;

/* The whole matrix on this rank. */
static pons_status run_lapack(void *user)
{
    const lapack *l = user;
    int64_t d = l->d;
    int n = (int)d, info;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            l->A[i * d + j] = entry(d, i, j);
    dpotrf_("U", &n, l->A, &n, &info, 1); /* column-major upper: row-major lower */
    PONS_ASSERT(info == 0);
    dtrtri_("U", "N", &n, l->A, &n, &info, 1, 1);
    return PONS_OK;
}

/* Its seconds on the threads of all ranks together, of which the others wait. Rank 0. */
static pons_status time_lapack(const pons_bench_setting *s, int ranks, lapack *l, double *seconds)
{
    int before = omp_get_max_threads();
    pons_bench_setting all = *s;
    all.comm = pons_par_alone();
    all.threads = s->threads * ranks;
    omp_set_num_threads(all.threads);
    pons_status st = pons_bench_time(&all, run_lapack, l, seconds, NULL);
    omp_set_num_threads(before);
    return st;
}

/* Largest difference of this rank's tiles from LAPACK's inverse, over its largest entry. */
static double difference(const work *w, const double *A)
{
    int64_t d = w->d, b = pons_tiles_side(d), n = (d + b - 1) / b;
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            const double *tile = pons_tiles_at(w->tiles, i, j);
            for (int64_t r = 0; tile && r < b && i * b + r < d; r++)
                for (int64_t c = 0; c < b && j * b + c <= i * b + r; c++) {
                    double exact = A[(i * b + r) * d + j * b + c];
                    worst = fmax(worst, fabs(tile[r * b + c] - exact));
                    largest = fmax(largest, fabs(exact));
                }
        }
    return worst / largest;
}

/* GF/s of fp64 products of tiles, all threads of all ranks at once. Collective. */
static pons_status measure_peak(const pons_bench_setting *s, int64_t b, double *gflops)
{
    enum { PRODUCTS = 64 };
    pons_status st = PONS_OK;
    double *tile = pons_mem_calloc(3 * s->threads * b * b, sizeof *tile), rate;
    PONS_TRY_ALL(st, s->comm, tile ? PONS_OK : PONS_ERR_NOMEM);
    for (int round = 0; round < 2; round++) { /* the first one warms up */
        pons_comm_barrier(s->comm);
        double start = pons_clock();
#pragma omp parallel for schedule(static, 1) num_threads(s->threads)
        for (int t = 0; t < s->threads; t++) {
            double *A = tile + 3 * t * b * b;
            for (int k = 0; k < PRODUCTS; k++)
                cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)b, (int)b, (int)b, 1.0,
                            A, (int)b, A + b * b, (int)b, 1.0, A + 2 * b * b, (int)b);
        }
        rate = 2e-9 * PRODUCTS * s->threads * (double)(b * b * b) / (pons_clock() - start);
    }
    pons_comm_sum_f64(s->comm, &rate, 1);
    *gflops = rate;
done:
    pons_mem_free(tile);
    return st;
}

pons_status pons_bench_factor(const pons_bench_setting *s, int64_t d, bool scalapack,
                              pons_bench_result *out)
{
    pons_status st = PONS_OK;
    work w = {.d = d, .scalapack = scalapack};
    lapack l = {.d = d};
    double baseline[2] = {0, 0}; /* seconds, difference */
    pons_bench_result r =
        pons_bench_result_empty(s, "factor", scalapack ? "ScaLAPACK" : "tiled", "fp64");
    PONS_TRY(st, pons_tiles_create(s->comm, d, &w.tiles));
    PONS_TRY(st, pons_bench_time(s, run, &w, &r.seconds, &r.workspace_bytes));
    if (pons_comm_rank(s->comm) == 0) l.A = pons_mem_alloc(d * d, sizeof *l.A);
    PONS_TRY_ALL(st, s->comm, l.A || pons_comm_rank(s->comm) ? PONS_OK : PONS_ERR_NOMEM);
    if (l.A) st = time_lapack(s, r.ranks, &l, &baseline[0]);
    PONS_TRY_ALL(st, s->comm, st);
    if (l.A) baseline[1] = difference(&w, l.A);
    pons_comm_max_f64(s->comm, baseline, 2);
    r.relative_error = baseline[1];
    r.rows = r.d = d;
    r.gflops = 2e-9 / 3 * (double)d * (double)d * (double)d / r.seconds;
    PONS_TRY(st, measure_peak(s, pons_tiles_side(d), &r.peak_gflops));
    r.share_of_peak = r.gflops / r.peak_gflops;
    r.baseline = (pons_bench_baseline){"LAPACK dpotrf and dtrtri on all these cores",
                                       d,
                                       s->threads * r.ranks,
                                       baseline[0] / (double)d,
                                       baseline[0],
                                       baseline[0] / r.seconds};
    *out = r;
done:
    pons_mem_free(l.A);
    pons_tiles_destroy(&w.tiles);
    return st;
}

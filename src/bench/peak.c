/* How fast a matrix product of some shape can be: the yardstick of every share. Owns the choice of
 * candidates; looks below kern/gemm.h on purpose, so that the program's own tiles, copies and
 * conversions count against it and not into the yardstick. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "kern/bf16.h"
#include "kern/gemm.h"

enum { ROWS_PER_THREAD = 1024 }; /* the rate no longer grows beyond */
enum { LEAST_RUNS = 2, MOST_RUNS = 50 };
#define LEAST_SECONDS 0.1 /* of each candidate: a yardstick must not be short by bad luck */

typedef struct product {
    int threads;
    int64_t M, N, K;
    const float *A, *B;
    float *C;
    /* bf16 */
    int64_t m, n; /* tile */
    pons_bf16_worker **workers;
    const uint8_t *a, *packed; /* by tiles */
    size_t a_bytes, packed_bytes;
    bool cached; /* run_streamed */
} product;

static void fill(int64_t n, float *x)
{
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

/* One library call per thread, each with its own rows. */
static pons_status run_slabs(void *user)
{
    const product *p = user;
#pragma omp parallel num_threads(p->threads)
    {
        int64_t first = pons_share_begin(p->M, p->threads, omp_get_thread_num());
        int64_t rows = pons_share_begin(p->M, p->threads, omp_get_thread_num() + 1) - first;
        if (rows > 0)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)p->N, (int)p->K,
                        1.0f, p->A + first * p->K, (int)p->K, p->B, (int)p->N, 0.0f,
                        p->C + first * p->N, (int)p->N);
    }
    return PONS_OK;
}

static pons_status run_tiles(void *user)
{
    const product *p = user;
    pons_gemm_nn(p->M, p->N, p->K, 1.0f, p->A, p->K, p->B, p->N, 0.0f, p->C, p->N);
    return PONS_OK;
}

static pons_status run_bf16(void *user)
{
    const product *p = user;
    int failed = 0;
    int64_t down = p->M / p->m, across = p->N / p->n;
#pragma omp parallel for schedule(static) num_threads(p->threads) reduction(| : failed)
    for (int64_t item = 0; item < down * across; item++) {
        int64_t i = item / across, j = item % across;
        int self = omp_get_thread_num();
        if (!pons_bf16_run(p->workers[self], p->a + (size_t)i * p->a_bytes,
                           p->packed + (size_t)j * p->packed_bytes, p->C + self * p->m * p->n))
            failed = 1;
    }
    return failed ? pons_bf16_refused() : PONS_OK;
}

static double rate(const product *p, int ranks, double seconds)
{
    return 2e-9 * (double)p->M * (double)p->N * (double)p->K * ranks / seconds;
}

/* Seconds of a candidate: the first run warms up, short ones run often. Collective. */
static pons_status time_well(const pons_bench_setting *setting, pons_bench_body body, void *user,
                             double *seconds)
{
    pons_bench_setting s = *setting;
    double more;
    s.repeat = LEAST_RUNS;
    pons_status st = pons_bench_time(&s, body, user, seconds, NULL);
    if (st != PONS_OK || LEAST_RUNS * *seconds >= LEAST_SECONDS) return st;
    s.repeat = (int64_t)fmin(LEAST_SECONDS / *seconds, MOST_RUNS);
    st = pons_bench_time(&s, body, user, &more, NULL);
    if (st == PONS_OK) *seconds = fmin(*seconds, more);
    return st;
}

static pons_status peak_fp32(const pons_bench_setting *s, int64_t M, int64_t N, int64_t K,
                             double *gflops)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double seconds;
    float *A = pons_mem_alloc(M * K, sizeof *A), *B = pons_mem_alloc(K * N, sizeof *B);
    float *C = pons_mem_calloc(M * N, sizeof *C);
    if (!A || !B || !C) local = PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, s->comm, local);
    fill(M * K, A);
    fill(K * N, B);
    product p = {.threads = s->threads, .M = M, .N = N, .K = K, .A = A, .B = B, .C = C};
    const pons_bench_body bodies[] = {run_slabs, run_tiles};
    for (size_t k = 0; k < sizeof bodies / sizeof *bodies; k++) {
        PONS_TRY(st, time_well(s, bodies[k], &p, &seconds));
        *gflops = fmax(*gflops, rate(&p, pons_comm_size(s->comm), seconds));
    }
done:
    pons_mem_free(C);
    pons_mem_free(B);
    pons_mem_free(A);
    return st;
}

static int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

/* Tile kernel, its workers and packed operands for p->m x p->n. */
static pons_status prepare_bf16(product *p, pons_bf16_kernel **kernel, uint8_t **a,
                                uint16_t **plain, uint8_t **packed)
{
    pons_status st = PONS_OK;
    int failed = 0;
    int64_t across = p->N / p->n;
    float *row = NULL;
    PONS_TRY(st, pons_bf16_kernel_create(PONS_BF16_PACKED, p->m, p->n, p->K, kernel));
    p->packed_bytes = pons_bf16_stride(*kernel);
    PONS_CALLOC(st, p->workers, p->threads);
    p->a_bytes = pons_bf16_rows_bytes(p->m, p->K);
    PONS_CALLOC(st, *a, p->M / p->m * (int64_t)p->a_bytes);
    PONS_ALLOC(st, row, p->K);
    PONS_CALLOC(st, *plain, p->n * p->K);
    PONS_ALLOC(st, *packed, across * (int64_t)p->packed_bytes);
    PONS_ALLOC(st, p->C, p->threads * p->m * p->n);
    PONS_TRY(st, pons_bf16_workers_create(*kernel, p->threads, p->workers));
    fill(p->K, row);
#pragma omp parallel for schedule(static) num_threads(p->threads)
    for (int64_t i = 0; i < p->M; i++) /* by who will read it, so that it lies with its socket */
        pons_bf16_put_row(p->K, i % p->m, row, *a + (size_t)(i / p->m) * p->a_bytes);
    for (int64_t i = 0; i < p->n * p->K; i++)
        (*plain)[i] = (uint16_t)(0xbf00 | (i % 113));
#pragma omp parallel for schedule(static) num_threads(p->threads) reduction(| : failed)
    for (int64_t j = 0; j < across; j++)
        if (!pons_bf16_pack(p->workers[omp_get_thread_num()], *plain,
                            *packed + (size_t)j * p->packed_bytes))
            failed = 1;
    if (failed) PONS_TRY(st, pons_bf16_refused());
    p->a = *a;
    p->packed = *packed;
done:
    pons_mem_free(row);
    return st;
}

/* What was prepared, all of it or not. */
static void release_bf16(product *p, pons_bf16_kernel **kernel, uint8_t *a, uint16_t *plain,
                         uint8_t *packed)
{
    if (p->workers) pons_bf16_workers_destroy(p->threads, p->workers);
    pons_mem_free(p->C);
    pons_mem_free(p->workers);
    pons_mem_free(packed);
    pons_mem_free(plain);
    pons_mem_free(a);
    pons_bf16_kernel_destroy(kernel);
}

/* One shape of tile; the product is rounded up to whole tiles, which count as work. */
static pons_status peak_bf16_tile(const pons_bench_setting *s, int64_t M, int64_t N, int64_t K,
                                  int64_t m, int64_t n, double *gflops)
{
    pons_status st = PONS_OK;
    double seconds;
    pons_bf16_kernel *kernel = NULL;
    uint16_t *plain = NULL;
    uint8_t *a = NULL, *packed = NULL;
    product p = {.threads = s->threads, .K = K, .m = m, .n = n};
    p.M = round_up(M, m);
    p.N = round_up(N, n);
    PONS_TRY_ALL(st, s->comm, prepare_bf16(&p, &kernel, &a, &plain, &packed));
    PONS_TRY(st, time_well(s, run_bf16, &p, &seconds));
    *gflops = fmax(*gflops, rate(&p, pons_comm_size(s->comm), seconds));
done:
    release_bf16(&p, &kernel, a, plain, packed);
    return st;
}

pons_status pons_bench_peak(const pons_bench_setting *s, bool bf16, int64_t M, int64_t N, int64_t K,
                            double *gflops)
{
    pons_status st = PONS_OK;
    double best = 0;
    if (M > (int64_t)ROWS_PER_THREAD * s->threads) M = (int64_t)ROWS_PER_THREAD * s->threads;
    if (!bf16) {
        PONS_TRY(st, peak_fp32(s, M, N, K, &best));
    } else {
        int64_t slab = (M + s->threads - 1) / s->threads, wide = N < 512 ? N : 512;
        int64_t half = wide < 256 ? wide : 256;
        const int64_t tile[][2] = {
            {slab < 128 ? slab : 128, half}, {slab < 512 ? slab : 512, wide}, {slab, N}};
        for (size_t k = 0; k < sizeof tile / sizeof *tile; k++)
            PONS_TRY(st, peak_bf16_tile(s, M, N, K, tile[k][0], tile[k][1], &best));
    }
    *gflops = best;
done:
    return st;
}

/* ---- What memory leaves of it */

/* Tiles as a Hessian's products take them: many right ones, together beyond any cache of a thread's own, meet a left one. */
enum { STREAM_WIDTH = 256, STREAM_DEPTH = 512, STREAM_BYTES = 32 << 20 };

/* Right tile k is product k's own, so that none finds it in cache; or all are the thread's first. */
static pons_status run_streamed(void *user)
{
    const product *p = user;
    int failed = 0;
    int64_t count = p->M / p->m;
#pragma omp parallel for schedule(static) num_threads(p->threads) reduction(| : failed)
    for (int64_t k = 0; k < count; k++) {
        int self = omp_get_thread_num();
        int64_t first = pons_share_begin(count, p->threads, self), right = p->cached ? first : k;
        if (!pons_bf16_run(p->workers[self], p->a + (size_t)first * p->a_bytes,
                           p->packed + (size_t)right * p->packed_bytes, p->C + self * p->m * p->n))
            failed = 1;
    }
    return failed ? pons_bf16_refused() : PONS_OK;
}

pons_status pons_bench_streamed(const pons_bench_setting *s, pons_bench_result *out)
{
    pons_status st = PONS_OK;
    double seconds;
    pons_bf16_kernel *kernel = NULL;
    uint16_t *plain = NULL;
    uint8_t *a = NULL, *packed = NULL;
    pons_bench_result r = pons_bench_result_empty(s, "gemm", "streamed tiles", "bf16");
    product p = {.threads = s->threads, .m = STREAM_WIDTH, .n = STREAM_WIDTH, .K = STREAM_DEPTH};
    int64_t tile = STREAM_WIDTH * STREAM_DEPTH * (int64_t)sizeof *plain;
    p.M = p.N = STREAM_BYTES / 2 / tile * s->threads * STREAM_WIDTH;
    PONS_TRY_ALL(st, s->comm, prepare_bf16(&p, &kernel, &a, &plain, &packed));
    r.rows = p.M * r.ranks;
    r.d = p.K;
    p.N = p.n; /* flop: one tile across */
    PONS_TRY(st, pons_bench_time(s, run_streamed, &p, &r.seconds, NULL));
    p.cached = true;
    PONS_TRY(st, time_well(s, run_streamed, &p, &seconds));
    r.gflops = rate(&p, r.ranks, r.seconds);
    r.peak_gflops = rate(&p, r.ranks, seconds);
    r.share_of_peak = r.gflops / r.peak_gflops;
    *out = r;
done:
    release_bf16(&p, &kernel, a, plain, packed);
    return st;
}

/* ---- The program's own product */

typedef struct own {
    const pons_matmul *W;
    int64_t M, N, K;
    const float *X;
    float *Y;
} own;

static pons_status run_matmul(void *user)
{
    const own *o = user;
    return pons_matmul_apply(o->W, o->M, o->X, o->K, o->Y, o->N);
}

/* Largest difference of some entries from fp64 over the largest of them. */
static double difference(const own *o, const float *B)
{
    double worst = 0, largest = 0;
    for (int64_t k = 0; k < 64; k++) {
        int64_t i = k * 7919 % o->M, j = k * 104729 % o->N;
        double sum = 0;
        for (int64_t c = 0; c < o->K; c++)
            sum += (double)o->X[i * o->K + c] * (double)B[j * o->K + c];
        worst = fmax(worst, fabs(sum - (double)o->Y[i * o->N + j]));
        largest = fmax(largest, fabs(sum));
    }
    return worst / largest;
}

pons_status pons_bench_gemm(const pons_bench_setting *s, bool bf16, int64_t rows, int64_t d,
                            pons_bench_result *out)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_bench_result r =
        pons_bench_result_empty(s, "gemm", "prepared matrix", bf16 ? "bf16" : "fp32");
    int rank = pons_comm_rank(s->comm);
    int64_t M = pons_share_begin(rows, r.ranks, rank + 1) - pons_share_begin(rows, r.ranks, rank);
    pons_matmul *W = NULL;
    float *X = pons_mem_alloc(M * d, sizeof *X), *Y = pons_mem_calloc(M * d, sizeof *Y);
    float *B = pons_mem_alloc(d * d, sizeof *B);
    if (!X || !Y || !B) local = PONS_ERR_NOMEM;
    if (local == PONS_OK && M < 1)
        local = pons_fail(PONS_ERR_SHAPE, "%lld rows cannot be distributed over %d ranks",
                          (long long)rows, r.ranks);
    PONS_TRY_ALL(st, s->comm, local);
    fill(M * d, X);
    fill(d * d, B);
    PONS_TRY_ALL(st, s->comm, pons_matmul_create(d, d, B, bf16, &W));
    own o = {W, M, d, d, X, Y};
    PONS_TRY(st, pons_bench_time(s, run_matmul, &o, &r.seconds, &r.workspace_bytes));
    r.rows = rows;
    r.d = d;
    r.gflops = 2e-9 * (double)rows * (double)d * (double)d / r.seconds;
    r.relative_error = difference(&o, B);
    pons_comm_max_f64(s->comm, &r.relative_error, 1);
    PONS_TRY(st, pons_bench_peak(s, bf16, M, d, d, &r.peak_gflops));
    r.share_of_peak = r.gflops / r.peak_gflops;
    *out = r;
done:
    pons_matmul_destroy(&W);
    pons_mem_free(B);
    pons_mem_free(Y);
    pons_mem_free(X);
    return st;
}

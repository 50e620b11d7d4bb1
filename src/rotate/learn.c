/* Owns the descent over orthogonal matrices. Which vectors a rotation is learned from, and where it
 * then goes, is for the callers. */
#include "rotate/learn.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kern/dense_f64.h"
#include "kern/gemm.h"
#include "kern/range.h"

/* Rows of R that are one unit of work. */
enum { BAND = 256 };

typedef struct learner {
    pons_comm *comm;
    const pons_learn_vectors *in;
    const pons_learn_schedule *schedule;
    int64_t d, panels; /* panels of a window */
    double quantum;    /* of the sums over panels */
    float *R, *V, *G;  /* [d, d] the matrix, what it becomes, products */
    float *momentum;   /* [d, d] skew */
    double *sum;       /* [d, d] of Y^T S over panels and ranks */
    float *Y, *Yt, *S; /* [PANEL, d], [d, PANEL], [PANEL, d] */
    double *value;     /* [PANEL] */
    double *window;    /* [windows] */
    size_t *offset;    /* [ranks + 1] bytes of the bands of each rank */
} learner;

pons_learn_schedule pons_learn_schedule_of(int64_t steps)
{
    return (pons_learn_schedule){.steps = steps, .rate = .01, .sharpness = 6, .momentum = .9};
}

static void release(learner *l)
{
    pons_mem_free(l->V);
    pons_mem_free(l->G);
    pons_mem_free(l->momentum);
    pons_mem_free(l->sum);
    pons_mem_free(l->Y);
    pons_mem_free(l->Yt);
    pons_mem_free(l->S);
    pons_mem_free(l->value);
    pons_mem_free(l->window);
    pons_mem_free(l->offset);
}

static pons_status reserve(learner *l)
{
    pons_status st = PONS_OK;
    int size = pons_comm_size(l->comm);
    int64_t d = l->d, bands = (d + BAND - 1) / BAND;
    PONS_ALLOC(st, l->V, d * d);
    PONS_ALLOC(st, l->G, d * d);
    PONS_CALLOC(st, l->momentum, d * d);
    PONS_ALLOC(st, l->sum, d * d);
    PONS_ALLOC(st, l->Y, PONS_LEARN_PANEL * d);
    PONS_ALLOC(st, l->Yt, PONS_LEARN_PANEL * d);
    PONS_ALLOC(st, l->S, PONS_LEARN_PANEL * d);
    PONS_ALLOC(st, l->value, PONS_LEARN_PANEL);
    PONS_ALLOC(st, l->window, l->in->windows);
    PONS_ALLOC(st, l->offset, size + 1);
    for (int r = 0; r <= size; r++) {
        int64_t row = pons_share_begin(bands, size, r) * BAND;
        l->offset[r] = (size_t)((row < d ? row : d) * d) * sizeof(float);
    }
done:
    return st;
}

/* Length of the longest vector of this rank; NaN or Inf when an entry is not finite. */
static double longest(const pons_learn_vectors *in)
{
    double most = 0;
    for (int64_t i = 0; i < (in->end - in->begin) * in->count; i++) {
        double square = 0;
        for (int64_t j = 0; j < in->d; j++)
            square += (double)in->X[i * in->d + j] * (double)in->X[i * in->d + j];
        if (!(square <= most)) most = square;
        if (isnan(most)) break;
    }
    return sqrt(most);
}

static pons_status check_finite(double length)
{
    if (isfinite(length)) return PONS_OK;
    return pons_fail(PONS_ERR_NUMERIC,
                     "learning a rotation: a calibration vector holds NaN or Inf");
}

/* Collective: the quantum with which no sum of a step can need more than 52 bits. An entry of Y^T S is
 * at most |y| times |S_j| <= 2 r <= 4 (|y| + log(d) / b), a token. */
static pons_status choose_quantum(learner *l)
{
    pons_status st = PONS_OK;
    double length = longest(l->in);
    PONS_TRY_ALL(st, l->comm, check_finite(length));
    pons_comm_max_f64(l->comm, &length, 1);
    double range = 4 * (length + log((double)l->d) / (double)l->schedule->sharpness);
    double most = (double)(l->in->windows * PONS_LEARN_PANEL) * length * range;
    int exponent = 0;
    frexp(most, &exponent);
    l->quantum = ldexp(1, exponent + 1 - 52);
done:
    return st;
}

static int64_t panel_tokens(const learner *l, int64_t panel)
{
    int64_t left = l->in->count - panel * PONS_LEARN_PANEL;
    return left < PONS_LEARN_PANEL ? left : PONS_LEARN_PANEL;
}

/* The vectors of a panel of one of this rank's windows. */
static const float *panel_of(const learner *l, int64_t window, int64_t panel)
{
    return l->in->X + ((window - l->in->begin) * l->in->count + panel * PONS_LEARN_PANEL) * l->d;
}

/* sum += Y^T S of one panel, Y = X R. */
static void add_panel(learner *l, int64_t n, const float *X)
{
    const double magic = 0x1.8p52 * l->quantum; /* v + magic - magic is v rounded to the quantum */
    int64_t d = l->d;
    pons_gemm_nn(n, d, d, 1, X, d, l->R, d, 0, l->Y, d);
    pons_smooth_range(n, d, l->schedule->sharpness, l->Y, l->S, l->value);
    for (int64_t j = 0; j < d; j++) /* Y [n, d] to Yt [d, n] */
        for (int64_t i = 0; i < n; i++)
            l->Yt[j * n + i] = l->Y[i * d + j];
    pons_gemm_nn(d, d, n, 1, l->Yt, n, l->S, d, 0, l->G, d);
#pragma omp parallel for schedule(static) if (d > BAND)
    for (int64_t i = 0; i < d * d; i++) {
        volatile double shifted = (double)l->G[i] + magic;
        l->sum[i] += shifted - magic;
    }
}

/* Collective: momentum <- share of itself + the skew part of the mean gradient over the step's tokens. */
static void turn_momentum(learner *l, int64_t step)
{
    int64_t d = l->d, panel = step % l->panels, n = panel_tokens(l, panel);
    memset(l->sum, 0, (size_t)(d * d) * sizeof *l->sum);
    for (int64_t w = l->in->begin; w < l->in->end; w++)
        add_panel(l, n, panel_of(l, w, panel));
    pons_comm_sum_f64(l->comm, l->sum, d * d);
    double share = 1 / (double)(n * l->in->windows);
#pragma omp parallel for schedule(static) if (d > BAND)
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            double skew = share * (l->sum[i * d + j] - l->sum[j * d + i]);
            l->momentum[i * d + j] =
                (float)(l->schedule->momentum * (double)l->momentum[i * d + j] + skew);
        }
}

/* sqrt(mean over rows of the squared length of a row): for a skew matrix, of its angles. */
static double root_mean_square(const float *A, int64_t d)
{
    double sum = 0;
    for (int64_t i = 0; i < d * d; i++)
        sum += (double)A[i] * (double)A[i];
    return sqrt(sum / (double)d);
}

typedef void product(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
                     const float *B, int64_t ldb, float beta, float *C, int64_t ldc);

/* Collective: C <- alpha A op(B) + beta C, [d, d] each, by bands of rows over the ranks. */
static void multiply(const learner *l, product *gemm, float alpha, const float *A, const float *B,
                     float beta, float *C)
{
    int64_t d = l->d;
    int rank = pons_comm_rank(l->comm);
    int64_t row = (int64_t)(l->offset[rank] / sizeof *C) / d;
    int64_t last = (int64_t)(l->offset[rank + 1] / sizeof *C) / d;
    for (; row < last; row += BAND)
        gemm(last - row < BAND ? last - row : BAND, d, d, alpha, A + row * d, d, B, d, beta,
             C + row * d, d);
    pons_comm_allgather_parts(l->comm, C, l->offset);
}

static double distance_to_identity(const float *G, int64_t d)
{
    double most = 0;
#pragma omp parallel for schedule(static) reduction(max : most) if (d > BAND)
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            double off = fabs((double)G[i * d + j] - (i == j));
            if (!(off <= most)) most = isnan(off) ? INFINITY : off;
        }
    return most;
}

/* G <- I - G */
static void identity_minus(float *G, int64_t d)
{
#pragma omp parallel for schedule(static) if (d > BAND)
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            G[i * d + j] = (i == j) - G[i * d + j];
}

/*
 * Collective: R <- the orthogonal matrix next to V, by V <- V + V (I - V^T V) / 2, which squares the
 * distance of V^T V from I. V is used up.
 * The last iteration is the first one that starts nearer than 1 %: the 1e-4 at most that it leaves
 * go in the next step.
 */
static void orthogonalize(learner *l)
{
    enum { MOST = 20 };
    int64_t d = l->d;
    for (int i = 0; i < MOST; i++) {
#pragma omp parallel for schedule(static) if (d > BAND)
        for (int64_t r = 0; r < d; r++) /* R holds V^T for a moment */
            for (int64_t c = 0; c < d; c++)
                l->R[r * d + c] = l->V[c * d + r];
        multiply(l, pons_gemm_nt, 1, l->R, l->R, 0, l->G);
        double distance = distance_to_identity(l->G, d);
        identity_minus(l->G, d);
        memcpy(l->R, l->V, (size_t)(d * d) * sizeof *l->R);
        multiply(l, pons_gemm_nn, .5f, l->V, l->G, 1, l->R);
        if (!(distance > .01)) break;
        memcpy(l->V, l->R, (size_t)(d * d) * sizeof *l->R);
    }
}

/* Collective: one step down. */
static void descend(learner *l, int64_t step)
{
    const pons_learn_schedule *s = l->schedule;
    turn_momentum(l, step);
    double size = root_mean_square(l->momentum, l->d);
    double rate = s->rate * (1 - (double)step / (double)s->steps);
    if (size == 0) return; /* every vector is zero */
    memcpy(l->V, l->R, (size_t)(l->d * l->d) * sizeof *l->V);
    multiply(l, pons_gemm_nn, (float)(-rate / size), l->R, l->momentum, 1, l->V);
    orthogonalize(l);
}

/* Collective: mean squared range of all vectors. The sum goes window by window on every rank. */
static double mean_range(learner *l)
{
    int64_t d = l->d;
    double total = 0;
    memset(l->window, 0, (size_t)l->in->windows * sizeof *l->window);
    for (int64_t w = l->in->begin; w < l->in->end; w++)
        for (int64_t p = 0; p < l->panels; p++) {
            int64_t n = panel_tokens(l, p);
            pons_gemm_nn(n, d, d, 1, panel_of(l, w, p), d, l->R, d, 0, l->Y, d);
            pons_square_range(n, d, l->Y, l->value);
            for (int64_t i = 0; i < n; i++)
                l->window[w] += l->value[i];
        }
    pons_comm_sum_f64(l->comm, l->window, l->in->windows); /* all but one addend are zero */
    for (int64_t w = 0; w < l->in->windows; w++)
        total += l->window[w];
    return total / (double)(l->in->windows * l->in->count);
}

/* Collective: G <- M^T M, fp64 inside, so that it tells more than the last bits of M. */
static pons_status gram(learner *l, const float *M)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t d = l->d;
    int rank = pons_comm_rank(l->comm);
    double *wide = pons_mem_alloc(d * d, sizeof *wide);
    if (!wide) local = PONS_ERR_NOMEM;
    for (int64_t i = 0; wide && i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            wide[i * d + j] = M[i * d + j];
            l->G[j * d + i] = M[i * d + j];
        }
    size_t own = l->offset[rank] / sizeof *M, end = l->offset[rank + 1] / sizeof *M;
    if (local == PONS_OK)
        local = pons_dense_vectors_f64(wide, d, l->G + own, (int64_t)(end - own) / d, d, 1);
    PONS_TRY_ALL(st, l->comm, local);
    pons_comm_allgather_parts(l->comm, l->G, l->offset);
done:
    pons_mem_free(wide);
    return st;
}

/* Collective: what single precision left between R and an orthogonal matrix goes, to the last bits
 * of a float. */
static pons_status finish(learner *l, double *deviation)
{
    pons_status st = PONS_OK;
    int64_t d = l->d;
    memcpy(l->V, l->R, (size_t)(d * d) * sizeof *l->R);
    PONS_TRY(st, gram(l, l->V));
    identity_minus(l->G, d);
    multiply(l, pons_gemm_nn, .5f, l->V, l->G, 1, l->R);
    PONS_TRY(st, gram(l, l->R));
    *deviation = distance_to_identity(l->G, d);
done:
    return st;
}

static pons_status check_orthogonal(double deviation)
{
    if (deviation <= 1e-6) return PONS_OK;
    return pons_fail(PONS_ERR_NUMERIC,
                     "learning a rotation: found a matrix %g from orthogonal, allowed 1e-6",
                     deviation);
}

pons_status pons_learn_orthogonal(pons_comm *comm, const pons_learn_vectors *vectors,
                                  const pons_learn_schedule *schedule, float *R,
                                  pons_learn_result *result)
{
    pons_status st = PONS_OK;
    learner l = {.comm = comm, .in = vectors, .schedule = schedule, .d = vectors->d, .R = R};
    PONS_ASSERT(vectors->count >= 1 && vectors->windows >= 1 && vectors->d >= 1);
    l.panels = (vectors->count + PONS_LEARN_PANEL - 1) / PONS_LEARN_PANEL;
    PONS_TRY_ALL(st, comm, reserve(&l));
    PONS_TRY(st, choose_quantum(&l));
    double before = mean_range(&l), deviation = 0;
    for (int64_t step = 0; step < schedule->steps; step++)
        descend(&l, step);
    PONS_TRY(st, finish(&l, &deviation));
    PONS_TRY_ALL(st, comm, check_orthogonal(deviation));
    double after = mean_range(&l);
    *result = (pons_learn_result){.before = before, .after = after, .deviation = deviation};
done:
    release(&l);
    return st;
}

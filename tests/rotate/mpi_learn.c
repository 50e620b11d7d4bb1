/* A rotation learned from vectors with a known structure: the objective falls, the matrix stays
 * orthogonal, the bits do not depend on who holds the vectors, and the first step goes down the slope
 * that differences of the objective have. */
#include <math.h>
#include <string.h>

#include "base/mt19937.h"
#include "kern/range.h"
#include "rotate/learn.h"
#include "support/mpi_harness.h"

/* Two panels of a window, the second not full; bands of rows that do not divide. */
enum { D = 300, WINDOWS = 5, COUNT = 200 };

static double uniform(pons_mt19937 *rng)
{
    return (double)pons_mt19937_next(rng) / 4294967296.0 * 2 - 1;
}

/* Vectors with a few large coordinates, the same on every rank. */
static void draw(float *X)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 7);
    for (int64_t i = 0; i < WINDOWS * COUNT; i++)
        for (int64_t j = 0; j < D; j++)
            X[i * D + j] = (float)(uniform(&rng) * (j % 50 == 7 ? 20 : 1));
}

static void identity(float *R, int64_t d)
{
    memset(R, 0, (size_t)(d * d) * sizeof *R);
    for (int64_t i = 0; i < d; i++)
        R[i * d + i] = 1;
}

/* Learn with the vectors dealt to the ranks, or all on the last one. */
static pons_status learn(pons_comm *comm, bool deal, const float *X, int64_t steps, float *R,
                         pons_learn_result *result)
{
    int size = pons_comm_size(comm), rank = pons_comm_rank(comm);
    pons_learn_vectors in = {.d = D, .windows = WINDOWS, .count = COUNT};
    in.begin = deal ? pons_share_begin(WINDOWS, size, rank) : rank == size - 1 ? 0 : WINDOWS;
    in.end = deal ? pons_share_begin(WINDOWS, size, rank + 1) : WINDOWS;
    in.X = X + in.begin * COUNT * D;
    pons_learn_schedule schedule = pons_learn_schedule_of(steps);
    identity(R, D);
    return pons_learn_orthogonal(comm, &in, &schedule, R, result);
}

static double deviation(const float *R)
{
    double most = 0;
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++) {
            double dot = 0;
            for (int k = 0; k < D; k++)
                dot += (double)R[k * D + i] * (double)R[k * D + j];
            most = fmax(most, fabs(dot - (i == j)));
        }
    return most;
}

/* Mean smooth squared range of the first panel of every window, turned by t in the plane (a, b). */
static double objective(const float *X, int a, int b, double t)
{
    double total = 0, value;
    float y[D], s[D];
    for (int w = 0; w < WINDOWS; w++)
        for (int i = 0; i < PONS_LEARN_PANEL; i++) {
            const float *x = X + (w * COUNT + i) * D;
            memcpy(y, x, sizeof y);
            y[a] = (float)(cos(t) * (double)x[a] - sin(t) * (double)x[b]);
            y[b] = (float)(sin(t) * (double)x[a] + cos(t) * (double)x[b]);
            pons_smooth_range(1, D, pons_learn_schedule_of(1).sharpness, y, s, &value);
            total += value;
        }
    return total / (WINDOWS * PONS_LEARN_PANEL);
}

/* A tiny first step is -rate times the gradient, made to have angles of root mean square `rate`: for
 * some planes, the step's angle is in the ratio of the objective's slopes there. */
static void check_direction(pons_comm *comm, const float *X, float *R)
{
    enum { PLANES = 4 };
    const int plane[PLANES][2] = {{7, 20}, {57, 3}, {107, 57}, {207, 290}};
    const double h = 1e-3;
    double slope[PLANES], angle[PLANES];
    int size = pons_comm_size(comm), rank = pons_comm_rank(comm);
    pons_learn_vectors in = {.d = D, .windows = WINDOWS, .count = COUNT};
    in.begin = pons_share_begin(WINDOWS, size, rank);
    in.end = pons_share_begin(WINDOWS, size, rank + 1);
    in.X = X + in.begin * COUNT * D;
    pons_learn_schedule schedule = {.steps = 1, .rate = 1e-3, .sharpness = 6, .momentum = 0};
    pons_learn_result result;
    identity(R, D);
    CHECK(pons_learn_orthogonal(comm, &in, &schedule, R, &result) == PONS_OK);
    for (int p = 0; p < PLANES; p++) {
        int a = plane[p][0], b = plane[p][1];
        slope[p] = (objective(X, a, b, h) - objective(X, a, b, -h)) / (2 * h);
        angle[p] = (double)R[a * D + b];
    }
    for (int p = 1; p < PLANES; p++)
        CHECK(fabs(angle[p] * slope[0] - angle[0] * slope[p]) < .05 * fabs(angle[p] * slope[0]));
    CHECK(angle[0] * slope[0] < 0); /* downwards */
}

static void test(pons_comm *comm)
{
    float *X = pons_mem_alloc(WINDOWS * COUNT * D, sizeof *X);
    float *R = pons_mem_alloc(D * D, sizeof *R), *other = pons_mem_alloc(D * D, sizeof *other);
    pons_learn_result result = {0}, same = {0};
    draw(X);
    CHECK(learn(comm, true, X, 40, R, &result) == PONS_OK);
    CHECK(learn(comm, false, X, 40, other, &same) == PONS_OK);
    CHECK(!memcmp(R, other, D * D * sizeof *R));
    CHECK(!memcmp(&result, &same, sizeof result));
    CHECK(result.after < .5 * result.before);
    CHECK(result.deviation < 1e-6 && deviation(R) < 1e-6);
    if (pons_comm_rank(comm) == 0)
        printf("range^2 %.4f -> %.4f, deviation %.1e, R[0] %a\n", result.before, result.after,
               deviation(R), (double)R[0]);
    check_direction(comm, X, R);

    if (pons_comm_rank(comm) == 0) X[5] = NAN; /* held by the last rank or by itself */
    if (pons_comm_size(comm) == 1) {
        CHECK(learn(comm, true, X, 1, R, &result) == PONS_ERR_NUMERIC);
    } else {
        X[5] = pons_comm_rank(comm) == pons_comm_size(comm) - 1 ? NAN : 0;
        CHECK(learn(comm, false, X, 1, R, &result) == PONS_ERR_NUMERIC);
    }
    CHECK(strstr(pons_error_message(), "NaN"));
    pons_mem_free(other);
    pons_mem_free(R);
    pons_mem_free(X);
    CHECK(pons_mem_outstanding() == 0);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }

/* What the measurements rest on: layers with the spectrum that was asked for and the same rows however
 * they are dealt, repetitions and memory as they were, exponents of exact power laws. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "support/mpi_harness.h"

static pons_bench_layer layer_of(int64_t rows, int64_t d)
{
    return (pons_bench_layer){
        .rows = rows, .d = d, .sparsity = 0.5, .alpha = 0.5, .damping = 0.01, .power = 1.0};
}

/* Rotations keep the trace and the sum of squares: sum lambda and sum lambda^2. */
static void check_spectrum(const pons_bench_layer *layer)
{
    int64_t d = layer->d;
    double trace = 0, square = 0, sum = 0, sum2 = 0, off = 0;
    double *H = malloc((size_t)(d * d) * sizeof *H);
    CHECK(pons_bench_spectrum(layer, H) == PONS_OK);
    for (int64_t i = 0; i < d; i++) {
        double lambda =
            i < layer->outlier_count ? layer->outliers[i] : pow((double)i + 1, -layer->power);
        sum += lambda;
        sum2 += lambda * lambda;
        trace += H[i * d + i];
        for (int64_t j = 0; j < d; j++) {
            square += H[i * d + j] * H[i * d + j];
            if (i != j) off += H[i * d + j] * H[i * d + j];
            CHECK(H[i * d + j] == H[j * d + i]);
            CHECK((double)(float)H[i * d + j] == H[i * d + j]);
        }
    }
    CHECK(fabs(trace - sum) < 1e-5 * sum);
    CHECK(fabs(square - sum2) < 1e-5 * sum2);
    CHECK(off > 0.1 * square); /* it was rotated */
    free(H);
}

static void test_spectra(void)
{
    pons_bench_layer layer = layer_of(4, 64);
    check_spectrum(&layer); /* Hadamards */
    layer.haar = true;
    check_spectrum(&layer);
    layer.d = 70; /* no Hadamard of that order: Haar, blocks that do not divide */
    layer.haar = false;
    layer.power = 1.5;
    check_spectrum(&layer);
    layer.d = 96;
    layer.outlier_count = 2;
    layer.outliers[0] = 100;
    layer.outliers[1] = 30;
    check_spectrum(&layer);
    layer.seed = 9;
    check_spectrum(&layer);
}

/* Rows, masks and scales of this rank are those that one rank alone has there. */
static void test_deal(pons_comm *comm)
{
    pons_bench_layer layer = layer_of(21, 48);
    pons_bench_problem mine, sample;
    CHECK(pons_bench_problem_create(comm, &layer, &mine) == PONS_OK);
    CHECK(mine.total == 21 && mine.d == 48 && mine.split == 24);
    double sum[3] = {0, 0, (double)mine.rows};
    for (int64_t i = 0; i < mine.rows; i++)
        for (int64_t j = 0; j < 48; j++) {
            int64_t at = (mine.row + i) * 48 + j;
            sum[0] += ldexp(rint(mine.W[i * 48 + j] * 1048576.0), -20) * (double)(at % 7 + 1);
            sum[1] += mine.mask[i * 48 + j];
        }
    pons_comm_sum_f64(comm, sum, 3); /* of multiples of 2^-20: exact */
    static double expected;
    if (pons_comm_size(comm) == 1) expected = sum[0];
    CHECK(sum[2] == 21 && sum[1] == 21 * 24);
    CHECK(pons_comm_size(comm) > 1 || expected == sum[0]);

    CHECK(pons_bench_problem_sample(&mine, 3, &sample) == PONS_OK);
    CHECK(sample.rows == 3);
    for (int64_t i = 0; i < 3; i++) {
        int64_t from = pons_bench_sample_row(mine.rows, 3, i);
        CHECK(from >= 0 && from < mine.rows);
        CHECK(!memcmp(sample.W + i * 48, mine.W + from * 48, 48 * sizeof *mine.W));
        CHECK(!memcmp(sample.mask + i * 48, mine.mask + from * 48, 48));
        CHECK(sample.scale[i] == mine.scale[from]);
    }
    pons_bench_problem_clear_sample(&sample);
    pons_bench_problem_clear(&mine);
    pons_bench_problem_clear(&mine);
}

typedef struct body {
    int calls, fail_at;
    size_t bytes;
} body;

static pons_status run_body(void *user)
{
    body *b = user;
    b->calls++;
    char *memory = malloc(b->bytes);
    memset(memory, b->calls, b->bytes);
    volatile char seen = memory[b->bytes / 2];
    (void)seen;
    free(memory);
    return b->calls == b->fail_at ? pons_fail(PONS_ERR_NUMERIC, "as told") : PONS_OK;
}

static void test_timing(pons_comm *comm)
{
    pons_bench_setting setting = {comm, 1, 3, false};
    double seconds = NAN;
    int64_t workspace = 0;
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    body b = {0, 0, (size_t)(rank == size - 1 ? 24 << 20 : 1 << 20)};
    CHECK(pons_bench_time(&setting, run_body, &b, &seconds, &workspace) == PONS_OK);
    CHECK(b.calls == 3);
    CHECK(seconds > 0);
    CHECK(workspace == -1 || (workspace >= 23 << 20 && workspace < 40 << 20));
    double extremes[2] = {seconds, -seconds};
    pons_comm_max_f64(comm, extremes, 2);
    CHECK(extremes[0] == -extremes[1]); /* the same everywhere */

    /* A failure on one rank ends all of them, in the same run. */
    body failing = {0, rank == 0 ? 2 : 0, 64};
    CHECK(pons_bench_time(&setting, run_body, &failing, &seconds, NULL) == PONS_ERR_NUMERIC);
    CHECK(failing.calls == 2);
}

static void test_exponent(void)
{
    double x[4] = {512, 1024, 2048, 8192}, y[4];
    for (int i = 0; i < 4; i++)
        y[i] = 3e-9 * pow(x[i], 2.25);
    CHECK(fabs(pons_bench_exponent(4, x, y) - 2.25) < 1e-9);
    CHECK(isnan(pons_bench_exponent(1, x, y)));
}

static void test(pons_comm *comm)
{
    test_spectra();
    test_deal(comm);
    test_timing(comm);
    test_exponent();
    CHECK(pons_mem_outstanding() == 0);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }

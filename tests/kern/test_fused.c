/* Products that are used up tile by tile, against the products stored and finished in fp64. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kern/fused.h"

static uint64_t seed = 1;

static float *random_matrix(int64_t n, float scale)
{
    float *x = pons_mem_alloc(n, sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)((int64_t)(seed >> 40) - (1 << 23)) * 0x1p-23f * scale;
    }
    return x;
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.9g instead of %.9g", got, want);
}

/* Matrices of one shape, tokens for them, and the products stored; Y [T, ldy] with its copy Y0. */
typedef struct fixture {
    int64_t T, rows, d, ldy;
    pons_matmul *W[2];
    pons_matmul_input *X;
    float *y[2], *Y, *Y0;
} fixture;

static fixture make(int64_t T, int64_t rows, int64_t d, bool bf16)
{
    fixture f = {.T = T, .rows = rows, .d = d, .ldy = rows + 3};
    float *X = random_matrix(T * (d + 1), 3), *bias = random_matrix(rows, 2);
    for (int n = 0; n < 2; n++) {
        float *W = random_matrix(rows * d, 1);
        f.y[n] = pons_mem_alloc(T * rows, sizeof *f.y[n]);
        assert_int_equal(pons_matmul_create(rows, d, W, bf16, &f.W[n]), PONS_OK);
        assert_int_equal(pons_matmul_pack(bf16, T, d, X, d + 1, &f.X), PONS_OK);
        assert_int_equal(pons_matmul_put(f.W[n], f.X, f.y[n], rows), PONS_OK);
        pons_mem_free(W);
    }
    /* a bias is one more addition */
    assert_int_equal(pons_matmul_set_bias(f.W[1], bias), PONS_OK);
    float *with = pons_mem_alloc(T * rows, sizeof *with);
    assert_int_equal(pons_matmul_put(f.W[1], f.X, with, rows), PONS_OK);
    for (int64_t i = 0; i < T * rows; i++) {
        f.y[1][i] += bias[i % rows];
        assert_true(with[i] == f.y[1][i]);
    }
    f.Y = random_matrix(T * f.ldy, 1);
    f.Y0 = pons_mem_alloc(T * f.ldy, sizeof *f.Y0);
    memcpy(f.Y0, f.Y, (size_t)(T * f.ldy) * sizeof *f.Y);
    pons_mem_free(X), pons_mem_free(bias), pons_mem_free(with);
    return f;
}

static void clear(fixture *f)
{
    for (int n = 0; n < 2; n++) {
        pons_matmul_destroy(&f->W[n]);
        pons_mem_free(f->y[n]);
    }
    pons_matmul_input_destroy(&f->X);
    pons_mem_free(f->Y), pons_mem_free(f->Y0);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* What lies between the rows of Y is left alone. */
static void check_gaps(const fixture *f)
{
    for (int64_t t = 0; t < f->T; t++)
        assert_memory_equal(f->Y + t * f->ldy + f->rows, f->Y0 + t * f->ldy + f->rows,
                            (size_t)(f->ldy - f->rows) * sizeof *f->Y);
}

static const int64_t shapes[][3] = {{1, 1, 1}, {3, 300, 7}, {257, 37, 64}, {300, 530, 21}};

static void sums_and_gates(void **state)
{
    (void)state;
    static const int64_t wide[] = {700, 530, 2500}; /* bf16: panels together */
    for (int n = 0; n < (pons_kern_has_bf16() ? 9 : 4); n++) {
        const int64_t *shape = n == 8 ? wide : shapes[n % 4];
        fixture f = make(shape[0], shape[1], shape[2], n >= 4);
        assert_int_equal(pons_matmul_add(f.W[1], f.X, f.Y, f.ldy), PONS_OK);
        for (int64_t t = 0; t < f.T; t++)
            for (int64_t r = 0; r < f.rows; r++)
                assert_true(f.Y[t * f.ldy + r] == f.Y0[t * f.ldy + r] + f.y[1][t * f.rows + r]);
        check_gaps(&f);
        assert_int_equal(pons_matmul_gate(f.W[0], f.W[1], f.X, f.Y, f.ldy), PONS_OK);
        for (int64_t t = 0; t < f.T; t++)
            for (int64_t r = 0; r < f.rows; r++) {
                double gate = f.y[0][t * f.rows + r], up = f.y[1][t * f.rows + r];
                double want = gate / (1 + exp(-gate)) * up;
                double vanishes = gate < -80 ? 3e-36 * fmax(1, fabs(up)) : 0;
                near(f.Y[t * f.ldy + r], want, 0x1p-21 * fabs(want) + vanishes);
            }
        check_gaps(&f);
        clear(&f);
    }
}

/* Gates far out: closed ones vanish, open ones let all through. */
static void gate_extremes(void **state)
{
    (void)state;
    const float X[] = {-200, 200, -90}, gate[] = {1}, up[] = {0};
    const float bias = 3;
    float Y[3];
    pons_matmul *g = NULL, *u = NULL;
    pons_matmul_input *in = NULL;
    assert_int_equal(pons_matmul_create(1, 1, gate, false, &g), PONS_OK);
    assert_int_equal(pons_matmul_create(1, 1, up, false, &u), PONS_OK);
    assert_int_equal(pons_matmul_set_bias(u, &bias), PONS_OK);
    assert_int_equal(pons_matmul_pack(false, 3, 1, X, 1, &in), PONS_OK);
    assert_int_equal(pons_matmul_gate(g, u, in, Y, 1), PONS_OK);
    assert_true(Y[0] == 0 && Y[1] == 600 && fabsf(Y[2]) < 3e-36f);
    pons_matmul_destroy(&g), pons_matmul_destroy(&u), pons_matmul_input_destroy(&in);
}

/* A vocabulary of 700 in one part and in parts of 300. */
static void loss(void **state)
{
    (void)state;
    enum { T = 333, V = 700, D = 19, PART = 300 };
    float *W = random_matrix(V * D, 2), *X = random_matrix(T * D, 3);
    float *logits = pons_mem_alloc(T * V, sizeof *logits);
    int32_t target[T];
    int before = omp_get_max_threads();
    for (int t = 0; t < T; t++)
        target[t] = t * 7919 % V;
    for (int bf16 = 0; bf16 < 1 + pons_kern_has_bf16(); bf16++) {
        pons_matmul *whole = NULL, *part[3] = {NULL};
        pons_matmul_input *in = NULL;
        double want[T], got[T], first[T];
        assert_int_equal(pons_matmul_pack(bf16, T, D, X, D, &in), PONS_OK);
        assert_int_equal(pons_matmul_create(V, D, W, bf16, &whole), PONS_OK);
        assert_int_equal(pons_matmul_put(whole, in, logits, V), PONS_OK);
        for (int64_t t = 0; t < T; t++) {
            double sum = 0;
            for (int64_t i = 0; i < V; i++)
                sum += exp((double)logits[t * V + i] - 50);
            want[t] = 50 + log(sum) - logits[t * V + target[t]];
        }
        assert_int_equal(pons_matmul_token_losses(1, V, &whole, in, target, got), PONS_OK);
        for (int t = 0; t < T; t++)
            near(got[t], want[t], 1e-5);
        for (int64_t p = 0; p < 3; p++)
            assert_int_equal(pons_matmul_create(p < 2 ? PART : V - 2 * PART, D, W + p * PART * D,
                                                bf16, &part[p]),
                             PONS_OK);
        for (int threads = 1; threads <= 3; threads++) {
            omp_set_num_threads(threads);
            assert_int_equal(pons_matmul_token_losses(3, PART, part, in, target, got), PONS_OK);
            for (int t = 0; t < T; t++)
                near(got[t], want[t], 1e-5);
            if (threads == 1) memcpy(first, got, sizeof got);
            assert_memory_equal(first, got, sizeof got);
        }
        omp_set_num_threads(before);
        for (int p = 0; p < 3; p++)
            pons_matmul_destroy(&part[p]);
        pons_matmul_destroy(&whole), pons_matmul_input_destroy(&in);
    }
    pons_mem_free(W), pons_mem_free(X), pons_mem_free(logits);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Certain, and hopeless. */
static void loss_extremes(void **state)
{
    (void)state;
    const float W[] = {500, -500, -700}, one[] = {1};
    const int32_t right = 0, wrong = 1;
    double loss = 0;
    pons_matmul *m = NULL;
    pons_matmul_input *in = NULL;
    assert_int_equal(pons_matmul_create(3, 1, W, false, &m), PONS_OK);
    assert_int_equal(pons_matmul_pack(false, 1, 1, one, 1, &in), PONS_OK);
    assert_int_equal(pons_matmul_token_losses(1, 3, &m, in, &right, &loss), PONS_OK);
    near(loss, 0, 0);
    assert_int_equal(pons_matmul_token_losses(1, 3, &m, in, &wrong, &loss), PONS_OK);
    near(loss, 1000, 0);
    pons_matmul_destroy(&m), pons_matmul_input_destroy(&in);
}

/* An input's memory is used again for fewer and for more tokens, and what was there is not seen. */
static void input_again(void **state)
{
    (void)state;
    static const int64_t lengths[] = {200, 1, 129, 400};
    enum { D = 33, ROWS = 5 };
    float *W = random_matrix(ROWS * D, 1), *X = random_matrix(400 * D, 1), y[400 * ROWS],
          z[400 * ROWS];
    for (int bf16 = 0; bf16 < 1 + pons_kern_has_bf16(); bf16++) {
        pons_matmul *m = NULL;
        pons_matmul_input *in = NULL;
        assert_int_equal(pons_matmul_create(ROWS, D, W, bf16, &m), PONS_OK);
        assert_int_equal(pons_matmul_apply(m, 400, X, D, y, ROWS), PONS_OK);
        for (int n = 0; n < 4; n++) {
            assert_int_equal(pons_matmul_pack(bf16, lengths[n], D, X, D, &in), PONS_OK);
            assert_int_equal(pons_matmul_put(m, in, z, ROWS), PONS_OK);
            assert_memory_equal(z, y, (size_t)(lengths[n] * ROWS) * sizeof *z);
        }
        pons_matmul_destroy(&m), pons_matmul_input_destroy(&in);
    }
    pons_mem_free(W), pons_mem_free(X);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_gates), cmocka_unit_test(gate_extremes), cmocka_unit_test(loss),
        cmocka_unit_test(loss_extremes), cmocka_unit_test(input_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

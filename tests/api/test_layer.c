/* pons_layer_compress without MPI: against the codes of the public OBR code on a real layer, against identities, and
 * from two threads at once. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pons/pons.h"
#include "support/fixture.h"

static pons_session *open_session(void)
{
    pons_session_options o = PONS_SESSION_OPTIONS_INIT;
    pons_session *session = NULL;
    o.level = PONS_LEVEL_ERROR;
    assert_int_equal(pons_session_open(&o, &session), PONS_OK);
    return session;
}

/* tr(D H D^T), D = Q - W or, without Q, W: naive. */
static double form(const pons_layer *l, const float *Q)
{
    double sum = 0.0, *D = malloc((size_t)l->cols * sizeof *D);
    for (int64_t i = 0; i < l->rows; i++) {
        for (int64_t a = 0; a < l->cols; a++)
            D[a] = (Q ? (double)Q[i * l->cols + a] : 0.0) - (double)l->weights[i * l->cols + a];
        for (int64_t a = 0; a < l->cols; a++)
            for (int64_t b = 0; b < l->cols; b++)
                sum += D[a] * l->hessian[a * l->cols + b] * D[b];
    }
    free(D);
    return sum;
}

/* A layer with correlated inputs. */
static void make_layer(int64_t rows, int64_t cols, uint32_t seed, float *W, double *H)
{
    uint32_t state = 2463534242u + seed;
    double *x = calloc((size_t)cols, sizeof *x);
    memset(H, 0, (size_t)(cols * cols) * sizeof *H);
    for (int64_t k = -rows; k < 3 * cols; k++) {
        for (int64_t j = 0; j < cols; j++) {
            state ^= state << 13, state ^= state >> 17, state ^= state << 5;
            double u = (double)state / 4294967296.0 - 0.5;
            if (k < 0)
                W[(k + rows) * cols + j] = (float)u;
            else
                x[j] = u + (j ? 0.6 * x[j - 1] : 0.0);
        }
        for (int64_t a = 0; k >= 0 && a < cols; a++)
            for (int64_t b = 0; b < cols; b++)
                H[a * cols + b] += x[a] * x[b];
    }
    free(x);
}

static pons_layer layer_of(int64_t rows, int64_t cols, const float *W, const double *H)
{
    pons_layer l = PONS_LAYER_INIT;
    l.rows = rows;
    l.cols = cols;
    l.weights = W;
    l.hessian = H;
    return l;
}

static void check_values(const pons_layer_result *r)
{
    int64_t pruned = 0;
    for (int64_t i = 0; i < r->rows; i++)
        for (int64_t j = 0; j < r->cols; j++) {
            int64_t g = i * r->groups + j / r->group_size, at = i * r->cols + j;
            assert_true(r->values[at] == r->scales[g] * (float)(r->codes[at] - r->zeros[g]));
            pruned += r->values[at] == 0.0f;
        }
    assert_int_equal(pruned, r->pruned);
}

/* The codes that the public OBR code computed for this layer; in fp64 it differs from itself by 0.02 %. */
static void agrees_with_public_code(void **unused)
{
    (void)unused;
    char path[1024];
    snprintf(path, sizeof path, "%s/block0_k_proj.safetensors", getenv("PONS_FIXTURES"));
    fixture *f = fixture_open(path);
    int64_t shape[2], square[2], same[2];
    const float *W = fixture_tensor(f, "W", "F32", shape);
    const float *H32 = fixture_tensor(f, "H", "F32", square);
    const int8_t *expected = fixture_tensor(f, "codes.obr_gptq", "I8", same);
    assert_true(W && H32 && expected);
    int64_t rows = shape[0], d = shape[1], equal = 0;
    double *H = malloc((size_t)(d * d) * sizeof *H);
    for (int64_t i = 0; i < d * d; i++)
        H[i] = H32[i];
    const char *const set[] = {"obr.solver=direct"};
    pons_layer layer = layer_of(rows, d, W, H);
    layer.recipe =
        "method: obr_gptq\nweights: {bits: 4, symmetric: true}\nprune: {sparsity: 0.5}\n";
    layer.set = set;
    layer.set_count = 1;
    pons_session *session = open_session();
    pons_layer_result r = PONS_LAYER_RESULT_INIT;
    assert_int_equal(pons_layer_compress(session, &layer, &r), PONS_OK);
    for (int64_t i = 0; i < rows * d; i++)
        equal += r.codes[i] == expected[i];
    printf("obr_gptq: %.3f %% of the codes equal\n", 100.0 * (double)equal / (double)(rows * d));
    assert_true((double)equal >= 0.999 * (double)(rows * d));
    check_values(&r);
    pons_layer_free(&r);
    pons_session_close(&session);
    free(H);
    fixture_close(&f);
    assert_int_equal(pons_mem_outstanding(), 0);
}

enum { ROWS = 40, COLS = 96 };

static void reports_true_errors(void **unused)
{
    (void)unused;
    static float W[ROWS * COLS];
    static double H[COLS * COLS];
    enum { OBR, WANDA_RTN, RTN, WANDA, GROUPED, RECIPES };
    static const char *const recipes[RECIPES] = {
        "method: obr_gptq", "method: wanda_rtn", "method: rtn", "method: wanda",
        "method: obr_rtn\nprune: {pattern: 2:4}\nweights: {group_size: 32, symmetric: false}"};
    static const int groups[RECIPES] = {1, 1, 1, 0, 3};
    double error[RECIPES];
    pons_session *session = open_session();
    make_layer(ROWS, COLS, 1, W, H);
    pons_layer layer = layer_of(ROWS, COLS, W, H);
    for (int k = 0; k < RECIPES; k++) {
        pons_layer_result r = PONS_LAYER_RESULT_INIT;
        layer.recipe = recipes[k];
        if (pons_layer_compress(session, &layer, &r) != PONS_OK)
            fail_msg("%s", pons_error_message());
        error[k] = form(&layer, r.values);
        assert_true(fabs(r.error - error[k]) < 1e-4 * error[k]);
        assert_true(fabs(r.energy - form(&layer, NULL)) < 1e-4 * r.energy);
        assert_int_equal(r.bits, k == WANDA ? 16 : 4);
        assert_int_equal(r.groups, groups[k]);
        if (k == WANDA)
            assert_true(!r.codes && !r.scales && !r.zeros);
        else
            check_values(&r);
        if (k != RTN) assert_true(r.pruned >= ROWS * COLS / 2 && r.pruned < ROWS * COLS * 3 / 4);
        pons_layer_free(&r);
        assert_true(!r.values && r.size == sizeof r);
    }
    assert_true(error[OBR] < 0.8 * error[WANDA_RTN]); /* compensation pays */
    assert_true(error[RTN] < error[OBR]);             /* rounding alone costs least */
    pons_session_close(&session);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void expect(pons_session *session, const pons_layer *layer, pons_status status,
                   const char *text)
{
    pons_layer_result r = PONS_LAYER_RESULT_INIT;
    assert_int_equal(pons_layer_compress(session, layer, &r), status);
    if (!strstr(pons_error_message(), text)) fail_msg("no '%s' in: %s", text, pons_error_message());
    assert_true(!r.values && !r.codes);
}

static int stop(void *user)
{
    (void)user;
    return 1;
}

static void refuses(void **unused)
{
    (void)unused;
    static float W[ROWS * COLS];
    static double H[COLS * COLS];
    pons_session *session = open_session();
    make_layer(ROWS, COLS, 2, W, H);
    pons_layer good = layer_of(ROWS, COLS, W, H), l = good;
    l.hessian = NULL;
    expect(session, &l, PONS_ERR_USAGE, "hessian is NULL");
    l = good;
    l.rows = 0;
    expect(session, &l, PONS_ERR_SHAPE, "0 rows");
    l = good;
    l.recipe = "methd: rtn";
    expect(session, &l, PONS_ERR_CONFIG, "recipe text:1");
    l.recipe = "method: none";
    expect(session, &l, PONS_ERR_CONFIG, "method none");
    l.recipe = "obr: {target: compensated_inputs}";
    expect(session, &l, PONS_ERR_UNSUPPORTED, "obr.target");
    l.recipe = "prune: {allocate: budget}";
    expect(session, &l, PONS_ERR_UNSUPPORTED, "prune.allocate");
    l = good;
    l.version = PONS_API_VERSION + 1;
    expect(session, &l, PONS_ERR_USAGE, "version");
    l = good;
    float before = W[5];
    W[5] = NAN;
    expect(session, &l, PONS_ERR_NUMERIC, "layer");
    W[5] = before;
    H[3 * COLS + 7] = INFINITY;
    expect(session, &l, PONS_ERR_NUMERIC, "NaN or Inf");
    memset(H, 0, sizeof H);
    for (int j = 0; j < COLS; j++)
        H[j * COLS + j] = j == 4 ? -1.0 : 1.0;
    l.recipe = "obr: {damping_retries: 0}";
    expect(session, &l, PONS_ERR_NUMERIC, "not positive definite");
    pons_session_close(&session);

    pons_session_options o = PONS_SESSION_OPTIONS_INIT;
    o.cancel = stop;
    assert_int_equal(pons_session_open(&o, &session), PONS_OK);
    expect(session, &good, PONS_STOPPED, "cancelled");
    pons_session_close(&session);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* ---- Two threads, each with a session and a layer of its own. */

typedef struct worker {
    float W[ROWS * COLS];
    double H[COLS * COLS];
    int8_t expected[ROWS * COLS];
    bool known; /* expected is */
    int lines, differing;
} worker;

static void count_lines(int level, const char *line, void *user)
{
    (void)level, (void)line;
    ((worker *)user)->lines++;
}

/* @return NULL when all is well */
static void *work(void *user)
{
    enum { TIMES = 4 };
    worker *w = user;
    pons_session_options o = PONS_SESSION_OPTIONS_INIT;
    pons_session *session = NULL;
    o.threads = 1;
    o.user = w;
    o.log = count_lines;
    if (pons_session_open(&o, &session) != PONS_OK) return w;
    pons_layer layer = layer_of(ROWS, COLS, w->W, w->H);
    layer.recipe = "obr: {damping_retries: 6, damping: 0}"; /* a line for each raised damping */
    for (int k = 0; k < TIMES; k++) {
        pons_layer_result r = PONS_LAYER_RESULT_INIT;
        if (pons_layer_compress(session, &layer, &r) != PONS_OK) return w;
        if (!w->known) memcpy(w->expected, r.codes, sizeof w->expected);
        w->known = true;
        w->differing += memcmp(w->expected, r.codes, sizeof w->expected) != 0;
        pons_layer_free(&r);
    }
    pons_session_close(&session);
    return NULL;
}

static void threads_do_not_mix(void **unused)
{
    (void)unused;
    static worker w[2];
    pthread_t thread[2];
    void *result;
    int alone[2];
    for (int k = 0; k < 2; k++) {
        make_layer(ROWS, COLS, (uint32_t)(3 + k), w[k].W, w[k].H);
        if (k == 1) w[k].H[0] = -1e-3 * w[k].H[0]; /* needs damping */
        assert_null(work(&w[k]));
        alone[k] = w[k].lines;
        w[k].lines = 0;
    }
    assert_int_equal(alone[0], 0);
    assert_true(alone[1] > 0);
    for (int k = 0; k < 2; k++)
        assert_int_equal(pthread_create(&thread[k], NULL, work, &w[k]), 0);
    for (int k = 0; k < 2; k++) {
        pthread_join(thread[k], &result);
        assert_null(result);
    }
    for (int k = 0; k < 2; k++) {
        assert_int_equal(w[k].differing, 0);
        assert_int_equal(w[k].lines, alone[k]);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_public_code), cmocka_unit_test(reports_true_errors),
        cmocka_unit_test(refuses), cmocka_unit_test(threads_do_not_mix)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

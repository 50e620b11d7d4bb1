/* A program that uses an installed Pons: consumer MODEL LINEAR FILE
 *
 * Compresses one matrix in two sessions with log functions of their own, reads the packed MODEL, and writes the codes
 * (int8) and then the dequantized weights (float) of the named LINEAR to FILE. Exit code 1 when something is not as it
 * should be. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pons/pons.h>

static int failures;

static void check(int good, const char *what)
{
    if (good) return;
    printf("not so: %s (%s)\n", what, pons_error_message());
    failures++;
}

enum { ROWS = 24, COLS = 64, SAMPLES = 256 };

static float W[ROWS * COLS];
static double H[COLS * COLS];

/* Random weights, correlated inputs; `strange` makes H indefinite, so that damping is raised and a line logged. */
static void make_layer(int strange)
{
    double x[COLS];
    srand(7);
    memset(H, 0, sizeof H);
    for (int i = 0; i < ROWS * COLS; i++)
        W[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int n = 0; n < SAMPLES; n++) {
        for (int j = 0; j < COLS; j++)
            x[j] = (double)rand() / RAND_MAX - 0.5 + (j ? 0.7 * x[j - 1] : 0.0);
        for (int a = 0; a < COLS; a++)
            for (int b = 0; b < COLS; b++)
                H[a * COLS + b] += x[a] * x[b];
    }
    if (strange) H[0] = -0.01 * H[COLS + 1];
}

static double error_of(const float *values)
{
    double sum = 0;
    for (int i = 0; i < ROWS; i++)
        for (int a = 0; a < COLS; a++)
            for (int b = 0; b < COLS; b++)
                sum += ((double)values[i * COLS + a] - (double)W[i * COLS + a]) * H[a * COLS + b] *
                       ((double)values[i * COLS + b] - (double)W[i * COLS + b]);
    return sum;
}

static void count(int level, const char *line, void *user)
{
    (void)level;
    check(strlen(line) > 0, "a log line has text");
    ++*(int *)user;
}

static pons_session *open_session(int *lines)
{
    pons_session_options options = PONS_SESSION_OPTIONS_INIT;
    pons_session *session = NULL;
    options.log = count;
    options.user = lines;
    check(pons_session_open(&options, &session) == PONS_OK, "a session opens");
    return session;
}

/* @return the layer error, < 0 when it failed */
static double compress(pons_session *session, const char *recipe)
{
    pons_layer layer = PONS_LAYER_INIT;
    pons_layer_result result = PONS_LAYER_RESULT_INIT;
    double error = -1;
    layer.rows = ROWS;
    layer.cols = COLS;
    layer.weights = W;
    layer.hessian = H;
    layer.recipe = recipe;
    if (pons_layer_compress(session, &layer, &result) == PONS_OK) {
        error = result.error;
        check(fabs(error - error_of(result.values)) < 1e-4 * fabs(error),
              "the error is that of the values");
        check(result.pruned >= ROWS * COLS / 2, "half of the weights are pruned");
        for (int i = 0; i < ROWS * COLS; i++)
            if (result.values[i] !=
                result.scales[i / COLS] * (float)(result.codes[i] - result.zeros[i / COLS])) {
                check(0, "values are scale (code - zero)");
                break;
            }
    }
    pons_layer_free(&result);
    return error;
}

static void use_sessions(void)
{
    int ours = 0, theirs = 0;
    pons_session *one = open_session(&ours), *two = open_session(&theirs);
    if (!one || !two) return;
    make_layer(0);
    double best = compress(one, "method: obr_gptq"), plain = compress(two, "method: wanda_rtn");
    printf("layer error: obr_gptq %.4f, wanda_rtn %.4f\n", best, plain);
    check(best > 0 && best < 0.9 * plain, "compensation lowers the error");
    check(ours == 0 && theirs == 0, "nothing is logged");
    make_layer(1);
    check(compress(two, "method: obr_gptq\nobr: {damping_retries: 6}") != -1, "damping is raised");
    check(ours == 0 && theirs > 0, "only the session that works logs");
    check(compress(one, "method: obr_gptq\nobr: {damping_retries: 0}") == -1,
          "no damping, no result");
    check(strstr(pons_error_message(), "positive definite") != NULL, "the message says why");
    pons_session_close(&two);
    pons_session_close(&one);
}

static void read_linear(const pons_packed *model, int64_t index, const pons_packed_linear *linear,
                        FILE *out)
{
    size_t cells = (size_t)(linear->rows * linear->cols),
           scales = (size_t)(linear->rows * linear->groups);
    int8_t *codes = malloc(cells), *zeros = malloc(scales);
    float *scale = malloc(scales * sizeof *scale), *values = malloc(cells * sizeof *values);
    check(pons_packed_read_codes(model, index, codes, scale, zeros) == PONS_OK, "codes are read");
    for (int64_t row = 0; row < linear->rows; row += 10) {
        int64_t n = linear->rows - row < 10 ? linear->rows - row : 10;
        check(pons_packed_read_rows(model, index, row, n, values + row * linear->cols) == PONS_OK,
              "rows are read");
    }
    fwrite(codes, 1, cells, out);
    fwrite(values, sizeof *values, cells, out);
    free(values);
    free(scale);
    free(zeros);
    free(codes);
}

static void read_model(const char *path, const char *name, const char *file)
{
    pons_packed *model = NULL;
    pons_packed_linear linear = PONS_PACKED_LINEAR_INIT;
    int found = 0;
    FILE *out = fopen(file, "wb");
    check(out && pons_packed_open(path, &model) == PONS_OK, "the model opens");
    for (int64_t k = 0; out && model && k < pons_packed_count(model); k++) {
        check(pons_packed_describe(model, k, &linear) == PONS_OK, "a linear is described");
        if (strcmp(linear.name, name)) continue;
        printf("%s: %lld x %lld, %d bits\n", linear.name, (long long)linear.rows,
               (long long)linear.cols, linear.bits);
        read_linear(model, k, &linear, out);
        found++;
    }
    check(found == 1, "the linear is there");
    check(pons_packed_describe(model, -1, &linear) == PONS_ERR_USAGE, "there is no linear -1");
    pons_packed_close(&model);
    if (out) fclose(out);
    check(pons_packed_open("/nowhere", &model) == PONS_ERR_IO && !model,
          "a path that is not there");
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    printf("Pons %s\n", pons_version());
    use_sessions();
    read_model(argv[1], argv[2], argv[3]);
    return failures > 0;
}

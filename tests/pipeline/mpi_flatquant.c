/*
 * FlatQuant's Hessians, against sums written out here: the inputs of q, k and v in the first block are
 * the normed embedding times the scales, transformed by the whole Kronecker product, and rounded by the
 * quantizer of that linear, whose clipping is its own.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/windows.h"
#include "io/file.h"
#include "io/hessian_file.h"
#include "io/torch_file.h"
#include "model/model.h"
#include "pipeline/compress.h"
#include "support/mpi_harness.h"

enum { TOKENS = 400, WINDOWS = 3, LENGTH = 16, HIDDEN = 96, L = 8, R = 12 };

/* Values of an entry of layer 0. */
static void entry(pons_torch_file *file, const char *name, float *out)
{
    const pons_torch_value *layer = pons_torch_find_int(pons_torch_root(file), 0);
    const pons_torch_value *value = pons_torch_find(layer, name);
    CHECK(value && pons_torch_read(file, value, out) == PONS_OK);
}

/* x [HIDDEN] <- x (A (x) B), entry by entry */
static void transform(const float *A, const float *B, double *x)
{
    double y[HIDDEN] = {0};
    for (int i = 0; i < HIDDEN; i++)
        for (int j = 0; j < HIDDEN; j++)
            y[j] += x[i] * A[i / R * L + j / R] * B[i % R * R + j % R];
    memcpy(x, y, sizeof y);
}

/* Symmetric, 4 bits, the range clipped at both ends. */
static void quantize(const double *x, double most, double least, double *y)
{
    double high = 0, low = 0;
    for (int i = 0; i < HIDDEN; i++) {
        high = fmax(high, x[i]);
        low = fmin(low, x[i]);
    }
    double step = fmax(high * most, -low * least) / 7;
    for (int i = 0; i < HIDDEN; i++)
        y[i] = step * fmax(-8, fmin(7, nearbyint(x[i] / step)));
}

/* Tokens of all windows before quantization, [WINDOWS * LENGTH, HIDDEN]. */
static void make_inputs(pons_torch_file *file, const char *model_path, const int32_t *ids,
                        double *x)
{
    pons_model *model = NULL;
    float row[HIDDEN], gain[2 * HIDDEN], scale[HIDDEN], A[L * L], B[R * R];
    int64_t start[WINDOWS];
    CHECK(pons_model_open(model_path, &model) == PONS_OK);
    CHECK(pons_model_read_gains(model, 0, gain) == PONS_OK);
    CHECK(pons_windows_draw("ids", TOKENS, LENGTH, WINDOWS, 0, start) == PONS_OK);
    entry(file, "self_attn.ln_trans.diag_scale", scale);
    entry(file, "self_attn.ln_trans.matrix_left", A);
    entry(file, "self_attn.ln_trans.matrix_right", B);
    for (int t = 0; t < WINDOWS * LENGTH; t++) {
        double square = 0, *token = x + t * HIDDEN;
        CHECK(pons_model_read_embedding(model, ids + start[t / LENGTH] + t % LENGTH, 1, row) ==
              PONS_OK);
        for (int i = 0; i < HIDDEN; i++)
            square += (double)row[i] * row[i];
        for (int i = 0; i < HIDDEN; i++)
            token[i] = row[i] / sqrt(square / HIDDEN + 1e-5) * gain[i] * scale[i];
        transform(A, B, token);
    }
    pons_model_close(&model);
}

/* 2 / WINDOWS times the sum of x^T x. */
static void add_up(const double *x, double *H)
{
    memset(H, 0, HIDDEN * HIDDEN * sizeof *H);
    for (int t = 0; t < WINDOWS * LENGTH; t++)
        for (int i = 0; i < HIDDEN; i++)
            for (int j = 0; j < HIDDEN; j++)
                H[i * HIDDEN + j] += x[t * HIDDEN + i] * x[t * HIDDEN + j] * 2 / WINDOWS;
}

/* Frobenius norm of a - b over that of b. */
static double distance(const double *a, const double *b)
{
    double off = 0, all = 0;
    for (int i = 0; i < HIDDEN * HIDDEN; i++) {
        off += (a[i] - b[i]) * (a[i] - b[i]);
        all += b[i] * b[i];
    }
    return sqrt(off / all);
}

static void check_hessians(const char *run, const char *model, const char *flat, const int32_t *ids)
{
    static const char *const linears[] = {"q_proj", "k_proj", "v_proj"};
    static double x[WINDOWS * LENGTH * HIDDEN], y[WINDOWS * LENGTH * HIDDEN];
    static double expected[HIDDEN * HIDDEN], dense[HIDDEN * HIDDEN];
    char path[1200], name[128];
    pons_torch_file *file = NULL;
    snprintf(path, sizeof path, "%s/hessians/block-000.h5", run);
    CHECK(pons_torch_open(flat, &file) == PONS_OK);
    make_inputs(file, model, ids, x);
    add_up(x, dense);
    for (int l = 0; l < 3; l++) {
        double *H = NULL, *norm = NULL;
        float clip[2];
        int64_t d;
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "self_attn.%s.act_quantizer.clip_factor_a_%s", linears[l],
                     k ? "min" : "max");
            entry(file, name, &clip[k]);
        }
        for (int t = 0; t < WINDOWS * LENGTH; t++)
            quantize(x + t * HIDDEN, 1 / (1 + exp(-clip[0])), 1 / (1 + exp(-clip[1])),
                     y + t * HIDDEN);
        add_up(y, expected);
        CHECK(pons_hessian_file_read(path, linears[l], &d, &H, &norm) == PONS_OK);
        CHECK(d == HIDDEN);
        if (H) {
            /* one rounding on the other side of a tie would be some 1e-3; not quantizing is 1e-2 */
            double off = distance(H, expected), without = distance(H, dense);
            printf("%s: off by %.2g; from the inputs before quantization %.2g\n", linears[l], off,
                   without);
            CHECK(off < 2e-3);
            CHECK(without > 5e-3);
        }
        pons_mem_free(H);
        pons_mem_free(norm);
    }
    pons_torch_close(&file);
}

static void test(pons_comm *comm)
{
    char model[1024], flat[1024], out[1024], run[1040], text[1040], file_key[1200];
    int32_t ids[TOKENS];
    snprintf(model, sizeof model, "%s/models/llama-gqa", getenv("PONS_FIXTURES"));
    snprintf(flat, sizeof flat, "%s/frameworks/llama-gqa-flatquant/flat_matrices.pth",
             getenv("PONS_FIXTURES"));
    snprintf(out, sizeof out, "%s/pipeline.flatquant.n%d", getenv("PONS_BUILD"),
             pons_comm_size(comm));
    snprintf(run, sizeof run, "%s.run", out);
    snprintf(text, sizeof text, "%s.i32", out);
    snprintf(file_key, sizeof file_key, "rotation.file=%s", flat);
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (7 * i * i + i) % 320;
    bool first = pons_comm_rank(comm) == 0;
    if (first) CHECK(pons_file_write(text, ids, sizeof ids) == PONS_OK);
    pons_comm_barrier(comm);

    const char *const set[] = {"method=gptq",
                               "rotation.kind=flatquant",
                               file_key,
                               "weights.clip=none",
                               "activations.symmetric=true",
                               "compute=fp32",
                               "output.dtype=f32",
                               "hessians=keep",
                               "calibration.windows=3",
                               "calibration.length=16"};
    pons_compress_options options = {.set = set,
                                     .set_count = sizeof set / sizeof *set,
                                     .model = model,
                                     .calibration = text,
                                     .out = out,
                                     .force = true};
    json_t *report = NULL;
    CHECK(pons_pipeline_compress(comm, &options, &report) == PONS_OK);
    json_decref(report);
    if (!first) return;
    check_hessians(run, model, flat, ids);
    CHECK(pons_dir_remove(out) == PONS_OK);
    CHECK(pons_dir_remove(run) == PONS_OK);
    remove(text);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }

/**
 * The layers that are measured: a Hessian, weights and a mask, drawn from a spectrum or read from a
 * file.
 */
#ifndef PONS_BENCH_PROBLEM_H
#define PONS_BENCH_PROBLEM_H

#include "hessian/factor.h"
#include "par/comm.h"
#include "quant/weight.h"

/** Which layer to make. */
typedef struct pons_bench_layer {
    int64_t rows, d; /* of all ranks; 0 with a file: as many as it has, 1024 where it has none */
    double sparsity;
    int n, m;              /* n:m pattern; 0: unstructured */
    double alpha, damping; /* as in the recipe */
    uint32_t seed;
    double power;       /* eigenvalue i is i^-power */
    double outliers[8]; /* the first `outlier_count` eigenvalues instead, in units of the largest */
    int outlier_count;
    bool haar;           /* eigenvectors uniformly random by a QR (8 d^3 / 3 flop) instead of signed
                            Hadamards; also where no Hadamard matrix of that order is known */
    bool channels;       /* channel scales exp(0.7 g), six channels 30 times larger, then a signed
                            Hadamard */
    const char *hessian; /* FILE.h5:GROUP, or FILE.safetensors with H and perhaps W; NULL: drawn */
} pons_bench_layer;

/** A layer with this rank's rows. */
typedef struct pons_bench_problem {
    int64_t total, row, rows, d, split; /* rows of all ranks; first one and number of this rank's */
    float *W;                           /* [rows, d] */
    double *H, *norm;                   /* [d, d] undamped, every entry a float; [d] */
    uint8_t *mask;                      /* [rows, d] 1 = keep */
    float *scale;                       /* [rows] of a symmetric 4-bit grid with clip search */
    int8_t *zero;                       /* [rows] */
    pons_hessian_factor *factor;
} pons_bench_problem;

enum { PONS_BENCH_BITS = 4 };

/** Describe the source of the Hessian in text[bytes]. Local. */
void pons_bench_layer_describe(const pons_bench_layer *layer, char *text, size_t bytes);

/** The grid of the weights: symmetric, one scale per row, clip search. Local. */
pons_weight_quant pons_bench_grid(void);

/**
 * Make the layer. Collective on comm (status agreed on); without communication otherwise: the same H
 * on every rank. Does not factor.
 * @return PONS_ERR_INPUT, PONS_ERR_IO (file), PONS_ERR_SHAPE (m does not divide d, rows or d differ
 * from the file's), PONS_ERR_NOMEM. Memory: 12 d^2 + 5 rows d bytes.
 */
pons_status pons_bench_problem_create(pons_comm *comm, const pons_bench_layer *layer,
                                      pons_bench_problem *out);

/** Damp and factor. Local. @return PONS_ERR_NUMERIC when H is not positive definite. */
pons_status pons_bench_problem_factor(const pons_bench_layer *layer, pons_bench_problem *problem);

/** Free what it holds; no effect when empty. Local. */
void pons_bench_problem_clear(pons_bench_problem *problem);

/**
 * Evenly spaced rows as a problem of their own (H and factor borrowed). Local.
 * @param count capped at the rows there are; free with pons_bench_problem_clear_sample
 */
pons_status pons_bench_problem_sample(const pons_bench_problem *problem, int64_t count,
                                      pons_bench_problem *out);
void pons_bench_problem_clear_sample(pons_bench_problem *sample);

/** Source row of sample row i. Local. */
int64_t pons_bench_sample_row(int64_t rows, int64_t count, int64_t i);

/** pons_quantize_left: columns [0, split) of a row onto its grid. @param user the problem. Local. */
void pons_bench_quantize_left(void *user, int64_t row, float *value);

/**
 * Write the layer for other programs: W [rows, d] and H [d, d] f32 (undamped), mask [rows, d] u8,
 * scale [rows] f32, alpha and damping [1] f64, rows [sample] i64 and what the direct solver makes of
 * them, V [sample, d] f32. Local, one rank with all rows. @return PONS_ERR_IO, PONS_ERR_NOMEM.
 */
pons_status pons_bench_problem_dump(const pons_bench_layer *layer,
                                    const pons_bench_problem *problem, int64_t sample,
                                    const char *path);

/** H [d, d], every entry a float, of the layer's spectrum. Local. Internal to the room.
 * @return PONS_ERR_NOMEM, PONS_ERR_SHAPE (channels without a Hadamard order). */
pons_status pons_bench_spectrum(const pons_bench_layer *layer, double *H);

/** Standard normal numbers from a seed and a stream number. Local. Internal to the room. */
void pons_bench_gauss(uint32_t seed, uint32_t stream, int64_t n, double sigma, float *x);

#endif

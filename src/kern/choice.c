/* The choice between fp32 and bf16 products. Owns the measurement and its table; what exists is begin.c's. */
#include "kern/choice.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/gemm.h"
#include "kern/product.h"

/* Shapes that show the rate of large ones; tries, of which the fastest counts. */
enum { ROWS = 128, DEPTH = 576, TRIES = 5 };

/* Flop per second by purpose and type, 0: not measured; and what was said about the choice. */
static double rate[2][2];
static char reason[2][96];

static pons_status measure_forward(bool bf16, const float *X, const float *W, float *Y,
                                   double *seconds)
{
    pons_status st = PONS_OK;
    pons_matmul *prepared = NULL;
    pons_matmul_input *input = NULL;
    PONS_TRY(st, pons_matmul_create(DEPTH, DEPTH, W, bf16, &prepared));
    PONS_TRY(st, pons_matmul_pack(bf16, ROWS, DEPTH, X, DEPTH, &input));
    for (int n = 0; n < TRIES; n++) {
        double start = pons_clock();
        PONS_TRY(st, pons_matmul_put(prepared, input, Y, DEPTH));
        double took = pons_clock() - start;
        *seconds = n == 0 || took < *seconds ? took : *seconds;
    }
done:
    pons_matmul_input_destroy(&input);
    pons_matmul_destroy(&prepared);
    return st;
}

static pons_status measure_solver(bool bf16, const float *X, const float *W, float *Y,
                                  double *seconds)
{
    pons_status st = PONS_OK;
    pons_product_kind kind = bf16 ? PONS_PRODUCT_BF16 : PONS_PRODUCT_FP32;
    pons_product *product = NULL;
    pons_product_worker *worker = NULL;
    void *space = NULL;
    PONS_TRY(st, pons_product_create(kind, DEPTH, DEPTH, W, DEPTH, 0, 0, &product));
    space = pons_mem_alloc(PONS_PRODUCT_SPACE, 1);
    if (!space) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_product_worker_create(product, ROWS, space, &worker));
    for (int n = 0; n < TRIES; n++) {
        double start = pons_clock();
        pons_product_run(worker, kind, ROWS, X, Y);
        double took = pons_clock() - start;
        *seconds = n == 0 || took < *seconds ? took : *seconds;
    }
done:
    pons_product_worker_destroy(&worker);
    pons_mem_free(space);
    pons_product_destroy(&product);
    return st;
}

/* On failure a rate of 0 loses. */
static void measure(pons_choice what)
{
    float *X = pons_mem_calloc(ROWS * DEPTH, sizeof *X);
    float *W = pons_mem_calloc(DEPTH * DEPTH, sizeof *W);
    float *Y = pons_mem_calloc(ROWS * DEPTH, sizeof *Y);
    for (int type = 0; type < 2 && X && W && Y; type++) {
        double seconds = 0;
        pons_status st = what == PONS_CHOICE_FORWARD ? measure_forward(type == 1, X, W, Y, &seconds)
                                                     : measure_solver(type == 1, X, W, Y, &seconds);
        if (st == PONS_OK && seconds > 0) rate[what][type] = 2.0 * ROWS * DEPTH * DEPTH / seconds;
    }
    pons_mem_free(Y);
    pons_mem_free(W);
    pons_mem_free(X);
}

bool pons_choice_bf16(pons_comm *comm, pons_choice what)
{
    bool bf16 = pons_kern_shares_bf16(comm);
    char *text = reason[what];
    if (!bf16) {
        snprintf(text, sizeof reason[what], "no bf16 products that all ranks share");
    } else if (pons_bf16_on_tiles()) {
        snprintf(text, sizeof reason[what], "AMX tiles");
    } else {
        if (pons_comm_rank(comm) == 0 && rate[what][0] == 0) measure(what);
        pons_comm_bcast(comm, rate[what], sizeof rate[what], 0);
        bf16 = rate[what][1] >= PONS_CHOICE_RATIO * rate[what][0];
        snprintf(text, sizeof reason[what], "fp32 %.0f GF/s, bf16 %.0f GF/s measured",
                 rate[what][0] / 1e9, rate[what][1] / 1e9);
    }
    return bf16;
}

const char *pons_choice_reason(pons_choice what) { return reason[what]; }

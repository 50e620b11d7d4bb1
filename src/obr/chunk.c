/* Owns the memory in which one thread solves a chunk of rows, and what both minimisers do with a
 * row. The stages around them are in dual.c. */
#include "obr/chunk.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

void pons_chunk_multiply(pons_chunk *c, pons_product_worker *worker, pons_product_kind kind,
                         int64_t rows)
{
    if (!pons_cg_multiply(&c->cg, worker, kind, rows)) c->refused = true;
}

bool pons_chunk_project(pons_chunk *c, const pons_hessian_inverse *s, int64_t i,
                        const uint8_t *keep)
{
    int64_t n = s->n, padded = s->of.padded;
    int32_t kept = 0, wrong = 0;
    float *x = c->X + i * padded;
    const float *y = c->Y + i * padded;
#pragma omp simd reduction(| : kept, wrong)
    for (int64_t j = 0; j < n; j++) {
        x[j] = keep[j] ? y[j] : 0.0f;
        kept |= keep[j];
        wrong |= !keep[j] & (y[j] != 0.0f);
    }
    memset(x + n, 0, (size_t)(padded - n) * sizeof *x);
    memset(c->G + i * padded, 0, (size_t)padded * sizeof *c->G);
    return !kept || !wrong;
}

/* A chain of fp32 operations whose partial sums reach |x| |H_j|; split operands also have an error
 * of 2^-18.4 in each of n terms. */
double pons_chunk_unit_rounding(pons_product_kind kind, int64_t n)
{
    switch (kind) {
    case PONS_PRODUCT_MIXED:
    case PONS_PRODUCT_SPLIT: return 0x1p-23 * (1.0 + 120.0 / sqrt((double)n));
    case PONS_PRODUCT_TRIPLE: return 0x1p-22; /* three additions for each of fp32's */
    default: return 0x1p-23;
    }
}

double pons_chunk_rounding_error(const pons_hessian_inverse *s, pons_product_kind kind,
                                 const float *x, const float *D)
{
    int64_t n = s->of.padded;
    return pons_chunk_unit_rounding(kind, s->n) *
           sqrt(pons_vector_square(n, x) * pons_vector_weighted_square(n, D, s->column_norm));
}

static void stage_destroy(pons_stage *s)
{
    pons_product_worker_destroy(&s->hessian);
    pons_product_worker_destroy(&s->product);
}

static pons_status stage_create(const pons_hessian_inverse *inverse, int64_t rows, void *space,
                                pons_stage *s)
{
    pons_status st = PONS_OK;
    s->inverse = inverse;
    if (!inverse) return PONS_OK;
    PONS_TRY(st, pons_product_worker_create(inverse->inverse, rows, space, &s->product));
    PONS_TRY(st, pons_product_worker_create(inverse->hessian, rows, space, &s->hessian));
done:
    return st;
}

void pons_chunk_destroy(pons_chunk *c)
{
    pons_mem_free(c->refined);
    pons_mem_free(c->failed);
    pons_mem_free(c->rounding_bound);
    pons_mem_free(c->change);
    pons_mem_free(c->value);
    pons_mem_free(c->cg.count);
    pons_mem_free(c->cg.lower_bound);
    pons_mem_free(c->cg.sum);
    pons_mem_free(c->cg.gain);
    pons_mem_free(c->cg.row);
    pons_mem_free(c->block);
    pons_product_worker_destroy(&c->left);
    stage_destroy(&c->B);
    stage_destroy(&c->A);
}

/* The next n floats of a block. */
static float *take_part(float **block, int64_t n)
{
    float *part = *block;
    *block += n;
    return part;
}

/* All arrays with an entry for each column of each row, in one block: large blocks lie on huge
 * pages, which the system clears quickly. */
static pons_status cut_block(const pons_dual *dual, bool primal, int64_t rows, pons_chunk *c)
{
    pons_status st = PONS_OK;
    int64_t padded = dual->A->of.padded, size = rows * padded;
    int64_t stage_B = dual->B ? rows * dual->B->of.padded : 0;
    int64_t marks = size / 32,
            space = (int64_t)(pons_product_space(dual->A->inverse) / sizeof(float));
    /* the primal's L, or the dual's saved directions, which are bf16 where products are */
    int64_t last = dual->A->kind == PONS_PRODUCT_SPLIT && !primal ? size / 2 : size;
    float *block;
    PONS_ALLOC(st, c->block, 6 * size + last + stage_B + 3 * padded + marks + space);
    block = c->block;
    c->space = (uint8_t *)take_part(&block, space);
    c->cg.U = take_part(&block, size);
    c->cg.Q = take_part(&block, size);
    c->cg.P = take_part(&block, size);
    if (primal)
        c->cg.L = take_part(&block, last);
    else
        c->cg.saved = take_part(&block, last);
    c->cg.E = (uint16_t *)(void *)take_part(&block, marks);
    c->X = take_part(&block, size);
    c->Y = take_part(&block, size);
    c->G = take_part(&block, size);
    if (dual->B) c->b = take_part(&block, stage_B);
    c->line = take_part(&block, 3 * padded);
done:
    return st;
}

pons_status pons_chunk_create(const pons_dual *dual, bool primal, int64_t rows, pons_chunk *c)
{
    pons_status st = PONS_OK;
    PONS_TRY(st, cut_block(dual, primal, rows, c));
    PONS_TRY(st, stage_create(dual->A, rows, c->space, &c->A));
    PONS_TRY(st, stage_create(dual->B, rows, c->space, &c->B));
    if (dual->left) PONS_TRY(st, pons_product_worker_create(dual->left, rows, c->space, &c->left));
    c->cg.capacity = rows;
    PONS_ALLOC(st, c->cg.row, rows);
    PONS_ALLOC(st, c->cg.gain, rows);
    PONS_ALLOC(st, c->cg.sum, rows);
    PONS_ALLOC(st, c->cg.lower_bound, rows);
    PONS_ALLOC(st, c->cg.count, rows);
    PONS_ALLOC(st, c->value, rows);
    PONS_ALLOC(st, c->change, rows);
    PONS_CALLOC(st, c->rounding_bound, rows);
    PONS_CALLOC(st, c->failed, rows);
    PONS_CALLOC(st, c->refined, rows);
done:
    return st;
}

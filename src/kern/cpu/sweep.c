/* The arithmetic of a sweep. Owns tiles and when delayed updates are applied; which rows are worked
 * on together, and from which values they start, is in obr/gptq.c and obr/sparsegpt.c.
 * Specification 3.4. */
#include "kern/sweep.h"

#include <string.h>

#include "kern/block.h"
#include "kern/simd.h"

enum {
    TILE = PONS_LANES,  /* columns of a tile: their updates of each other stay in L1 */
    ROWS = 64,          /* rows of a tile: as many chains as hide the latency of one */
    RUN = 128,          /* columns whose updates of all columns after them are one product */
    STRIP = 64,         /* columns of U that stay in L1 while all rows of a panel meet them */
    ERRORS = RUN + TILE /* row stride of errors: whole vectors are stored */
};

typedef int8_t bytes __attribute__((vector_size(PONS_WIDTH)));

/* Columns of a tile, one row per lane. */
typedef struct tile {
    float w[TILE][ROWS], keep[TILE][ROWS], error[TILE][ROWS], code[TILE][ROWS];
    float scale[ROWS], zero[ROWS];
} tile;

static int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/* update_rest goes in whole strips from wherever a run ends, so up to a strip past the last column */
int64_t pons_sweep_stride(int64_t columns) { return round_up(columns + STRIP, PONS_LANES); }

int64_t pons_sweep_work(int64_t rows) { return round_up(rows, TILE) * ERRORS + RUN * STRIP; }

/* to[j] <- column j of PONS_WIDTH rows. */
static void to_columns(pons_vec *rows, float *to)
{
    pons_transpose(rows);
    for (int j = 0; j < PONS_WIDTH; j++)
        pons_store(to + j * ROWS, rows[j]);
}

/* Of the n entries from x on, as many as a vector has, 0 past them; whole vectors without a detour. */
static inline pons_vec load_part(const float *x, int64_t n)
{
    float line[PONS_WIDTH] = {0};
    if (n >= PONS_WIDTH) return pons_load(x);
    if (n > 0) memcpy(line, x, (size_t)n * sizeof *line);
    return pons_load(line);
}

static inline pons_vec load_mask(const uint8_t *keep, int64_t n)
{
    bytes line = {0};
    if (n >= PONS_WIDTH)
        memcpy(&line, keep, PONS_WIDTH);
    else if (n > 0)
        memcpy(&line, keep, (size_t)n);
    return __builtin_convertvector(__builtin_convertvector(line, pons_ivec), pons_vec);
}

/* Values and masks of `rows` <= ROWS rows and `width` <= TILE columns, others 0. */
static void load_tile(tile *t, int64_t rows, int64_t width, const float *W, int64_t ld,
                      const uint8_t *mask, int64_t ldm)
{
    for (int64_t i = 0; i < round_up(rows, TILE); i += PONS_WIDTH)
        for (int64_t c = 0; c < TILE; c += PONS_WIDTH) {
            pons_vec w[PONS_WIDTH] = {{0}}, keep[PONS_WIDTH];
            for (int64_t r = 0; r < PONS_WIDTH; r++)
                keep[r] = pons_splat(1.0f);
            for (int64_t r = 0; r < PONS_WIDTH && i + r < rows; r++) {
                w[r] = load_part(W + (i + r) * ld + c, width - c);
                if (mask) keep[r] = load_mask(mask + (i + r) * ldm + c, width - c);
            }
            to_columns(w, t->w[c] + i);
            to_columns(keep, t->keep[c] + i);
        }
}

/* Errors to E [rows, ERRORS], codes to theirs. */
static void store_tile(tile *t, int64_t rows, int64_t width, float *E, int8_t *codes, int64_t ldc)
{
    for (int64_t i = 0; i < rows; i += PONS_WIDTH)
        for (int64_t c = 0; c < TILE; c += PONS_WIDTH) {
            pons_vec error[PONS_WIDTH], code[PONS_WIDTH];
            for (int j = 0; j < PONS_WIDTH; j++) {
                error[j] = pons_load(t->error[c + j] + i);
                code[j] = pons_load(t->code[c + j] + i);
            }
            pons_transpose(error);
            pons_transpose(code);
            for (int64_t r = 0; r < PONS_WIDTH && i + r < rows; r++) {
                bytes line =
                    __builtin_convertvector(__builtin_convertvector(code[r], pons_ivec), bytes);
                pons_store(E + (i + r) * ERRORS + c, error[r]); /* past the tile: what comes next */
                if (width - c >= PONS_WIDTH)
                    memcpy(codes + (i + r) * ldc + c, &line, PONS_WIDTH);
                else if (width > c)
                    memcpy(codes + (i + r) * ldc + c, &line, (size_t)(width - c));
            }
        }
}

/* The group whose scale a column has. */
static int64_t group_of(const pons_sweep *sweep, int64_t column)
{
    return (sweep->column ? sweep->column[column] : column) / sweep->group_size;
}

/* Grids of some rows. */
static void load_grids(const pons_sweep *sweep, int64_t first, int64_t rows, int64_t group, tile *t)
{
    for (int64_t r = 0; r < ROWS; r++) {
        int64_t at = (first + r) * sweep->groups + group;
        t->scale[r] = r < rows ? sweep->scale[at] : 1.0f;
        t->zero[r] = r < rows ? (float)sweep->zero[at] : 0.0f;
    }
}

/* Column j of a tile, with pons_weight_code's and pons_weight_value's bits. Errors are negated. */
static void round_column(tile *t, int64_t j, int64_t rows, float half, float pivot)
{
    float *w = t->w[j], *keep = t->keep[j], *error = t->error[j], *code = t->code[j];
#pragma omp simd
    for (int64_t r = 0; r < rows; r++) {
        float q = rintf(w[r] / t->scale[r]) + t->zero[r];
        q = q < -half ? -half : q;
        q = q > half - 1.0f ? half - 1.0f : q;
        q = keep[r] != 0.0f ? q : t->zero[r];
        code[r] = q;
        error[r] = (t->scale[r] * (q - t->zero[r]) - w[r]) / pivot;
    }
}

/* Codes and errors of a tile, columns [begin, begin + width) of `rows` rows. */
static void sweep_tile(const pons_sweep *sweep, int64_t first, int64_t rows, int64_t begin,
                       int64_t width, tile *t)
{
    float half = (float)(1 << (sweep->bits - 1));
    int64_t lanes = round_up(rows, PONS_LANES);
    for (int64_t j = 0; j < width; j++) {
        const float *u = sweep->U + (begin + j) * sweep->d + begin;
        int64_t group = group_of(sweep, begin + j);
        if (j == 0 || group != group_of(sweep, begin + j - 1))
            load_grids(sweep, first, rows, group, t);
        round_column(t, j, lanes, half, u[j]);
        for (int64_t k = j + 1; k < width; k++)
            for (int64_t r = 0; r < lanes; r += PONS_WIDTH)
                pons_store(t->w[k] + r, pons_fma_vec(pons_load(t->error[j] + r), pons_splat(u[k]),
                                                     pons_load(t->w[k] + r)));
    }
}

/* W[:, end..d) += E U[begin..end, end..d), strip by strip. */
static void update_rest(const pons_sweep *sweep, const pons_sweep_panel *p, int64_t begin,
                        int64_t end, float *strip)
{
    int64_t d = sweep->d, depth = end - begin;
    for (int64_t j = end; j < d; j += STRIP) {
        for (int64_t k = 0; k < depth; k++)
            for (int64_t c = 0; c < STRIP; c += PONS_WIDTH)
                pons_store(strip + k * STRIP + c,
                           load_part(sweep->U + (begin + k) * d + j + c, d - j - c));
        pons_block_nn(p->rows, STRIP, depth, p->E, ERRORS, strip, STRIP, p->W + j - p->start, p->ld,
                      true);
    }
}

/* Where the tile that begins at a column ends: before the next choice, if there are any. */
static int64_t tile_end(const pons_sweep_panel *p, int64_t begin, int64_t end)
{
    int64_t stop = begin + TILE < end ? begin + TILE : end;
    if (!p->choose) return stop;
    int64_t next = (begin / p->every + 1) * p->every;
    return next < stop ? next : stop;
}

void pons_sweep_columns(const pons_sweep *sweep, const pons_sweep_panel *p, int64_t begin,
                        int64_t end, const uint8_t *mask, int8_t *codes)
{
    int64_t d = sweep->d;
    float *strip = p->E + round_up(p->rows, TILE) * ERRORS;
    tile t;
    for (int64_t run = begin; run < end; run += RUN) {
        int64_t stop = run + RUN < end ? run + RUN : end;
        for (int64_t from = run, to; from < stop; from = to) {
            to = tile_end(p, from, stop);
            for (int64_t i = 0; p->choose && from % p->every == 0 && i < p->rows; i++)
                p->choose(p->user, p->first + i, from, p->W + i * p->ld + from - p->start);
            for (int64_t i = 0; i < p->rows; i += ROWS) {
                int64_t rows = p->rows - i < ROWS ? p->rows - i : ROWS, first = p->first + i;
                load_tile(&t, rows, to - from, p->W + i * p->ld + from - p->start, p->ld,
                          mask ? mask + first * d + from : NULL, d);
                sweep_tile(sweep, first, rows, from, to - from, &t);
                store_tile(&t, rows, to - from, p->E + i * ERRORS + from - run,
                           codes + first * d + from, d);
            }
            pons_block_nn(p->rows, stop - to, to - from, p->E + from - run, ERRORS,
                          sweep->U + from * d + to, d, p->W + to - p->start, p->ld, true);
        }
        update_rest(sweep, p, run, stop, strip);
    }
}

/* The passes over vectors between two products. Owns the recurrence and the stopping rule; what is
 * solved, checked and repaired is solver_dual.c's. */
#include "kern/cg.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "kern/simd.h"

#define LANES PONS_LANES

static inline pons_vec load_direction(const void *P, int64_t at, bool bf16)
{
    return bf16 ? pons_load_bf16((const uint16_t *)P + at) : pons_load((const float *)P + at);
}

static inline void store_direction(void *P, int64_t at, pons_vec x, bool bf16)
{
    if (bf16)
        pons_store_bf16((uint16_t *)P + at, x);
    else
        pons_store((float *)P + at, x);
}

bool pons_cg_multiply(pons_cg *cg, pons_product_worker *worker, pons_product_kind kind,
                      int64_t rows)
{
    double start = pons_clock();
    bool good = pons_product_run(worker, kind, rows, cg->P, cg->Q);
    cg->product_seconds += pons_clock() - start;
    return good;
}

void pons_cg_mark(pons_cg *cg, int64_t row, int64_t n, const uint8_t *keep, bool kept)
{
    int64_t whole = n / LANES, blocks = cg->of.padded / LANES;
    pons_m16 *E = cg->E + row * blocks, other = kept ? 0 : 0xffff;
    for (int64_t k = 0; k < whole; k++)
        E[k] = pons_mark16(keep + k * LANES) ^ other;
    memset(E + whole, 0, (size_t)(blocks - whole) * sizeof *E);
    for (int64_t j = whole * LANES; j < n; j++)
        E[whole] |= (pons_m16)(((keep[j] != 0) == kept) << j % LANES);
}

/* x from column j on where E, or its complement, has marks; 0 elsewhere. @param other 0xffff: the complement */
static inline pons_vec marked(const pons_m16 *E, pons_m16 other, int64_t j, pons_vec x)
{
    return pons_marked(E[j / LANES] ^ other, (int)(j % LANES) / PONS_WIDTH, x);
}

void pons_cg_part(const pons_cg *cg, int64_t row, bool inside, const float *x, const float *scale,
                  float *out)
{
    int64_t n = cg->of.padded;
    const pons_m16 *E = cg->E + row * n / LANES, other = inside ? 0 : 0xffff;
    for (int64_t j = 0; j < n; j += PONS_WIDTH) {
        pons_vec v = pons_load(x + j);
        if (scale) v *= pons_load(scale + j);
        pons_store(out + j, marked(E, other, j, v));
    }
}

/* Where a slot's part of a tile starts in P and Q. */
static inline int64_t place(const pons_cg *cg, int64_t tile, int64_t slot)
{
    return (tile * cg->capacity + slot) * cg->of.width;
}

void pons_cg_get(const pons_cg *cg, int64_t slot, float *out)
{
    for (int64_t t = 0; t < cg->of.tiles; t++)
        memcpy(out + t * cg->of.width, cg->Q + place(cg, t, slot),
               (size_t)cg->of.width * sizeof *out);
}

void pons_cg_put(pons_cg *cg, bool bf16, int64_t slot, const float *x)
{
    for (int64_t t = 0; t < cg->of.tiles; t++)
        for (int64_t j = 0; j < cg->of.width; j += PONS_WIDTH)
            store_direction(cg->P, place(cg, t, slot) + j, pons_load(x + t * cg->of.width + j),
                            bf16);
}

void pons_cg_fetch(const pons_cg *cg, bool bf16, int64_t slot, float *x)
{
    for (int64_t t = 0; t < cg->of.tiles; t++)
        for (int64_t j = 0; j < cg->of.width; j += PONS_WIDTH)
            pons_store(x + t * cg->of.width + j,
                       load_direction(cg->P, place(cg, t, slot) + j, bf16));
}

/* Sums of one row that the next pass needs. */
typedef struct sums {
    double first, second;
} sums;

/* p q and p u: curvature and slope along the direction of a slot. p is zero off E. @param next u of
 * the next slot, to be prefetched */
static inline sums measure_curvature(const pons_cg *cg, int64_t slot, const float *u,
                                     const float *next, bool bf16)
{
    int64_t width = cg->of.width;
    pons_vec pq[PONS_PARTS] = {{0}}, pu[PONS_PARTS] = {{0}};
    for (int64_t t = 0; t < cg->of.tiles; t++) {
        int64_t at = place(cg, t, slot);
        for (int64_t j = 0; j < width; j += LANES) {
            __builtin_prefetch(cg->Q + at + width + j);
            __builtin_prefetch(next + t * width + j);
            for (int n = 0; n < PONS_PARTS; n++) {
                int64_t c = j + n * PONS_WIDTH;
                pons_vec p = load_direction(cg->P, at + c, bf16);
                pq[n] += p * pons_load(cg->Q + at + c);
                pu[n] += p * pons_load(u + t * width + c);
            }
        }
    }
    return (sums){pons_total(pq), pons_total(pu)};
}

/* The residual in units of the direction: r, or r / diagonal. @param weight NULL in the dual */
static inline pons_vec preconditioned(pons_vec r, const float *weight, int64_t j, bool primal)
{
    return primal ? r * pons_load(weight + j) : r;
}

/* u -= a q; z q and z r of the new residual r, z preconditioned. */
static inline sums update_residual(const pons_cg *cg, int64_t slot, float a, float *u,
                                   const pons_m16 *E, bool primal)
{
    int64_t width = cg->of.width;
    pons_vec zq[PONS_PARTS] = {{0}}, zr[PONS_PARTS] = {{0}};
    for (int64_t t = 0; t < cg->of.tiles; t++) {
        const float *q = cg->Q + place(cg, t, slot);
        float *ut = u + t * width;
        for (int64_t j = 0; j < width; j += LANES)
            for (int n = 0; n < PONS_PARTS; n++) {
                int64_t c = j + n * PONS_WIDTH;
                pons_vec qj = pons_load(q + c), uj = pons_load(ut + c) - a * qj;
                pons_vec r = pons_marked(E[(t * width + j) / LANES], n, uj);
                pons_vec z = preconditioned(r, cg->weight, t * width + c, primal);
                pons_store(ut + c, uj);
                zq[n] += z * qj;
                zr[n] += z * r;
            }
    }
    return (sums){pons_total(zq), pons_total(zr)};
}

/* l += a p */
static inline void update_solution(const pons_cg *cg, int64_t slot, float a, float *l, bool bf16)
{
    int64_t width = cg->of.width;
    for (int64_t t = 0; t < cg->of.tiles; t++)
        for (int64_t j = 0; j < width; j += PONS_WIDTH) {
            pons_vec p = load_direction(cg->P, place(cg, t, slot) + j, bf16);
            pons_store(l + t * width + j, pons_load(l + t * width + j) + a * p);
        }
}

/* A direction <- residual + b direction of slot `from`; tiles of it begin at to + n stride. May be
 * a slot up to `from`. */
static inline void update_direction(const pons_cg *cg, int64_t from, void *P, int64_t to,
                                    int64_t stride, float b, const float *u, const pons_m16 *E,
                                    bool bf16, bool primal)
{
    int64_t width = cg->of.width;
    for (int64_t t = 0; t < cg->of.tiles; t++)
        for (int64_t j = 0; j < width; j += PONS_WIDTH) {
            pons_vec r = marked(E, 0, t * width + j, pons_load(u + t * width + j));
            pons_vec z = preconditioned(r, cg->weight, t * width + j, primal);
            pons_vec p = load_direction(cg->P, place(cg, t, from) + j, bf16);
            store_direction(P, to + t * stride + j, z + b * p, bf16);
        }
}

/* Sum of all further gains, if they keep shrinking at the present rate, at most 0.9. */
static inline double remaining_gain(double gain, double before)
{
    double rate = before > 0.0 ? fmin(gain / before, 0.9) : 0.9;
    return gain * rate / (1.0 - rate);
}

/* One step of every listed row. Rows that continue are listed from slot 0 on; returns their number. */
static inline int64_t step(pons_cg *cg, bool bf16, bool primal, pons_cg_stop stop, int64_t listed,
                           bool last)
{
    int64_t left = 0;
    for (int64_t k = 0; k < listed; k++) {
        int64_t i = cg->row[k];
        float *u = cg->U + i * cg->of.padded;
        const pons_m16 *E = cg->E + i * cg->of.padded / LANES;
        const float *next = k + 1 < listed ? cg->U + cg->row[k + 1] * cg->of.padded : u;
        sums s = measure_curvature(cg, k, u, next, bf16);
        double a = s.second / s.first, gain = a * s.second;
        void *saved = stop.keep ? cg->saved : NULL;
        int64_t to = i * cg->of.padded, width = cg->of.width;
        if (!(s.first > 0.0) || !isfinite(a)) { /* broke down */
            if (saved) update_direction(cg, k, saved, to, width, 0.0f, u, E, bf16, primal);
            continue;
        }
        sums r = update_residual(cg, k, (float)a, u, E, primal);
        if (primal) update_solution(cg, k, (float)a, cg->L + i * cg->of.padded, bf16);
        cg->sum[i] += primal ? -gain : gain;
        cg->count[i]++;
        double more = remaining_gain(gain, cg->gain[i]);
        cg->gain[i] = gain;
        bool stops = !(more > stop.share * fmax(cg->sum[i], cg->lower_bound[i])) || last ||
                     !(r.second > 0.0);
        /* makes the new direction conjugate to the last one as rounded */
        float b = (float)(-r.first / s.first);
        if (!stops) {
            update_direction(cg, k, cg->P, place(cg, 0, left), cg->capacity * width, b, u, E, bf16,
                             primal);
            cg->row[left++] = i;
        } else if (saved) {
            update_direction(cg, k, saved, to, width, b, u, E, bf16, primal);
        }
    }
    return left;
}

/* First directions: the residuals. */
static void start(pons_cg *cg, bool bf16, int64_t listed)
{
    int64_t width = cg->of.width;
    bool primal = cg->L != NULL;
    for (int64_t k = 0; k < listed; k++) {
        cg->gain[cg->row[k]] = 0.0;
        for (int64_t t = 0; t < cg->of.tiles; t++)
            for (int64_t j = 0; j < width; j += PONS_WIDTH) {
                int64_t from = cg->row[k] * cg->of.padded + t * width + j;
                pons_vec r = marked(cg->E, 0, from, pons_load(cg->U + from));
                store_direction(cg->P, place(cg, t, k) + j,
                                preconditioned(r, cg->weight, t * width + j, primal), bf16);
            }
    }
}

/* Saved directions of the listed rows, back to their slots. */
static void restore_directions(pons_cg *cg, bool bf16, int64_t listed)
{
    size_t entry = bf16 ? sizeof(uint16_t) : sizeof(float), tile = (size_t)cg->of.width * entry;
    for (int64_t k = 0; k < listed; k++)
        for (int64_t t = 0; t < cg->of.tiles; t++)
            memcpy((uint8_t *)cg->P + (size_t)place(cg, t, k) * entry,
                   (const uint8_t *)cg->saved + (size_t)(cg->row[k] * cg->of.tiles + t) * tile,
                   tile);
}

bool pons_cg_run(pons_cg *cg, pons_product_worker *worker, pons_product_kind kind,
                 pons_cg_stop stop, bool again, int64_t listed)
{
    bool bf16 = kind == PONS_PRODUCT_BF16, primal = cg->L != NULL;
    (again ? restore_directions : start)(cg, bf16, listed);
    for (int k = 0; k < stop.cap && listed > 0; k++) {
        bool last = k + 1 == stop.cap;
        if (!pons_cg_multiply(cg, worker, kind, listed)) return false;
        if (primal) /* constants: each is a function of its own */
            listed = bf16 ? step(cg, true, true, stop, listed, last)
                          : step(cg, false, true, stop, listed, last);
        else
            listed = bf16 ? step(cg, true, false, stop, listed, last)
                          : step(cg, false, false, stop, listed, last);
    }
    return true;
}

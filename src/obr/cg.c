/* The passes over vectors between two products. Owns the recurrence and the stopping rule; what is
 * solved, checked and repaired is solver_dual.c's. */
#include "obr/cg.h"

#include <math.h>
#include <string.h>

#define LANES 16

/* Sixteen lanes; the compiler splits them where registers are narrower. Every sum runs over fixed lanes
 * in fixed order. */
typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t words __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef int8_t bytes __attribute__((vector_size(LANES)));
typedef double doubles __attribute__((vector_size(8 * LANES)));
#pragma GCC diagnostic ignored "-Wpsabi" /* inlined: how vectors are passed is moot */

static inline floats load(const float *p)
{
    floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, floats v) { memcpy(p, &v, sizeof v); }

/* x where pruned, 0 elsewhere. */
static inline floats pruned(floats x, const int8_t *E)
{
    bytes e;
    memcpy(&e, E, sizeof e);
    return (floats)((words)x & __builtin_convertvector(e, words));
}

static inline floats load_direction(const void *P, int64_t at, bool bf16)
{
    if (!bf16) return load((const float *)P + at);
    halves h;
    memcpy(&h, (const uint16_t *)P + at, sizeof h);
    return (floats)(__builtin_convertvector(h, bits) << 16);
}

static inline void store_direction(void *P, int64_t at, floats x, bool bf16)
{
    if (!bf16) {
        store((float *)P + at, x);
        return;
    }
    bits u = (bits)x; /* to nearest even; the numbers are finite */
    halves h = __builtin_convertvector((u + 0x7fffu + ((u >> 16) & 1u)) >> 16, halves);
    memcpy((uint16_t *)P + at, &h, sizeof h);
}

static double total(floats lanes)
{
    double sum = 0.0;
    for (int l = 0; l < LANES; l++)
        sum += (double)lanes[l];
    return sum;
}

double pons_cg_dot(int64_t n, const float *a, const float *b)
{
    doubles lanes = {0};
    double sum = 0.0;
    int64_t whole = n / LANES * LANES;
    for (int64_t j = 0; j < whole; j += LANES)
        lanes += __builtin_convertvector(load(a + j), doubles) *
                 __builtin_convertvector(load(b + j), doubles);
    for (int64_t j = whole; j < n; j++)
        sum += (double)a[j] * (double)b[j];
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

void pons_cg_get(const pons_product_tiles *of, int64_t slots, int64_t slot, const float *Q,
                 float *out)
{
    for (int64_t t = 0; t < of->tiles; t++)
        memcpy(out + t * of->width, Q + (t * slots + slot) * of->width,
               (size_t)of->width * sizeof *out);
}

void pons_cg_put(const pons_product_tiles *of, bool bf16, int64_t slot, const float *x, void *P)
{
    for (int64_t j = 0; j < of->padded; j += LANES)
        store_direction(P, slot * of->padded + j, load(x + j), bf16);
}

void pons_cg_fetch(const pons_product_tiles *of, bool bf16, int64_t slot, const void *P, float *x)
{
    for (int64_t j = 0; j < of->padded; j += LANES)
        store(x + j, load_direction(P, slot * of->padded + j, bf16));
}

/* Sums of one row that the next pass needs. */
typedef struct sums {
    double first, second;
} sums;

/* p q and p u: curvature and slope along the direction of a slot. p is zero off E. */
static inline sums along(const pons_cg *cg, int64_t slots, int64_t slot, const float *u, bool bf16)
{
    int64_t width = cg->of.width;
    floats pq = {0}, pu = {0};
    for (int64_t t = 0; t < cg->of.tiles; t++) {
        const float *q = cg->Q + (t * slots + slot) * width, *ut = u + t * width;
        int64_t at = slot * cg->of.padded + t * width;
        for (int64_t j = 0; j < width; j += LANES) {
            floats p = load_direction(cg->P, at + j, bf16);
            pq += p * load(q + j);
            pu += p * load(ut + j);
        }
    }
    return (sums){total(pq), total(pu)};
}

/* u -= a q; r q and r r of the new residual. */
static inline sums advance(const pons_cg *cg, int64_t slots, int64_t slot, float a, float *u,
                           const int8_t *E)
{
    int64_t width = cg->of.width;
    floats rq = {0}, rr = {0};
    for (int64_t t = 0; t < cg->of.tiles; t++) {
        const float *q = cg->Q + (t * slots + slot) * width;
        float *ut = u + t * width;
        const int8_t *e = E + t * width;
        for (int64_t j = 0; j < width; j += LANES) {
            floats qj = load(q + j), uj = load(ut + j) - a * qj, r = pruned(uj, e + j);
            store(ut + j, uj);
            rq += r * qj;
            rr += r * r;
        }
    }
    return (sums){total(rq), total(rr)};
}

/* Direction of slot `to` <- residual + b direction of slot `from`, to <= from. */
static inline void turn(const pons_cg *cg, int64_t from, int64_t to, float b, const float *u,
                        const int8_t *E, bool bf16)
{
    int64_t n = cg->of.padded;
    for (int64_t j = 0; j < n; j += LANES)
        store_direction(cg->P, to * n + j,
                        pruned(load(u + j), E + j) + b * load_direction(cg->P, from * n + j, bf16),
                        bf16);
}

/* One step of every listed row; how many go on, listed anew from slot 0. */
static inline int64_t step(pons_cg *cg, bool bf16, pons_cg_stop stop, int64_t listed, bool last)
{
    int64_t n = cg->of.padded, go_on = 0;
    int64_t slots = (listed + PONS_PRODUCT_ROWS - 1) / PONS_PRODUCT_ROWS * PONS_PRODUCT_ROWS;
    for (int64_t k = 0; k < listed; k++) {
        int64_t i = cg->row[k];
        float *u = cg->U + i * n;
        const int8_t *E = cg->E + i * n;
        sums s = along(cg, slots, k, u, bf16);
        double a = s.second / s.first, gain = a * s.second;
        if (!(s.first > 0.0) || !isfinite(a)) continue; /* broke down */
        sums r = advance(cg, slots, k, (float)a, u, E);
        cg->sum[i] += gain;
        cg->count[i]++;
        if (!(gain > stop.share * fmax(cg->sum[i], cg->least[i])) || last || !(r.second > 0.0))
            continue;
        /* b keeps the new direction conjugate to the last one as it was rounded */
        turn(cg, k, go_on, (float)(-r.first / s.first), u, E, bf16);
        cg->row[go_on++] = i;
    }
    return go_on;
}

bool pons_cg_run(pons_cg *cg, pons_product_worker *worker, bool bf16, pons_cg_stop stop,
                 int64_t listed)
{
    int64_t n = cg->of.padded;
    for (int64_t k = 0; k < listed; k++) {
        const float *u = cg->U + cg->row[k] * n;
        const int8_t *E = cg->E + cg->row[k] * n;
        for (int64_t j = 0; j < n; j += LANES)
            store_direction(cg->P, k * n + j, pruned(load(u + j), E + j), bf16);
    }
    for (int k = 0; k < stop.cap && listed > 0; k++) {
        bool last = k + 1 == stop.cap;
        if (!pons_product_run(worker, listed, cg->P, cg->Q)) return false;
        listed = bf16 ? step(cg, true, stop, listed, last) : step(cg, false, stop, listed, last);
    }
    return true;
}

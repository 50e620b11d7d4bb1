/**
 * The Mersenne Twister MT19937 in the two seedings the reference programs use, so that draws agree
 * to the bit.
 *
 * Source: Matsumoto and Nishimura 1998; specification 1.4 (Python's random) and 5.3 (torch's CPU
 * generator).
 */
#ifndef PONS_BASE_MT19937_H
#define PONS_BASE_MT19937_H

#include <stdint.h>

typedef struct pons_mt19937 {
    uint32_t state[624];
    int next;
} pons_mt19937;

/** init_genrand(seed): torch.manual_seed. Local. */
void pons_mt19937_seed(pons_mt19937 *rng, uint32_t seed);

/** init_by_array([seed]): Python's random.seed for seeds below 2^32. Local. */
void pons_mt19937_seed_python(pons_mt19937 *rng, uint32_t seed);

/** Next 32 bits. Local. */
uint32_t pons_mt19937_next(pons_mt19937 *rng);

/** Python's random.randbelow(n) for 1 <= n < 2^32: top bits, redrawn until below n. Local. */
uint32_t pons_mt19937_below(pons_mt19937 *rng, uint32_t n);

#endif

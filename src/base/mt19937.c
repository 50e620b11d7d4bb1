/* Owns nothing; the state is the caller's. */
#include "base/mt19937.h"

enum { N = 624, M = 397 };

void pons_mt19937_seed(pons_mt19937 *rng, uint32_t seed)
{
    rng->state[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        rng->state[i] = 1812433253u * (rng->state[i - 1] ^ (rng->state[i - 1] >> 30)) + i;
    rng->next = N;
}

void pons_mt19937_seed_python(pons_mt19937 *rng, uint32_t seed)
{
    pons_mt19937_seed(rng, 19650218u);
    uint32_t *s = rng->state;
    uint32_t i = 1;
    for (int k = 0; k < N; k++) { /* key length 1: the key index stays 0 */
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1664525u)) + seed;
        if (++i >= N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    for (int k = 0; k < N - 1; k++) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1566083941u)) - i;
        if (++i >= N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    s[0] = 0x80000000u;
    rng->next = N;
}

static void refill(pons_mt19937 *rng)
{
    uint32_t *s = rng->state;
    for (int k = 0; k < N; k++) {
        uint32_t y = (s[k] & 0x80000000u) | (s[(k + 1) % N] & 0x7fffffffu);
        s[k] = s[(k + M) % N] ^ (y >> 1) ^ ((y & 1u) ? 0x9908b0dfu : 0u);
    }
    rng->next = 0;
}

uint32_t pons_mt19937_next(pons_mt19937 *rng)
{
    if (rng->next >= N) refill(rng);
    uint32_t y = rng->state[rng->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint32_t pons_mt19937_below(pons_mt19937 *rng, uint32_t n)
{
    int bits = 32 - __builtin_clz(n);
    uint32_t r;
    do
        r = pons_mt19937_next(rng) >> (32 - bits);
    while (r >= n);
    return r;
}

/* Order statistics by bisection: non-negative floats sort like their bits, and counting those below
 * a bound takes no branches. */
#include "prune/select.h"

#include "base/half.h"

static int64_t count_below(int64_t n, const float *x, uint32_t bound)
{
    uint32_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += pons_float_bits(x[i]) < bound;
    return count;
}

/* The least that is not below. */
static uint32_t least_from(int64_t n, const float *x, uint32_t bound)
{
    uint32_t minimum = UINT32_MAX;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = pons_float_bits(x[i]);
        uint32_t candidate = bits < bound ? UINT32_MAX : bits;
        minimum = candidate < minimum ? candidate : minimum;
    }
    return minimum;
}

float pons_select_kth(int64_t n, const float *x, int64_t k, int64_t *below)
{
    /* the result's bits are in [low, low + 2^bit); `under` of x are below that, `within` in it */
    uint32_t low = 0;
    int64_t under = 0, within = n;
    for (int bit = 30; bit >= 0 && within > 1; bit--) {
        int64_t left = count_below(n, x, low | 1u << bit) - under;
        if (under + left <= k) {
            low |= 1u << bit;
            under += left;
            within -= left;
        } else {
            within = left;
        }
    }
    if (below) *below = under;
    return pons_bits_float(least_from(n, x, low));
}

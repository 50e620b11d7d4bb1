/* Order statistics by radix histograms: non-negative floats sort like their bits. */
#include "prune/select.h"

#include <string.h>

#include "base/half.h"

#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)

/* So few that are left are copied, so that later passes see no others. */
enum { FEW = 2048 };

float pons_select_kth(int64_t n, const float *x, int64_t k, int64_t *below)
{
    /* 33 bits in three digits; the prefix found so far selects what the next pass counts */
    static const int shift[3] = {22, 11, 0};
    uint32_t prefix = 0, known = 0;
    int64_t smaller = 0;
    float few[FEW];
    for (int pass = 0; pass < 3; pass++) {
        uint32_t count[DIGITS];
        memset(count, 0, sizeof count);
        for (int64_t i = 0; i < n; i++) {
            uint32_t bits = pons_float_bits(x[i]);
            if ((bits & known) == prefix) count[(bits >> shift[pass]) & (DIGITS - 1)]++;
        }
        uint32_t digit = 0;
        while (digit + 1 < DIGITS && smaller + count[digit] <= k)
            smaller += count[digit++];
        prefix |= digit << shift[pass];
        known |= (uint32_t)(DIGITS - 1) << shift[pass];
        if (pass == 2 || count[digit] >= FEW) continue;
        int64_t left = 0;
        for (int64_t i = 0; i < n; i++) {
            few[left] = x[i]; /* in place from the second time on: left <= i */
            left += (pons_float_bits(x[i]) & known) == prefix;
        }
        x = few;
        n = left;
    }
    if (below) *below = smaller;
    return pons_bits_float(prefix);
}

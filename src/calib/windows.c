/* Where calibration windows start. Owns the draw alone; reading ids and cutting windows out is for
 * the callers. */
#include "calib/windows.h"

#include "base/mt19937.h"

pons_status pons_windows_draw(const char *source, int64_t L, int64_t S, int64_t N, uint32_t seed,
                              int64_t *start)
{
    PONS_ASSERT(S >= 1 && N >= 0);
    if (L < S + 1)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: the text has %lld tokens; windows of %lld tokens need at least %lld",
                         source, (long long)L, (long long)S, (long long)S + 1);
    if (L - S > UINT32_MAX) /* Python would draw two words per number from here on */
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: the text has %lld tokens; at most 2^32 are supported", source,
                         (long long)L);
    pons_mt19937 rng;
    pons_mt19937_seed_python(&rng, seed);
    for (int64_t i = 0; i < N; i++)
        start[i] = pons_mt19937_below(&rng, (uint32_t)(L - S));
    return PONS_OK;
}

/**
 * Calibration and evaluation windows of token ids. Local.
 */
#ifndef PONS_CALIB_WINDOWS_H
#define PONS_CALIB_WINDOWS_H

#include <stdint.h>

#include "base/error.h"

/**
 * Start positions drawn as the reference draws them (specification 1.4): i = randint(0, L - S - 1)
 * inclusive, Python's random seeded.
 * @param L tokens; @param S window length; @param start [N]
 * @return PONS_ERR_INPUT when L < S + 1 (text too short), naming both.
 */
pons_status pons_windows_draw(const char *source, int64_t L, int64_t S, int64_t N, uint32_t seed,
                              int64_t *start);

#endif

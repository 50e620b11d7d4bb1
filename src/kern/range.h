/**
 * The range of a token, made smooth enough to have a gradient.
 *
 * A uniform quantizer of L levels over the range r of a token has the step r / (L - 1) and, by the
 * usual uniform model of rounding, the error r^2 / (12 (L - 1)^2) an entry: the mean squared range is
 * the error of quantized activations but for a constant.
 */
#ifndef PONS_KERN_RANGE_H
#define PONS_KERN_RANGE_H

#include <stdint.h>

/**
 * Squared smooth range of each row and its gradient: r = (log sum_j exp(b y_j) + log sum_j
 * exp(-b y_j)) / b, at most 2 log(d) / b above max - min, and
 * d r^2 / d y_j = 2 r (softmax(b y)_j - softmax(-b y)_j).
 *
 * Local, parallel over rows, cannot fail; the bits of a row depend on that row alone.
 * @param sharpness b, in 1 / unit of y; @param Y [rows, d]; @param S [rows, d] the gradient, not Y;
 * @param value [rows] r^2. Cost: three exponentials an entry.
 */
void pons_smooth_range(int64_t rows, int64_t d, float sharpness, const float *Y, float *S,
                       double *value);

/** value [rows] <- (max - min)^2 of each row of Y [rows, d]. Local, cannot fail. */
void pons_square_range(int64_t rows, int64_t d, const float *Y, double *value);

#endif

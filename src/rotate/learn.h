/**
 * An orthogonal matrix learned from the vectors that it will turn: R minimises the mean squared range
 * of y = x R, which is the error of quantizing y but for a constant (kern/range.h).
 *
 * No derivative goes through a model. The gradient of the smooth range is known in closed form; in
 * coordinates that turn with R its tangent is the skew part of Y^T S (S the gradient with respect to
 * Y), so a step is R <- polar(R (I - a)), a skew: momentum on the skew matrices, Newton-Schulz
 * iterations for the polar factor, which like the rest are matrix products.
 *
 * The same bits for any number of ranks and threads: a panel of tokens and a band of rows of R are the
 * units of work, of fixed shape whoever does them; gradients of panels are rounded to a quantum with
 * which their sum is exact; bands are gathered.
 */
#ifndef PONS_ROTATE_LEARN_H
#define PONS_ROTATE_LEARN_H

#include "par/comm.h"

/** Tokens of a panel, at most: what a window gives to one step. */
enum { PONS_LEARN_PANEL = 128 };

/** What is learned from: every window holds the same number of vectors, of which each step takes the
 * next panel. Borrowed. */
typedef struct pons_learn_vectors {
    int64_t d;          /* length of a vector */
    int64_t windows;    /* of all ranks */
    int64_t begin, end; /* windows of this rank */
    int64_t count;      /* vectors of a window, at least 1 */
    const float *X;     /* [end - begin, count, d], of a size about 1 an entry */
} pons_learn_vectors;

typedef struct pons_learn_schedule {
    int64_t steps;
    double rate;     /* of the first step: root mean square angle, radians; falls to 0 linearly */
    float sharpness; /* of the smooth range */
    double momentum; /* share of the last direction that is kept */
} pons_learn_schedule;

/** The schedule that Pons uses: so many steps from .01 on, sharpness 6, momentum .9. Local. */
pons_learn_schedule pons_learn_schedule_of(int64_t steps);

/** Mean squared range over all vectors. */
typedef struct pons_learn_result {
    double before, after;
    double deviation; /* largest entry of |R^T R - I| */
} pons_learn_result;

/**
 * Learn. Collective on comm; the schedule and everything but begin, end and X the same on every rank.
 * @param[in,out] R [d, d], orthogonal: where to begin, and what was learned; the same on every rank,
 * with the same bits for any number of ranks and threads
 * @return the same on every rank: PONS_ERR_NUMERIC where a vector is not finite or R is not
 * orthogonal to 1e-6 at the end (it was not at the start), PONS_ERR_NOMEM.
 * Memory: 36 d^2 bytes. Cost a step: 4 d^2 flop a token of its panels and about 6 d^3 flop, over the ranks; 8 d^2
 * bytes summed and 12 d^2 gathered.
 */
pons_status pons_learn_orthogonal(pons_comm *comm, const pons_learn_vectors *vectors,
                                  const pons_learn_schedule *schedule, float *R,
                                  pons_learn_result *result);

#endif

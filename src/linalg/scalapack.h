/**
 * The same inverse factor by ScaLAPACK: the oracle of the tests of pons_tiles_invert_factor and the
 * baseline of the benchmark. Not used by a job, because its bits depend on the grid.
 */
#ifndef PONS_LINALG_SCALAPACK_H
#define PONS_LINALG_SCALAPACK_H

#include <stdbool.h>

#include "linalg/tiles.h"

/** Whether this build has ScaLAPACK. Local. */
bool pons_scalapack_is_built(void);

/**
 * The tiles <- L^-1 of A = L L^T, by pdpotrf and pdtrtri on the grid and the blocks of the tiles.
 *
 * Collective on the comm of creation; needs MPI started.
 * @param[out] seconds {pdpotrf, pdtrtri} of this rank; @param[out] info as LAPACK's, the same on
 * every rank
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED where it is not built, the same on every
 * rank. Memory: the matrix once more over the ranks, both triangles.
 */
pons_status pons_scalapack_invert_factor(pons_tiles *tiles, double seconds[2], int64_t *info);

#endif

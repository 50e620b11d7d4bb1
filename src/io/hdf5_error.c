/* Owns turning the HDF5 error stack into one sentence. */
#include "io/hdf5_error.h"

#include <hdf5.h>
#include <stdio.h>

enum { REASON_BYTES = 256 };

void pons_hdf5_quiet(void) { H5Eset_auto2(H5E_DEFAULT, NULL, NULL); }

/* The walk goes from the outermost call inwards; the last description is the cause. */
static herr_t keep_last(unsigned n, const H5E_error2_t *error, void *reason)
{
    (void)n;
    if (error->desc && error->desc[0]) snprintf(reason, REASON_BYTES, "%s", error->desc);
    return 0;
}

pons_status pons_hdf5_fail(pons_status code, const char *path, const char *what)
{
    char reason[REASON_BYTES] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_last, reason);
    return pons_fail(code, "%s: %s: %s", path, what, reason);
}

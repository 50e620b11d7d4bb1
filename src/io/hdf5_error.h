/**
 * One sentence from the HDF5 error stack. Private to io.
 */
#ifndef PONS_IO_HDF5_ERROR_H
#define PONS_IO_HDF5_ERROR_H

#include "base/error.h"

/** Stop HDF5 from printing its stack; call before the first call that may fail. Local. */
void pons_hdf5_quiet(void);

/** Fail with "PATH: WHAT: innermost reason that HDF5 gives". Local. */
pons_status pons_hdf5_fail(pons_status code, const char *path, const char *what);

#endif

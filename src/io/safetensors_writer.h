/**
 * Writing one safetensors file: declare all tensors, then give their data in the same order.
 *
 * Local. The file appears under its name only at commit (io/file.h rules). Tensors are laid out in
 * declaration order; declare larger element sizes first so that offsets stay aligned. Header is
 * padded to 8 bytes and carries {"format": "pt"}.
 */
#ifndef PONS_IO_SAFETENSORS_WRITER_H
#define PONS_IO_SAFETENSORS_WRITER_H

#include "base/error.h"
#include "tensor/dtype.h"

typedef struct pons_st_writer pons_st_writer;

pons_status pons_st_writer_create(const char *path, pons_st_writer **out);

/** Declare a tensor; before the first write. @return PONS_ERR_BUG on a duplicate name. */
pons_status pons_st_writer_declare(pons_st_writer *w, const char *name, pons_dtype dtype, int ndim,
                                   const int64_t *shape);

/** Append the next bytes of the data buffer (in pieces of any size, in declaration order). */
pons_status pons_st_writer_write(pons_st_writer *w, const void *data, size_t bytes);

/** Check that all declared bytes were written, sync, rename; destroys the writer either way. */
pons_status pons_st_writer_commit(pons_st_writer **w);

/** Remove the incomplete file; accepts NULL. */
void pons_st_writer_abandon(pons_st_writer **w);

#endif

/**
 * Torch files (torch.save): a zip archive with one pickle and one record per storage, read as plain
 * data and written for torch.load.
 *
 * A small interpreter handles dictionaries, ordered dictionaries, lists, tuples, text, numbers and
 * tensors. Nothing is executed: every other opcode, and every global that
 * is not one of those types, is refused by name. Files of the format before torch 1.6, which are
 * not zip archives, are refused with the command that converts them. Everything is Local. Source:
 * the
 * opcodes are those of Python's pickletools, the records those that torch.save of torch 2 writes.
 */
#ifndef PONS_IO_TORCH_FILE_H
#define PONS_IO_TORCH_FILE_H

#include "base/error.h"
#include "tensor/dtype.h"

typedef struct pons_torch_file pons_torch_file;

/** A value of the pickle; belongs to its file. Opaque. */
typedef struct pons_torch_value pons_torch_value;

typedef enum pons_torch_kind {
    PONS_TORCH_NONE,
    PONS_TORCH_BOOL,
    PONS_TORCH_INT,
    PONS_TORCH_FLOAT,
    PONS_TORCH_TEXT,
    PONS_TORCH_TUPLE,
    PONS_TORCH_LIST,
    PONS_TORCH_DICT, /* an OrderedDict, too; keys are TEXT or INT */
    PONS_TORCH_TENSOR,
    PONS_TORCH_OTHER /* a type's name; never inside another value */
} pons_torch_kind;

/** Most dimensions of a tensor. */
enum { PONS_TORCH_DIMENSIONS = 8 };

/**
 * Open a file and interpret its pickle; storages are not read yet, but every tensor is checked
 * against the record that holds it.
 *
 * @return PONS_ERR_IO (cannot open), PONS_ERR_INPUT (damaged, truncated, inconsistent),
 * PONS_ERR_UNSUPPORTED (opcode, global, element type or file format), PONS_ERR_NOMEM. The message
 * names the file and, inside the pickle, the byte.
 */
pons_status pons_torch_open(const char *path, pons_torch_file **out);

/** Close and free all values; takes the address, nulls it, accepts NULL. */
void pons_torch_close(pons_torch_file **file);

/** Path it was opened with; the value that was saved. Borrowed. */
const char *pons_torch_path(const pons_torch_file *file);
const pons_torch_value *pons_torch_root(const pons_torch_file *file);

pons_torch_kind pons_torch_value_kind(const pons_torch_value *value);

/** "a tensor", "a dictionary", ... for messages. */
const char *pons_torch_kind_name(pons_torch_kind kind);

/** An INT or BOOL; a FLOAT, INT or BOOL; TEXT (terminated, UTF-8 as saved). false for another
 * kind. */
bool pons_torch_value_int(const pons_torch_value *value, int64_t *out);
bool pons_torch_value_float(const pons_torch_value *value, double *out);
bool pons_torch_value_text(const pons_torch_value *value, const char **out);

/** A TEXT or INT on one line and not too long, for messages; another kind by its name. @return
 * `label`. */
enum { PONS_TORCH_LABEL_BYTES = 112 };
const char *pons_torch_value_label(const pons_torch_value *value,
                                   char label[PONS_TORCH_LABEL_BYTES]);

/** Entries of a TUPLE, LIST or DICT; 0 for another kind. */
int64_t pons_torch_value_count(const pons_torch_value *value);

/** Entry i in the order of the file; for a DICT its value, and its key when `key` is not NULL. */
const pons_torch_value *pons_torch_value_at(const pons_torch_value *value, int64_t i,
                                            const pons_torch_value **key);

/** Value of a key of a DICT, the latest when it was set twice; NULL when absent or no DICT. Cost:
 * its entries. */
const pons_torch_value *pons_torch_find(const pons_torch_value *dict, const char *key);
const pons_torch_value *pons_torch_find_int(const pons_torch_value *dict, int64_t key);

/** Element type, number of dimensions and shape of a TENSOR. */
pons_dtype pons_torch_tensor_dtype(const pons_torch_value *tensor);
int pons_torch_tensor_ndim(const pons_torch_value *tensor);
const int64_t *pons_torch_tensor_shape(const pons_torch_value *tensor);

/**
 * The elements of a TENSOR, first dimension slowest whatever its strides. F64 is rounded to float.
 *
 * @param out [product of the shape]
 * @return PONS_OK; PONS_ERR_INPUT naming the record when it is damaged (its checksum is verified);
 * PONS_ERR_NOMEM. Memory: its storage, kept until another one is read. One call at a time for a
 * file.
 */
pons_status pons_torch_read(pons_torch_file *file, const pons_torch_value *tensor, float *out);

/**
 * Write a dictionary of tensors that torch.load reads, weights_only too; the same bytes for the
 * same tensors. The file is written atomically.
 *
 * @param tensors [count] F32, F16, BF16 or F64 in row-major order, at least one, names unique
 * @return PONS_ERR_IO, PONS_ERR_NOMEM.
 */
pons_status pons_torch_write(const char *path, int64_t count, const pons_tensor_view *tensors);

#endif

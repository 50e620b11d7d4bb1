/**
 * RUN/blocks/block-NNN.safetensors: a committed block in a form of our own, from which the hidden states
 * are replayed and every output is made. The layout is in README.md of this room. All Local.
 */
#ifndef PONS_PACK_BLOCK_FILE_H
#define PONS_PACK_BLOCK_FILE_H

#include "model/config.h"
#include "pack/linear.h"

/** Number of the layout; a file with another one is refused. */
enum { PONS_BLOCK_LAYOUT = 1 };

/** Path of a block under a state directory in counted memory; NULL when memory is out. */
char *pons_block_file_path(const char *run, int64_t layer);

/**
 * Write one block; the file appears whole or not at all.
 * @param dtype of the output: dense linears are stored in it, biases and gains are rounded to it
 * @param dense the output holds values in place of codes: these must fit, too
 * @param linears one for each of the architecture; @param gains norm gains, one after the other
 * @param[out] checksum of all numbers, 16 hexadecimal digits
 * @return PONS_ERR_IO; PONS_ERR_SHAPE for a group size that does not divide the columns; PONS_ERR_NUMERIC
 * naming tensor and row when a value does not fit `dtype`. Memory: one row and 64 Ki codes.
 */
pons_status pons_block_file_write(const char *path, const pons_model_config *config, int64_t layer,
                                  pons_dtype dtype, bool dense, const pons_pack_linear *linears,
                                  const float *gains, char checksum[17]);

typedef struct pons_block_file pons_block_file;

/**
 * Open a block, check its header and read biases and gains.
 * @return PONS_ERR_IO; PONS_ERR_INPUT when it is damaged, of another layout or not of this model.
 */
pons_status pons_block_file_open(const char *path, const pons_model_config *config, int64_t layer,
                                 pons_block_file **out);
void pons_block_file_close(pons_block_file **file);

/** Checksum of the block as its header has it; form, bias (NULL: none) and gains. Borrowed. */
const char *pons_block_file_checksum(const pons_block_file *file);
const pons_pack_scheme *pons_block_file_scheme(const pons_block_file *file, int linear);
const float *pons_block_file_bias(const pons_block_file *file, int linear);
const float *pons_block_file_gains(const pons_block_file *file);

/**
 * Codes of a linear that has any. Parallel over rows.
 * @param codes [rows, cols]; @param scale, zero [rows, groups], zero points 0 when symmetric
 * @return PONS_ERR_IO; PONS_ERR_INPUT naming the linear when its numbers are not those of its checksum.
 */
pons_status pons_block_file_read_codes(const pons_block_file *file, int linear, int8_t *codes,
                                       float *scale, int8_t *zero);

/** Values of a linear in fp32, dequantized when it has codes. @param W [rows, cols] @return as
 * pons_block_file_read_codes. Memory: with codes, a byte per weight. */
pons_status pons_block_file_read_values(const pons_block_file *file, int linear, float *W);

/** Read every number and compare with its checksum. Memory: the largest linear. */
pons_status pons_block_file_check(const pons_block_file *file);

#endif

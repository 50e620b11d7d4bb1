/**
 * Lines of a text joined as the reference programs join WikiText's records. Source: specification
 * 1.4 and 6.
 */
#ifndef PONS_TEXT_JOIN_H
#define PONS_TEXT_JOIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/**
 * Every line is a record; records are joined by two newlines. Local.
 *
 * Plain: a record keeps its own newline and its spaces, one of white space alone is empty, as in
 * the data set. Stripped: records lose the white space at their ends.
 * @param text valid UTF-8; @param out counted memory
 * @return PONS_OK, PONS_ERR_NOMEM.
 */
pons_status pons_text_join_lines(const char *text, size_t bytes, bool stripped, char **out,
                                 size_t *out_bytes);

#endif

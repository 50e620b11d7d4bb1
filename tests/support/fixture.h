/**
 * A small safetensors reader for fixtures, metadata included. Independent of src/io on purpose: a
 * fixture must not be read by the code it is to prove.
 */
#ifndef PONS_TEST_FIXTURE_H
#define PONS_TEST_FIXTURE_H

#include <stdint.h>

typedef struct fixture fixture;

/** Open a file; ends the program with a message when it is malformed. */
fixture *fixture_open(const char *path);
void fixture_close(fixture **f);

/** Data of a tensor of this dtype ("F32", "I8"), its shape in shape[2] (1 where absent); NULL when
 * there is none. Borrowed. */
const void *fixture_tensor(const fixture *f, const char *name, const char *dtype, int64_t shape[2]);

/** A number from __metadata__; NaN when absent. */
double fixture_number(const fixture *f, const char *key);

/** Where golden fixtures are read from: $PONS_GOLDEN, else the project's own tests/golden. */
const char *fixture_root(void);

/** Paths of the files `pattern` (glob) under $PONS_GOLDEN; *count of them. Free with
 * fixture_free_list. */
char **fixture_list(const char *pattern, int *count);
void fixture_free_list(char **list, int count);

#endif

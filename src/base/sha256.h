/**
 * SHA-256 (FIPS 180-4), streaming: digests of files, token ids and packed weights.
 */
#ifndef PONS_BASE_SHA256_H
#define PONS_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct pons_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64];
} pons_sha256;

/** Start a digest. Local. */
void pons_sha256_begin(pons_sha256 *s);

/** Add bytes. Local. */
void pons_sha256_update(pons_sha256 *s, const void *data, size_t bytes);

/** Finish; writes 64 lower-case hexadecimal digits and a zero. Local. */
void pons_sha256_end(pons_sha256 *s, char hex[65]);

#endif

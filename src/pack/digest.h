/**
 * A digest of packed linears that does not depend on ranks, threads or shards. All Local.
 */
#ifndef PONS_PACK_DIGEST_H
#define PONS_PACK_DIGEST_H

#include "base/error.h"

/** SHA-256 over the packed linears of an output directory in block and linear order: bytes of
 * weight_packed, scale and zero points. @return PONS_ERR_IO, PONS_ERR_INPUT. */
pons_status pons_pack_digest(const char *path, char hex[65]);

#endif

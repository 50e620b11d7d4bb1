/* Owns the digest of a directory's linears that must not depend on ranks, threads or shards. */
#include "base/sha256.h"
#include "model/tensors.h"
#include "pack/writer.h"

static void add(pons_sha256 *s, const pons_tensor_view *t)
{
    if (t) pons_sha256_update(s, t->data, pons_dtype_bytes(t->dtype, pons_tensor_elements(t)));
}

pons_status pons_pack_digest(const char *path, char hex[65])
{
    pons_model *model = NULL;
    pons_sha256 s;
    pons_status st = pons_model_open(path, &model);
    if (st != PONS_OK) return st;
    pons_sha256_begin(&s);
    for (int64_t layer = 0; layer < pons_model_get_config(model)->layers; layer++)
        for (int l = 0; l < PONS_LINEARS; l++) {
            const pons_linear_tensors *t = pons_model_linear(model, layer, (pons_linear)l);
            add(&s, t->weight);
            add(&s, t->packed);
            add(&s, t->scale);
            add(&s, t->zero);
        }
    pons_sha256_end(&s, hex);
    pons_model_close(&model);
    return PONS_OK;
}

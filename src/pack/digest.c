/* Owns the digest of a directory's linears that must not depend on ranks, threads or shards. */
#include "base/mem.h"
#include "base/sha256.h"
#include "model/tensors.h"
#include "pack/digest.h"

static pons_status add(pons_sha256 *s, const pons_store *store, const pons_tensor_view *t)
{
    void *data = NULL;
    pons_status st = t ? pons_store_load(store, t, &data) : PONS_OK;
    if (data) pons_sha256_update(s, data, pons_dtype_bytes(t->dtype, pons_tensor_elements(t)));
    pons_mem_free(data);
    return st;
}

pons_status pons_pack_digest(const char *path, char hex[65])
{
    pons_model *model = NULL;
    pons_sha256 s;
    pons_status st = pons_model_open(path, &model);
    if (st != PONS_OK) return st;
    const pons_store *store = pons_model_store(model);
    const pons_arch *arch = pons_model_get_config(model)->arch;
    pons_sha256_begin(&s);
    for (int64_t layer = 0; layer < pons_model_get_config(model)->layers; layer++)
        for (int l = 0; l < arch->linears; l++) {
            const pons_linear_tensors *t = pons_model_linear(model, layer, l);
            PONS_TRY(st, add(&s, store, t->weight));
            PONS_TRY(st, add(&s, store, t->packed));
            PONS_TRY(st, add(&s, store, t->scale));
            PONS_TRY(st, add(&s, store, t->zero));
        }
    pons_sha256_end(&s, hex);
done:
    pons_model_close(&model);
    return st;
}

/**
 * What differs between versions 2 and 3 of oneDNN's C interface: version 2 describes memory by a struct, version 3 by
 * a handle that has to be freed. Internal to onednn.c.
 */
#ifndef PONS_KERN_ONEDNN_VERSION_H
#define PONS_KERN_ONEDNN_VERSION_H

#include <dnnl.h>

#if DNNL_VERSION_MAJOR >= 3
/** A description as an argument of the library's functions. */
#define PONS_DNNL(description) (description)

/** Describe a matrix. Local. @param[out] out to be given to pons_dnnl_forget */
static inline dnnl_status_t pons_dnnl_describe(dnnl_memory_desc_t *out, const dnnl_dims_t dims,
                                               dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(out, 2, dims, type, tag);
}

/** Copy a description out of a primitive's. Local. @param[out] out to be given to pons_dnnl_forget */
static inline dnnl_status_t pons_dnnl_query(const_dnnl_primitive_desc_t pd, dnnl_query_t what,
                                            dnnl_memory_desc_t *out)
{
    return dnnl_memory_desc_clone(out, dnnl_primitive_desc_query_md(pd, what, 0));
}

/** Free a description; one that is all zero is fine. Local. */
static inline void pons_dnnl_forget(dnnl_memory_desc_t *description)
{
    if (*description) dnnl_memory_desc_destroy(*description);
    *description = NULL;
}

/** Description of C = A B without bias. Local. */
static inline dnnl_status_t pons_dnnl_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                             const dnnl_memory_desc_t *a,
                                             const dnnl_memory_desc_t *b,
                                             const dnnl_memory_desc_t *c,
                                             const_dnnl_primitive_attr_t attributes)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, NULL, *c, attributes);
}

/** C += instead of C =. Local. */
static inline dnnl_status_t pons_dnnl_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}
#else
#define PONS_DNNL(description) (&(description))

static inline dnnl_status_t pons_dnnl_describe(dnnl_memory_desc_t *out, const dnnl_dims_t dims,
                                               dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(out, 2, dims, type, tag);
}

static inline dnnl_status_t pons_dnnl_query(const_dnnl_primitive_desc_t pd, dnnl_query_t what,
                                            dnnl_memory_desc_t *out)
{
    *out = *dnnl_primitive_desc_query_md(pd, what, 0);
    return dnnl_success;
}

static inline void pons_dnnl_forget(dnnl_memory_desc_t *description) { (void)description; }

static inline dnnl_status_t pons_dnnl_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                             const dnnl_memory_desc_t *a,
                                             const dnnl_memory_desc_t *b,
                                             const dnnl_memory_desc_t *c,
                                             const_dnnl_primitive_attr_t attributes)
{
    dnnl_matmul_desc_t op;
    dnnl_status_t st = dnnl_matmul_desc_init(&op, a, b, NULL, c);
    return st == dnnl_success ? dnnl_primitive_desc_create(pd, &op, attributes, engine, NULL) : st;
}

static inline dnnl_status_t pons_dnnl_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}
#endif

#endif

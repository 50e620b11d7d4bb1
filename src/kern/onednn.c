/* Owns every call of oneDNN; which products come here is bf16.c's choice. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "base/mem.h"
#include "kern/isa.h"
#include "kern/onednn.h"

#ifdef PONS_HAVE_ONEDNN
#include "kern/onednn_version.h"

struct pons_onednn {
    pons_bf16_layout layout;
    int64_t M, N, K;
    dnnl_memory_desc_t a, plain, b, c; /* plain: B before it is packed */
    dnnl_memory_desc_t scratch, sum_scratch;
    dnnl_primitive_t product, sum, pack; /* sum: C += A B */
};

struct pons_onednn_worker {
    const pons_onednn *kernel; /* not owned */
    dnnl_stream_t stream;
    dnnl_memory_t a, plain, b, c, scratch, sum_scratch;
    void *work, *sum_work;
};

static dnnl_engine_t engine;
static dnnl_status_t engine_status;
static once_flag engine_made = ONCE_FLAG_INIT;

static once_flag capped = ONCE_FLAG_INIT;

/* No instructions beyond the set in use. Where ONEDNN_MAX_CPU_ISA allows less, the library keeps to that. */
static void cap(void)
{
    static const dnnl_cpu_isa_t most[] = {dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core,
                                          dnnl_cpu_isa_avx512_core_bf16, dnnl_cpu_isa_all};
    const char *limit = getenv("ONEDNN_MAX_CPU_ISA");
    pons_isa isa = pons_isa_used();
    if (isa != PONS_ISA_AMX && !(limit && *limit)) dnnl_set_max_cpu_isa(most[isa]);
}

static dnnl_cpu_isa_t effective(void)
{
    call_once(&capped, cap);
    return dnnl_get_effective_cpu_isa();
}

static void make_engine(void)
{
    effective();
    engine_status = dnnl_engine_create(&engine, dnnl_cpu, 0);
}

static pons_status check(dnnl_status_t got, const char *what)
{
    if (got == dnnl_success) return PONS_OK;
    if (got == dnnl_out_of_memory)
        return pons_fail(PONS_ERR_NOMEM, "oneDNN: %s: out of memory", what);
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "oneDNN: %s: status %d; bf16 products need a processor with AVX-512, use fp32",
                     what, (int)got);
}

/* One matmul with B as described; C is overwritten or added to. */
static pons_status make_matmul(const pons_onednn *k, const dnnl_memory_desc_t *b, bool add,
                               dnnl_memory_desc_t *chosen, dnnl_memory_desc_t *scratch,
                               dnnl_primitive_t *out)
{
    pons_status st = PONS_OK;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t after = NULL;
    PONS_TRY(st, check(dnnl_primitive_attr_create(&attributes), "attributes"));
    PONS_TRY(st,
             check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
                   "scratchpad"));
    if (add) {
        PONS_TRY(st, check(dnnl_post_ops_create(&after), "sum"));
        PONS_TRY(st, check(pons_dnnl_append_sum(after), "sum"));
        PONS_TRY(st, check(dnnl_primitive_attr_set_post_ops(attributes, after), "sum"));
    }
    PONS_TRY(st, check(pons_dnnl_matmul(&pd, engine, &k->a, b, &k->c, attributes), "bf16 matmul"));
    PONS_TRY(st, check(pons_dnnl_query(pd, dnnl_query_weights_md, chosen), "bf16 matmul"));
    PONS_TRY(st, check(pons_dnnl_query(pd, dnnl_query_scratchpad_md, scratch), "bf16 matmul"));
    PONS_TRY(st, check(dnnl_primitive_create(out, pd), "bf16 matmul"));
done:
    if (after) dnnl_post_ops_destroy(after);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return st;
}

static pons_status make_product(pons_onednn *k)
{
    pons_status st = PONS_OK;
    bool gram = k->layout == PONS_BF16_GRAM;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_desc_t b = {0}, again = {0};
    const dnnl_dims_t of_a = {k->M, k->K}, of_b = {k->K, k->N}, of_c = {k->M, k->N};

    PONS_TRY(st,
             check(pons_dnnl_describe(&k->a, of_a, dnnl_bf16, gram ? dnnl_ba : dnnl_ab), "tile"));
    PONS_TRY(st,
             check(pons_dnnl_describe(&b, of_b, dnnl_bf16, gram ? dnnl_ab : dnnl_format_tag_any),
                   "tile"));
    PONS_TRY(st, check(pons_dnnl_describe(&k->plain, of_b, dnnl_bf16, dnnl_ba), "tile"));
    PONS_TRY(st, check(pons_dnnl_describe(&k->c, of_c, dnnl_f32, dnnl_ab), "tile"));
    PONS_TRY(st, make_matmul(k, &b, false, &k->b, &k->scratch, &k->product));
    if (k->layout != PONS_BF16_PACKED)
        PONS_TRY(st, make_matmul(k, &k->b, true, &again, &k->sum_scratch, &k->sum));
    if (gram) goto done;

    PONS_TRY(st, check(dnnl_reorder_primitive_desc_create(&pd, PONS_DNNL(k->plain), engine,
                                                          PONS_DNNL(k->b), engine, NULL),
                       "reorder"));
    PONS_TRY(st, check(dnnl_primitive_create(&k->pack, pd), "reorder"));
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    pons_dnnl_forget(&again);
    pons_dnnl_forget(&b);
    return st;
}

pons_status pons_onednn_create(pons_bf16_layout layout, int64_t M, int64_t N, int64_t K,
                               pons_onednn **out)
{
    pons_status st = PONS_OK;
    pons_onednn *k = NULL;
    int threads = omp_get_max_threads();
    call_once(&engine_made, make_engine);
    omp_set_num_threads(1); /* the library chooses kernel and blocking by this count */
    PONS_TRY(st, check(engine_status, "engine"));
    PONS_CALLOC(st, k, 1);
    k->layout = layout;
    k->M = M;
    k->N = N;
    k->K = K;
    PONS_TRY(st, make_product(k));
    *out = k;
    k = NULL;
done:
    omp_set_num_threads(threads);
    pons_onednn_destroy(&k);
    return st;
}

void pons_onednn_destroy(pons_onednn **kernel)
{
    pons_onednn *k = *kernel;
    if (!k) return;
    if (k->product) dnnl_primitive_destroy(k->product);
    if (k->sum) dnnl_primitive_destroy(k->sum);
    if (k->pack) dnnl_primitive_destroy(k->pack);
    dnnl_memory_desc_t *described[] = {&k->a, &k->plain,   &k->b,
                                       &k->c, &k->scratch, &k->sum_scratch};
    for (size_t n = 0; n < sizeof described / sizeof *described; n++)
        pons_dnnl_forget(described[n]);
    pons_mem_free(k);
    *kernel = NULL;
}

size_t pons_onednn_packed_bytes(const pons_onednn *kernel)
{
    return dnnl_memory_desc_get_size(PONS_DNNL(kernel->b));
}

void pons_onednn_worker_destroy(pons_onednn_worker **worker)
{
    pons_onednn_worker *w = *worker;
    if (!w) return;
    dnnl_memory_t all[] = {w->a, w->plain, w->b, w->c, w->scratch, w->sum_scratch};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        if (all[n]) dnnl_memory_destroy(all[n]);
    if (w->stream) dnnl_stream_destroy(w->stream);
    pons_mem_free(w->sum_work);
    pons_mem_free(w->work);
    pons_mem_free(w);
    *worker = NULL;
}

static pons_status make_worker(const pons_onednn *k, pons_onednn_worker *w)
{
    pons_status st = PONS_OK;
    w->kernel = k;
    w->work = pons_mem_alloc((int64_t)dnnl_memory_desc_get_size(PONS_DNNL(k->scratch)), 1);
    if (!w->work) return PONS_ERR_NOMEM;
    PONS_TRY(st,
             check(dnnl_stream_create(&w->stream, engine, dnnl_stream_default_flags), "stream"));
    PONS_TRY(st,
             check(dnnl_memory_create(&w->a, PONS_DNNL(k->a), engine, DNNL_MEMORY_NONE), "memory"));
    PONS_TRY(st, check(dnnl_memory_create(&w->plain, PONS_DNNL(k->plain), engine, DNNL_MEMORY_NONE),
                       "memory"));
    PONS_TRY(st,
             check(dnnl_memory_create(&w->b, PONS_DNNL(k->b), engine, DNNL_MEMORY_NONE), "memory"));
    PONS_TRY(st,
             check(dnnl_memory_create(&w->c, PONS_DNNL(k->c), engine, DNNL_MEMORY_NONE), "memory"));
    PONS_TRY(st, check(dnnl_memory_create(&w->scratch, PONS_DNNL(k->scratch), engine, w->work),
                       "memory"));
    if (!k->sum) goto done;
    w->sum_work = pons_mem_alloc((int64_t)dnnl_memory_desc_get_size(PONS_DNNL(k->sum_scratch)), 1);
    if (!w->sum_work) return PONS_ERR_NOMEM;
    PONS_TRY(st, check(dnnl_memory_create(&w->sum_scratch, PONS_DNNL(k->sum_scratch), engine,
                                          w->sum_work),
                       "memory"));
done:
    return st;
}

pons_status pons_onednn_worker_create(const pons_onednn *kernel, pons_onednn_worker **out)
{
    pons_status st = PONS_OK;
    pons_onednn_worker *w = NULL;
    PONS_CALLOC(st, w, 1);
    PONS_TRY(st, make_worker(kernel, w));
    *out = w;
    w = NULL;
done:
    pons_onednn_worker_destroy(&w);
    return st;
}

bool pons_onednn_pack(pons_onednn_worker *w, const uint16_t *B, void *packed)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, w->plain}, {DNNL_ARG_TO, w->b}};
    return dnnl_memory_set_data_handle(w->plain, (void *)(uintptr_t)B) == dnnl_success &&
           dnnl_memory_set_data_handle(w->b, packed) == dnnl_success &&
           dnnl_primitive_execute(w->kernel->pack, w->stream, 2, args) == dnnl_success;
}

bool pons_onednn_run(pons_onednn_worker *w, bool add, const void *A, const void *B, float *C)
{
    const pons_onednn *k = w->kernel;
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, w->a},
                              {DNNL_ARG_WEIGHTS, w->b},
                              {DNNL_ARG_DST, w->c},
                              {DNNL_ARG_SCRATCHPAD, add ? w->sum_scratch : w->scratch}};
    return dnnl_memory_set_data_handle(w->a, (void *)(uintptr_t)A) == dnnl_success &&
           dnnl_memory_set_data_handle(w->b, (void *)(uintptr_t)B) == dnnl_success &&
           dnnl_memory_set_data_handle(w->c, C) == dnnl_success &&
           dnnl_primitive_execute(add ? k->sum : k->product, w->stream, 4, args) == dnnl_success;
}

bool pons_onednn_allows_amx(void) { return effective() >= dnnl_cpu_isa_avx512_core_amx; }

const char *pons_onednn_describe(void)
{
    static char text[80];
    const dnnl_version_t *v = dnnl_version();
    dnnl_cpu_isa_t isa = effective();
    const char *name = isa >= dnnl_cpu_isa_avx512_core_amx    ? "AVX512_CORE_AMX"
                       : isa >= dnnl_cpu_isa_avx512_core_bf16 ? "AVX512_CORE_BF16"
                       : isa >= dnnl_cpu_isa_avx512_core      ? "AVX512_CORE"
                                                              : "below AVX512_CORE";
    snprintf(text, sizeof text, "oneDNN %d.%d.%d %s", v->major, v->minor, v->patch, name);
    return text;
}

#else

pons_status pons_onednn_create(pons_bf16_layout layout, int64_t M, int64_t N, int64_t K,
                               pons_onednn **out)
{
    (void)layout, (void)M, (void)N, (void)K, (void)out;
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "bf16 products: this processor has no AMX tiles and this build no oneDNN; "
                     "configure with PONS_ONEDNN=ON");
}

void pons_onednn_destroy(pons_onednn **kernel) { (void)kernel; }

size_t pons_onednn_packed_bytes(const pons_onednn *kernel)
{
    (void)kernel;
    return 0;
}

pons_status pons_onednn_worker_create(const pons_onednn *kernel, pons_onednn_worker **out)
{
    (void)kernel, (void)out;
    return pons_fail(PONS_ERR_BUG, "bf16 product in a build without oneDNN");
}

void pons_onednn_worker_destroy(pons_onednn_worker **worker) { (void)worker; }

bool pons_onednn_pack(pons_onednn_worker *worker, const uint16_t *B, void *packed)
{
    (void)worker, (void)B, (void)packed;
    return false;
}

bool pons_onednn_run(pons_onednn_worker *worker, bool add, const void *A, const void *B, float *C)
{
    (void)worker, (void)add, (void)A, (void)B, (void)C;
    return false;
}

bool pons_onednn_allows_amx(void) { return true; }

const char *pons_onednn_describe(void) { return "no oneDNN"; }

#endif

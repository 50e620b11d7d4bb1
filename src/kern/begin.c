/* Start-up of the numerical libraries and what they say of themselves. */
#include <cblas.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>

#include "base/task.h"
#include "kern/bf16.h"
#include "kern/gemm.h"
#include "kern/isa.h"

static bool bf16_works;
static once_flag bf16_tried = ONCE_FLAG_INIT;

static void try_bf16(void)
{
    pons_bf16_kernel *kernel = NULL;
    bf16_works = pons_bf16_kernel_create(PONS_BF16_PACKED, 16, 16, 16, &kernel) == PONS_OK;
    pons_bf16_kernel_destroy(&kernel);
}

bool pons_kern_has_bf16(void)
{
    call_once(&bf16_tried, try_bf16);
    return bf16_works;
}

bool pons_kern_shares_bf16(pons_comm *comm)
{
    char first[80] = "";
    snprintf(first, sizeof first, "%s", pons_bf16_describe());
    pons_comm_bcast(comm, first, sizeof first, 0);
    return pons_comm_all(comm, pons_kern_has_bf16() && !strcmp(first, pons_bf16_describe()));
}

/* OpenMP binds the first thread before main begins, and threads that it starts would stay there with it. The places
 * tell what the process had. */
static void free_tasks(void)
{
    static int processor[CPU_SETSIZE];
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int p = 0; p < omp_get_num_places(); p++) {
        int count = omp_get_place_num_procs(p);
        if (count > CPU_SETSIZE) return;
        omp_get_place_proc_ids(p, processor);
        for (int i = 0; i < count; i++)
            CPU_SET((size_t)processor[i], &all);
    }
    pons_task_set_processors(&all);
}

void pons_kern_begin(void)
{
    free_tasks();
    int threads = omp_get_max_threads();
    openblas_set_num_threads(1);
    omp_set_num_threads(threads); /* OpenBLAS's OpenMP flavour changes OpenMP's count, too */
}

/* What decides the bits of fp32 products and sums. */
static void describe_fp32(char *text, size_t bytes)
{
    char name[32] = "", version[32] = ""; /* what follows them is how OpenBLAS was built */
    sscanf(openblas_get_config(), "%31s %31s", name, version);
    snprintf(text, bytes, "%s %s %s, %s", name, version, openblas_get_corename(),
             pons_isa_name(pons_isa_used()));
}

pons_status pons_kern_check_alike(pons_comm *comm)
{
    char own[128], first[128];
    describe_fp32(own, sizeof own);
    memcpy(first, own, sizeof first);
    pons_comm_bcast(comm, first, sizeof first, 0);
    return pons_comm_agree(
        comm,
        strcmp(own, first) == 0
            ? PONS_OK
            : pons_fail(PONS_ERR_UNSUPPORTED,
                        "arithmetic: found %s, on rank 0 %s; fp32 results would depend on the "
                        "rank: set PONS_ISA=avx2 and OPENBLAS_CORETYPE=Haswell on all ranks",
                        own, first));
}

const char *pons_kern_arithmetic(void)
{
    static char text[224];
    char fp32[128];
    describe_fp32(fp32, sizeof fp32);
    snprintf(text, sizeof text, "%s, %s", fp32, pons_bf16_describe());
    return text;
}

const char *pons_kern_describe(void)
{
    static char text[256];
    snprintf(text, sizeof text, "%s, %d threads", pons_kern_arithmetic(), omp_get_max_threads());
    return text;
}

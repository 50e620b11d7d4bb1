/* One linear's whole way through a job on synthetic data, for the memory it takes over all ranks: windows,
 * Hessian, factor, inverse, rows. Does not judge the rows. */
#include <malloc.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "base/task.h"
#include "bench/bench.h"
#include "hessian/accumulate.h"
#include "obr/compress.h"
#include "par/shared.h"

typedef struct work {
    const pons_bench_setting *setting;
    int64_t rows, d, tokens, windows;
    bool bf16;
} work;

static pons_status take_hessian(const work *w, int64_t begin, int64_t end, const float *X,
                                pons_hessian *h, pons_hessian_factor *factor)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_comm *comm = w->setting->comm;
    int64_t d = w->d, panel = pons_hessian_panel_rows(d);
    for (int64_t first = 0; first < d; first += panel) {
        int64_t rows = d - first < panel ? d - first : panel;
        local = pons_hessian_take_rows(h, first, rows);
        for (int64_t t = begin; local == PONS_OK && t < end; t++)
            local = pons_hessian_add(h, w->tokens, X + (t - begin) * w->tokens * d);
        PONS_TRY_ALL(st, comm, local);
        PONS_TRY(st, pons_hessian_reduce(h, comm));
        pons_hessian_factor_take(factor, first, rows, pons_hessian_matrix(h), d - first);
    }
    PONS_TRY_ALL(st, comm, pons_hessian_take_rows(h, d, 0)); /* as a job frees the last panel */
done:
    return st;
}

/* Collective: windows to factor. */
static pons_status make_factor(const work *w, pons_hessian_factor **out)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_comm *comm = w->setting->comm;
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    int64_t begin = pons_share_begin(w->windows, size, rank), info = 0;
    int64_t end = pons_share_begin(w->windows, size, rank + 1), floats = w->tokens * w->d;
    pons_hessian *h = NULL;
    pons_hessian_factor *factor = NULL;
    float *X = pons_mem_alloc((end - begin) * floats, sizeof *X);
    if (!X) local = PONS_ERR_NOMEM;
    if (local == PONS_OK) local = pons_hessian_create(w->d, w->windows, w->bf16, &h);
    for (int64_t t = begin; local == PONS_OK && t < end; t++) {
        pons_bench_gauss(0, (uint32_t)t, floats, 1.0, X + (t - begin) * floats);
        local = pons_hessian_observe(h, t, w->tokens, X + (t - begin) * floats);
    }
    PONS_TRY_ALL(st, comm, local);
    PONS_TRY(st, pons_hessian_agree(h, comm));
    PONS_TRY(st, pons_hessian_factor_begin(comm, w->d, &factor));
    PONS_TRY(st, take_hessian(w, begin, end, X, h, factor));
    PONS_TRY(st, pons_hessian_factor_finish(factor, pons_hessian_norm(h, false), 0.01, &info));
    PONS_ASSERT(info == 0); /* damped */
    *out = factor;
    factor = NULL;
done:
    pons_hessian_factor_destroy(&factor);
    pons_hessian_destroy(&h);
    pons_mem_free(X);
    return st;
}

static pons_status run(void *user)
{
    const work *w = user;
    pons_status st = PONS_OK, local = PONS_OK;
    pons_comm *comm = w->setting->comm;
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    int64_t first = pons_share_begin(w->rows, size, rank);
    int64_t own = pons_share_begin(w->rows, size, rank + 1) - first, cells = own * w->d;
    pons_hessian_factor *factor = NULL;
    pons_row_shared *shared = NULL;
    pons_row_metrics metrics = {0};
    pons_recipe recipe;
    pons_row_result r = {0};
    float *W = NULL;
    pons_recipe_default(&recipe);
    PONS_TRY(st, make_factor(w, &factor));
    PONS_TRY(st, pons_row_shared_create(factor, &recipe, w->bf16, &shared));
    W = pons_mem_alloc(cells, sizeof *W);
    r = (pons_row_result){.codes = pons_mem_alloc(cells, sizeof *r.codes),
                          .scale = pons_mem_alloc(own, sizeof *r.scale),
                          .zero = pons_mem_alloc(own, sizeof *r.zero),
                          .value = pons_mem_alloc(cells, sizeof *r.value),
                          .error = pons_mem_alloc(own, sizeof *r.error),
                          .energy = pons_mem_alloc(own, sizeof *r.energy),
                          .zeros = pons_mem_alloc(own, sizeof *r.zeros)};
    bool room = W && r.codes && r.scale && r.zero && r.value && r.error && r.energy && r.zeros;
    PONS_TRY_ALL(st, comm, room ? PONS_OK : PONS_ERR_NOMEM);
    pons_bench_gauss(1, (uint32_t)rank, cells, 0.02, W);
    pons_row_task task = {.name = "synthetic linear",
                          .row = first,
                          .rows = own,
                          .d = w->d,
                          .W = W,
                          .factor = factor,
                          .recipe = &recipe,
                          .bits = recipe.weights.bits,
                          .shared = shared};
    if (own > 0) local = pons_compress_rows(&task, &r, &metrics);
    PONS_TRY_ALL(st, comm, local);
done:
    pons_mem_free(r.zeros);
    pons_mem_free(r.energy);
    pons_mem_free(r.error);
    pons_mem_free(r.value);
    pons_mem_free(r.zero);
    pons_mem_free(r.scale);
    pons_mem_free(r.codes);
    pons_mem_free(W);
    pons_row_shared_destroy(&shared);
    pons_hessian_factor_destroy(&factor);
    return st;
}

/* What this process holds: its own pages, and its part of those that `ranks` ranks share. The two peak at
 * different times, so the sum is looked at again and again, on a thread. */
typedef struct watcher {
    int ranks; /* of the node */
    atomic_bool over;
    int64_t peak;
} watcher;

static int64_t held_bytes(int ranks)
{
    char line[256];
    long long kib, own = 0, shared = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "RssAnon: %lld", &kib) == 1) own = kib;
        if (sscanf(line, "RssShmem: %lld", &kib) == 1) shared = kib;
    }
    if (file) fclose(file);
    return (own + shared / ranks) * 1024;
}

static pons_status watch(void *user)
{
    watcher *w = user;
    const struct timespec pause = {0, 2000000};
    while (!atomic_load(&w->over)) {
        int64_t bytes = held_bytes(w->ranks);
        w->peak = bytes > w->peak ? bytes : w->peak;
        nanosleep(&pause, NULL);
    }
    return PONS_OK;
}

/* Collective: the body once, its seconds, and the bytes that the fullest rank took at most. */
static pons_status run_watched(const pons_bench_setting *once, work *w, pons_bench_result *r)
{
    pons_status st = PONS_OK;
    pons_task *task = NULL;
    watcher v = {0};
    pons_shared *probe = NULL; /* tells how many ranks share a node */
    PONS_TRY(st, pons_shared_create(once->comm, 1, &probe));
    v.ranks = pons_shared_size(probe);
    pons_shared_destroy(&probe);
    malloc_trim(0); /* memory that was freed but kept would hide what is taken again */
    int64_t before = held_bytes(v.ranks);
    PONS_TRY_ALL(st, once->comm, pons_task_start(watch, &v, &task));
    PONS_TRY(st, pons_bench_time(once, run, w, &r->seconds, NULL));
    atomic_store(&v.over, true);
    (void)pons_task_finish(&task, NULL);
    double bytes = (double)(v.peak - before);
    pons_comm_max_f64(once->comm, &bytes, 1);
    r->workspace_bytes = before > 0 ? (int64_t)bytes : -1;
done:
    atomic_store(&v.over, true);
    (void)pons_task_finish(&task, NULL);
    return st;
}

pons_status pons_bench_memory(const pons_bench_setting *s, bool bf16, int64_t rows, int64_t d,
                              int64_t tokens, int64_t windows, pons_bench_result *out)
{
    pons_status st = PONS_OK;
    pons_bench_setting once = *s;
    work w = {s, rows, d, tokens, windows, bf16};
    pons_bench_result r = pons_bench_result_empty(s, "memory", "linear", bf16 ? "bf16" : "fp32");
    once.repeat = 1;
    PONS_TRY(st, run_watched(&once, &w, &r));
    r.rows = rows;
    r.d = d;
    double D = (double)d;
    r.gflops = 1e-9 * ((double)(tokens * windows) * D * D + 7.0 / 6 * D * D * D) / r.seconds;
    *out = r;
done:
    return st;
}

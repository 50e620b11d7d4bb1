/* Clocks, repetitions and memory of a measurement. Does not know what is measured. */
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "bench/bench.h"

pons_bench_result pons_bench_result_empty(const pons_bench_setting *setting, const char *what,
                                          const char *method, const char *precision)
{
    pons_bench_baseline none = {NULL, 0, setting->threads, NAN, NAN, NAN};
    return (pons_bench_result){.what = what,
                               .method = method,
                               .precision = precision,
                               .threads = setting->threads,
                               .ranks = pons_comm_size(setting->comm),
                               .seconds = NAN,
                               .gflops = NAN,
                               .peak_gflops = NAN,
                               .share_of_peak = NAN,
                               .workspace_bytes = -1,
                               .error_ratio = NAN,
                               .relative_error = NAN,
                               .speedup_vs_potrf = NAN,
                               .baseline = none,
                               .one_thread = none,
                               .worst_error_ratio = NAN,
                               .stage1_error_ratio = NAN,
                               .stage1_worst_error_ratio = NAN,
                               .stage1_seconds = NAN,
                               .factor_seconds = NAN,
                               .speedup_with_factor = NAN,
                               .iterations = {NAN, NAN},
                               .prepare_share = NAN,
                               .product_share = NAN,
                               .product_gflops = NAN,
                               .attention_seconds = NAN,
                               .attention_gflops = NAN,
                               .fallbacks = -1};
}

static double now(const pons_bench_setting *setting)
{
    if (!setting->cpu_time) return pons_clock();
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec) / setting->threads;
}

/* A line of /proc/self/status in bytes; -1 where there is none. */
static int64_t read_status(const char *key)
{
    char line[256];
    long long kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && kib < 0 && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), " %lld", &kib) != 1)
            break;
    if (file) fclose(file);
    return kib < 0 ? -1 : (int64_t)kib * 1024;
}

/* Resident bytes now, the peak counting from here; -1 where the system cannot do it. */
static int64_t begin_memory(void)
{
    malloc_trim(0); /* memory that was freed but kept would hide what is taken again */
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return -1;
    bool ok = fputs("5", file) >= 0;
    ok = fclose(file) == 0 && ok;
    return ok ? read_status("VmRSS:") : -1;
}

pons_status pons_bench_time(const pons_bench_setting *setting, pons_bench_body body, void *user,
                            double *seconds, int64_t *workspace)
{
    pons_status st = PONS_OK;
    double best = INFINITY, bytes = -1;
    for (int64_t k = 0; k < setting->repeat; k++) {
        int64_t before = workspace && k == 0 ? begin_memory() : -1; /* some keep what they take */
        pons_comm_barrier(setting->comm);
        double start = now(setting);
        st = body(user);
        double took = now(setting) - start;
        if (before >= 0) bytes = (double)(read_status("VmHWM:") - before);
        PONS_TRY_ALL(st, setting->comm, st);
        pons_comm_max_f64(setting->comm, &took, 1);
        best = fmin(best, took);
    }
    pons_comm_max_f64(setting->comm, &bytes, 1);
    *seconds = fmax(best, 1e-9); /* below the clock's step */
    if (workspace) *workspace = (int64_t)bytes;
done:
    return st;
}

double pons_bench_exponent(int n, const double *x, const double *y)
{
    double mx = 0, my = 0, xx = 0, xy = 0;
    for (int i = 0; i < n; i++) {
        mx += log(x[i]) / n;
        my += log(y[i]) / n;
    }
    for (int i = 0; i < n; i++) {
        xx += (log(x[i]) - mx) * (log(x[i]) - mx);
        xy += (log(x[i]) - mx) * (log(y[i]) - my);
    }
    return xx > 0 ? xy / xx : NAN;
}

/* Owns the table and the JSON of `pons bench`. Does not measure. */
#include "cli/bench_output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "kern/gemm.h"

/* The processor's name, "unknown" where the system does not say. */
static void read_processor(char *text, size_t bytes)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(text, bytes, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", strlen("model name")) != 0) continue;
        colon += strspn(colon, ": \t");
        colon[strcspn(colon, "\n")] = 0;
        snprintf(text, bytes, "%s", colon);
        break;
    }
    if (file) fclose(file);
}

static json_t *count_or_null(int64_t n) { return n < 0 ? json_null() : json_integer(n); }

static json_t *baseline_json(const pons_bench_baseline *b, bool *ok)
{
    if (!b->what) return json_null();
    json_t *o = json_object();
    pons_cli_set(o, "what", json_string(b->what), ok);
    pons_cli_set(o, "measured_rows", json_integer(b->rows), ok);
    pons_cli_set(o, "threads", json_integer(b->threads), ok);
    pons_cli_set(o, "seconds_per_row", pons_cli_real(b->seconds_per_row), ok);
    pons_cli_set(o, "seconds_all_rows", pons_cli_real(b->seconds), ok);
    pons_cli_set(o, "speedup", pons_cli_real(b->speedup), ok);
    return o;
}

static void set_result(json_t *o, const pons_bench_result *r, bool *ok)
{
    pons_cli_set(o, "what", json_string(r->what), ok);
    pons_cli_set(o, "method", json_string(r->method), ok);
    pons_cli_set(o, "precision", json_string(r->precision), ok);
    pons_cli_set(o, "rows", json_integer(r->rows), ok);
    pons_cli_set(o, "dim", json_integer(r->d), ok);
    pons_cli_set(o, "threads", json_integer(r->threads), ok);
    pons_cli_set(o, "ranks", json_integer(r->ranks), ok);
    pons_cli_set(o, "seconds", pons_cli_real(r->seconds), ok);
    pons_cli_set(o, "gflops", pons_cli_real(r->gflops), ok);
    pons_cli_set(o, "peak_gflops", pons_cli_real(r->peak_gflops), ok);
    pons_cli_set(o, "share_of_peak", pons_cli_real(r->share_of_peak), ok);
    pons_cli_set(o, "workspace_bytes", count_or_null(r->workspace_bytes), ok);
    pons_cli_set(o, "error_ratio", pons_cli_real(r->error_ratio), ok);
    pons_cli_set(o, "relative_error", pons_cli_real(r->relative_error), ok);
    pons_cli_set(o, "speedup_vs_potrf", pons_cli_real(r->speedup_vs_potrf), ok);
    pons_cli_set(o, "baseline", baseline_json(&r->baseline, ok), ok);
    if (strcmp(r->what, "forward") == 0) {
        pons_cli_set(o, "attention_seconds", pons_cli_real(r->attention_seconds), ok);
        pons_cli_set(o, "attention_gflops", pons_cli_real(r->attention_gflops), ok);
    }
    if (strcmp(r->what, "solver") != 0) return;
    pons_cli_set(o, "baseline_one_thread", baseline_json(&r->one_thread, ok), ok);
    pons_cli_set(o, "worst_error_ratio", pons_cli_real(r->worst_error_ratio), ok);
    pons_cli_set(o, "stage1_error_ratio", pons_cli_real(r->stage1_error_ratio), ok);
    pons_cli_set(o, "stage1_worst_error_ratio", pons_cli_real(r->stage1_worst_error_ratio), ok);
    pons_cli_set(o, "stage1_seconds", pons_cli_real(r->stage1_seconds), ok);
    pons_cli_set(o, "prepare_share", pons_cli_real(r->prepare_share), ok);
    pons_cli_set(o, "product_share", pons_cli_real(r->product_share), ok);
    pons_cli_set(o, "product_gflops", pons_cli_real(r->product_gflops), ok);
    pons_cli_set(o, "factor_seconds", pons_cli_real(r->factor_seconds), ok);
    pons_cli_set(o, "speedup_with_factor", pons_cli_real(r->speedup_with_factor), ok);
    pons_cli_set(o, "stage1_iterations", pons_cli_real(r->iterations[0]), ok);
    pons_cli_set(o, "stage2_iterations", pons_cli_real(r->iterations[1]), ok);
    pons_cli_set(o, "fallbacks", count_or_null(r->fallbacks), ok);
}

static json_t *machine_json(const pons_bench_report *report, bool *ok)
{
    char processor[256];
    json_t *o = json_object();
    read_processor(processor, sizeof processor);
    pons_cli_set(o, "processor", json_string(processor), ok);
    pons_cli_set(o, "pons", json_string(PONS_VERSION), ok);
    pons_cli_set(o, "kernels", json_string(pons_kern_describe()), ok);
    pons_cli_set(o, "clock", json_string(report->cpu_time ? "processor time" : "wall time"), ok);
    pons_cli_set(o, "repeat", json_integer(report->repeat), ok);
    return o;
}

static void describe_pattern(const pons_bench_layer *layer, char *text, size_t bytes)
{
    if (layer->n > 0)
        snprintf(text, bytes, "%d:%d", layer->n, layer->m);
    else
        snprintf(text, bytes, "unstructured");
}

static json_t *layer_json(const pons_bench_layer *layer, bool *ok)
{
    char source[512], pattern[32];
    json_t *o = json_object();
    pons_bench_layer_describe(layer, source, sizeof source);
    describe_pattern(layer, pattern, sizeof pattern);
    pons_cli_set(o, "hessian", json_string(source), ok);
    pons_cli_set(o, "pattern", json_string(pattern), ok);
    pons_cli_set(o, "sparsity",
                 pons_cli_real(layer->n > 0 ? (double)layer->n / layer->m : layer->sparsity), ok);
    pons_cli_set(o, "alpha", pons_cli_real(layer->alpha), ok);
    pons_cli_set(o, "damping", pons_cli_real(layer->damping), ok);
    return o;
}

static pons_status print_json(const pons_bench_report *report)
{
    bool ok = true;
    json_t *root = json_object(), *list = NULL;
    if (!report->list) set_result(root, &report->result[0], &ok);
    if (report->list) {
        list = json_array();
        for (int i = 0; i < report->count; i++) {
            json_t *o = json_object();
            set_result(o, &report->result[i], &ok);
            ok = json_array_append_new(list, o) == 0 && ok;
        }
        pons_cli_set(root, "results", list, &ok);
    }
    if (report->exponents > 0) {
        json_t *o = json_object();
        pons_cli_set(o, "over", json_string(report->over), &ok);
        for (int i = 0; i < report->exponents; i++)
            pons_cli_set(o, report->exponent_name[i], pons_cli_real(report->exponent[i]), &ok);
        pons_cli_set(root, "exponents", o, &ok);
    }
    if (report->layer) pons_cli_set(root, "layer", layer_json(report->layer, &ok), &ok);
    pons_cli_set(root, "machine", machine_json(report, &ok), &ok);
    pons_status st =
        ok ? pons_cli_print(root, true) : pons_fail(PONS_ERR_NOMEM, "out of memory for the result");
    json_decref(root);
    return st;
}

/* A number or, where there is none, a dash, right-aligned. */
static void print_number(const char *format, int width, double value)
{
    char text[64] = "-";
    if (isfinite(value)) snprintf(text, sizeof text, format, value);
    printf("  %*s", width, text);
}

static void print_row(const pons_bench_result *r)
{
    char what[64];
    snprintf(what, sizeof what, "%s %s", r->what, r->method);
    printf("%-22s %-5s %7lld %6lld %4d %5d", what, r->precision, (long long)r->rows,
           (long long)r->d, r->threads, r->ranks);
    print_number("%.4f", 9, r->seconds);
    print_number("%.1f", 8, r->gflops);
    print_number("%.1f %%", 7, 100 * r->share_of_peak);
    print_number("%.1f", 8, r->workspace_bytes < 0 ? NAN : (double)r->workspace_bytes / 1048576.0);
    print_number("%.5f", 9, r->error_ratio);
    print_number("%.1f", 8, r->baseline.speedup);
    putchar('\n');
}

static void print_baseline(const pons_bench_result *r, const pons_bench_baseline *b)
{
    bool whole = b->rows >= r->rows;
    printf("  baseline: %s, %d thread%s: %.4g s per row over %lld rows; all %lld: %.4g s%s, %.1f "
           "times as long\n",
           b->what, b->threads, b->threads == 1 ? "" : "s", b->seconds_per_row, (long long)b->rows,
           (long long)r->rows, b->seconds, whole ? "" : " (extrapolated)", b->speedup);
}

static void print_notes(const pons_bench_result *r)
{
    printf("%s %s %s, %lld x %lld:\n", r->what, r->method, r->precision, (long long)r->rows,
           (long long)r->d);
    printf("  measured GEMM peak at that shape: %.1f GF/s\n", r->peak_gflops);
    if (r->baseline.what) print_baseline(r, &r->baseline);
    if (r->one_thread.what && r->baseline.threads != 1) print_baseline(r, &r->one_thread);
    if (isfinite(r->relative_error))
        printf("  largest difference over largest entry: %.2g\n", r->relative_error);
    if (strcmp(r->what, "forward") == 0)
        printf("  attention alone: %.4f s, %.0f %% of the seconds, %.1f GF/s\n",
               r->attention_seconds, 100 * r->attention_seconds / r->seconds, r->attention_gflops);
    if (strcmp(r->what, "solver") != 0) return;
    if (isfinite(r->product_share))
        printf("  of the time %.0f %% for what rows share, %.0f %% in products: %.1f GF/s, %.0f %% "
               "of peak\n",
               100 * r->prepare_share, 100 * r->product_share, r->product_gflops,
               100 * r->product_gflops / r->peak_gflops);
    printf("  error over exact: worst row %.5f; stage 1 alone %.6f, worst row %.6f\n",
           r->worst_error_ratio, r->stage1_error_ratio, r->stage1_worst_error_ratio);
    if (r->fallbacks >= 0)
        printf(
            "  iterations: stage 1 %.1f, stage 2 %.1f; rows finished by the direct solver: %lld\n",
            r->iterations[0], isnan(r->iterations[1]) ? 0.0 : r->iterations[1],
            (long long)r->fallbacks);
    printf(
        "  shared factor of the input group (not in seconds): %.4f s; with it, one spotrf per row "
        "takes %.1f times as long\n",
        r->factor_seconds, r->speedup_with_factor);
}

static pons_status print_table(const pons_bench_report *report)
{
    char processor[256], source[512], pattern[32];
    read_processor(processor, sizeof processor);
    printf("%s; Pons %s; %s; best of %lld, %s\n", processor, PONS_VERSION, pons_kern_describe(),
           (long long)report->repeat, report->cpu_time ? "processor time" : "wall time");
    if (report->layer) {
        pons_bench_layer_describe(report->layer, source, sizeof source);
        describe_pattern(report->layer, pattern, sizeof pattern);
        printf("layer: %s; %s", source, pattern);
        if (report->layer->n == 0) printf(", sparsity %g", report->layer->sparsity);
        printf(", alpha %g, damping %g\n", report->layer->alpha, report->layer->damping);
    }
    printf("\n%-22s %-5s %7s %6s %4s %5s  %9s  %8s  %7s  %8s  %9s  %8s\n", "what", "type", "rows",
           "dim", "thr.", "ranks", "seconds", "GF/s", "of peak", "MiB", "error", "speedup");
    for (int i = 0; i < report->count; i++)
        print_row(&report->result[i]);
    putchar('\n');
    for (int i = 0; i < report->count; i++)
        print_notes(&report->result[i]);
    for (int i = 0; i < report->exponents; i++)
        printf("%s%s ~ %s^%.2f\n", i ? "" : "\n", report->exponent_name[i], report->over,
               report->exponent[i]);
    return pons_cli_flush();
}

pons_status pons_cli_print_bench(const pons_bench_report *report, bool json)
{
    return json ? print_json(report) : print_table(report);
}

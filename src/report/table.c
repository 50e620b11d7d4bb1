/* What stands in the tables. */
#include "report/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "report/paper.h"

/* A task here, and the metric's name in the paper. */
static const char *const tasks[][2] = {{"piqa", "PIQA"},           {"boolq", "BoolQ"},
                                       {"hellaswag", "HellaSwag"}, {"arc_easy", "ARC-e"},
                                       {"arc_challenge", "ARC-c"}, {"winogrande", "WinoGrande"}};
enum { TASKS = sizeof tasks / sizeof *tasks };

static pons_status begin(pons_report_table *t, const char *title, const char *note, int rows,
                         const char *const *header)
{
    pons_status st = PONS_OK;
    *t = (pons_report_table){.title = title, .note = note, .rows = 1};
    PONS_CALLOC(st, t->row, rows + 1);
    for (; header[t->columns]; t->columns++)
        snprintf(t->row[0][t->columns], PONS_TABLE_CELL, "%s", header[t->columns]);
done:
    return st;
}

static void put(pons_report_table *t, int column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A cell of the last row. */
static void put(pons_report_table *t, int column, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->row[t->rows - 1][column], PONS_TABLE_CELL, format, args);
    va_end(args);
}

static void put_number(pons_report_table *t, int column, const char *format, double value)
{
    if (isfinite(value))
        snprintf(t->row[t->rows - 1][column], PONS_TABLE_CELL, format, value);
    else
        put(t, column, "-");
}

static const char *perplexity_format(double value) { return value < 1000 ? "%.2f" : "%.0f"; }

/* The paper's number, whichever of the two metrics has it. */
static double printed(const pons_report_run *run, const char *metric, const char *other)
{
    double value = pons_paper_number(run->recipe.label, metric);
    return isfinite(value) ? value : pons_paper_number(run->recipe.label, other);
}

static void put_bits(pons_report_table *t, int column, const pons_recipe *r)
{
    char values[8] = "";
    if (r->values.bits != r->kv.bits) snprintf(values, sizeof values, "/%d", r->values.bits);
    put(t, column, "%d-%d-%d%s", pons_method_quantizes(r->method) ? r->weights.bits : 16,
        r->activations.bits, r->kv.bits, values);
}

pons_status pons_table_results(const pons_report_run *runs, int count, pons_report_table *out)
{
    static const char *const header[] = {"run",   "method",       "W-A-KV",     "zeros",
                                         "error", "MB",           "bits",       "ppl, weights only",
                                         "ppl",   "ppl, printed", "difference", NULL};
    pons_status st = PONS_OK;
    bool any = false;
    PONS_TRY(st, begin(out, "Results",
                       "Zeros: share of the weights of all linears; error: squared output error of "
                       "all linears over the squared output; bits: stored per weight, scales "
                       "included; printed: in the paper, for the row that the label names.",
                       count, header));
    for (int i = 0; i < count; i++) {
        const pons_report_run *run = &runs[i];
        double weights_only = pons_report_number(run->manifest, "perplexity.weights_only");
        double full = pons_report_number(run->manifest, "perplexity.full");
        double paper = printed(run, "Wiki2_PPL", "Wiki2_PPL_approx");
        if (!isfinite(full) && run->recipe.activations.bits == 16 && run->recipe.kv.bits == 16 &&
            run->recipe.values.bits == 16)
            full = weights_only;
        out->rows++;
        put(out, 0, "%s%s", run->name, run->manifest ? "" : " (not finished)");
        put(out, 1, "%s", pons_method_name(run->recipe.method));
        put_bits(out, 2, &run->recipe);
        put_number(out, 3, "%.4f", pons_report_number(run->manifest, "totals.sparsity"));
        put_number(out, 4, "%.3g", pons_report_number(run->manifest, "totals.relative_error"));
        put_number(out, 5, "%.1f", pons_report_number(run->report, "bytes") / 1e6);
        put_number(out, 6, "%.2f", pons_report_number(run->report, "bits"));
        put_number(out, 7, perplexity_format(weights_only), weights_only);
        put_number(out, 8, perplexity_format(full), full);
        put_number(out, 9, perplexity_format(paper), paper);
        put_number(out, 10, fabs(full - paper) < 1000 ? "%+.2f" : "%+.0f", full - paper);
        any |= isfinite(paper);
    }
    if (!any) out->columns -= 2; /* no row of the paper */
done:
    return st;
}

/* "68.20", and below it "68.93 (-0.73)": measured, printed, difference. */
static void put_score(pons_report_table *t, int column, double score, double paper)
{
    if (isfinite(score) && isfinite(paper))
        put(t, column, "%.2f\n%.2f (%+.2f)", score, paper, score - paper);
    else if (isfinite(paper))
        put(t, column, "-\n%.2f", paper);
    else
        put_number(t, column, "%.2f", score);
}

pons_status pons_table_tasks(const pons_report_run *runs, int count, pons_report_table *out)
{
    const char *header[TASKS + 3] = {"run"};
    pons_status st = PONS_OK;
    bool any = false;
    for (int k = 0; k < TASKS; k++)
        header[k + 1] = tasks[k][1];
    header[TASKS + 1] = "mean";
    PONS_TRY(st, begin(out, "Zero-shot accuracy, percent",
                       "acc_norm for PIQA, HellaSwag and ARC, acc for BoolQ and WinoGrande; below "
                       "them what the paper prints, and the difference. The mean is over the "
                       "tasks measured.",
                       count, header));
    for (int i = 0; i < count; i++) {
        const pons_report_run *run = &runs[i];
        double sum = 0, measured = 0;
        out->rows++;
        put(out, 0, "%s", run->name);
        for (int k = 0; k < TASKS; k++) {
            char path[64];
            snprintf(path, sizeof path, "tasks.%s.score", tasks[k][0]);
            double score = 100 * pons_report_number(run->tasks, path);
            double paper = pons_paper_number(run->recipe.label, tasks[k][1]);
            put_score(out, k + 1, score, paper);
            any |= isfinite(score) || isfinite(paper);
            if (!isfinite(score)) continue;
            sum += score;
            measured++;
        }
        double paper = printed(run, "Avg", "ZeroShot_Avg");
        put_score(out, TASKS + 1, measured > 0 ? sum / measured : NAN, paper);
        any |= isfinite(paper);
    }
    if (!any) out->rows = 0;
done:
    return st;
}

/* Whether any run spent time in a phase. */
static bool is_used(const pons_report_run *runs, int count, const char *phase)
{
    for (int i = 0; i < count; i++)
        if (pons_report_number(json_object_get(runs[i].report, "seconds"), phase) > 0) return true;
    return false;
}

/* "145.6", and below it "512 MB" where the report says so. */
static void put_cost(pons_report_table *t, int column, double seconds, double bytes)
{
    if (isfinite(seconds) && isfinite(bytes))
        put(t, column, "%.1f\n%.0f MB", seconds, bytes / 1e6);
    else
        put_number(t, column, "%.1f", seconds);
}

pons_status pons_table_cost(const pons_report_run *runs, int count, pons_report_table *out)
{
    enum { BEFORE = 2 };
    const char *header[PONS_TABLE_COLUMNS + 1] = {"run", "ranks"}, *phase;
    const json_t *first = NULL;
    json_t *value;
    int columns = BEFORE;
    pons_status st = PONS_OK;
    for (int i = count - 1; i >= 0; i--)
        if (runs[i].report) first = runs[i].report;
    json_object_foreach(json_object_get(first, "seconds"), phase, value)
    {
        if (columns < PONS_TABLE_COLUMNS && is_used(runs, count, phase)) header[columns++] = phase;
    }
    PONS_TRY(st,
             begin(out, "Time and memory",
                   "Seconds of rank 0, of the last process when a run was resumed. Below them the "
                   "largest resident set of a rank; that of solve is also of mask, clip, gptq "
                   "and polish.",
                   count, header));
    for (int i = 0; i < count; i++) {
        const json_t *report = runs[i].report, *seconds = json_object_get(report, "seconds"),
                     *memory = json_object_get(report, "memory");
        if (!report) continue;
        out->rows++;
        put(out, 0, "%s", runs[i].name);
        put_number(out, 1, "%.0f", pons_report_number(report, "ranks"));
        for (int c = BEFORE; c < columns; c++)
            put_cost(out, c, pons_report_number(seconds, header[c]),
                     !strcmp(header[c], "total") ? pons_report_number(report, "peak_rss_bytes")
                                                 : pons_report_number(memory, header[c]));
    }
    if (!first) out->rows = 0;
done:
    return st;
}

void pons_table_free(pons_report_table *table)
{
    pons_mem_free(table->row);
    *table = (pons_report_table){0};
}

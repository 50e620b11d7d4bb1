/* The report as one HTML page: nothing outside it is needed to read it. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "report/page.h"
#include "report/svg.h"

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--page:#fff;"
    "--box:#f5f7f9;--c0:#0b6fb8;--c1:#d1640a;--c2:#18865b;--c3:#b5327b;--c4:#7a5bc7;--c5:#8a6d00;"
    "--c6:#3a9fb5;--c7:#7a4a35}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--line:#333c48;"
    "--page:#14181e;--box:#1c222a;--c0:#5ab0f0;--c1:#f09a4a;--c2:#4cc795;--c3:#ec82bc;--c4:#b09cf0;"
    "--c5:#d8b840;--c6:#74d0e4;--c7:#cf9a80}}\n"
    "body{margin:0 auto;max-width:1180px;padding:28px 24px 60px;background:var(--page);"
    "color:var(--ink);font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:38px 0 8px;overflow-wrap:anywhere}\n"
    "p.note{color:var(--soft);font-size:13px;max-width:80ch;margin:6px 0}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:13.5px;"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:5px 9px;border-bottom:1px solid var(--line);text-align:right;"
    "white-space:nowrap}th{color:var(--soft);font-weight:600;vertical-align:bottom}\n"
    "th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal;"
    "min-width:170px}td small{color:var(--soft)}\n"
    ".figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,480px),1fr));"
    "gap:18px;margin-top:14px}\n"
    "figure{margin:0;padding:12px 14px;background:var(--box);border-radius:8px}"
    "figcaption{font-weight:600;font-size:14px}\n"
    "svg{display:block;width:100%;height:auto}svg text{font:11.5px system-ui,sans-serif;"
    "fill:var(--soft)}svg .end{text-anchor:end}svg .middle{text-anchor:middle}svg "
    ".bar{font-size:10px}\n"
    "svg .grid{stroke:var(--line)}svg .line{fill:none;stroke-width:1.7}\n"
    ".legend{margin:2px 0;font-size:12.5px;color:var(--soft)}.legend span{margin-right:10px;"
    "white-space:nowrap}.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;"
    "margin-right:5px}\n"
    "pre{background:var(--box);padding:12px "
    "14px;border-radius:8px;overflow-x:auto;font-size:12.5px}"
    "summary{cursor:pointer;margin-top:14px}\n"
    "@media(max-width:560px){body{padding:20px 14px 40px}svg text{font-size:17px}svg "
    ".bar{font-size:14px}figure{padding:10px 8px}}\n";

static void print_style(FILE *out)
{
    fprintf(out, "<style>\n%s", style);
    for (int s = 0; s < PONS_SVG_COLOURS; s++)
        fprintf(out,
                ".line.s%d{stroke:var(--c%d)}circle.s%d,rect.s%d{fill:var(--c%d)}"
                "i.s%d{background:var(--c%d)}\n",
                s, s, s, s, s, s, s);
    fputs("</style>\n", out);
}

static void print_cell(FILE *out, const char *text)
{
    char first[PONS_TABLE_CELL];
    size_t n = strcspn(text, "\n");
    snprintf(first, sizeof first, "%.*s", (int)n, text);
    pons_html_text(out, first);
    if (!text[n]) return;
    fputs("<br><small>", out);
    pons_html_text(out, text + n + 1);
    fputs("</small>", out);
}

static void print_table(FILE *out, const pons_report_table *t)
{
    if (t->rows == 0) return;
    fprintf(out, "<h2>%s</h2>\n<div class=\"wide\"><table>\n", t->title);
    for (int r = 0; r < t->rows; r++) {
        fputs("<tr>", out);
        for (int c = 0; c < t->columns; c++) {
            fputs(r ? "<td>" : "<th>", out);
            print_cell(out, t->row[r][c]);
            fputs(r ? "</td>" : "</th>", out);
        }
        fputs("</tr>\n", out);
    }
    fprintf(out, "</table></div>\n<p class=\"note\">%s</p>\n", t->note);
}

static bool has_errors(const pons_report_run *run)
{
    for (int64_t b = 0; b < run->blocks; b++)
        if (isfinite(run->block_error[b])) return true;
    return false;
}

/* Block errors of all runs on one chart, as far as each has come. */
static void compare_errors(FILE *out, const pons_report_page *page)
{
    pons_svg_series series[PONS_SVG_COLOURS];
    int count = 0;
    for (int i = 0; i < page->count && count < PONS_SVG_COLOURS; i++) {
        const pons_report_run *run = &page->runs[i];
        if (!has_errors(run)) continue;
        series[count] =
            (pons_svg_series){.y = run->block_error, .stride = 1, .points = run->blocks};
        snprintf(series[count++].name, sizeof series->name, "%s", run->name);
    }
    if (count < 2) return;
    fputs("<div class=\"figures\">\n", out);
    pons_svg_lines(out, &(pons_svg_chart){count < page->count && count == PONS_SVG_COLOURS
                                              ? "Relative output error of each block, first runs"
                                              : "Relative output error of each block, by run",
                                          "block", "error", true, count, series});
    fputs("</div>\n", out);
}

/* A line for each linear, as many as there are colours. @param values [blocks, linears] */
static void chart_linears(FILE *out, const char *title, const char *unit, bool log,
                          const pons_report_run *run, const double *values)
{
    pons_svg_series series[PONS_SVG_COLOURS];
    int count = run->linears < PONS_SVG_COLOURS ? run->linears : PONS_SVG_COLOURS;
    for (int i = 0; i < count; i++) {
        series[i] =
            (pons_svg_series){.y = values + i, .stride = run->linears, .points = run->blocks};
        snprintf(series[i].name, sizeof series->name, "%s", pons_report_linear_name(run, i));
    }
    pons_svg_lines(out, &(pons_svg_chart){title, "block", unit, log, count, series});
}

static void chart_codes(FILE *out, const pons_report_run *run)
{
    static const char *const label[PONS_REPORT_CODES] = {
        "-8", "-7", "-6", "-5", "-4", "-3", "-2", "-1", "0", "1", "2", "3", "4", "5", "6", "7"};
    double share[PONS_REPORT_CODES];
    if (run->coded == 0) return;
    for (int c = 0; c < PONS_REPORT_CODES; c++)
        share[c] = (double)run->codes[c] / (double)run->coded;
    pons_svg_series series = {"share", share, 1, PONS_REPORT_CODES};
    pons_svg_bars(out,
                  &(pons_svg_chart){"4-bit codes of all linears", "code", "share of weights", false,
                                    1, &series},
                  label);
}

/* What the report says of each phase that there was. @param unit of the numbers in the report */
static void chart_phases(FILE *out, const pons_report_run *run, const char *key, const char *title,
                         const char *y, double unit)
{
    enum { MOST = 20 };
    const char *label[MOST], *phase;
    double amount[MOST];
    json_t *value;
    int count = 0;
    json_object_foreach(json_object_get(run->report, key), phase, value)
    {
        if (count == MOST || !strcmp(phase, "total") || !(json_number_value(value) > 0)) continue;
        label[count] = phase;
        amount[count++] = json_number_value(value) / unit;
    }
    if (count == 0) return;
    pons_svg_series series = {"", amount, 1, count};
    pons_svg_bars(out, &(pons_svg_chart){title, "phase", y, false, 1, &series}, label);
}

/* Rows by the number of products that the solver needed for them. */
static void chart_iterations(FILE *out, const pons_report_run *run)
{
    enum { MOST = 64 };
    static char text[MOST][4];
    const char *label[MOST];
    double rows[MOST];
    const json_t *list =
        json_object_get(json_object_get(run->report, "solver"), "rows_by_iterations");
    int64_t count = (int64_t)json_array_size(list);
    if (count < 1) return;
    if (count > MOST) count = MOST;
    for (int64_t i = 0; i < count; i++) {
        rows[i] = json_number_value(json_array_get(list, (size_t)i));
        text[i][0] = '\0';
        if (count <= 24 || i % 4 == 0) snprintf(text[i], sizeof text[i], "%d", (int)i);
        label[i] = text[i];
    }
    pons_svg_series series = {"rows", rows, 1, count};
    pons_svg_bars(
        out,
        &(pons_svg_chart){"Solver: rows by iterations", "iterations", "rows", false, 1, &series},
        label);
}

static void print_run(FILE *out, const pons_report_run *run)
{
    pons_svg_series seconds = {"seconds", run->block_seconds, 1, run->blocks};
    fputs("<h2>", out);
    pons_html_text(out, run->name);
    fputs("</h2>\n", out);
    if (strcmp(run->name, run->path)) {
        fputs("<p class=\"note\">", out);
        pons_html_text(out, run->path);
        fputs("</p>\n", out);
    }
    fputs("<div class=\"figures\">\n", out);
    chart_linears(out, "Relative output error of each linear", "error", true, run, run->error);
    chart_linears(out, "Zeros of each linear", "share of weights", false, run, run->sparsity);
    chart_codes(out, run);
    chart_iterations(out, run);
    chart_phases(out, run, "seconds", "Time of each phase, rank 0", "seconds", 1);
    chart_phases(out, run, "memory", "Memory of each phase, largest rank", "peak, MB", 1e6);
    pons_svg_lines(out,
                   &(pons_svg_chart){"Time of each block", "block", "seconds", false, 1, &seconds});
    fputs("</div>\n<details><summary>Recipe</summary><pre>", out);
    pons_html_text(out, run->recipe_text);
    fputs("</pre></details>\n", out);
}

void pons_report_html(FILE *out, const pons_report_page *page)
{
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<title>Pons report</title>\n",
          out);
    print_style(out);
    fprintf(out, "</head><body>\n<h1>Pons report</h1>\n<p class=\"note\">Pons %s, %d run%s.</p>\n",
            PONS_VERSION, page->count, page->count == 1 ? "" : "s");
    for (int t = 0; t < 2; t++)
        print_table(out, &page->tables[t]);
    compare_errors(out, page);
    print_table(out, &page->tables[2]);
    for (int i = 0; i < page->count; i++)
        print_run(out, &page->runs[i]);
    fputs("</body></html>\n", out);
}

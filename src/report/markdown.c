/* The report as Markdown: tables and recipes. */
#include <math.h>

#include "report/page.h"

static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|' || *text == '\\') fputc('\\', out);
        if (*text == '\n')
            fputs("<br>", out);
        else
            fputc(*text, out);
    }
}

static void print_table(FILE *out, const pons_report_table *t)
{
    if (t->rows == 0) return;
    fprintf(out, "## %s\n\n", t->title);
    for (int r = 0; r < t->rows; r++) {
        for (int c = 0; c < t->columns; c++) {
            fputs("| ", out);
            print_cell(out, t->row[r][c]);
            fputc(' ', out);
        }
        fputs("|\n", out);
        for (int c = 0; r == 0 && c < t->columns; c++)
            fputs(c ? "|---:" : "|---", out);
        if (r == 0) fputs("|\n", out);
    }
    fprintf(out, "\n%s\n\n", t->note);
}

/* Relative error of every linear, a row per block. */
static void print_errors(FILE *out, const pons_report_run *run)
{
    bool any = false;
    for (int64_t i = 0; i < run->blocks * run->linears; i++)
        any |= isfinite(run->error[i]);
    if (!any) return;
    fputs("| block |", out);
    for (int i = 0; i < run->linears; i++)
        fprintf(out, " %s |", pons_report_linear_name(run, i));
    fputs("\n|---", out);
    for (int i = 0; i < run->linears; i++)
        fputs("|---:", out);
    fputs("|\n", out);
    for (int64_t b = 0; b < run->blocks; b++) {
        fprintf(out, "| %lld |", (long long)b);
        for (int i = 0; i < run->linears; i++)
            fprintf(out, isfinite(run->error[b * run->linears + i]) ? " %.3g |" : " - |",
                    run->error[b * run->linears + i]);
        fputc('\n', out);
    }
    fputs("\nRelative output error of each linear.\n\n", out);
}

void pons_report_markdown(FILE *out, const pons_report_page *page)
{
    fputs("# Pons report\n\n", out);
    for (int t = 0; t < 3; t++)
        print_table(out, &page->tables[t]);
    for (int i = 0; i < page->count; i++) {
        const pons_report_run *run = &page->runs[i];
        fprintf(out, "## %s\n\n", run->name);
        print_errors(out, run);
        if (run->coded > 0) {
            fputs("| code | share |\n|---:|---:|\n", out);
            for (int c = 0; c < PONS_REPORT_CODES; c++)
                fprintf(out, "| %d | %.4f |\n", c - PONS_REPORT_CODES / 2,
                        (double)run->codes[c] / (double)run->coded);
            fputc('\n', out);
        }
        fprintf(out, "```yaml\n%s```\n\n", run->recipe_text);
    }
}

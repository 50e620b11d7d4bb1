/* Making a report: runs read, codes counted, pages written whole or not at all. */
#include "report/report.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/file.h"
#include "report/page.h"

static pons_status read_runs(const pons_report_options *options, pons_report_run *runs)
{
    pons_status st = PONS_OK;
    for (int i = 0; i < options->count; i++)
        PONS_TRY(st, pons_report_run_read(options->runs[i], &runs[i]));
done:
    return st;
}

static pons_status write_page(const char *path, const pons_report_page *page,
                              void (*print)(FILE *, const pons_report_page *))
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return pons_fail(PONS_ERR_NOMEM, "%s: out of memory for the page", path);
    print(out, page);
    pons_status st = ferror(out) ? PONS_ERR_NOMEM : PONS_OK;
    if (fclose(out)) st = PONS_ERR_NOMEM;
    st = st == PONS_OK ? pons_file_write(path, text, bytes)
                       : pons_fail(st, "%s: out of memory for the page", path);
    free(text);
    return st;
}

static pons_status write_pages(const pons_report_options *options, const pons_report_run *runs)
{
    pons_status st = PONS_OK;
    pons_report_page page = {.runs = runs, .count = options->count};
    PONS_TRY(st, pons_table_results(runs, page.count, &page.tables[0]));
    PONS_TRY(st, pons_table_tasks(runs, page.count, &page.tables[1]));
    PONS_TRY(st, pons_table_cost(runs, page.count, &page.tables[2]));
    if (options->html) PONS_TRY(st, write_page(options->html, &page, pons_report_html));
    if (options->markdown) PONS_TRY(st, write_page(options->markdown, &page, pons_report_markdown));
done:
    for (int t = 0; t < 3; t++)
        pons_table_free(&page.tables[t]);
    return st;
}

pons_status pons_report_write(pons_comm *comm, const pons_report_options *options)
{
    pons_status st = PONS_OK;
    bool reads = pons_comm_rank(comm) == 0;
    pons_report_run *runs = pons_mem_calloc(options->count, sizeof *runs);
    PONS_TRY_ALL(st, comm, runs ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY_ALL(st, comm, reads ? read_runs(options, runs) : PONS_OK);
    for (int i = 0; i < options->count; i++)
        PONS_TRY(st, pons_report_count_codes(comm, &runs[i]));
    PONS_TRY_ALL(st, comm, reads ? write_pages(options, runs) : PONS_OK);
done:
    for (int i = 0; runs && i < options->count; i++)
        pons_report_run_free(&runs[i]);
    pons_mem_free(runs);
    return st;
}

/* Sums over the linears of committed blocks. Does not decide what a phase is. */
#include "pipeline/account.h"

#include "base/log.h"
#include "pipeline/counts.h"

pons_status pons_account_open(pons_comm *comm, pons_account *account)
{
    pons_status st, local = PONS_OK;
    account->start = pons_clock();
    account->linears = json_array();
    if (!account->linears) local = pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
    PONS_TRY_ALL(st, comm, local);
    st = pons_trace_begin(comm, &account->trace);
done:
    return st;
}

void pons_account_close(pons_account *account)
{
    json_decref(account->linears);
    pons_trace_end(&account->trace);
}

static int64_t integer_of(const json_t *line, const char *key)
{
    return json_integer_value(json_object_get(line, key));
}

/* The manifest's: without the histogram, which the journal has. */
static json_t *iterations_of(const json_t *line)
{
    json_t *copy = json_copy(json_object_get(line, "iterations"));
    json_object_del(copy, "rows_by_iterations");
    return copy;
}

pons_status pons_account_add_linear(pons_account *account, const json_t *line)
{
    double error = json_number_value(json_object_get(line, "error"));
    double energy = json_number_value(json_object_get(line, "energy"));
    int64_t rows = integer_of(line, "rows"), cols = integer_of(line, "cols");
    json_t *entry =
        json_pack("{s:O?, s:I, s:I, s:O?, s:O?, s:o, s:O*, s:O*, s:o*}", "name",
                  json_object_get(line, "name"), "rows", (json_int_t)rows, "cols", (json_int_t)cols,
                  "bits", json_object_get(line, "bits"), "zeros", json_object_get(line, "zeros"),
                  "relative_error", energy > 0 ? json_real(error / energy) : json_null(),
                  "target_share", json_object_get(line, "target_share"), "holdout_ratio",
                  json_object_get(line, "holdout_ratio"), "iterations", iterations_of(line));
    if (json_array_append_new(account->linears, entry) != 0)
        return pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
    pons_row_metrics counts = pons_counts_from_json(json_object_get(line, "iterations"));
    pons_counts_add(&account->metrics, &counts);
    account->error += error;
    account->energy += energy;
    account->rows += rows;
    account->weights += rows * cols;
    account->zeros += integer_of(line, "zeros");
    account->linear_count++;
    return PONS_OK;
}

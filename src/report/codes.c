/* Counting the 4-bit codes of a packed model. */
#include <string.h>

#include "base/mem.h"
#include "model/model.h"
#include "report/run.h"

/* Add the codes of one linear, when it has 4-bit symmetric ones. */
static pons_status count_linear(const pons_model *model, int64_t layer, int linear,
                                int64_t codes[PONS_REPORT_CODES])
{
    pons_status st = PONS_OK;
    int64_t rows, cols, groups;
    int bits;
    bool symmetric;
    int8_t *code = NULL, *zero = NULL;
    float *scale = NULL;
    pons_model_linear_format(model, layer, linear, &bits, &groups, &symmetric);
    if (bits != 4 || !symmetric) return PONS_OK;
    pons_linear_shape(pons_model_get_config(model), linear, &rows, &cols);
    PONS_ALLOC(st, code, rows * cols);
    PONS_ALLOC(st, scale, rows * groups);
    PONS_ALLOC(st, zero, rows * groups);
    PONS_TRY(st, pons_model_read_codes(model, layer, linear, code, scale, zero));
    for (int64_t i = 0; i < rows * cols; i++)
        codes[code[i] + PONS_REPORT_CODES / 2]++;
done:
    pons_mem_free(zero);
    pons_mem_free(scale);
    pons_mem_free(code);
    return st;
}

static pons_status count_own_blocks(pons_comm *comm, const char *path,
                                    int64_t codes[PONS_REPORT_CODES])
{
    pons_status st = PONS_OK;
    pons_model *model = NULL;
    PONS_TRY(st, pons_model_open(path, &model));
    if (!pons_model_is_packed(model)) goto done;
    const pons_arch *arch = pons_model_get_config(model)->arch;
    int64_t layers = pons_model_get_config(model)->layers;
    for (int64_t l = pons_comm_rank(comm); l < layers; l += pons_comm_size(comm))
        for (int i = 0; i < arch->linears; i++)
            PONS_TRY(st, count_linear(model, l, i, codes));
done:
    pons_model_close(&model);
    return st;
}

pons_status pons_report_count_codes(pons_comm *comm, pons_report_run *run)
{
    pons_status st = PONS_OK;
    char path[4096] = "";
    int64_t codes[PONS_REPORT_CODES] = {0};
    if (pons_comm_rank(comm) == 0 && run->out && run->manifest && strlen(run->out) < sizeof path)
        strcpy(path, run->out);
    pons_comm_bcast(comm, path, sizeof path, 0);
    if (!*path) return PONS_OK;
    PONS_TRY_ALL(st, comm, count_own_blocks(comm, path, codes));
    pons_comm_sum_i64(comm, codes, PONS_REPORT_CODES);
    for (int i = 0; i < PONS_REPORT_CODES && pons_comm_rank(comm) == 0; i++) {
        run->codes[i] = codes[i];
        run->coded += codes[i];
    }
done:
    return st;
}

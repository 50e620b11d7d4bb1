/* The last norm and the head, prepared panel by panel; on ranks that do not need it, it is read for
 * the others only. */
#include "eval/head.h"

#include "base/mem.h"
#include "eval/deal.h"
#include "kern/fused.h"
#include "kern/transformer.h"

enum { PANEL = 8192 /* rows read, broadcast and prepared at a time */ };

struct pons_eval_head {
    int64_t vocab, hidden, panels;
    float rms_eps;
    bool bf16, needed;
    float *gain;         /* [hidden] */
    pons_matmul **panel; /* [panels] */
};

typedef struct reader {
    const pons_eval_head *head;
    pons_read_rows read;
    void *user;
} reader;

static int64_t panel_rows(const pons_eval_head *h, int64_t panel)
{
    int64_t left = h->vocab - panel * PANEL;
    return left < PANEL ? left : PANEL;
}

static pons_status read_panel(void *user, int64_t panel, float *out)
{
    const reader *r = user;
    return r->read(r->user, panel * PANEL, panel_rows(r->head, panel), out);
}

static pons_status take_panel(void *user, int64_t panel, const float *data)
{
    const reader *r = user;
    const pons_eval_head *h = r->head;
    if (!h->needed) return PONS_OK;
    return pons_matmul_create(panel_rows(h, panel), h->hidden, data, h->bf16, &h->panel[panel]);
}

static pons_status prepare(const pons_model_config *config, const float *gain, pons_eval_head **out,
                           int64_t **count)
{
    pons_status st = PONS_OK;
    pons_eval_head *h = NULL;
    PONS_CALLOC(st, h, 1);
    h->vocab = config->vocab;
    h->hidden = config->hidden;
    h->rms_eps = (float)config->rms_eps;
    h->panels = (h->vocab + PANEL - 1) / PANEL;
    PONS_ALLOC(st, h->gain, h->hidden);
    for (int64_t j = 0; j < h->hidden; j++)
        h->gain[j] = gain ? gain[j] : 1.0f;
    PONS_CALLOC(st, h->panel, h->panels);
    PONS_ALLOC(st, *count, h->panels);
    for (int64_t p = 0; p < h->panels; p++)
        (*count)[p] = panel_rows(h, p) * h->hidden;
    *out = h;
    h = NULL;
done:
    pons_eval_head_destroy(&h);
    return st;
}

pons_status pons_eval_head_create(pons_comm *comm, const pons_model_config *config, bool bf16,
                                  bool needed, const float *gain, pons_read_rows read, void *user,
                                  pons_eval_head **out)
{
    pons_status st = PONS_OK;
    pons_eval_head *h = NULL;
    int64_t *count = NULL;
    PONS_TRY_ALL(st, comm, prepare(config, gain, &h, &count));
    h->bf16 = bf16;
    h->needed = needed;
    reader r = {.head = h, .read = read, .user = user};
    PONS_TRY(st, pons_eval_deal_items(comm, h->panels, count, read_panel, take_panel, &r));
    *out = h;
    h = NULL;
done:
    pons_mem_free(count);
    pons_eval_head_destroy(&h);
    return st;
}

void pons_eval_head_destroy(pons_eval_head **head)
{
    pons_eval_head *h = *head;
    if (!h) return;
    for (int64_t p = 0; h->panel && p < h->panels; p++)
        pons_matmul_destroy(&h->panel[p]);
    pons_mem_free(h->panel);
    pons_mem_free(h->gain);
    pons_mem_free(h);
    *head = NULL;
}

pons_status pons_eval_head_losses(const pons_eval_head *head, int64_t T, const float *h,
                                  const int32_t *target, double *loss)
{
    pons_status st = PONS_OK;
    int64_t d = head->hidden;
    pons_matmul_input *input = NULL;
    float *x = NULL;
    PONS_ALLOC(st, x, T * d);
    pons_rmsnorm(T, d, h, head->gain, head->rms_eps, x);
    PONS_TRY(st, pons_matmul_pack(head->bf16, T, d, x, d, &input));
    PONS_TRY(st, pons_matmul_token_losses(head->panels, PANEL, head->panel, input, target, loss));
done:
    pons_matmul_input_destroy(&input);
    pons_mem_free(x);
    return st;
}

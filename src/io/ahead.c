/* Owns tensors that are read before they are wanted. Whoever asks for their bytes first waits for the
 * thread that reads them; only the thread of the store's user touches what is here. */
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "io/store_build.h"

struct pons_store_ahead {
    const pons_store *store;         /* not owned */
    const pons_store_tensor *tensor; /* not owned */
    pons_task *task;                 /* NULL: finished */
    pons_task_span span;
    bool good;
    size_t bytes;
    char data[];
};

/* On the thread. A failure is no news yet: it must not take the place of a sentence that somebody is about
 * to print. */
static pons_status read_whole(void *user)
{
    struct pons_store_ahead *a = user;
    const pons_store_file *file = pons_store_file_of(a->store, a->tensor);
    a->good = !pons_fault(PONS_FAULT_STORE_AHEAD) &&
              pons_store_read_file(file, a->tensor->view.name, file->data_begin + a->tensor->begin,
                                   a->bytes, a->data) == PONS_OK;
    return PONS_OK;
}

void pons_store_read_ahead(pons_store *store, const pons_tensor_view *tensor)
{
    pons_store_tensor *t = &store->tensors[(const pons_store_tensor *)tensor - store->tensors];
    size_t bytes = t->end - t->begin;
    if (t->ahead) return;
    struct pons_store_ahead *a = pons_mem_alloc((int64_t)(sizeof *a + bytes), 1);
    if (!a) return;
    *a = (struct pons_store_ahead){.store = store, .tensor = t, .bytes = bytes};
    t->ahead = a;
    if (pons_task_start(read_whole, a, &a->task) != PONS_OK) pons_store_forget(store, tensor, NULL);
}

static void settle(struct pons_store_ahead *a)
{
    if (a->task) (void)pons_task_finish(&a->task, &a->span);
}

bool pons_store_take_ahead(const pons_store_tensor *tensor, size_t at, size_t bytes, void *out)
{
    struct pons_store_ahead *a = tensor->ahead;
    if (!a) return false;
    settle(a);
    if (a->good) memcpy(out, a->data + at, bytes);
    return a->good;
}

bool pons_store_forget(pons_store *store, const pons_tensor_view *tensor, pons_task_span *span)
{
    pons_store_tensor *t = &store->tensors[(const pons_store_tensor *)tensor - store->tensors];
    struct pons_store_ahead *a = t->ahead;
    if (!a) return false;
    settle(a);
    bool good = a->good;
    if (span) *span = a->span;
    pons_mem_free(a);
    t->ahead = NULL;
    return good;
}

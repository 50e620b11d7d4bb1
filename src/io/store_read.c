/* Owns reading the bytes of tensors, from the file or from a copy that a background thread has read ahead. A
 * read waits for that thread; all functions here are called by one thread, the user of the store. */
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

/* On the background thread. A failure is not reported here, where it could replace a message that the main
 * thread is about to print: the tensor is read again, and that read reports it. */
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

/* Bytes [at, at + bytes) of a tensor that was read ahead; false when they must be read from the file. */
static bool take_ahead(const pons_store_tensor *tensor, size_t at, size_t bytes, void *out)
{
    struct pons_store_ahead *a = tensor->ahead;
    if (!a) return false;
    settle(a);
    if (a->good) memcpy(out, a->data + at, bytes);
    return a->good;
}

pons_status pons_store_read(const pons_store *store, const pons_tensor_view *tensor, size_t at,
                            size_t bytes, void *out)
{
    const pons_store_tensor *t = (const pons_store_tensor *)tensor; /* its first member */
    const pons_store_file *file = pons_store_file_of(store, t);
    char label[PONS_LABEL_BYTES];
    PONS_ASSERT(at + bytes <= t->end - t->begin);
    if (take_ahead(t, at, bytes, out)) return PONS_OK;
    pons_store_label(label, tensor->name, strlen(tensor->name));
    return pons_store_read_file(file, label, file->data_begin + t->begin + at, bytes, out);
}

pons_status pons_store_load(const pons_store *store, const pons_tensor_view *tensor, void **out)
{
    pons_status st = PONS_OK;
    size_t bytes = pons_dtype_bytes(tensor->dtype, pons_tensor_elements(tensor));
    char *data;
    PONS_ALLOC(st, data, (int64_t)bytes);
    st = pons_store_read(store, tensor, 0, bytes, data);
    if (st == PONS_OK)
        *out = data;
    else
        pons_mem_free(data);
done:
    return st;
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

/* Dealing items to readers and broadcasting what they read. Knows nothing of what the items are. */
#include "eval/deal.h"

#include "base/mem.h"

static pons_status allocate(int64_t n, float **mine, float **theirs)
{
    pons_status st = PONS_OK;
    PONS_ALLOC(st, *mine, n);
    PONS_ALLOC(st, *theirs, n);
done:
    return st;
}

pons_status pons_eval_deal_items(pons_comm *comm, int64_t items, const int64_t *count,
                                 pons_deal_read read, pons_deal_take take, void *user)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    float *mine = NULL, *theirs = NULL;
    int64_t most = 0;
    for (int64_t i = 0; i < items; i++)
        if (count[i] > most) most = count[i];
    PONS_TRY_ALL(st, comm, allocate(most, &mine, &theirs));
    for (int64_t first = 0; first < items; first += size) {
        if (local == PONS_OK && first + rank < items) local = read(user, first + rank, mine);
        PONS_TRY_ALL(st, comm, local); /* what was taken in the round before is agreed on here */
        for (int root = 0; root < size && first + root < items; root++) {
            int64_t item = first + root;
            float *data = root == rank ? mine : theirs;
            pons_comm_bcast(comm, data, (size_t)count[item] * sizeof *data, root);
            if (local == PONS_OK) local = take(user, item, data);
        }
    }
    PONS_TRY_ALL(st, comm, local);
done:
    pons_mem_free(theirs);
    pons_mem_free(mine);
    return st;
}

/* Dealt items: each is read once, on its rank, and every rank takes all of them in order; a failing
 * reader or taker anywhere ends the deal everywhere. */
#include <stdbool.h>
#include <string.h>

#include "eval/deal.h"
#include "support/mpi_harness.h"

enum { ITEMS = 7 };

typedef struct dealer {
    int rank, size;
    int64_t count[ITEMS];
    int64_t reads, taken;
    int64_t bad_read, bad_take; /* items that fail, -1: none; takers fail on the last rank only */
    bool right;
} dealer;

static float value(int64_t item, int64_t i) { return (float)(100 * item + i); }

static pons_status read_item(void *user, int64_t item, float *out)
{
    dealer *d = user;
    if (item == d->bad_read) return pons_fail(PONS_ERR_IO, "cannot read item %d", (int)item);
    d->right = d->right && item % d->size == d->rank;
    d->reads++;
    for (int64_t i = 0; i < d->count[item]; i++)
        out[i] = value(item, i);
    return PONS_OK;
}

static pons_status take_item(void *user, int64_t item, const float *data)
{
    dealer *d = user;
    if (item == d->bad_take && d->rank == d->size - 1)
        return pons_fail(PONS_ERR_NUMERIC, "cannot take item %d", (int)item);
    d->right = d->right && item == d->taken;
    d->taken++;
    for (int64_t i = 0; i < d->count[item]; i++)
        d->right = d->right && data[i] == value(item, i);
    return PONS_OK;
}

static pons_status deal(pons_comm *comm, dealer *d, int64_t bad_read, int64_t bad_take)
{
    *d = (dealer){.rank = pons_comm_rank(comm),
                  .size = pons_comm_size(comm),
                  .bad_read = bad_read,
                  .bad_take = bad_take,
                  .right = true};
    for (int64_t i = 0; i < ITEMS; i++)
        d->count[i] = 1 + (i * 5) % ITEMS;
    return pons_eval_deal_items(comm, ITEMS, d->count, read_item, take_item, d);
}

static void test(pons_comm *comm)
{
    dealer d;
    CHECK(deal(comm, &d, -1, -1) == PONS_OK);
    CHECK(d.right && d.taken == ITEMS);
    pons_comm_sum_i64(comm, &d.reads, 1);
    CHECK(d.reads == ITEMS);
    for (int64_t bad = 0; bad < ITEMS; bad++) {
        CHECK(deal(comm, &d, bad, -1) == PONS_ERR_IO);
        CHECK(strstr(pons_error_message(), "cannot read item"));
        CHECK(d.right && d.taken <= bad);
        CHECK(deal(comm, &d, -1, bad) == PONS_ERR_NUMERIC);
        CHECK(strstr(pons_error_message(), "cannot take item"));
        CHECK(d.right && d.reads <= ITEMS);
    }
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }

/* The Lagrangian over damage curves. Knows nothing of where the curves come from. */
#include "prune/allocate.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* Segments between two points of a curve, and in all. */
enum { FINE = 8, SEGMENTS = FINE * (PONS_ALLOCATE_POINTS - 1) };

/* A step of one item from one fine sparsity to the next, or over several at once. */
typedef struct segment {
    int64_t item;
    double share, slope; /* sparsity it adds; damage per pruned weight */
    int order;           /* along the item's curve */
} segment;

/* Damage at fine point k, between the points by their logarithms where they have any. */
static double interpolate(const pons_allocate_item *item, int k)
{
    int i = k / FINE;
    if (k % FINE == 0) return item->damage[i];
    double a = item->damage[i], b = item->damage[i + 1], t = (double)(k % FINE) / FINE;
    return a > 0 && b > 0 ? exp(log(a) + t * (log(b) - log(a))) : a + t * (b - a);
}

static double fine_at(const double *at, int k)
{
    int i = k / FINE;
    if (k % FINE == 0) return at[i];
    return at[i] + (double)(k % FINE) / FINE * (at[i + 1] - at[i]);
}

/* Segments of the lower convex hull of one curve; how many. */
static int cut(int64_t i, const pons_allocate_item *item, const double *at, segment *out)
{
    int hull[SEGMENTS + 1], n = 0;
    double x[SEGMENTS + 1], y[SEGMENTS + 1];
    for (int k = 0; k <= SEGMENTS; k++) {
        x[k] = fine_at(at, k);
        y[k] = interpolate(item, k);
        while (n >= 2) {
            int b = hull[n - 1], a = hull[n - 2];
            if ((y[b] - y[a]) * (x[k] - x[b]) <= (y[k] - y[b]) * (x[b] - x[a])) break;
            n--;
        }
        hull[n++] = k;
    }
    for (int h = 0; h + 1 < n; h++) {
        double dx = x[hull[h + 1]] - x[hull[h]], dy = y[hull[h + 1]] - y[hull[h]];
        out[h] = (segment){i, dx, dy / (dx * (double)item->weights), h};
    }
    return n - 1;
}

static int by_slope(const void *left, const void *right)
{
    const segment *a = left, *b = right;
    if (a->slope != b->slope) return a->slope < b->slope ? -1 : 1;
    if (a->item != b->item) return a->item < b->item ? -1 : 1;
    return a->order - b->order;
}

pons_status pons_allocate(int64_t n, const pons_allocate_item *items, const double *at,
                          double total, double *sparsity)
{
    pons_status st = PONS_OK;
    segment *segments = NULL;
    int64_t count = 0;
    PONS_ALLOC(st, segments, n * SEGMENTS);
    for (int64_t i = 0; i < n; i++) {
        count += cut(i, &items[i], at, segments + count);
        sparsity[i] = at[0];
        total -= at[0] * (double)items[i].weights;
    }
    qsort(segments, (size_t)count, sizeof *segments, by_slope);
    for (int64_t k = 0; k < count && total > 0; k++) {
        const segment *s = &segments[k];
        double weights = (double)items[s->item].weights, share = s->share;
        if (share * weights > total) share = total / weights;
        sparsity[s->item] += share;
        total -= share * weights;
    }
done:
    pons_mem_free(segments);
    return st;
}

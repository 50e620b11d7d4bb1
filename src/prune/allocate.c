/* The Lagrangian over damage curves, which the caller provides. */
#include "prune/allocate.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* Places on one curve, and of an item. */
enum { CURVE = 33, PLACES = CURVE * PONS_ALLOCATE_WIDTHS };

/* Where an item may be. */
typedef struct place {
    pons_allocate_choice choice;
    double kept, damage; /* bits per weight */
} place;

/* A step of one item from a place to the next on its hull. */
typedef struct segment {
    int64_t item;
    place to;
    double saved, slope; /* bits per weight; damage per bit */
    int order;           /* along the item's hull */
} segment;

/* Damage at a share t of the way from the first sparsity to the last: a parabola through the
 * logarithms where they exist, else two lines. */
static double interpolate(const double damage[PONS_ALLOCATE_POINTS], double t)
{
    double a = damage[0], b = damage[1], c = damage[2], x = 2 * t - 1;
    if (a > 0 && b > 0 && c > 0) return b * exp(0.5 * x * (log(c / a) + x * log(c / b * (a / b))));
    return x < 0 ? b - x * (a - b) : b + x * (c - b);
}

/* From many kept bits to few. */
static int by_kept(const void *left, const void *right)
{
    const place *a = left, *b = right;
    if (a->kept != b->kept) return a->kept > b->kept ? -1 : 1;
    return a->damage < b->damage ? -1 : a->damage > b->damage;
}

/* The lower convex hull of all choices of an item, from many kept bits to few. Returns their
 * number. */
static int hull_of(const pons_allocate_item *item, const pons_allocate_grid *grid, place *hull)
{
    place places[PLACES];
    int count = 0, n = 0;
    for (int w = 0; w < grid->widths; w++)
        for (int k = 0; k < CURVE; k++) {
            double t = (double)k / (CURVE - 1), range = grid->last - grid->first;
            double s = grid->first + t * range;
            places[count++] = (place){
                {s, grid->bits[w]}, (1 - s) * grid->bits[w], interpolate(item->damage[w], t)};
        }
    qsort(places, (size_t)count, sizeof *places, by_kept);
    for (int k = 0; k < count; k++) {
        const place *p = &places[k];
        if (k > 0 && p->kept == places[k - 1].kept) continue;
        while (n >= 2) {
            const place *a = &hull[n - 2], *b = &hull[n - 1];
            if ((b->damage - a->damage) * (b->kept - p->kept) <=
                (p->damage - b->damage) * (a->kept - b->kept))
                break;
            n--;
        }
        hull[n++] = *p;
    }
    return n;
}

static int by_slope(const void *left, const void *right)
{
    const segment *a = left, *b = right;
    if (a->slope != b->slope) return a->slope < b->slope ? -1 : 1;
    if (a->item != b->item) return a->item < b->item ? -1 : 1;
    return a->order - b->order;
}

pons_status pons_allocate(int64_t n, const pons_allocate_item *items,
                          const pons_allocate_grid *grid, double total,
                          pons_allocate_choice *choice)
{
    pons_status st = PONS_OK;
    segment *segments = NULL;
    int64_t count = 0;
    double excess = -total;
    PONS_ALLOC(st, segments, n * (grid->widths * CURVE));
    for (int64_t i = 0; i < n; i++) {
        place hull[PLACES];
        int places = hull_of(&items[i], grid, hull);
        for (int h = 1; h < places; h++) {
            double saved = hull[h - 1].kept - hull[h].kept;
            double more = hull[h].damage - hull[h - 1].damage;
            segments[count++] =
                (segment){i, hull[h], saved, more / (saved * (double)items[i].weights), h};
        }
        choice[i] = hull[0].choice;
        excess += hull[0].kept * (double)items[i].weights;
    }
    qsort(segments, (size_t)count, sizeof *segments, by_slope);
    for (int64_t k = 0; k < count && excess > 0; k++) {
        const segment *s = &segments[k];
        double weights = (double)items[s->item].weights, left = s->saved - excess / weights;
        choice[s->item] = s->to.choice;
        if (left > 0) /* more than is needed: so much is kept after all */
            choice[s->item].sparsity =
                fmax(s->to.choice.sparsity - left / s->to.choice.bits, grid->first);
        excess -= s->saved * weights;
    }
done:
    pons_mem_free(segments);
    return st;
}

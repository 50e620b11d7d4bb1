/* The small Hadamard matrices H_K, made from their constructions, and the choice of those that make up an order. The
 * fast transforms are hadamard.c. */
#include <stdbool.h>
#include <string.h>
#include <threads.h>

#include "base/error.h"
#include "kern/hadamard.h"
#include "kern/hadamard_matrix.h"

/* Orders of the specification, in the order in which a factor is looked for. */
static const int listed[] = {172, 156, 140, 108, 60, 52, 36, 28, 44, 40, 20, 12, 148};
enum { LISTED = sizeof listed / sizeof *listed, LARGEST = PONS_HADAMARD_LARGEST };

/* ---- Finite fields of odd order, as vectors of digits modulo the prime */

/* The prime p with q = p^k; 0 when there is none. */
static int prime_of(int q)
{
    for (int p = 2; p <= q; p++) {
        if (q % p) continue;
        while (q % p == 0)
            q /= p;
        return q == 1 ? p : 0;
    }
    return 0;
}

/* a - b, digit by digit. */
static int subtract(int a, int b, int q, int p)
{
    int difference = 0;
    for (int unit = 1; unit < q; unit *= p)
        difference += (a / unit % p - b / unit % p + p) % p * unit;
    return difference;
}

/* a x modulo x^k = tail, the digits of a polynomial of degree below k. */
static int times_x(int a, int tail, int q, int p)
{
    int top = a / (q / p), product = a % (q / p) * p, sum = 0;
    for (int unit = 1; unit < q; unit *= p)
        sum += (product / unit % p + top * (tail / unit % p)) % p * unit;
    return sum;
}

/* chi[a] for every a of the field of q = p^k: 0, 1 for squares, -1. Looks for a polynomial whose x generates all of the
 * field but 0: squares are its even powers. */
static void make_chi(int q, int p, int8_t *chi)
{
    if (q == p) {
        memset(chi, -1, (size_t)q);
        for (int x = 1; x < q; x++)
            chi[x * x % q] = 1;
        chi[0] = 0;
        return;
    }
    for (int tail = 1; tail < q; tail++) {
        int a = 1, n = 0;
        memset(chi, 0, (size_t)q);
        do {
            chi[a] = n % 2 ? -1 : 1;
            a = times_x(a, tail, q, p);
            n++;
        } while (a > 1 && n < q);
        if (a == 1 && n == q - 1) return;
    }
    PONS_ASSERT(!"every field has a generator");
}

/* ---- Constructions */

static bool is_paley_one(int K) { return K % 4 == 0 && prime_of(K - 1) > 0; }

static bool is_paley_two(int K)
{
    return K % 4 == 0 && (K / 2 - 1) % 4 == 1 && K / 2 - 1 > 1 && prime_of(K / 2 - 1) > 0;
}

/* Order q + 1 with q = 3 mod 4. */
static void make_paley_one(int K, int8_t *H)
{
    int8_t chi[LARGEST];
    int q = K - 1, p = prime_of(q);
    make_chi(q, p, chi);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            H[i * K + j] = (int8_t)(i == j || j == 0 ? 1
                                    : i == 0         ? -1
                                                     : -chi[subtract(j - 1, i - 1, q, p)]);
}

/* Order 2 (q + 1) with q = 1 mod 4: [[C + I, C - I], [C - I, -C - I]]. */
static void make_paley_two(int K, int8_t *H)
{
    int8_t chi[LARGEST];
    int h = K / 2, q = h - 1, p = prime_of(q);
    make_chi(q, p, chi);
    for (int i = 0; i < h; i++)
        for (int j = 0; j < h; j++) {
            int one = i == j;
            int C = one ? 0 : i == 0 || j == 0 ? 1 : chi[subtract(j - 1, i - 1, q, p)];
            H[i * K + j] = (int8_t)(C + one);
            H[i * K + j + h] = H[(i + h) * K + j] = (int8_t)(C - one);
            H[(i + h) * K + j + h] = (int8_t)(-C - one);
        }
}

/* Order 2 K' from order K'. */
static void make_doubled(int K, int8_t *H)
{
    int h = K / 2;
    make_paley_one(h, H); /* dense [h, h]; spread from the last row so that no source is lost */
    for (int i = h - 1; i >= 0; i--) {
        memmove(H + i * K, H + i * h, (size_t)h);
        memcpy(H + i * K + h, H + i * K, (size_t)h);
    }
    for (int i = 0; i < h; i++)
        for (int j = 0; j < h; j++) {
            H[(i + h) * K + j] = H[i * K + j];
            H[(i + h) * K + j + h] = (int8_t)-H[i * K + j];
        }
}

/* First rows of the circulants A, B, C, D of orders 52, 148, 156 and 172. */
static const char *const circulants[4][4] = {
    {"+-+--++++--+-", "+---++++++---", "++-+--++--+-+", "+----+--+----"},
    {"++-+-+----++--+--++++--+--++----+-+-+", "++-+-+----++--+--++++--+--++----+-+-+",
     "++++-++++-+--+---++++---+--+-++++-+++", "+---+----+-++-+++----+++-++-+----+---"},
    {"+++--+-+-----+--++----++--+-----+-+--++", "++++---+--++----+-+--+-+----++--+---+++",
     "+++--++-+---+-+--+----+--+-+---+-++--++", "+---++-+-+-----+++-++-+++-----+-+-++---"},
    {"+---++--++++-+-+++-++--++-+++-+-++++--++---", "++-++++++----+-+--++-++-++--+-+----++++++-+",
     "+++-+-++--+-+-++++-+----+-++++-+-+--++-+-++", "++---++++-+--+--++--------++--+--+-++++---+"}};

/* [[A, B, C, D], [-B, A, -D, C], [-C, D, A, -B], [-D, -C, B, A]]. */
static void make_williamson(int K, int8_t *H)
{
    static const char place[4][5] = {"ABCD", "bAdC", "cDAb", "dcBA"}; /* small letters: negated */
    int h = K / 4, set = K == 52 ? 0 : K == 148 ? 1 : K == 156 ? 2 : 3;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            char block = place[i / h][j / h];
            bool negated = block >= 'a';
            const char *row = circulants[set][block - (negated ? 'a' : 'A')];
            bool plus = row[(j % h - i % h + h) % h] == '+';
            H[i * K + j] = plus != negated ? 1 : -1;
        }
}

/* The construction of H_K; NULL: none is known here. Those of the specification's orders are fixed. */
typedef void construction(int K, int8_t *H);

static construction *construction_of(int K)
{
    switch (K) {
    case 28:
    case 36: return make_paley_two;
    case 40: return make_doubled;
    case 52:
    case 148:
    case 156:
    case 172: return make_williamson;
    default: break;
    }
    if (K < 12 || K > LARGEST || (K & (K - 1)) == 0) return NULL;
    return is_paley_one(K) ? make_paley_one : is_paley_two(K) ? make_paley_two : NULL;
}

/* ---- Matrices that were made, one behind the other by order: most are never touched, which costs no memory. */

enum { ORDERS = LARGEST / 4, ENTRIES = 16 * ORDERS * (ORDERS + 1) * (2 * ORDERS + 1) / 6 + 1 };
static int8_t entries[ENTRIES]; /* the 1 x 1 matrix last */
static float entries_float[ENTRIES];
static bool made[ORDERS + 1];
static mtx_t lock;
static once_flag ready = ONCE_FLAG_INIT;

static void make_ready(void)
{
    mtx_init(&lock, mtx_plain);
    entries[ENTRIES - 1] = 1;
    entries_float[ENTRIES - 1] = 1;
}

/* Where H_K begins, made on first use; -1 for an order that has none. */
static int find(int K)
{
    call_once(&ready, make_ready);
    if (K == 1) return ENTRIES - 1;
    construction *make = K > 0 ? construction_of(K) : NULL;
    if (!make) return -1;
    int n = K / 4 - 1, at = 16 * n * (n + 1) * (2 * n + 1) / 6; /* after the squares of 4, 8, ... */
    mtx_lock(&lock);
    if (!made[n]) {
        make(K, entries + at);
        for (int i = at; i < at + K * K; i++)
            entries_float[i] = entries[i];
        made[n] = true;
    }
    mtx_unlock(&lock);
    return at;
}

const int8_t *pons_hadamard_matrix(int K)
{
    int at = find(K);
    return at < 0 ? NULL : entries + at;
}

const float *pons_hadamard_matrix_float(int K)
{
    int at = find(K);
    return at < 0 ? NULL : entries_float + at;
}

/* ---- What an order is made of */

static int64_t odd_part(int64_t n)
{
    while (n > 0 && n % 2 == 0)
        n /= 2;
    return n;
}

/* The factors from `from` on, none larger than `most`, with the least sum, for what n has beside a power of two; their
 * sum, or 0 when there are none. */
static int64_t choose_factors(int64_t n, int most, int from, int *factor)
{
    int64_t least = 0;
    if (odd_part(n) == 1 || from == PONS_HADAMARD_FACTORS) return 0;
    for (int K = most; K >= 12; K -= 4) {
        int rest[PONS_HADAMARD_FACTORS] = {0};
        if (n % K || !construction_of(K)) continue;
        int64_t sum = K;
        if (odd_part(n / K) > 1) {
            int64_t more = choose_factors(n / K, K, from + 1, rest);
            if (!more) continue;
            sum += more;
        }
        if (least && sum >= least) continue;
        least = sum;
        rest[from] = K;
        memcpy(factor + from, rest + from, (size_t)(PONS_HADAMARD_FACTORS - from) * sizeof *factor);
    }
    return least;
}

pons_hadamard_shape pons_hadamard_shape_of(int64_t n)
{
    pons_hadamard_shape s = {.blocks = 1, .power = n};
    int K = 1;
    PONS_ASSERT(n > 0);
    for (int i = 0; i < LISTED && K == 1; i++)
        if (n % listed[i] == 0) K = listed[i];
    if (odd_part(n / K) == 1)
        s.factor[0] = K == 1 ? 0 : K;
    else if (!choose_factors(n, LARGEST, 0, s.factor))
        s.blocks = odd_part(n);
    for (; s.count < PONS_HADAMARD_FACTORS && s.factor[s.count]; s.count++)
        s.power /= s.factor[s.count];
    s.power /= s.blocks;
    return s;
}

int64_t pons_hadamard_block(int64_t n) { return n < 1 ? 0 : n / pons_hadamard_shape_of(n).blocks; }

int pons_hadamard_factor(int64_t n)
{
    if (n < 1) return 0;
    pons_hadamard_shape s = pons_hadamard_shape_of(n);
    return s.blocks > 1 ? 0 : s.count > 1 ? -1 : s.count ? s.factor[0] : 1;
}

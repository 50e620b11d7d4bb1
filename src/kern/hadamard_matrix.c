/* The small Hadamard matrices H_K, made from their constructions. Owns the order of choice of K and
 * the matrices; the fast transforms are hadamard.c. */
#include <string.h>
#include <threads.h>

#include "base/error.h"
#include "kern/hadamard.h"
#include "kern/hadamard_matrix.h"

enum { ORDERS = 13, ENTRIES = 119553 };

/* In the order in which a factor is looked for. */
static const int orders[ORDERS] = {172, 156, 140, 108, 60, 52, 36, 28, 44, 40, 20, 12, 148};

static int8_t entries[ENTRIES]; /* the matrices one after another, the 1 x 1 one first */
static float entries_float[ENTRIES];
static int offset[ORDERS];
static once_flag made = ONCE_FLAG_INIT;

/* Legendre symbol of a modulo the odd prime q. */
static int chi(int a, int q)
{
    a = (a % q + q) % q;
    for (int x = 1; a && x < q; x++)
        if (x * x % q == a) return 1;
    return a ? -1 : 0;
}

/* Order q + 1 with q = 3 mod 4. */
static void make_paley_one(int K, int8_t *H)
{
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            H[i * K + j] = (int8_t)(i == j || j == 0 ? 1 : i == 0 ? -1 : -chi(j - i, K - 1));
}

/* Order 2 (q + 1) with q = 1 mod 4: [[C + I, C - I], [C - I, -C - I]]. */
static void make_paley_two(int K, int8_t *H)
{
    int h = K / 2;
    for (int i = 0; i < h; i++)
        for (int j = 0; j < h; j++) {
            int one = i == j, C = one ? 0 : i == 0 || j == 0 ? 1 : chi(j - i, h - 1);
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

static void make_all(void)
{
    int at = 1;
    entries[0] = 1;
    for (int n = 0; n < ORDERS; n++) {
        int K = orders[n];
        int8_t *H = entries + at;
        offset[n] = at;
        switch (K) {
        case 28:
        case 36: make_paley_two(K, H); break;
        case 40: make_doubled(K, H); break;
        case 52:
        case 148:
        case 156:
        case 172: make_williamson(K, H); break;
        default: make_paley_one(K, H);
        }
        at += K * K;
    }
    PONS_ASSERT(at == ENTRIES);
    for (int i = 0; i < ENTRIES; i++)
        entries_float[i] = entries[i];
}

/* Where H_K begins; -1 for a K that is not ours. */
static int find(int K)
{
    call_once(&made, make_all);
    if (K == 1) return 0;
    for (int n = 0; n < ORDERS; n++)
        if (orders[n] == K) return offset[n];
    return -1;
}

int pons_hadamard_factor(int64_t n)
{
    if (n < 1) return 0;
    int K = 1;
    for (int i = 0; i < ORDERS && K == 1; i++)
        if (n % orders[i] == 0) K = orders[i];
    int64_t rest = n / K;
    return (rest & (rest - 1)) == 0 ? K : 0;
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

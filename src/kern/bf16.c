/* Products in bf16. Owns the choice between AMX tiles of our own (amx.c) and oneDNN (onednn.c); knows
 * nothing of how tiles make up a product. */
#include "kern/bf16.h"

#include <string.h>

#include "base/mem.h"
#include "kern/amx.h"
#include "kern/isa.h"
#include "kern/onednn.h"
#include "kern/round_bf16.h"

struct pons_bf16_kernel {
    int64_t M, N, K;
    pons_bf16_layout layout;
    pons_onednn *library; /* NULL: AMX tiles */
};

struct pons_bf16_worker {
    const pons_bf16_kernel *kernel; /* not owned */
    pons_onednn_worker *library;
    void *work; /* of AMX tiles */
};

bool pons_bf16_on_tiles(void)
{
    return pons_isa_used() == PONS_ISA_AMX && pons_onednn_allows_amx();
}

pons_status pons_bf16_kernel_create(pons_bf16_layout layout, int64_t M, int64_t N, int64_t K,
                                    pons_bf16_kernel **out)
{
    pons_status st = PONS_OK;
    pons_bf16_kernel *k = NULL;
    PONS_CALLOC(st, k, 1);
    *k = (pons_bf16_kernel){M, N, K, layout, NULL};
    if (!pons_bf16_on_tiles()) PONS_TRY(st, pons_onednn_create(layout, M, N, K, &k->library));
    *out = k;
    k = NULL;
done:
    pons_bf16_kernel_destroy(&k);
    return st;
}

void pons_bf16_kernel_destroy(pons_bf16_kernel **kernel)
{
    if (!*kernel) return;
    pons_onednn_destroy(&(*kernel)->library);
    pons_mem_free(*kernel);
    *kernel = NULL;
}

size_t pons_bf16_packed_bytes(const pons_bf16_kernel *k)
{
    return k->library ? pons_onednn_packed_bytes(k->library) : pons_amx_bytes(k->N, k->K);
}

size_t pons_bf16_stride(const pons_bf16_kernel *kernel)
{
    return (pons_bf16_packed_bytes(kernel) + 63) / 64 * 64;
}

size_t pons_bf16_left_bytes(const pons_bf16_kernel *k)
{
    return k->library ? (size_t)(k->K * k->M) * sizeof(uint16_t) : pons_amx_bytes(k->M, k->K);
}

void pons_bf16_workers_destroy(int count, pons_bf16_worker **workers)
{
    for (int i = 0; i < count; i++) {
        if (!workers[i]) continue;
        pons_onednn_worker_destroy(&workers[i]->library);
        pons_mem_free(workers[i]->work);
        pons_mem_free(workers[i]);
        workers[i] = NULL;
    }
}

pons_status pons_bf16_workers_create(const pons_bf16_kernel *kernel, int count,
                                     pons_bf16_worker **out)
{
    pons_status st = PONS_OK;
    memset(out, 0, (size_t)count * sizeof *out);
    for (int i = 0; i < count; i++) {
        PONS_CALLOC(st, out[i], 1);
        out[i]->kernel = kernel;
        if (kernel->library) {
            PONS_TRY(st, pons_onednn_worker_create(kernel->library, &out[i]->library));
        } else {
            out[i]->work = pons_mem_alloc((int64_t)pons_amx_work_bytes(), 1);
            if (!out[i]->work) return PONS_ERR_NOMEM;
        }
    }
done:
    return st;
}

bool pons_bf16_pack(pons_bf16_worker *w, const uint16_t *B, void *packed)
{
    if (w->library) return pons_onednn_pack(w->library, B, packed);
    pons_amx_pack(w->kernel->N, w->kernel->K, B, packed);
    return true;
}

size_t pons_bf16_terms_bytes(const pons_bf16_kernel *k)
{
    return k->library ? (size_t)(k->N * k->K) * (sizeof(float) + sizeof(uint16_t)) : 0;
}

bool pons_bf16_pack_terms(pons_bf16_worker *w, int terms, int64_t rows, int64_t depth,
                          const float *B, int64_t ld, void *work, size_t apart, void *packed)
{
    int64_t N = w->kernel->N, K = w->kernel->K;
    float *rest = work;
    uint16_t *plain = work ? (uint16_t *)(void *)(rest + N * K) : NULL;
    bool good = true;
    if (rows > N) rows = N;
    if (depth > K) depth = K;
    if (!w->library) {
        pons_amx_pack_terms(N, K, terms, rows, depth, B, ld, (int64_t)(apart / sizeof *plain),
                            packed);
        return true;
    }
    memset(rest, 0, (size_t)(N * K) * sizeof *rest);
    for (int64_t i = 0; i < rows; i++)
        memcpy(rest + i * K, B + i * ld, (size_t)depth * sizeof *rest);
    for (int t = 0; t < terms; t++) {
        pons_bf16_peel(N * K, rest, plain);
        good &= pons_onednn_pack(w->library, plain, (uint8_t *)packed + (size_t)t * apart);
    }
    return good;
}

/* An operand of oneDNN's gram: [K, n], as it is. */
static void take_plain(int64_t n, int64_t K, int64_t tokens, int64_t columns, const float *X,
                       int64_t ldx, const float *scale, uint16_t *to)
{
    for (int64_t s = 0; s < K; s++) {
        enum { PIECE = 256 };
        float row[PIECE];
        for (int64_t j = 0; j < n; j += PIECE) {
            int64_t all = n - j < PIECE ? n - j : PIECE;
            for (int64_t c = 0; c < all; c++)
                row[c] = s < tokens && j + c < columns ? X[s * ldx + j + c] * scale[j + c] : 0.0f;
            pons_bf16_convert(all, row, to + s * n + j);
        }
    }
}

void pons_bf16_take(const pons_bf16_kernel *k, int64_t tokens, int64_t columns, const float *X,
                    int64_t ldx, const float *scale, void *left, void *right)
{
    if (!k->library) {
        PONS_ASSERT(!left || !right || k->M == k->N);
        pons_amx_take(right ? k->N : k->M, k->K, tokens, columns, X, ldx, scale, left, right);
        return;
    }
    if (left) take_plain(k->M, k->K, tokens, columns, X, ldx, scale, left);
    if (right) take_plain(k->N, k->K, tokens, columns, X, ldx, scale, right);
}

const void *pons_bf16_turn(const pons_bf16_kernel *k, int64_t parts, const void *right, void *left)
{
    PONS_ASSERT(k->M == k->N && pons_bf16_stride(k) == pons_bf16_left_bytes(k));
    if (k->library) return right;
    pons_amx_turn(parts * (int64_t)pons_amx_bytes(k->N, k->K), right, left);
    return left;
}

size_t pons_bf16_rows_bytes(int64_t M, int64_t K)
{
    return pons_bf16_on_tiles() ? pons_amx_bytes(M, K) : (size_t)(M * K) * sizeof(uint16_t);
}

void pons_bf16_put_row(int64_t K, int64_t i, const float *x, void *A)
{
    uint16_t *row = (uint16_t *)A + i * K; /* where rows lie as they are */
    if (pons_bf16_on_tiles())
        pons_amx_put_row(K, i, x, A);
    else if (x)
        pons_bf16_convert(K, x, row);
    else
        memset(row, 0, (size_t)K * sizeof *row);
}

/* What a kernel's operands are on tiles, `count` of the left ones as one. */
static pons_amx_sum on_tiles(const pons_bf16_kernel *k, int64_t count, const void *left,
                             const void *right)
{
    size_t entry = sizeof(uint16_t), block = pons_amx_bytes(1, k->K);
    return (pons_amx_sum){.M = count * k->M,
                          .N = k->N,
                          .ldc = k->N,
                          .tiles = 1,
                          .steps = (int64_t)(block / pons_amx_bytes(1, 1)),
                          .of_a = 1,
                          .of_b = 1,
                          .left = left,
                          .block_stride = (int64_t)(block / entry),
                          .left_stride = (int64_t)(pons_amx_bytes(k->M, k->K) / entry),
                          .B = {right},
                          .stride = (int64_t)(pons_bf16_stride(k) / entry)};
}

bool pons_bf16_run(pons_bf16_worker *w, const void *A, const void *B, float *C)
{
    return pons_bf16_run_rows(w, 1, A, B, C);
}

bool pons_bf16_run_rows(pons_bf16_worker *w, int64_t count, const void *A, const void *B, float *C)
{
    const pons_bf16_kernel *k = w->kernel;
    bool good = true;
    PONS_ASSERT(k->layout == PONS_BF16_PACKED);
    if (!w->library) {
        PONS_ASSERT(count == 1 || pons_amx_bytes(k->M, k->K) * 2 == pons_amx_bytes(2 * k->M, k->K));
        pons_amx_sum s = on_tiles(k, count, A, B);
        pons_amx_run(&s, C, w->work);
        return true;
    }
    for (int64_t i = 0; i < count; i++)
        good &= pons_onednn_run(w->library, false, (const uint16_t *)A + i * k->M * k->K, B,
                                C + i * k->M * k->N);
    return good;
}

size_t pons_bf16_brought_bytes(const pons_bf16_kernel *k, int terms)
{
    return (size_t)terms *
           (k->library ? (size_t)(k->M * k->K) * sizeof(uint16_t) : pons_amx_bytes(k->M, k->K));
}

void pons_bf16_bring(const pons_bf16_kernel *k, int terms, bool rounded, const void *X, void *block)
{
    enum { PIECE = 256 };
    int64_t n = k->M * k->K;
    uint16_t *to = block;
    if (!k->library) {
        pons_amx_bring(k->K, terms, rounded, X, block);
    } else if (rounded) {
        memcpy(to, X, (size_t)n * sizeof *to);
    } else {
        for (int64_t i = 0; i < n; i += PIECE) {
            int64_t count = n - i < PIECE ? n - i : PIECE;
            float rest[PIECE];
            memcpy(rest, (const float *)X + i, (size_t)count * sizeof *rest);
            for (int t = 0; t < terms; t++)
                pons_bf16_peel(count, rest, to + t * n + i);
        }
    }
}

/* The library's products of single tiles, one added to the other. */
static bool run_library(pons_bf16_worker *w, const pons_bf16_sum *s, float *C)
{
    const pons_bf16_kernel *k = w->kernel;
    size_t stride = pons_bf16_stride(k), term = pons_bf16_brought_bytes(k, 1);
    const uint8_t *left = s->left;
    bool good = true;
    for (int64_t i = 0; i < s->blocks; i++, C += k->M * k->N)
        for (int64_t t = 0; t < s->tiles; t++, left += (size_t)s->of_a * term)
            for (int p = 0; p < s->of_a; p++)
                for (int q = 0; p + q < s->of_b; q++)
                    good &=
                        pons_onednn_run(w->library, s->add || t + p + q > 0,
                                        left + (size_t)p * term, s->B[q] + (size_t)t * stride, C);
    return good;
}

bool pons_bf16_run_sum(pons_bf16_worker *w, const pons_bf16_sum *sum, float *C)
{
    const pons_bf16_kernel *k = w->kernel;
    PONS_ASSERT(k->layout == PONS_BF16_SUMMED);
    if (w->library) return run_library(w, sum, C);
    pons_amx_sum s = on_tiles(k, sum->blocks, sum->left, NULL);
    s.tiles = sum->tiles;
    s.of_a = sum->of_a;
    s.of_b = sum->of_b;
    s.left_stride = s.block_stride * sum->of_a; /* a block of rows is one behind the other */
    s.block_stride = s.left_stride * sum->tiles;
    s.add = sum->add;
    s.far = sum->far;
    s.next = (int64_t)(sum->next / sizeof(uint16_t));
    for (int q = 0; q < sum->of_b; q++)
        s.B[q] = (const void *)sum->B[q];
    pons_amx_run(&s, C, w->work);
    return true;
}

bool pons_bf16_run_gram(pons_bf16_worker *w, int64_t parts, bool upper, const void *left,
                        const void *right, float *C)
{
    const pons_bf16_kernel *k = w->kernel;
    PONS_ASSERT(k->layout == PONS_BF16_GRAM);
    if (!w->library) {
        pons_amx_sum s = on_tiles(k, 1, left, right);
        s.tiles = parts;
        s.upper = upper;
        pons_amx_run(&s, C, w->work);
        return true;
    }
    bool good = true;
    for (int64_t n = 0; n < parts; n++)
        good &= pons_onednn_run(w->library, n > 0,
                                (const uint8_t *)left + (size_t)n * pons_bf16_left_bytes(k),
                                (const uint8_t *)right + (size_t)n * pons_bf16_stride(k), C);
    return good;
}

pons_status pons_bf16_refused(void)
{
    return pons_fail(PONS_ERR_BUG, "oneDNN: a bf16 tile product failed to run");
}

const char *pons_bf16_describe(void)
{
    return pons_bf16_on_tiles() ? "AMX tiles" : pons_onednn_describe();
}

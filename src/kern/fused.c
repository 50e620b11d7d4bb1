/* Products that end in a residual sum or a gated activation. The tiles come from matmul.c; the loss
 * is loss.c. */
#include "kern/fused.h"

#include "kern/simd.h"
#include "kern/threads.h"
#include "kern/tiles.h"

typedef struct target {
    float *Y;
    int64_t ldy;
} target;

static void add_tile(void *user, const pons_tile *t)
{
    const target *to = user;
    for (int64_t i = 0; i < t->tokens; i++) {
        float *y = to->Y + (t->token + i) * to->ldy + t->row;
        for (int64_t r = 0; r < t->rows; r++)
            y[r] += t->y[0][i * t->ld + r];
    }
}

/* y [n] = silu(gate) * up; y may be up. */
static void gate_row(int64_t n, const float *gate, const float *up, float *y)
{
    int64_t r = 0;
    for (; r + PONS_WIDTH <= n; r += PONS_WIDTH) {
        pons_vec g = pons_load(gate + r);
        pons_store(y + r, g / (1.0f + pons_exp_vec(-g)) * pons_load(up + r));
    }
    for (; r < n; r++)
        y[r] = gate[r] / (1.0f + pons_exp(-gate[r])) * up[r];
}

static void gate_tile(void *user, const pons_tile *t)
{
    const target *to = user;
    for (int64_t i = 0; i < t->tokens; i++)
        gate_row(t->rows, t->y[0] + i * t->ld, t->y[1] + i * t->ld,
                 to->Y + (t->token + i) * to->ldy + t->row);
}

void pons_gate(int64_t n, const float *gate, float *y)
{
    enum { CHUNK = 4096 };
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i += CHUNK)
        gate_row(n - i < CHUNK ? n - i : CHUNK, gate + i, y + i, y + i);
}

pons_status pons_matmul_add(const pons_matmul *W, const pons_matmul_input *X, float *Y, int64_t ldy)
{
    return pons_matmul_run(1, &W, X, add_tile, &(target){Y, ldy});
}

pons_status pons_matmul_gate(const pons_matmul *gate, const pons_matmul *up,
                             const pons_matmul_input *X, float *Y, int64_t ldy)
{
    const pons_matmul *both[] = {gate, up};
    return pons_matmul_run(2, both, X, gate_tile, &(target){Y, ldy});
}

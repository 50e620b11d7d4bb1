/* Bytes of every phase, phase by phase as a block goes through them. Owns the list of phases; the seconds
 * are cost.c's. Each formula names the allocation it follows. */
#include <math.h>

#include "hessian/accumulate.h"
#include "hessian/shrink.h"
#include "kern/cross.h"
#include "kern/gemm.h"
#include "kern/product.h"
#include "linalg/tiles.h"
#include "obr/compress.h"
#include "obr/dual.h"
#include "obr/form.h"
#include "plan/plan.h"
#include "quant/weight.h"

/* What several phases need. */
typedef struct shape {
    const pons_plan_input *in;
    pons_plan *plan;
    int workers;      /* of a team */
    int64_t blocks;   /* that a team has of a wave; 0: one block after the other */
    int64_t windows;  /* of the fullest rank, for Hessians */
    int64_t streamed; /* the same with the held-out ones */
    int64_t S, widest;
    double packed, inputs; /* linears of the block set so far; inputs touched so far */
    double followed,
        errors;     /* dense stream: linears set so far; 1 once o_proj's errors are touched */
    double sums;    /* Hessians of all inputs of the team's blocks */
    double crosses; /* what the targets of the team's blocks are made of */
    double
        held; /* hidden states of held-out windows in front of the team's blocks, and their walk */
    double waiting; /* values of a group that its block gets one stage later */
    double work;    /* of the forward pass */
    double kept;    /* codes that rank 0 keeps for the file of the block */
    double leaving; /* those of the block before, until they are written */
} shape;

static pons_plan_phase *add_phase(shape *s, const char *name, int tap)
{
    pons_plan_phase *p = &s->plan->phase[s->plan->phases++];
    PONS_ASSERT(s->plan->phases <= PONS_PLAN_PHASES);
    *p = (pons_plan_phase){.name = name, .tap = tap, .busy = 1};
    p->group = tap < 0 ? "" : s->in->model->arch->tap[tap].name;
    return p;
}

static void add(pons_plan_phase *p, const char *name, pons_plan_kind kind, bool replicated,
                double bytes)
{
    if (bytes <= 0) return;
    PONS_ASSERT(p->terms < PONS_PLAN_TERMS);
    p->term[p->terms++] = (pons_plan_term){name, kind, replicated, bytes};
    p->bytes[kind] += bytes;
}

/* A matrix of the node: in its memory or, with layout.scratch, on its disk. */
static void add_matrix(const shape *s, pons_plan_phase *p, const char *name, double bytes)
{
    bool disk = s->in->recipe->layout.scratch[0] != 0;
    add(p, name, disk ? PONS_PLAN_DISK : PONS_PLAN_NODE, true, bytes);
}

/* kern/product.c, obr/panel.c: of matrices on disk, what the threads of a rank walk through at a time: a row of tiles
 * each; more where terms in bf16 are, which the system can take back. */
static void add_window(const shape *s, pons_plan_phase *p, int64_t d)
{
    pons_product_tiles tiles = pons_product_tiles_of(d);
    double window = 4 * (double)s->in->threads * (double)(tiles.width * tiles.padded);
    add(p, "matrices on disk, part in use", PONS_PLAN_RANK, true,
        fmin(window, p->bytes[PONS_PLAN_DISK]));
}

/* Whether each linear of a tap has a Hessian of its own. */
static bool inputs_apart(const pons_recipe *r)
{
    return r->rotation.kind == PONS_ROTATION_FLATQUANT && r->activations.bits < 16;
}

static bool takes(const shape *s, int linear, int tap)
{
    return s->in->model->arch->linear[linear].tap == tap;
}

/* Rows of a linear that the fullest rank compresses: whole shares, dealt over the group. */
static int64_t own_rows(const shape *s, int tap, int linear)
{
    int64_t shares = 0, rows, cols;
    for (int i = 0; i < s->in->model->arch->linears; i++) {
        pons_linear_shape(s->in->model, i, &rows, &cols);
        if (takes(s, i, tap)) shares += (rows + PONS_ROW_SHARE - 1) / PONS_ROW_SHARE;
    }
    pons_linear_shape(s->in->model, linear, &rows, &cols);
    if (pons_method_needs_all_rows(s->in->recipe->method)) return rows;
    int64_t own = (shares + s->workers - 1) / s->workers * PONS_ROW_SHARE;
    return own < rows ? own : rows;
}

/* Sum over the group of rows * cols, of all rows or of the fullest rank's. */
static double cells(const shape *s, int tap, bool own)
{
    double sum = 0, most = 0;
    int64_t rows, cols;
    for (int i = 0; i < s->in->model->arch->linears; i++) {
        if (!takes(s, i, tap)) continue;
        pons_linear_shape(s->in->model, i, &rows, &cols);
        sum += (double)rows * (double)cols;
        most += (double)own_rows(s, tap, i) * (double)cols;
    }
    if (!own) return sum;
    int64_t slack = PONS_ROW_SHARE * pons_tap_width(s->in->model, tap);
    return fmin(most, sum / s->workers + (double)slack);
}

/* Of the linears of a group (-1: of all), those that the fullest rank reads and rotates. */
static double owned_cells(const shape *s, int tap)
{
    double most = 0;
    int64_t rows, cols;
    for (int owner = 0; owner < s->workers && owner < s->in->model->arch->linears; owner++) {
        double own = 0;
        for (int i = owner; i < s->in->model->arch->linears; i += s->workers) {
            if (tap >= 0 && !takes(s, i, tap)) continue;
            pons_linear_shape(s->in->model, i, &rows, &cols);
            own += (double)rows * (double)cols;
        }
        most = fmax(most, own);
    }
    return most;
}

/* What is there in every phase of the job. */
static void add_always(const shape *s, pons_plan_phase *p)
{
    const pons_recipe *r = s->in->recipe;
    const pons_model_config *m = s->in->model;
    double streams = r->activations.bits < 16 || r->kv.bits < 16 || r->values.bits < 16 ? 2 : 1;
    add(p, "program and libraries", PONS_PLAN_RANK, true, s->in->base_bytes);
    double peers = ceil((double)s->in->ranks / s->in->nodes) - 1;
    if (s->in->ranks > 1) /* Open MPI: its own pools, and a segment of every rank of the node */
        add(p, "message buffers", PONS_PLAN_RANK, true, 8e6 + 4e6 * peers);
    if (pons_method_needs_hessian(r->method))
        add(p, "hidden states of own windows", PONS_PLAN_RANK, false,
            4 * (double)(s->streamed * s->S * m->hidden));
    if (r->evaluate.text[0]) {
        double windows = ceil((double)r->evaluate.windows / s->workers);
        add(p, "evaluation windows", PONS_PLAN_RANK, false,
            streams * 4 * (double)r->evaluate.length *
                (windows * (double)m->hidden + (double)s->widest));
    }
}

/* What is there in every phase of a block. */
static void add_standing(const shape *s, pons_plan_phase *p)
{
    const pons_recipe *r = s->in->recipe;
    const pons_model_config *m = s->in->model;
    double tokens = (double)(s->streamed * s->S);
    add_always(s, p);
    add(p, "group inputs of own windows", PONS_PLAN_RANK, false, s->inputs);
    if (pons_plan_follows(r)) { /* pipeline/target.c */
        double one = (double)s->S * (double)(s->widest + m->hidden);
        int64_t kept = s->blocks ? 1 : s->windows;
        add(p, "dense stream: hidden states and inputs", PONS_PLAN_RANK, false,
            4 * tokens * (double)m->hidden + s->inputs);
        add(p, "errors of o_proj and down_proj", PONS_PLAN_RANK, false,
            s->errors * 4 * (double)(kept * s->S * m->hidden));
        add(p, "distances of a window", PONS_PLAN_RANK, true, 4 * one);
        add(p, "linears of the dense stream's block, packed", PONS_PLAN_RANK, true, s->followed);
    }
    add(p, "linears of the block, packed for products", PONS_PLAN_RANK, true, s->packed);
    add(p, "work space of the forward pass", PONS_PLAN_RANK, true, s->work);
    add(p, "Hessians of the wave, summed as windows pass", PONS_PLAN_RANK, true, s->sums);
    add(p, "cross Hessians of the wave", PONS_PLAN_RANK, true, s->crosses);
    add(p, "held-out windows in front of the blocks of the wave", PONS_PLAN_RANK, false, s->held);
    add(p, "values of a group that go into the block a stage later", PONS_PLAN_RANK, true,
        s->waiting);
    add(p, "codes kept for the block's file (rank 0)", PONS_PLAN_RANK, true, s->kept);
    add(p, "codes of the block before, being written (rank 0)", PONS_PLAN_RANK, true, s->leaving);
    add(p, "linears of the next block, read ahead", PONS_PLAN_RANK, false,
        (double)pons_dtype_bytes(m->dtype, 1) * owned_cells(s, -1));
}

/* calib/block.c: RoPE tables, q, k and v, the input once more as products take it, and what threads make of it. */
static void grow_work(shape *s, int tap)
{
    const pons_model_config *m = s->in->model;
    double S = (double)s->S, d = (double)pons_tap_width(m, tap);
    double fixed = 4 * S * (double)((m->heads + 2 * m->kv_heads) * m->head_dim + m->head_dim);
    s->inputs = fmax(s->inputs, s->blocks ? 4 * S * (double)(s->widest + 3 * m->hidden)
                                          : 4 * (double)s->streamed * S * d);
    double tiles = (double)s->in->threads * PONS_MATMUL_THREAD_BYTES;
    s->work = fmax(s->work, fixed + S * d * (s->in->bf16 ? 2 : 4) + tiles);
}

/* pipeline/linear.c: the owner's dense linears and everyone's panels. */
static void plan_read(shape *s, int tap)
{
    pons_plan_phase *p = add_phase(s, "read", tap);
    add_standing(s, p);
    add(p, "linears of the owner, dense", PONS_PLAN_RANK, false, 4 * owned_cells(s, tap));
    add(p, "rows of this rank", PONS_PLAN_RANK, false, 4 * cells(s, tap, true));
}

/* Hessians of a tap. */
static int inputs_of(const shape *s, int tap)
{
    int n = 0;
    for (int i = 0; i < s->in->model->arch->linears; i++)
        n += takes(s, i, tap);
    return inputs_apart(s->in->recipe) ? n : 1;
}

/* Columns of the left side of what the targets of a tap's linears are made of. */
static int64_t cross_rows(const shape *s, int tap)
{
    const pons_model_config *m = s->in->model;
    return pons_tap_joins_stream(m->arch, tap) ? m->hidden : pons_tap_width(m, tap);
}

/* hessian/accumulate.c, kern/gram.c, hessian/factor.c. */
static void plan_hessian(shape *s, int tap)
{
    const pons_recipe *r = s->in->recipe;
    int64_t d = pons_tap_width(s->in->model, tap), room = 8;
    int64_t panel = r->keep_hessians ? d : pons_hessian_panel_rows(d);
    double square = (double)d * (double)d, own = 4 * cells(s, tap, true);
    double tiles = (double)pons_tiles_bytes(d, s->plan->team_ranks);
    while (room < s->windows)
        room *= 2;
    pons_plan_phase *p = add_phase(s, "hessian", tap);
    add_standing(s, p);
    add(p, "rows of this rank", PONS_PLAN_RANK, false, own);
    if (!s->blocks)
        add(p, "panel of the Hessian, summed", PONS_PLAN_RANK, true, 8 * (double)panel * (double)d);
    add(p, "column norms of own windows", PONS_PLAN_RANK, false, 8 * (double)(room * d));
    double packed = pons_gram_bytes(s->S, d, s->in->bf16, s->in->threads);
    if (s->blocks && pons_plan_follows(r))
        packed = fmax(
            packed, pons_cross_sum_bytes(s->S, cross_rows(s, tap), d, s->in->bf16, s->in->threads));
    add(p, "a window packed for the sum", PONS_PLAN_RANK, true, packed);
    add(p, "tiles of the Hessian", PONS_PLAN_RANK, false, tiles);
    add_matrix(s, p, "Hessian in fp32", 4 * square);
    add_matrix(s, p, "inverse factor U", 4 * square);
    add_window(s, p, d);

    bool stays = r->obr.damping_retries > 0;        /* for a larger damping */
    if (s->blocks && !stays) s->sums -= 8 * square; /* freed before it is factored */
    p = add_phase(s, "factor", tap);
    add_standing(s, p);
    add(p, "rows of this rank", PONS_PLAN_RANK, false, own);
    add(p, "tiles of the Hessian", PONS_PLAN_RANK, false, tiles);
    add(p, "column of tiles", PONS_PLAN_RANK, true, (double)pons_tiles_work_bytes(d));
    add_matrix(s, p, "Hessian in fp32", 4 * square);
    add_matrix(s, p, "inverse factor U", 4 * square);
    add_window(s, p, d);
    int left = inputs_of(s, tap) - (stays ? 0 : 1);
    if (s->blocks) s->sums -= 8 * square * left;
}

/* pipeline/target.c, hessian/cross.c, obr/target.c: the targets of a group. */
static void plan_targets(shape *s, int tap)
{
    const pons_recipe *r = s->in->recipe;
    bool joins = pons_tap_joins_stream(s->in->model->arch, tap);
    int64_t d = pons_tap_width(s->in->model, tap), left = cross_rows(s, tap);
    int64_t rows, cols, most = 0;
    double square = (double)d * (double)d, all = cells(s, tap, false);
    for (int i = 0; i < s->in->model->arch->linears; i++) {
        pons_linear_shape(s->in->model, i, &rows, &cols);
        if (takes(s, i, tap) && rows > most) most = rows;
    }
    double step = r->calibration.holdout > 0 ? (double)(most * d) : 0;
    if (!s->blocks) s->followed += all * (s->in->bf16 ? 2 : 4);
    if (joins) s->errors = 1;
    pons_plan_phase *p = add_phase(s, "targets", tap);
    add_standing(s, p);
    add(p, "rows of this rank, their steps", PONS_PLAN_RANK, false, 12 * cells(s, tap, true));
    add(p, "step of a linear, dense and packed", PONS_PLAN_RANK, true,
        step * (s->in->bf16 ? 6 : 8));
    if (!s->blocks) {
        add(p, "cross Hessian", PONS_PLAN_RANK, true, 8 * (double)left * (double)d);
        add(p, "a window packed for the sum", PONS_PLAN_RANK, true,
            pons_cross_sum_bytes(s->S, left, d, s->in->bf16, s->in->threads));
    }
    add(p, "matrices that make the steps", PONS_PLAN_RANK, true, (joins ? 4 : 8) * square);
    add_matrix(s, p, "Hessian in fp32", 4 * square);
    add_matrix(s, p, "inverse factor U", 4 * square);
    add_window(s, p, d);
}

/* kern/product.c: fp32 products without AMX tiles take their matrix as it is. As `auto` does, this follows the processor
 * that plans. */
static bool multiplies_in_place(const shape *s)
{
    return !s->in->solver_bf16 && pons_product_exact(false) == PONS_PRODUCT_FP32;
}

/* kern/product.c: bytes of an entry of a matrix that the solvers multiply by, beside the matrix itself. */
static double product_entry(const shape *s)
{
    return multiplies_in_place(s) ? 0 : s->in->solver_bf16 ? 4 : 6;
}

/* hessian/inverse.c: of an entry of K and H; in place K alone. */
static double inverse_entry(const shape *s)
{
    return multiplies_in_place(s) ? 4 : 2 * product_entry(s);
}

/* obr/subproblem.c: the trailing problem from a column on, and what a dual solver of it prepares. */
static double rest_bytes(const shape *s, int64_t d, int64_t from)
{
    double n = (double)pons_product_tiles_of(d - from).padded;
    return n * n * ((from > 0 ? 8 : 0) + inverse_entry(s));
}

/* obr/shared.c: of more than two blocks, or with scales of what the first solve leaves. */
static double blocks_bytes(const shape *s, int64_t d)
{
    const pons_recipe *r = s->in->recipe;
    int64_t blocks = r->obr.blocks > 2 ? r->obr.blocks : 2;
    double sum = rest_bytes(s, d, 0);
    for (int64_t k = 1; k < blocks; k++) {
        int64_t from = blocks > 2 ? k * d / blocks : (int64_t)(r->obr.alpha * (double)d);
        if (from < d) sum += rest_bytes(s, d, from);
    }
    return sum;
}

/* obr/masks.c, hessian/shrink.c: what the recipe's mask prepares, or what is there while the last of it is made. @param rest
 * bytes of the rest from column 0 on, where nothing else makes it */
static double mask_bytes(const shape *s, int64_t d, double rest)
{
    double whole = (double)pons_product_tiles_of(d).padded, square = (double)d * (double)d;
    double each = (s->in->solver_bf16 ? 2 : 4) * whole * whole;
    double kept = (double)d * (1 - s->in->recipe->prune.sparsity);
    switch (s->in->recipe->prune.mask) {
    case PONS_MASK_ADMM:
        return d <= PONS_SHRINK_NARROW
                   ? fmax(PONS_ADMM_STAGES * each, PONS_ADMM_STAGES * 4 * square + each)
                   : fmax(PONS_ADMM_STAGES * each, (PONS_ADMM_STAGES - 1) * each + 12 * square);
    case PONS_MASK_DUAL_SWAP: return rest + 12 * kept * kept;
    default: return 0;
    }
}

/* obr/chunk.c: a chunk of rows of each thread. */
static double chunk_bytes(const shape *s, int64_t d, int64_t rows)
{
    int64_t padded = pons_product_tiles_of(d).padded;
    double most = rows > 0 ? (double)pons_dual_rows(d, rows, s->in->threads) : 0.0;
    double tap = most > 0 ? PONS_PRODUCT_SPACE : 0, alpha = s->in->recipe->obr.alpha;
    double cell = 28.125 + (alpha > 0 ? 4 * (1 - alpha) : 0); /* the dual in bf16 two less */
    return s->in->threads * (cell * most * (double)padded + tap);
}

/* obr/form.c: rows that each thread measures, and a tile of the Hessian. */
static double form_bytes(const shape *s, int64_t d, int64_t rows)
{
    pons_product_tiles of = pons_product_tiles_of(d);
    int64_t step = pons_row_form_rows(d, rows, s->in->threads);
    double busy = fmin(s->in->threads, ceil((double)rows / (double)step));
    return busy * (8.0 * (double)(step * of.padded) + 4.0 * (double)(of.width * of.width));
}

/* hessian/inverse.c and obr: what the rows of a group share, and one linear's rows. */
static void plan_solve(shape *s, int tap)
{
    const pons_recipe *r = s->in->recipe;
    int64_t d = pons_tap_width(s->in->model, tap), rows, cols, most = 0;
    int64_t split = (int64_t)(r->obr.alpha * (double)d), padded = pons_product_tiles_of(d).padded;
    double square = (double)d * (double)d, whole = (double)padded * (double)padded;
    double tail = (double)(d - split) * (double)(d - split);
    double cross = (double)split * (double)(d - split), shared = 0;
    bool dual = pons_row_solver(r, d, s->in->solver_bf16) != PONS_SOLVER_DIRECT,
         hessian = pons_method_needs_hessian(r->method);
    for (int i = 0; i < s->in->model->arch->linears; i++) {
        pons_linear_shape(s->in->model, i, &rows, &cols);
        int64_t own = takes(s, i, tap) ? own_rows(s, tap, i) : 0;
        most = own > most ? own : most;
    }
    bool compensates = pons_method_compensates(r->method);
    bool halves = r->obr.blocks <= 2 && r->scale_from == PONS_SCALE_DENSE;
    if (dual && compensates && !halves)
        shared = blocks_bytes(s, d);
    else if (dual)
        shared =
            inverse_entry(s) * whole + (inverse_entry(s) + 1) * tail + product_entry(s) * cross;
    pons_plan_phase *p = add_phase(s, "solve", tap);
    add_standing(s, p);
    add(p, "rows of this rank", PONS_PLAN_RANK, false, 4 * cells(s, tap, true));
    add(p, "codes and values of this rank's rows", PONS_PLAN_RANK, false, 5 * cells(s, tap, true));
    double cell = 5; /* obr/compress.c; beside it obr/rest.c or obr/polish.c */
    if (compensates && !halves && r->method != PONS_METHOD_EXACT_OBS)
        cell += 17;
    else if (pons_method_polishes(r->method) && r->polish.sweeps > 0)
        cell += 8;
    add(p, "work of one linear's rows", PONS_PLAN_RANK, false, cell * (double)(most * d));
    double chunks = hessian ? form_bytes(s, d, most) : 0;
    if (dual) chunks = fmax(chunks, chunk_bytes(s, d, most));
    add(p, "rows that threads work on together", PONS_PLAN_RANK, true, chunks);
    if (hessian) add_matrix(s, p, "Hessian in fp32", 4 * square);
    if (hessian) add_matrix(s, p, "inverse factor U", 4 * square);
    add_matrix(s, p, "inverse of the Hessian and its packed forms", shared);
    if (pons_method_takes_mask(r->method))
        add_matrix(s, p, "matrices of the mask",
                   mask_bytes(s, d, dual && (halves || !compensates) ? rest_bytes(s, d, 0) : 0));
    if (r->obr.act_order)
        add_matrix(s, p, "Hessian and U in the order of the sweep",
                   8 * (r->method == PONS_METHOD_OBR_GPTQ ? tail : square));
    add_window(s, p, d);

    p = add_phase(s, "gather", tap);
    double all = cells(s, tap, false), packed = all * (s->in->bf16 ? 2 : 4);
    add_standing(s, p);
    add(p, "codes and values of the whole group", PONS_PLAN_RANK, true, 5 * all);
    add(p, "linears of the group, packed for products", PONS_PLAN_RANK, true, packed);
    if (hessian) add_matrix(s, p, "Hessian in fp32", 4 * square);
    if (hessian) add_matrix(s, p, "inverse factor U", 4 * square);
    if (!s->blocks) s->packed += packed;
    if (s->blocks && pons_plan_follows(r)) s->waiting = 5 * all;
    s->kept +=
        all * (pons_method_quantizes(r->method) ? 1 : 4) * (double)(s->blocks ? s->blocks : 1);
}

/* pipeline/wave.c: a team's blocks are there dense and then compressed, with all their sums. */
static void open_wave(shape *s)
{
    const pons_recipe *r = s->in->recipe;
    const pons_model_config *m = s->in->model;
    int64_t wave = r->wave < m->layers ? r->wave : m->layers;
    bool follows = pons_plan_follows(r);
    s->blocks = (wave + s->plan->teams - 1) / s->plan->teams;
    for (int g = 0; g < s->in->model->arch->taps; g++) {
        double d = (double)pons_tap_width(m, g);
        s->packed += (double)s->blocks * cells(s, g, false) * (s->in->bf16 ? 2 : 4);
        s->sums += (double)(s->blocks * inputs_of(s, g)) * 8 * d * d;
        if (follows) s->crosses += (double)s->blocks * 8 * d * (double)cross_rows(s, g);
        grow_work(s, g);
    }
    int64_t held_out = (r->calibration.holdout + s->workers - 1) / s->workers;
    if (follows) /* hidden states in front of each block; those of one with their inputs */
        s->held = 2 * 4 * (double)(held_out * s->S) *
                  (double)(s->blocks * m->hidden + m->hidden + s->widest);
}

/* pipeline/allocate.c: the pass over the dense model, at the widest input: while its Hessian is summed and factored, or
 * while rows are tried with its inverse, whichever takes more. */
static void plan_allocate(shape *s)
{
    const pons_recipe *r = s->in->recipe;
    const pons_model_config *m = s->in->model;
    double all = 0, own = 0, d = (double)s->widest;
    double S = (double)s->S, windows = fmin(ceil(8 * d / S), (double)r->calibration.windows);
    shape work = *s; /* all ranks share it, also with waves */
    work.workers = s->in->ranks - (s->in->ranks > 1 && !r->coordinator_works);
    double pass = ceil(windows / work.workers);
    for (int g = 0; g < s->in->model->arch->taps; g++) {
        all += cells(&work, g, false);
        own += cells(&work, g, true);
        grow_work(&work, g);
    }
    pons_plan_phase *p = add_phase(s, "allocate", -1);
    add_always(s, p);
    add(p, "windows of the pass", PONS_PLAN_RANK, false, 4 * pass * S * ((double)m->hidden + d));
    add(p, "a window that is probed", PONS_PLAN_RANK, true, 4 * S * (3 * (double)m->hidden + d));
    add(p, "work space of the forward pass", PONS_PLAN_RANK, true, work.work);
    add(p, "linears of the block, dense", PONS_PLAN_RANK, true, 4 * all);
    add(p, "linears of the block, packed for products", PONS_PLAN_RANK, true,
        all * (s->in->bf16 ? 2 : 4));
    add(p, "rows of this rank", PONS_PLAN_RANK, false, 4 * own);
    add(p, "linears of the next block, read ahead", PONS_PLAN_RANK, false,
        (double)pons_dtype_bytes(m->dtype, 1) * owned_cells(&work, -1));
    add_matrix(s, p, "Hessian in fp32", 4 * d * d);
    add_matrix(s, p, "inverse factor U", 4 * d * d);
    double tiles = (double)pons_tiles_bytes(s->widest, s->in->ranks);
    double panel = 8 * d * (double)pons_hessian_panel_rows(s->widest) +
                   pons_gram_bytes(s->S, s->widest, s->in->bf16, s->in->threads);
    double alpha = r->obr.alpha;
    double inverse = d * d *
                     (inverse_entry(s) * (1 + (1 - alpha) * (1 - alpha)) +
                      product_entry(s) * alpha * (1 - alpha));
    if (inverse > ceil((double)s->in->ranks / s->in->nodes) * (tiles + panel)) {
        add_matrix(s, p, "inverse of the Hessian and its packed forms", inverse);
        return;
    }
    add(p, "tiles of the Hessian", PONS_PLAN_RANK, false, tiles);
    add(p, "panel of the Hessian and a window packed for it", PONS_PLAN_RANK, true, panel);
}

void pons_plan_memory(const pons_plan_input *in, pons_plan *plan)
{
    const pons_recipe *r = in->recipe;
    int idle = in->ranks > 1 && !r->coordinator_works;
    bool hessian = pons_method_needs_hessian(r->method);
    shape s = {
        .in = in, .plan = plan, .workers = plan->team_ranks - idle, .S = r->calibration.length};
    s.windows = hessian ? (r->calibration.windows + s.workers - 1) / s.workers : 0;
    s.streamed = /* pipeline/job.h: no rank has more than both, divided and rounded up */
        hessian ? (r->calibration.windows + r->calibration.holdout + s.workers - 1) / s.workers : 0;
    for (int g = 0; g < in->model->arch->taps; g++) {
        int64_t d = pons_tap_width(in->model, g);
        s.widest = d > s.widest ? d : s.widest;
        s.leaving += cells(&s, g, false) * (pons_method_quantizes(r->method) ? 1 : 4);
    }
    if (r->prune.allocate == PONS_ALLOCATE_BUDGET) plan_allocate(&s);
    if (r->wave > 1) open_wave(&s);
    for (int g = 0; g < in->model->arch->taps; g++) {
        plan_read(&s, g);
        if (hessian) {
            grow_work(&s, g);
            add_standing(&s, add_phase(&s, "forward", g));
            plan_hessian(&s, g);
            if (pons_plan_follows(r)) plan_targets(&s, g);
        }
        plan_solve(&s, g);
    }
    add_standing(&s, add_phase(&s, "end of block", -1));
    double on_node = ceil((double)in->ranks / in->nodes);
    double teams_on_node = fmax(1, floor(on_node / plan->team_ranks));
    for (int i = 0; i < plan->phases; i++) {
        const pons_plan_phase *p = &plan->phase[i];
        double node = on_node * p->bytes[PONS_PLAN_RANK] + teams_on_node * p->bytes[PONS_PLAN_NODE];
        plan->resident_bytes =
            fmax(plan->resident_bytes, p->bytes[PONS_PLAN_RANK] + p->bytes[PONS_PLAN_NODE]);
        plan->disk_bytes = fmax(plan->disk_bytes, teams_on_node * p->bytes[PONS_PLAN_DISK]);
        if (i > 0 && node <= plan->node_bytes) continue;
        plan->fullest = i;
        plan->node_bytes = node;
        plan->rank_bytes = p->bytes[PONS_PLAN_RANK];
    }
}

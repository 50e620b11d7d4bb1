/* Flop, bytes moved and seconds of every phase that memory.c listed. */
#include <math.h>
#include <string.h>

#include "hessian/shrink.h"
#include "kern/product.h"
#include "obr/compress.h"
#include "plan/plan.h"

/* Products per row of an iterative solver, first and second stage, checks included (pons bench solver). */
static const double PRODUCTS = 12;

/* Products per row of the mask dual_swap, as measured. */
static const double SWAP_PRODUCTS = 45;

/* The clip search: 80 shrinkings of about 30 flop per weight. */
static const double CLIP_FLOP = 2400;

typedef struct part {
    double compute, network, disk, memory, latency; /* seconds */
} part;

static double total(const part *p)
{
    return p->compute + p->network + p->disk + p->memory + p->latency;
}

static const char *bound_of(const part *p)
{
    double most = fmax(fmax(p->compute, p->network), fmax(p->disk, fmax(p->memory, p->latency)));
    return most == p->compute   ? "flop"
           : most == p->network ? "network"
           : most == p->disk    ? "disk"
           : most == p->memory  ? "memory"
                                : "latency";
}

/* Rows and weights of the linears of a tap. */
static void measure_tap(const pons_model_config *m, int g, double *rows, double *cells,
                        double *shares)
{
    int64_t r, c;
    *rows = *cells = *shares = 0;
    for (int i = 0; i < m->arch->linears; i++) {
        if (m->arch->linear[i].tap != g) continue;
        pons_linear_shape(m, i, &r, &c);
        *rows += (double)r;
        *cells += (double)r * (double)c;
        *shares += (double)((r + PONS_ROW_SHARE - 1) / PONS_ROW_SHARE);
    }
}

/* Share of the workers that are busy when n things are dealt to them. */
static double balance(double n, int workers) { return n / (ceil(n / workers) * workers); }

/* Multiplications of a forward pass: each weight once per token, and the attention. */
static double forward_flop(const pons_plan_input *in, int g)
{
    const pons_model_config *m = in->model;
    const pons_recipe *r = in->recipe;
    double tokens = (double)((r->calibration.windows + r->calibration.holdout) *
                             r->calibration.length * (pons_plan_follows(r) ? 2 : 1));
    double rows, cells, shares;
    measure_tap(m, g, &rows, &cells, &shares);
    bool attends = g + 1 < m->arch->taps && m->arch->tap[g + 1].kind == PONS_INPUT_HEADS;
    double attention =
        attends ? 2 * (double)r->calibration.length * (double)(m->heads * m->head_dim) : 0;
    return tokens * (2 * cells + attention);
}

static void cost_solve(const pons_plan_input *in, int g, int workers, pons_plan_phase *p, part *t)
{
    const pons_recipe *r = in->recipe;
    double d = (double)pons_tap_width(in->model, g), rows, cells, shares;
    double n = d - floor(r->obr.alpha * d);
    measure_tap(in->model, g, &rows, &cells, &shares);
    double speed = 1e9 * in->threads * workers * balance(shares, workers);
    double solve = 0, gptq = 0, inverse = 0, shifted = 0, order = 0;
    double on_node = (double)in->ranks / in->nodes, makers = on_node;
    bool sweeps = r->method == PONS_METHOD_GPTQ || r->method == PONS_METHOD_SPARSEGPT_GPTQ ||
                  r->method == PONS_METHOD_OBR_GPTQ;
    bool obr = r->method == PONS_METHOD_OBR_GPTQ || r->method == PONS_METHOD_OBR_RTN;
    int64_t blocks = r->obr.blocks;
    if (obr && pons_row_solver(r, (int64_t)d, in->solver_bf16) != PONS_SOLVER_DIRECT) {
        bool halves = blocks <= 2;
        double squares = 0, cubes = 0;
        for (int64_t k = 0; k < (halves ? 2 : blocks); k++) {
            double width = k == 0 ? d : halves ? n : d - floor((double)k * d / (double)blocks);
            squares += width * width;
            cubes += width * width * width;
        }
        solve = rows * PRODUCTS * 2 * squares;
        inverse = cubes / 3 * in->nodes;
    } else if (obr) { /* a factor per row, of the weights it keeps */
        double kept = (1 - r->prune.sparsity) * d;
        solve = rows * kept * kept * kept / 3;
    }
    if (r->method != PONS_METHOD_OBR_GPTQ) n = d; /* swept */
    if (pons_method_takes_mask(r->method) && r->prune.mask == PONS_MASK_ADMM) {
        solve += rows * PONS_ADMM_STAGES * PONS_ADMM_STEPS * 2 * d * d;
        shifted = PONS_ADMM_STAGES * d * d * d * in->nodes;
        if (d <= PONS_SHRINK_NARROW) /* dealt whole, in turns */
            makers = PONS_ADMM_STAGES / ceil(PONS_ADMM_STAGES / on_node);
    }
    if (pons_method_takes_mask(r->method) && r->prune.mask == PONS_MASK_DUAL_SWAP)
        solve += rows * SWAP_PRODUCTS * 2 * d * d;
    if (sweeps) gptq = rows * n * n;
    if (sweeps && r->obr.act_order)
        order = 2 * n * n * n / 3; /* of all ranks, as the factor itself */
    double clip = pons_method_quantizes(r->method) && r->weights.mse_clip ? CLIP_FLOP * cells : 0;
    p->flop = solve + inverse + shifted + gptq + clip + order;
    p->busy = balance(shares, workers);
    t->compute = inverse / (in->rates.inverse * 1e9 * in->threads * on_node * in->nodes) +
                 shifted / (in->rates.inverse * 1e9 * in->threads * makers * in->nodes) +
                 solve / (in->rates.solve * speed) + gptq / (in->rates.gptq * speed) +
                 clip / (in->rates.clip * speed) +
                 order / (in->rates.factor * 1e9 * in->threads * in->ranks);
}

/* A block of the pass over the dense model (pipeline/allocate.c): its windows, a window for each linear, what the
 * curves share; the sampled rows are few. */
static void cost_allocate(const pons_plan_input *in, int workers, pons_plan_phase *p, part *t)
{
    const pons_recipe *r = in->recipe;
    const pons_plan_rates *v = &in->rates;
    double S = (double)r->calibration.length, all = in->threads * 1e9, widest = 0;
    double weights = 0, squares = 0, cubes = 0, rows, cells, shares;
    for (int g = 0; g < in->model->arch->taps; g++) {
        double d = (double)pons_tap_width(in->model, g);
        measure_tap(in->model, g, &rows, &cells, &shares);
        weights += cells;
        squares += d * d;
        cubes += d * d * d;
        widest = fmax(widest, d);
    }
    double windows = fmin(ceil(8 * widest / S), (double)r->calibration.windows);
    double forward = (windows + in->model->arch->linears) * S *
                     (2 * weights + 2 * S * (double)(in->model->heads * in->model->head_dim));
    double sums = windows * S * squares, factors = 2 * cubes / 3, inverses = cubes / 3;
    p->flop = forward + sums + factors + inverses * in->nodes;
    p->busy = balance(windows, workers);
    t->compute = forward / (v->forward * all * workers * p->busy) +
                 sums / (v->hessian * all * workers * p->busy) +
                 factors / (v->factor * all * in->ranks) +
                 inverses / (v->inverse * all * in->ranks / in->nodes);
    t->network = 4 * weights * (1 - 1.0 / in->ranks) / (v->network * 1e9);
}

static void cost_phase(const pons_plan_input *in, pons_plan_phase *p)
{
    const pons_recipe *r = in->recipe;
    const pons_plan_rates *v = &in->rates;
    int g = p->tap, workers = in->ranks - (in->ranks > 1 && !r->coordinator_works);
    double others = 1 - 1.0 / in->ranks, rounds = ceil(log2((double)in->ranks));
    double windows = (double)r->calibration.windows, rows = 0, cells = 0, shares = 0, d = 0;
    int linears = 0;
    double all = in->threads * 1e9;
    part t = {0};
    if (g >= 0) {
        measure_tap(in->model, g, &rows, &cells, &shares);
        d = (double)pons_tap_width(in->model, g);
        for (int i = 0; i < in->model->arch->linears; i++)
            linears += in->model->arch->linear[i].tap == g;
    }
    if (!strcmp(p->name, "read")) {
        double bytes = cells * (double)pons_dtype_bytes(in->model->dtype, 1);
        double owners = fmin(workers, linears);
        p->moved = 4 * cells / workers * others;
        p->busy = owners / in->ranks;
        t.disk = bytes / (v->disk * 1e9 * fmin(owners, in->nodes));
        t.memory = 4 * cells / (v->memory * 1e9 * owners);
        t.network = 4 * cells * others / (v->network * 1e9 * owners);
    } else if (!strcmp(p->name, "forward") || !strcmp(p->name, "end of block")) {
        if (g < 0 && !pons_method_needs_hessian(r->method)) return;
        /* a stage runs the linears of the tap before it */
        p->flop = forward_flop(in, (g < 0 ? in->model->arch->taps : g) - 1);
        p->busy = balance(windows, workers);
        t.compute = p->flop / (v->forward * all * workers * p->busy);
        if (g < 0) { /* rank 0 writes the block */
            double bytes = 0, weight = pons_method_quantizes(r->method)
                                           ? (double)r->weights.bits / 8
                                           : (double)pons_dtype_bytes(r->output.dtype, 1);
            for (int k = 0; k < in->model->arch->taps; k++) {
                measure_tap(in->model, k, &rows, &cells, &shares);
                bytes += cells * weight;
            }
            t.disk = bytes / (v->disk * 1e9);
        }
    } else if (!strcmp(p->name, "hessian")) {
        p->flop = windows * (double)r->calibration.length * d * d;
        p->moved = 8 * d * d * others; /* the sum goes to all: in and out */
        p->busy = balance(windows, workers);
        t.compute = p->flop / (v->hessian * all * workers * p->busy);
        t.network = 2 * p->moved / (v->network * 1e9);
        t.memory = 4 * d * d / (v->memory * 1e9);
        t.latency = 2 * rounds * v->latency;
    } else if (!strcmp(p->name, "allocate")) {
        cost_allocate(in, workers, p, &t);
    } else if (!strcmp(p->name, "targets")) {
        bool joins = pons_tap_joins_stream(in->model->arch, g);
        double left = joins ? (double)in->model->hidden : d, S = (double)r->calibration.length;
        double sums = 2 * windows * S * (left * d + (joins ? cells : 0)); /* the errors, too */
        double checks = 6 * (double)r->calibration.holdout * S * cells;
        double steps = rows * (joins ? 4 : 6) * d * d;
        p->flop = sums + checks + steps;
        p->moved = 8 * left * d * others;
        p->busy = balance(windows, workers);
        t.compute = (sums / p->busy + checks) / (v->hessian * all * workers) +
                    steps / (v->inverse * all * workers);
        t.network = 2 * p->moved / (v->network * 1e9);
        t.latency = 2 * rounds * v->latency;
    } else if (!strcmp(p->name, "factor")) {
        double steps = ceil(d / 256);
        p->flop = 2 * d * d * d / 3;
        p->moved = 8 * d * d * others;
        t.compute = p->flop / (v->factor * all * in->ranks);
        t.network = p->moved / (v->network * 1e9);
        t.latency = steps * rounds * 2 * sqrt((double)in->ranks) * v->latency;
    } else if (!strcmp(p->name, "solve")) {
        cost_solve(in, g, workers, p, &t);
    } else if (!strcmp(p->name, "gather")) {
        p->moved = cells * others;
        t.network = p->moved / (v->network * 1e9);
        t.memory = cells * (4 + (in->bf16 ? 2 : 4)) / (v->memory * 1e9);
        t.latency = in->ranks * rounds * v->latency;
    }
    if (!strcmp(p->name, "factor") || !strcmp(p->name, "solve")) /* matrices on disk, once there */
        t.disk += p->bytes[PONS_PLAN_DISK] / (v->disk * 1e9);
    p->seconds = total(&t);
    p->bound = bound_of(&t);
}

void pons_plan_cost(const pons_plan_input *input, pons_plan *plan)
{
    pons_plan_input team = *input;
    const pons_plan_input *in = &team; /* a block is one team's */
    team.ranks = plan->team_ranks;
    team.nodes = (input->nodes + plan->teams - 1) / plan->teams;
    if (team.nodes > team.ranks) team.nodes = team.ranks;
    for (int i = 0; i < plan->phases; i++) {
        pons_plan_phase *p = &plan->phase[i];
        p->bound = "nothing";
        cost_phase(in, p);
        plan->block_seconds += p->seconds;
        plan->total_flop += p->flop;
        plan->moved_bytes += p->moved;
    }
    double layers = (double)in->model->layers;
    plan->total_seconds = plan->block_seconds * layers / plan->teams;
    plan->total_flop *= layers;
    plan->moved_bytes *= layers / plan->teams;
}

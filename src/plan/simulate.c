/* Simulates a job's schedule: when each team receives each microbatch, computes and waits. The
 * seconds of the
 * parts are cost.c's. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "plan/plan.h"

/* Seconds of one block on one team. */
typedef struct block_cost {
    double forward, hessian, solve; /* of all microbatches; of what follows the sums */
    double busy;                    /* share of the team's ranks that work, over all of it */
    double transfer;                /* of a microbatch to the next team */
    int64_t microbatches;
    double part[4]; /* seconds bound by flop, network, disk or memory, latency */
} block_cost;

static const char *const bounds[4] = {"flop", "network", "disk and memory", "latency"};

static int bound_index(const char *bound)
{
    return !strcmp(bound, "flop")      ? 0
           : !strcmp(bound, "network") ? 1
           : !strcmp(bound, "latency") ? 3
                                       : 2;
}

static block_cost cost_of(const pons_plan_input *team, const pons_plan *plan)
{
    block_cost c = {0};
    const pons_recipe *r = team->recipe;
    for (int i = 0; i < plan->phases; i++) {
        const pons_plan_phase *p = &plan->phase[i];
        double *sum = !strcmp(p->name, "forward") || !strcmp(p->name, "end of block") ? &c.forward
                      : !strcmp(p->name, "hessian")                                   ? &c.hessian
                                                                                      : &c.solve;
        *sum += p->seconds;
        c.busy += p->busy * p->seconds;
        c.part[bound_index(p->bound)] += p->seconds;
    }
    c.busy /= plan->block_seconds;
    c.microbatches = (r->calibration.windows + team->ranks - 1) / team->ranks;
    c.transfer = team->rates.latency + 4.0 * (double)r->calibration.length *
                                           (double)team->model->hidden /
                                           (team->rates.network * 1e9);
    return c;
}

/* Microbatches through all teams of a wave: ready[m] when they come, then when they leave. A team works
 * from free[t] on, `each` seconds per microbatch. Returns the seconds worked. */
static double stream(const block_cost *c, int teams, double each, double *ready, double *free_from)
{
    for (int t = 0; t < teams; t++)
        for (int64_t m = 0; m < c->microbatches; m++) {
            double start = fmax(ready[m] + c->transfer, free_from[t]);
            ready[m] = free_from[t] = start + each;
        }
    return teams * each * (double)c->microbatches;
}

pons_status pons_plan_simulate(const pons_plan_input *in, int teams, pons_plan_schedule *out)
{
    pons_status st = PONS_OK;
    pons_plan plan;
    double *ready = NULL, *entered = NULL, *free_from = NULL, worked = 0, end = 0;
    if (teams < 1 || in->ranks % teams)
        return pons_fail(PONS_ERR_USAGE,
                         "%d ranks cannot be divided into %d teams of the same size", in->ranks,
                         teams);
    pons_plan_input whole = *in, team;
    pons_recipe recipe = *in->recipe;
    recipe.wave = teams;
    recipe.layout.teams = teams > 1 ? teams : 0;
    recipe.layout.ranks_per_team = 0;
    whole.recipe = &recipe;
    PONS_TRY(st, pons_plan_make(&whole, &plan));
    team = whole;
    team.ranks = plan.team_ranks;
    block_cost c = cost_of(&team, &plan);
    PONS_CALLOC(st, ready, c.microbatches);
    PONS_CALLOC(st, entered, c.microbatches);
    PONS_CALLOC(st, free_from, teams);
    double layers = (double)in->model->layers;
    for (int64_t first = 0; first < in->model->layers; first += teams) {
        int wave = (int)(in->model->layers - first < teams ? in->model->layers - first : teams);
        double forward = c.forward / (double)c.microbatches;
        if (teams > 1) { /* dense passes; what entered the wave enters the last pass, too */
            bool follows = pons_plan_follows(in->recipe); /* one more, to observe; of two streams */
            memcpy(entered, ready, (size_t)c.microbatches * sizeof *ready);
            for (int pass = 0; pass <= follows; pass++) {
                worked += stream(&c, wave, forward + c.hessian / (double)c.microbatches, ready,
                                 free_from);
                memcpy(ready, entered, (size_t)c.microbatches * sizeof *ready);
            }
            if (follows) forward /= 2;
            for (int t = 0; t < wave; t++)
                free_from[t] += c.solve;
            worked += wave * c.solve;
            worked += stream(&c, wave, forward, ready, free_from);
        } else {
            double block = c.forward + c.hessian + c.solve;
            for (int64_t m = 0; m < c.microbatches; m++)
                ready[m] += block;
            worked += block;
        }
    }
    for (int64_t m = 0; m < c.microbatches; m++)
        end = fmax(end, ready[m]);
    int most = 0;
    for (int i = 0; i < 4; i++)
        most = c.part[i] > c.part[most] ? i : most;
    double waiting = 1 - worked / (teams * end);
    *out = (pons_plan_schedule){.teams = teams,
                                .ranks_per_team = team.ranks,
                                .seconds = end,
                                .idle = 1 - worked * c.busy / (teams * end),
                                .moved_bytes =
                                    plan.moved_bytes / teams +
                                    (teams > 1 ? 2 * layers / teams * (double)c.microbatches * 4 *
                                                     (double)in->recipe->calibration.length *
                                                     (double)in->model->hidden
                                               : 0),
                                .node_bytes = plan.node_bytes,
                                .bound = waiting > 0.5 ? "waiting for other teams" : bounds[most]};
done:
    pons_mem_free(free_from);
    pons_mem_free(entered);
    pons_mem_free(ready);
    return st;
}

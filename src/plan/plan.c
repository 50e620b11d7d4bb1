/* Owns the order of planning, the default rates and the refusal. */
#include "plan/plan.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "plan/accept.h"

pons_plan_rates pons_plan_default_rates(bool bf16)
{
    return (pons_plan_rates){.forward = bf16 ? 250 : 80,
                             .hessian = bf16 ? 220 : 70,
                             .factor = 40,
                             .inverse = 80,
                             .solve = bf16 ? 220 : 70,
                             .clip = 40,
                             .gptq = 25,
                             .memory = 5,
                             .network = 10,
                             .latency = 5e-6,
                             .disk = 1};
}

pons_status pons_plan_make(const pons_plan_input *in, pons_plan *out)
{
    memset(out, 0, sizeof *out);
    if (in->model->layers < 1) return pons_fail(PONS_ERR_USAGE, "the model has no blocks");
    if (in->nodes > in->ranks)
        return pons_fail(PONS_ERR_USAGE, "--nodes: found %d, allowed: up to the %d ranks",
                         in->nodes, in->ranks);
    pons_status st = pons_plan_accept(in->recipe, in->model, in->ranks, &out->teams);
    if (st != PONS_OK) return st;
    out->team_ranks = in->ranks / out->teams;
    pons_plan_memory(in, out);
    pons_plan_cost(in, out);
    return PONS_OK;
}

/* What a node's disk would have to take for the plan to fit with layout.scratch; 0: it would not fit either. */
static double disk_that_helps(const pons_plan_input *in)
{
    double bytes = 0;
    pons_recipe recipe = *in->recipe;
    pons_plan_input other = *in;
    pons_plan *plan = pons_mem_alloc(1, sizeof *plan);
    other.recipe = &recipe;
    if (plan && !recipe.layout.scratch[0]) {
        strcpy(recipe.layout.scratch, "/");
        if (pons_plan_make(&other, plan) == PONS_OK && plan->node_bytes <= in->memory_bytes)
            bytes = plan->disk_bytes;
    }
    pons_mem_free(plan);
    return bytes;
}

pons_status pons_plan_check(const pons_plan_input *in, const pons_plan *plan)
{
    const pons_plan_phase *p = &plan->phase[plan->fullest];
    int on_node = (in->ranks + in->nodes - 1) / in->nodes, largest = 0;
    double most = 0, disk = 0;
    char way_out[128] = "";
    if (in->memory_bytes <= 0 || plan->node_bytes <= in->memory_bytes) return PONS_OK;
    for (int i = 0; i < p->terms; i++) {
        if (p->term[i].kind == PONS_PLAN_DISK) continue;
        double bytes = p->term[i].bytes * (p->term[i].kind == PONS_PLAN_RANK ? on_node : 1);
        if (bytes <= most) continue;
        most = bytes;
        largest = i;
    }
    const pons_plan_term *t = &p->term[largest];
    if ((disk = disk_that_helps(in)) > 0)
        snprintf(way_out, sizeof way_out,
                 "; it fits with layout.scratch and %.1f GB of the node's disk", disk / 1e9);
    return pons_fail(PONS_ERR_NOMEM,
                     "does not fit: %s%s%s needs %.1f GB on a node of %.1f GB with %d ranks; "
                     "largest term: %s, %.1f GB%s%s",
                     p->name, p->group[0] ? " of " : "", p->group, plan->node_bytes / 1e9,
                     in->memory_bytes / 1e9, on_node, t->name, most / 1e9,
                     t->kind == PONS_PLAN_NODE ? " shared by the node"
                     : t->replicated           ? " on all of its ranks; fewer ranks per node help"
                                               : "; more nodes help",
                     way_out);
}

/* Owns the checks of a recipe that need the model's widths or the number of ranks. Those of the recipe alone are in
 * config, those of files at their readers. */
#include "plan/accept.h"

#include "quant/activation.h"
#include "rotate/rotation.h"

static pons_status check_widths(const pons_recipe *r, const pons_model_config *c)
{
    for (int t = 0; t < c->arch->taps; t++) {
        const char *name = c->arch->tap[t].name;
        int64_t d = pons_tap_width(c, t);
        if (pons_method_quantizes(r->method) && r->weights.group_size && d % r->weights.group_size)
            return pons_fail(
                PONS_ERR_CONFIG,
                "weights.group_size: found %lld, allowed: a divisor of %lld, the input width of %s",
                (long long)r->weights.group_size, (long long)d, name);
        if (pons_method_prunes(r->method) && r->prune.m && d % r->prune.m)
            return pons_fail(PONS_ERR_CONFIG,
                             "prune.pattern: found %d:%d, allowed: groups that divide %lld, the "
                             "input width of %s",
                             r->prune.n, r->prune.m, (long long)d, name);
    }
    return PONS_OK;
}

static pons_status count_teams(const pons_recipe *r, int64_t layers, int ranks, int *teams)
{
    int64_t wanted = r->layout.teams, each = r->layout.ranks_per_team;
    int64_t most = r->wave < layers ? r->wave : layers;
    *teams = 1;
    if (r->wave == 1) return PONS_OK;
    if (!wanted && each && ranks % each == 0) wanted = ranks / each;
    for (int64_t t = 1; !wanted && !each && t <= ranks && t <= most; t++)
        if (ranks % t == 0) *teams = (int)t;
    if (!wanted && !each) return PONS_OK;
    if (wanted < 1 || ranks % wanted || (each && wanted * each != ranks))
        return pons_fail(PONS_ERR_CONFIG,
                         "layout: found teams %lld, ranks_per_team %lld; allowed: numbers whose "
                         "product is the %d ranks of this job, or 0",
                         (long long)r->layout.teams, (long long)each, ranks);
    if (wanted > most)
        return pons_fail(PONS_ERR_CONFIG,
                         "layout: found %lld teams, allowed: up to the %lld blocks of a wave",
                         (long long)wanted, (long long)most);
    *teams = (int)wanted;
    return PONS_OK;
}

pons_status pons_plan_accept(const pons_recipe *recipe, const pons_model_config *model, int ranks,
                             int *teams)
{
    pons_status st = PONS_OK;
    PONS_TRY(st, pons_activation_check(&recipe->activations, model->hidden, model->head_dim,
                                       model->heads * model->head_dim, model->intermediate));
    PONS_TRY(st, check_widths(recipe, model));
    PONS_TRY(st, pons_rotation_check(recipe, model));
    PONS_TRY(st, count_teams(recipe, model->layers, ranks, teams));
done:
    return st;
}

/* Making teams of ranks. Does not know what they work on. */
#include "pipeline/team.h"

pons_team pons_team_of_all(pons_comm *comm, bool coordinator_works)
{
    pons_team t = {.comm = comm, .rank = pons_comm_rank(comm), .size = pons_comm_size(comm)};
    t.idle = t.size > 1 && !coordinator_works;
    t.holders = t.size - t.idle;
    return t;
}

pons_status pons_teams_make(const pons_recipe *recipe, int64_t layers, pons_team *all,
                            pons_teams *out)
{
    pons_status st;
    int64_t wanted = recipe->layout.teams, each = recipe->layout.ranks_per_team;
    int64_t size = all->size, most = recipe->wave < layers ? recipe->wave : layers;
    pons_comm *comm = NULL;
    if (!wanted && each && size % each == 0) wanted = size / each;
    for (int64_t t = 1; !wanted && !each && t <= size && t <= most; t++)
        if (size % t == 0) out->count = (int)t;
    if (wanted || each) out->count = (int)wanted;
    if (out->count < 1 || size % out->count || (each && out->count * each != size))
        return pons_fail(PONS_ERR_CONFIG,
                         "layout: found teams %lld, ranks_per_team %lld; allowed: numbers whose "
                         "product is the %lld ranks of this job, or 0",
                         (long long)recipe->layout.teams, (long long)each, (long long)size);
    if (out->count > most)
        return pons_fail(PONS_ERR_CONFIG,
                         "layout.teams: found %d, allowed: up to the %lld blocks of a wave",
                         out->count, (long long)most);
    all->holders = all->size / out->count;
    PONS_TRY(st, pons_comm_split(all->comm, all->rank / all->holders, &comm));
    out->own = pons_team_of_all(comm, true);
done:
    return st;
}

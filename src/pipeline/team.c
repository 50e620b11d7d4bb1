/* Making teams of ranks. Does not know what they work on. */
#include "pipeline/team.h"

pons_team pons_team_of_all(pons_comm *comm, bool coordinator_works)
{
    pons_team t = {.comm = comm, .rank = pons_comm_rank(comm), .size = pons_comm_size(comm)};
    t.idle = t.size > 1 && !coordinator_works;
    t.holders = t.size - t.idle;
    return t;
}

pons_status pons_teams_make(int count, pons_team *all, pons_teams *out)
{
    pons_status st;
    pons_comm *comm = NULL;
    out->count = count;
    all->holders = all->size / out->count;
    PONS_TRY(st, pons_comm_split(all->comm, all->rank / all->holders, &comm));
    out->own = pons_team_of_all(comm, true);
done:
    return st;
}

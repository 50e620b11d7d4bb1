/**
 * How the ranks of this job share a node.
 */
#ifndef PONS_PAR_NODE_H
#define PONS_PAR_NODE_H

#include "par/comm.h"

/** Number of ranks of comm on this rank's node. Collective on comm. */
int pons_par_ranks_on_node(pons_comm *comm);

/**
 * Threads this rank can run without oversubscribing its node: the cores that the node's ranks may
 * use (union of their affinity masks) divided by those ranks, at least 1 and at most the cores of
 * this rank's own mask.
 *
 * Collective on comm.
 */
int pons_par_fair_threads(pons_comm *comm);

#endif

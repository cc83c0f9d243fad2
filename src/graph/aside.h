/* Asides, calls that run concurrently with the others: for the plan, and for running a part. */
#ifndef DDPM_GRAPH_ASIDE_H
#define DDPM_GRAPH_ASIDE_H

#include "graph/graph.h"

/* Choose the nodes that run as asides, if the graph asks for it and its device can. */
void ddpm_graph_choose_asides(struct ddpm_graph *graph);

/* The last node during which the memory that node `i` reads and writes must not be reused: `i`, or,
 * for an aside, the first node that starts only after it is done. */
int ddpm_graph_needed_until(const struct ddpm_graph *graph, size_t i);

/* Run an aside. */
ddpm_status ddpm_graph_run_aside(const struct ddpm_graph *graph, size_t i);

/* At the end of a part: later calls wait for all its asides. */
ddpm_status ddpm_graph_join_asides(const struct ddpm_graph *graph, int part);

#endif

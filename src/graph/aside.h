/* Calls that run beside the others: for the plan, and for running a part. */
#ifndef DDPM_GRAPH_ASIDE_H
#define DDPM_GRAPH_ASIDE_H

#include "graph/graph.h"

/* Choose the nodes, where the graph asks for it and its device can. */
void ddpm_graph_choose_asides(struct ddpm_graph *graph);

/* The last node while which the memory that node `i` reads and writes must stay its own: `i`, or
 * for one that runs aside the first node that does not begin before it is done. */
int ddpm_graph_needed_until(const struct ddpm_graph *graph, size_t i);

/* Run such a call. */
ddpm_status ddpm_graph_run_aside(const struct ddpm_graph *graph, size_t i);

/* At the end of a part: what comes later waits for all of them. */
ddpm_status ddpm_graph_join_asides(const struct ddpm_graph *graph, int part);

#endif

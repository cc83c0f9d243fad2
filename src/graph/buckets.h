/* Stretches of a weight set's gradients in the order in which a backward pass ends with them, so
 * that something can be done with the first while the pass still computes the others. */
#ifndef DDPM_GRAPH_BUCKETS_H
#define DDPM_GRAPH_BUCKETS_H

#include "graph/graph.h"

struct ddpm_bucket {
    size_t first, count; /* elements of the gradients' slab */
    size_t last;         /* the node of the graph after which they are final */
};

/* Cut the gradients of `set` into whole parameters of together at least `least` elements, the last
 * one apart, for the nodes of `part`. Together they cover the slab. The array, in the order of
 * their last nodes, is the caller's: free() it. */
ddpm_status ddpm_graph_cut_gradients(const struct ddpm_graph *graph, int part,
                                     const struct ddpm_weight_set *set, size_t least,
                                     struct ddpm_bucket **out, size_t *count);

/* Run one part, calling `after` when a node is done. */
typedef ddpm_status ddpm_after_node(void *user, size_t node);
ddpm_status ddpm_graph_run_watched(struct ddpm_graph *graph, int part, ddpm_after_node *after,
                                   void *user);

#endif

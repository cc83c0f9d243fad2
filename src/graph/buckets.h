/* Buckets: ranges of a weight set's gradients, in the order in which a backward pass finishes them.
 * So the caller can use the first ones while the pass still computes the others. */
#ifndef DDPM_GRAPH_BUCKETS_H
#define DDPM_GRAPH_BUCKETS_H

#include "graph/graph.h"

struct ddpm_bucket {
    size_t first, count; /* elements of the gradients' slab */
    size_t last;         /* the node of the graph after which they are final */
};

/* Divide the gradients of `set` into buckets of whole parameters with at least `least` elements
 * each, except the last one, for the nodes of `part`. Together they cover the slab. They are sorted
 * by their last nodes. The caller owns the array: free() it. */
ddpm_status ddpm_graph_cut_gradients(const struct ddpm_graph *graph, int part,
                                     const struct ddpm_weight_set *set, size_t least,
                                     struct ddpm_bucket **out, size_t *count);

/* The elements of the largest bucket. */
size_t ddpm_graph_largest_bucket(const struct ddpm_weight_set *set, size_t least);

/* Run one part, calling `after` after each node. */
typedef ddpm_status ddpm_after_node(void *user, size_t node);
ddpm_status ddpm_graph_run_watched(struct ddpm_graph *graph, int part, ddpm_after_node *after,
                                   void *user);

/* Run nodes [begin, end) of a part and join their asides: later calls see what they computed. */
ddpm_status ddpm_graph_run_stretch(struct ddpm_graph *graph, size_t begin, size_t end);

#endif

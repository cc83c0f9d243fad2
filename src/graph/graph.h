/* The graph: a list of operations in the order they run, over values whose shapes are known when it
 * is built.
 *
 *     create → build (ops.h) → fuse → differentiate → plan → run, run, run …
 *
 * Builders return a value, or NULL after the first failure, which the graph keeps (`status`): a
 * network can be written without a check after every line. After ddpm_graph_plan() nothing is
 * allocated and nothing is looked up. */
#ifndef DDPM_GRAPH_GRAPH_H
#define DDPM_GRAPH_GRAPH_H

#include "graph/parameters.h"
#include "kernels/backend.h"
#include "kernels/kernels.h"

/* Parts of a graph that are run on their own. Nodes belong to the phase that is set while they are
 * built. */
enum ddpm_phase {
    DDPM_PHASE_COPY,     /* the weights' bf16 copy, where others than AdamW have changed them */
    DDPM_PHASE_DRAW,     /* pictures, timesteps, noise */
    DDPM_PHASE_FORWARD,  /* network and loss */
    DDPM_PHASE_BACKWARD, /* gradients, added to the gradient slab */
    DDPM_PHASE_UPDATE,   /* clipping, AdamW, EMA */
    DDPM_PHASE_COUNT,
};

enum ddpm_value_kind {
    DDPM_VALUE_TEMPORARY, /* lives in the arena from its producer to its last use */
    DDPM_VALUE_KEPT, /* lives in the arena always: inputs, constants, results that the host reads */
    DDPM_VALUE_PARAMETER, /* in the weights slab */
    DDPM_VALUE_GRADIENT,  /* in the gradients slab */
    DDPM_VALUE_COPY,      /* a parameter in bf16, in the copies slab */
    DDPM_VALUE_EXTERNAL,  /* somebody else's memory */
    DDPM_VALUE_VIEW,      /* a range of channels of another value */
};

struct ddpm_node;

struct ddpm_value {
    struct ddpm_tensor tensor; /* data is set by the plan */
    enum ddpm_value_kind kind;
    struct ddpm_node *producer; /* NULL for what is given */
    bool requires_gradient;
    struct ddpm_value *gradient; /* set by differentiate */
    struct ddpm_value *again;    /* set by differentiate: see ddpm_graph_again() */
    size_t parameter;            /* PARAMETER, GRADIENT, COPY: index */
    struct ddpm_value *view_of;  /* VIEW, and what the plan put inside a concatenation */
    int64_t view_channel;

    int first, last; /* plan: nodes between which the storage is needed */
    int storage;     /* plan: index, -1 for none */
    int uses;        /* fuse: nodes that read it */
};

struct ddpm_node {
    enum ddpm_op op;
    enum ddpm_phase phase;
    int block; /* see ddpm_graph_begin_block(); 0: none */
    char *label;
    struct ddpm_attributes attributes;
    struct ddpm_value *in[DDPM_MAX_INPUTS]; /* NULL: absent */
    struct ddpm_value *out[DDPM_MAX_OUTPUTS];
};

struct ddpm_graph {
    ddpm_status status; /* of building: the first failure */
    struct ddpm_parameters *parameters;
    enum ddpm_dtype dtype;           /* of activations */
    enum ddpm_dtype parameter_dtype; /* fp32; fp64 in gradient tests */
    enum ddpm_phase phase;
    char scope[160];
    int block, block_count;
    bool reads_copies; /* convolutions built from now on are given a bf16 copy of their weights */
    bool recompute;    /* keep what crosses a block's border, compute the rest again in backward */
    bool repack; /* weights change before every run: a packed form lives only while its call runs */

    struct ddpm_node **nodes;
    size_t node_count, node_capacity;
    struct ddpm_value **values;
    size_t value_count, value_capacity;

    /* The plan. */
    struct ddpm_device *device;
    struct ddpm_call *calls; /* one per node, same order */
    size_t call_count;       /* how many have been prepared */
    size_t phase_begin[DDPM_PHASE_COUNT + 1];
    void *arena, *packed;
    size_t arena_bytes, packed_bytes;
    bool packed_stale;
};

/* Empty graph whose parameters are declared in `parameters` (borrowed). */
ddpm_status ddpm_graph_create(struct ddpm_parameters *parameters, enum ddpm_dtype dtype,
                              struct ddpm_graph **out);
void ddpm_graph_destroy(struct ddpm_graph **graph);

/* Keep the first failure. Returns NULL, for builders to return. */
struct ddpm_value *ddpm_graph_fail(struct ddpm_graph *graph, ddpm_status status);

/* Enter and leave a part of the network: its name goes before the names of parameters and labels.
 */
void ddpm_graph_enter(struct ddpm_graph *graph, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void ddpm_graph_leave(struct ddpm_graph *graph);

/* Nodes built between these two are one block: with graph->recompute set, their results are not
 * kept for the backward pass but computed again just before it needs them (Chen et al., "Training
 * deep nets with sublinear memory cost", 2016). A block has one output, that of its last node.
 * Blocks do not nest. */
void ddpm_graph_begin_block(struct ddpm_graph *graph);
void ddpm_graph_end_block(struct ddpm_graph *graph);

/* Values that no node makes. */
struct ddpm_value *ddpm_graph_value(struct ddpm_graph *graph, enum ddpm_value_kind kind,
                                    struct ddpm_tensor tensor);
struct ddpm_value *ddpm_graph_input(struct ddpm_graph *graph, enum ddpm_dtype dtype, int64_t n,
                                    int64_t h, int64_t w, int64_t c);
struct ddpm_value *ddpm_graph_external(struct ddpm_graph *graph, struct ddpm_tensor tensor);
struct ddpm_value *ddpm_graph_view(struct ddpm_graph *graph, struct ddpm_value *base,
                                   int64_t channel, int64_t channels);

/* A parameter of the current scope. `shape` is PyTorch's. */
struct ddpm_value *ddpm_graph_parameter(struct ddpm_graph *graph, const char *name,
                                        struct ddpm_parameter parameter);

/* The place of a parameter's gradient in the gradients slab. */
struct ddpm_value *ddpm_graph_parameter_gradient(struct ddpm_graph *graph,
                                                 const struct ddpm_value *parameter);

/* The place of a parameter's bf16 copy in the copies slab. */
struct ddpm_value *ddpm_graph_parameter_copy(struct ddpm_graph *graph,
                                             const struct ddpm_value *parameter);

/* Append a node; its outputs are made by the caller. NULL after a failure. */
struct ddpm_node *ddpm_graph_node(struct ddpm_graph *graph, enum ddpm_op op, const char *label);

/* The host will read this value after a run: it keeps its own place. */
void ddpm_graph_keep(struct ddpm_value *value);

/* Apply the rewrite rules of fuse.c to the forward nodes. `rules` is a bit mask by the order of the
 * table; ~0u: all. */
void ddpm_graph_fuse(struct ddpm_graph *graph, unsigned rules);
struct ddpm_fusion_rule {
    const char *name;
    /* Change what ends in `node`; returns the producer that is swallowed, or NULL: none. */
    struct ddpm_node *(*fold)(struct ddpm_node *node);
};
extern const struct ddpm_fusion_rule ddpm_fusion_rules[];
extern const size_t ddpm_fusion_rule_count;

/* Append the nodes that compute the gradient of `seed_of` (whose own gradient is `seed`) with
 * respect to everything that requires one; parameter gradients are added to the gradients slab. */
ddpm_status ddpm_graph_differentiate(struct ddpm_graph *graph, struct ddpm_value *seed_of,
                                     struct ddpm_value *seed);

/* Used by gradient rules: add `gradient` to what has been collected for `value`. */
void ddpm_graph_add_gradient(struct ddpm_graph *graph, struct ddpm_value *value,
                             struct ddpm_value *gradient);

/* Used by gradient rules that read a result of the forward pass: `value`, or where it is cheap to
 * compute, its equal that lives in the backward pass only: the producers up to it, one after the
 * other, are appended once more, and the memory between is free for others. */
struct ddpm_value *ddpm_graph_again(struct ddpm_graph *graph, struct ddpm_value *value);

/* Choose kernels, place every value, allocate the arena on the device. `weights`, `gradients` and
 * `copies` are slabs on the device; gradients may be NULL when nothing was differentiated, copies
 * when none are read. What fills the copies is the caller's part. Fails with
 * DDPM_ERROR_UNSUPPORTED naming the operation that has no kernel, or DDPM_ERROR_MEMORY saying how
 * much is needed. */
ddpm_status ddpm_graph_plan(struct ddpm_graph *graph, struct ddpm_device *device, void *weights,
                            void *gradients, void *copies);

/* What ddpm_graph_plan() would allocate, without doing it. The graph cannot be planned afterwards.
 */
ddpm_status ddpm_graph_measure(struct ddpm_graph *graph, struct ddpm_device *device,
                               size_t *arena_bytes, size_t *packed_bytes);

/* Run one phase. */
ddpm_status ddpm_graph_run(struct ddpm_graph *graph, enum ddpm_phase phase);

/* Like ddpm_graph_run(), looking at every output: the first that is not finite is
 * DDPM_ERROR_NOT_FINITE, its text naming the layer; *image receives its image's place in the batch,
 * or -1. */
ddpm_status ddpm_graph_run_checked(struct ddpm_graph *graph, enum ddpm_phase phase, int64_t *image);

/* Run one phase `repeats` times, timing every call by itself: seconds[i] is the median of call
 * phase_begin[phase] + i. */
ddpm_status ddpm_graph_profile(struct ddpm_graph *graph, enum ddpm_phase phase, int repeats,
                               double *seconds);

/* The weights slab has changed: pack again before the next run, or now. With graph->repack every
 * run does. */
void ddpm_graph_weights_changed(struct ddpm_graph *graph);
ddpm_status ddpm_graph_pack(struct ddpm_graph *graph);

/* With graph->repack: what has to be done before the call is run. */
ddpm_status ddpm_graph_pack_call(const struct ddpm_graph *graph, const struct ddpm_call *call);

/* Copy between the host and a kept value (dense bytes). */
ddpm_status ddpm_graph_write(struct ddpm_graph *graph, struct ddpm_value *value, const void *from);
ddpm_status ddpm_graph_read(struct ddpm_graph *graph, const struct ddpm_value *value, void *to);

/* Operations of a phase, counted directly. */
double ddpm_graph_flops(const struct ddpm_graph *graph, enum ddpm_phase phase);

#endif

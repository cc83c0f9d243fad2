/* The graph: a list of operations in the order they run, on values whose shapes are known when it
 * is built.
 *
 *     create → use a weight set → build (ops.h) → fuse → differentiate
 *            → lay out → allocate → run, run, run …
 *
 * Builders return a value, or NULL after the first failure, which the graph stores in `status`. So
 * a network can be written without a check after every line. After ddpm_graph_allocate(), nothing
 * is allocated or looked up.
 *
 * A graph is divided into named parts. Each can run on its own, any number of times. Parts follow
 * each other in the list, and the plan keeps a temporary value from the part that makes it to the
 * last part that reads it. So parts that share temporary values must run in the order in which they
 * were started. */
#ifndef DDPM_GRAPH_GRAPH_H
#define DDPM_GRAPH_GRAPH_H

#include "graph/plan.h"
#include "graph/weights.h"
#include "kernels/backend.h"
#include "kernels/kernels.h"

#define DDPM_MAX_PARTS 32
#define DDPM_MAX_WEIGHT_SETS 8

enum ddpm_value_kind {
    DDPM_VALUE_TEMPORARY, /* lives in the arena from its producer to its last use */
    DDPM_VALUE_KEPT, /* always lives in the arena: inputs, constants, results that the host reads */
    DDPM_VALUE_PARAMETER, /* in a slab of its weight set */
    DDPM_VALUE_GRADIENT,  /* in the set's gradients */
    DDPM_VALUE_COPY,      /* a parameter in bf16, in the set's copies */
    DDPM_VALUE_EXTERNAL,  /* memory that the graph does not own */
    DDPM_VALUE_VIEW,      /* a range of channels of another value */
};

struct ddpm_node;

struct ddpm_value {
    struct ddpm_tensor tensor; /* data is set by the plan */
    enum ddpm_value_kind kind;
    struct ddpm_node *producer; /* NULL for inputs */
    size_t index;               /* in graph->values */
    bool requires_gradient;
    int use;                    /* PARAMETER, GRADIENT, COPY: index into graph->uses … */
    size_t parameter;           /* … and of the parameter in that set */
    void *const *slab;          /* EXTERNAL: where its address is stored, or NULL */
    struct ddpm_value *view_of; /* VIEW, and values that the plan placed inside a concatenation */
    int64_t view_channel;

    int first, last; /* plan: nodes between which the storage is needed */
    int storage;     /* plan: index, -1 for none */
    int uses;        /* fuse: nodes that read it */
};

struct ddpm_node {
    enum ddpm_op op;
    int part;
    int block;     /* see ddpm_graph_begin_block(); 0: none */
    bool backward; /* appended by a differentiation */
    bool aside;    /* plan: runs concurrently with other calls, see aside.c */
    int use;       /* plan: the weights it reads, index into graph->uses; -1: none */
    char *label;
    struct ddpm_attributes attributes;
    struct ddpm_value *in[DDPM_MAX_INPUTS]; /* NULL: absent */
    struct ddpm_value *out[DDPM_MAX_OUTPUTS];
};

/* Gradients of one differentiation: entry i belongs to graph->values[i]. `again` holds recomputed
 * values, see ddpm_graph_again(). */
struct ddpm_gradients {
    struct ddpm_value **of, **again;
    size_t capacity;
};

/* How a graph uses a weight set. */
struct ddpm_graph_use {
    struct ddpm_weight_set *set; /* borrowed */
    int slab;                    /* 0: the trained values, 1 + i: moving average i */
    uint64_t packed_version;     /* of the set, when its weights were packed */
};

struct ddpm_graph_part {
    const char *name;  /* a constant: "backward" */
    size_t begin, end; /* plan: its nodes are [begin, end) */
};

struct ddpm_graph {
    ddpm_status status;              /* the first failure while building */
    enum ddpm_dtype dtype;           /* of activations */
    enum ddpm_dtype parameter_dtype; /* fp32; fp64 in gradient tests */
    struct ddpm_graph_use uses[DDPM_MAX_WEIGHT_SETS];
    int use, use_count;
    struct ddpm_graph_part parts[DDPM_MAX_PARTS];
    int part_count;
    bool part_begun; /* part 0 has a name */
    char scope[160];
    int block, block_count;
    struct ddpm_gradients *gradients; /* of the differentiation in progress, or NULL */
    bool reads_copies;                /* convolutions read the bf16 copies of sets that keep them */
    bool recompute; /* keep only blocks' inputs and outputs; backward recomputes the rest */
    bool keep;      /* keep every result for the backward pass, recompute none */
    bool share;     /* fewer calls: compute an activation that several nodes need once, and add the
                       gradients of one value in the call that computes the last of them. That
                       moves the rounding */
    bool aside; /* compute gradients of weights concurrently with other calls, if the device can */
    bool overwrites; /* gradients need not be zeroed: ddpm_graph_overwrite_gradients() */
    bool any_batch;  /* a picture's values must not depend on the batch size */
    bool repack;     /* trained weights change before every run: pack them right before each call */

    struct ddpm_node **nodes;
    size_t node_count, node_capacity;
    struct ddpm_value **values;
    size_t value_count, value_capacity;

    /* The plan. */
    struct ddpm_plan plan; /* between lay_out and allocate */
    struct ddpm_device *device;
    struct ddpm_call *calls; /* one per node, same order */
    size_t call_count;       /* how many are prepared */
    void *arena, *packed;
    size_t arena_bytes, packed_bytes;
    bool packed_is_lent; /* `packed` belongs to the caller, who also packs */
};

/* An empty graph whose activations have this dtype. */
ddpm_status ddpm_graph_create(enum ddpm_dtype dtype, struct ddpm_graph **out);
void ddpm_graph_destroy(struct ddpm_graph **graph);

/* The builders that follow find or declare their parameters in this set (borrowed; must outlive the
 * graph) and read them from its slab `slab`. Only slab 0 of a set that is not frozen gets
 * gradients; a moving average never does. */
void ddpm_graph_use(struct ddpm_graph *graph, struct ddpm_weight_set *set, int slab);

/* Start a new part; the nodes that follow belong to it. Returns its index, for ddpm_graph_run().
 * `name` must be a constant. Nodes built before the first call belong to part 0, "forward". */
int ddpm_graph_begin_part(struct ddpm_graph *graph, const char *name);

/* Store the first failure. Returns NULL, for builders to return. */
struct ddpm_value *ddpm_graph_fail(struct ddpm_graph *graph, ddpm_status status);

/* Enter and leave a module of the network: its name becomes a prefix of parameter names and
 * labels. */
void ddpm_graph_enter(struct ddpm_graph *graph, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void ddpm_graph_leave(struct ddpm_graph *graph);

/* Nodes built between these two are one block. With graph->recompute set, their results are not
 * kept for the backward pass but recomputed just before it needs them (Chen et al., "Training deep
 * nets with sublinear memory cost", 2016). A block has one output, that of its last node. Blocks do
 * not nest. */
void ddpm_graph_begin_block(struct ddpm_graph *graph);
void ddpm_graph_end_block(struct ddpm_graph *graph);

/* Values that are not made by a node. */
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

/* A parameter's gradient in its set's gradients. For a frozen set or a moving average, a temporary
 * value that is never read: some kernels compute this gradient along with one that is needed. */
struct ddpm_value *ddpm_graph_parameter_gradient(struct ddpm_graph *graph,
                                                 const struct ddpm_value *parameter);

/* A parameter's bf16 copy; NULL if the set keeps none or the graph does not read them. */
struct ddpm_value *ddpm_graph_parameter_copy(struct ddpm_graph *graph,
                                             const struct ddpm_value *parameter);

/* A whole slab as one value [1,1,1,N]. The address in *slab is read when the graph is allocated. */
struct ddpm_value *ddpm_graph_slab(struct ddpm_graph *graph, enum ddpm_dtype dtype, int64_t count,
                                   void *const *slab);

/* Append a node; the caller makes its outputs. NULL after a failure. */
struct ddpm_node *ddpm_graph_node(struct ddpm_graph *graph, enum ddpm_op op, const char *label);

/* The host will read this value after a run: it, or what it is a view of, keeps its own memory. */
void ddpm_graph_keep(struct ddpm_value *value);

/* Apply the rewrite rules of fuse.c to the forward nodes. `rules` is a bit mask in the order of the
 * table; ~0u: all. Then share activations, if graph->share is set. */
void ddpm_graph_fuse(struct ddpm_graph *graph, unsigned rules);
struct ddpm_fusion_rule {
    const char *name;
    /* Rewrite the pattern that ends in `node`, if any; returns the producer that it absorbed, or
     * NULL. */
    struct ddpm_node *(*fold)(struct ddpm_node *node);
};
extern const struct ddpm_fusion_rule ddpm_fusion_rules[];
extern const size_t ddpm_fusion_rule_count;

/* Where differentiation starts: the gradient, with respect to `of`, of the value to minimise. */
struct ddpm_seed {
    struct ddpm_value *of, *gradient;
};

/* Append to the current part the nodes that propagate the seeds back to everything that requires a
 * gradient; parameters' gradients are added to their sets' gradients. A graph may be differentiated
 * more than once. `out`, if not NULL, receives the gradients of values; free it with
 * ddpm_gradients_clear() (the values themselves belong to the graph). */
ddpm_status ddpm_graph_differentiate(struct ddpm_graph *graph, const struct ddpm_seed *seeds,
                                     size_t count, struct ddpm_gradients *out);

/* For a graph that computes its gradients once per step: the first node that computes a parameter's
 * gradient writes it instead of adding to it. graph->overwrites then says that the gradients need
 * not be zeroed. It stays false, and all nodes add, if a parameter of a trained set gets no
 * gradient. Call it after differentiating. */
ddpm_status ddpm_graph_overwrite_gradients(struct ddpm_graph *graph);

/* The gradient of a value, or NULL if it has none. */
struct ddpm_value *ddpm_gradients_of(const struct ddpm_gradients *gradients,
                                     const struct ddpm_value *value);
void ddpm_gradients_clear(struct ddpm_gradients *gradients);

/* For gradient rules: get the gradient accumulated for `value` so far, and add to it. */
struct ddpm_value *ddpm_graph_gradient(const struct ddpm_graph *graph,
                                       const struct ddpm_value *value);
void ddpm_graph_add_gradient(struct ddpm_graph *graph, struct ddpm_value *value,
                             struct ddpm_value *gradient);

/* For gradient rules that have added to it themselves. */
void ddpm_graph_replace_gradient(struct ddpm_graph *graph, struct ddpm_value *value,
                                 struct ddpm_value *sum);

/* For gradient rules that read a result of the forward pass: returns `value`, or, if it is cheap to
 * compute, an equal value that lives only in the backward pass. For that its chain of producers is
 * appended once more, and its memory is free in between. With graph->keep set it is always
 * `value`. */
struct ddpm_value *ddpm_graph_again(struct ddpm_graph *graph, struct ddpm_value *value);

/* Choose kernels and place every value, without allocating anything large. graph->arena_bytes and
 * packed_bytes then say what ddpm_graph_allocate() will allocate on the device (borrowed).
 * DDPM_ERROR_UNSUPPORTED names an operation that has no kernel. */
ddpm_status ddpm_graph_lay_out(struct ddpm_graph *graph, struct ddpm_device *device);

/* Allocate the arena and assign addresses. The weight sets in use must have the memory that the
 * graph uses: values; gradients if it was differentiated; copies if the set keeps them, which the
 * caller must keep up to date. DDPM_ERROR_MEMORY says how much is needed. */
ddpm_status ddpm_graph_allocate(struct ddpm_graph *graph);

/* Between the two: keep packed weights in `memory` of packed_bytes bytes (borrowed, aligned to
 * DDPM_ALIGNMENT), which graphs of other processes may share. Running the graph then never packs:
 * do that with ddpm_graph_pack_some() while no process runs it. Not for a graph that repacks. */
void ddpm_graph_lend_packed(struct ddpm_graph *graph, void *memory);

/* Divide the calls that pack weights into `parts` parts of nearly equal bytes: part_of[i] is the
 * part of call i, -1 if it packs nothing. [node_count] of them; the same for equal graphs. */
void ddpm_graph_divide_packing(const struct ddpm_graph *graph, int parts, int *part_of);

/* Pack the weights of those calls of a part whose sets have changed since this graph last packed
 * them. */
ddpm_status ddpm_graph_pack_some(struct ddpm_graph *graph, const int *part_of, int part);

/* Both. */
ddpm_status ddpm_graph_plan(struct ddpm_graph *graph, struct ddpm_device *device);

/* Run one part. */
ddpm_status ddpm_graph_run(struct ddpm_graph *graph, int part);

/* Like ddpm_graph_run(), but checks every output. The first that is not finite gives
 * DDPM_ERROR_NOT_FINITE with the layer's name; *picture receives the picture's place in the batch,
 * or -1. */
ddpm_status ddpm_graph_run_checked(struct ddpm_graph *graph, int part, int64_t *picture);

/* Run one part `repeats` times and time each call separately: seconds[i] is the median of the
 * part's call i. */
ddpm_status ddpm_graph_profile(struct ddpm_graph *graph, int part, int repeats, double *seconds);

/* Pack the weights now: convert them to the kernels' own layouts. Running a part does this for sets
 * that have changed; with graph->repack, every call that uses a trained set does it before it
 * runs. */
ddpm_status ddpm_graph_pack(struct ddpm_graph *graph);

/* Call this after replaying a recording that packs: the packed weights are then of the sets'
 * current versions. */
void ddpm_graph_packed(struct ddpm_graph *graph);

/* Pack the sets that have changed since they were packed. */
ddpm_status ddpm_graph_refresh(struct ddpm_graph *graph);

/* Is the node packed before each run? */
bool ddpm_graph_repacks(const struct ddpm_graph *graph, const struct ddpm_node *node);

/* Do what call `i` needs before it runs. */
ddpm_status ddpm_graph_pack_call(const struct ddpm_graph *graph, size_t i);

/* Copy between the host, where values are dense, and a kept value. Reading also takes views. */
ddpm_status ddpm_graph_write(struct ddpm_graph *graph, struct ddpm_value *value, const void *from);
ddpm_status ddpm_graph_read(struct ddpm_graph *graph, const struct ddpm_value *value, void *to);

/* Operations of a part, counted directly. */
double ddpm_graph_flops(const struct ddpm_graph *graph, int part);

#endif

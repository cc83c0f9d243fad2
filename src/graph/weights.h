/* A weight set: the parameters of one network, their values on a device, and everything that is
 * laid out like them.
 *
 *     slabs[0]      the trained values
 *     slabs[1 + i]  moving average i of them (EMA)
 *     gradients     of slabs[0]
 *     copies        slabs[0] in bf16, for convolutions that read their weights in bf16
 *
 * A graph is told which set the next builders use (ddpm_graph_use), so one graph can run several
 * networks: a student beside its frozen teacher, a generator beside its critic.
 *
 * Whoever changes a value calls ddpm_weight_set_changed(), which raises the version. What is made
 * from the values (packed weights of a graph, bf16 copies) remembers the version that it was made
 * from, and is made anew when that is no longer the set's. */
#ifndef DDPM_GRAPH_WEIGHTS_H
#define DDPM_GRAPH_WEIGHTS_H

#include "graph/parameters.h"
#include "kernels/backend.h"

#define DDPM_MAX_AVERAGES 3
#define DDPM_MAX_SLABS (1 + DDPM_MAX_AVERAGES)

struct ddpm_weight_set {
    struct ddpm_parameters parameters;
    enum ddpm_dtype dtype;      /* DDPM_F32; DDPM_F64 in gradient tests */
    bool frozen;                /* its parameters get no gradient; set before a graph uses it */
    bool keeps_copies;          /* an optimizer keeps bf16 copies; set before a graph uses it */
    struct ddpm_device *device; /* borrowed; NULL until memory was allocated */
    int slab_count;             /* 1 + averages */
    void *slabs[DDPM_MAX_SLABS];
    void *gradients, *copies; /* NULL: none */
    int optimizers;           /* that share them */
    uint64_t version;         /* raised by every change of a slab */
    uint64_t copies_version;  /* the version that the copies were made from */
};

/* An empty set; parameters are declared by the builders of the first graph that uses it. */
#define DDPM_EMPTY_WEIGHT_SET ((struct ddpm_weight_set){.dtype = DDPM_F32, .version = 1})

/* Bytes of one slab, and of the bf16 copies (0 unless the set keeps them). */
size_t ddpm_weight_set_bytes(const struct ddpm_weight_set *set);
size_t ddpm_weight_set_copies_bytes(const struct ddpm_weight_set *set);

/* Allocate the values and `averages` moving averages, zeroed, on `device` (borrowed, must outlive
 * the set). */
ddpm_status ddpm_weight_set_allocate(struct ddpm_weight_set *set, struct ddpm_device *device,
                                     int averages);

/* Memory for gradients and, where the set keeps copies, for these. Several optimizers of one set,
 * used in turn, share it; the last to release it frees it. After a failure there is nothing to
 * release. */
ddpm_status ddpm_weight_set_acquire_gradients(struct ddpm_weight_set *set);
void ddpm_weight_set_release_gradients(struct ddpm_weight_set *set);

/* Free the memory on the device: the set is as its declaration left it. clear() frees the
 * parameters too. */
void ddpm_weight_set_release(struct ddpm_weight_set *set);
void ddpm_weight_set_clear(struct ddpm_weight_set *set);

/* Give every slab the initial weights of `seed`. */
ddpm_status ddpm_weight_set_initialize(struct ddpm_weight_set *set, uint64_t seed);

/* A slab was written. */
void ddpm_weight_set_changed(struct ddpm_weight_set *set);

/* The optimizer has changed the values and written their copies with them. */
void ddpm_weight_set_updated(struct ddpm_weight_set *set);

/* Copy one parameter between `values` (host, PyTorch's element order, `count` elements) and its
 * place in a slab on the device: one of `slabs`, the gradients, or an optimizer's moments.
 * DDPM_ERROR_ARGUMENT for an unknown name or another count. write() counts as a change. */
ddpm_status ddpm_weight_set_read(const struct ddpm_weight_set *set, const void *slab,
                                 const char *name, float *values, size_t count);
ddpm_status ddpm_weight_set_write(struct ddpm_weight_set *set, void *slab, const char *name,
                                  const float *values, size_t count);

#endif

/* A weight set: the parameters of one network, their values on a device, and everything with the
 * same layout.
 *
 *     slabs[0]      the trained values
 *     slabs[1 + i]  moving average i of them (EMA)
 *     gradients     of slabs[0]
 *     copies        slabs[0] in bf16, for convolutions that read their weights in bf16
 *
 * ddpm_graph_use() says which set the next builders use, so one graph can run several networks: a
 * student and its frozen teacher, a generator and its critic.
 *
 * Code that changes a value calls ddpm_weight_set_changed(), which increments the version. Data
 * derived from the values (packed weights of a graph, bf16 copies) records the version it was made
 * from and is recomputed when the set's version differs. */
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
    struct ddpm_device *device; /* borrowed; NULL until memory is allocated */
    int slab_count;             /* 1 + averages */
    void *slabs[DDPM_MAX_SLABS];
    void *gradients, *copies; /* NULL: none */
    int optimizers;           /* how many share them */
    uint64_t version;         /* incremented by every change of a slab */
    uint64_t copies_version;  /* the version that the copies were made from */
};

/* Make an empty set; the builders of the first graph that uses it declare the parameters. */
#define DDPM_EMPTY_WEIGHT_SET ((struct ddpm_weight_set){.dtype = DDPM_F32, .version = 1})

/* Bytes of one slab, and of the bf16 copies (0 unless the set keeps them). */
size_t ddpm_weight_set_bytes(const struct ddpm_weight_set *set);
size_t ddpm_weight_set_copies_bytes(const struct ddpm_weight_set *set);

/* Allocate the values and `averages` moving averages, zeroed, on `device` (borrowed; must outlive
 * the set). */
ddpm_status ddpm_weight_set_allocate(struct ddpm_weight_set *set, struct ddpm_device *device,
                                     int averages);

/* Allocate memory for gradients and, if the set keeps copies, for those. Several optimizers of one
 * set, used in turn, share it; the last to release it frees it. After a failure there is nothing to
 * release. */
ddpm_status ddpm_weight_set_acquire_gradients(struct ddpm_weight_set *set);
void ddpm_weight_set_release_gradients(struct ddpm_weight_set *set);

/* Free the memory on the device; the parameters stay declared. clear() frees the parameters too. */
void ddpm_weight_set_release(struct ddpm_weight_set *set);
void ddpm_weight_set_clear(struct ddpm_weight_set *set);

/* Give every slab the initial weights of `seed`. */
ddpm_status ddpm_weight_set_initialize(struct ddpm_weight_set *set, uint64_t seed);

/* Call this after writing to a slab. */
void ddpm_weight_set_changed(struct ddpm_weight_set *set);

/* Call this after the optimizer has changed the values and their copies. */
void ddpm_weight_set_updated(struct ddpm_weight_set *set);

/* Copy one parameter between `values` (host, PyTorch's element order, `count` elements) and its
 * place in a slab on the device: one of `slabs`, the gradients, or an optimizer's moments.
 * DDPM_ERROR_ARGUMENT for an unknown name or the wrong count. write() counts as a change. */
ddpm_status ddpm_weight_set_read(const struct ddpm_weight_set *set, const void *slab,
                                 const char *name, float *values, size_t count);
ddpm_status ddpm_weight_set_write(struct ddpm_weight_set *set, void *slab, const char *name,
                                  const float *values, size_t count);

#endif

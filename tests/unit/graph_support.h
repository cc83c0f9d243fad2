/* Shared by the tests of graphs with weight sets: devices, random inputs, a small network. */
#ifndef DDPM_TESTS_GRAPH_SUPPORT_H
#define DDPM_TESTS_GRAPH_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "graph/ops.h"

#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        if ((expression) != DDPM_OK)                                                               \
            fail_msg("%s: %s", #expression, ddpm_error_message());                                 \
    } while (0)

enum { BATCH = 2, SIDE = 8, CHANNELS = 3, COUNT = BATCH * SIDE * SIDE * CHANNELS };

static inline struct ddpm_device *open_device(const char *name)
{
    struct ddpm_device *device;
    assert_ok(ddpm_device_open(name, &(struct ddpm_device_options){.threads = 2}, &device));
    return device;
}

static inline struct ddpm_value *picture(struct ddpm_graph *g)
{
    return ddpm_graph_input(g, g->dtype, BATCH, SIDE, SIDE, CHANNELS);
}

static inline void write_random(struct ddpm_graph *g, struct ddpm_value *value, uint32_t sample)
{
    float values[COUNT];
    const int64_t count = ddpm_tensor_count(&value->tensor);
    assert_true(count <= COUNT);
    ddpm_fill_normal(values, count, 1, DDPM_STREAM_BENCH, 0, sample);
    assert_ok(ddpm_graph_write(g, value, values));
}

/* A small network with a layer of each kind that has parameters; `time` is a bias per picture. */
static inline struct ddpm_value *network(struct ddpm_graph *g, struct ddpm_value *x,
                                         struct ddpm_value *time)
{
    struct ddpm_value *h = ddpm_conv2d(g, x, "in", 8, 3, 1);
    h = ddpm_depthwise_conv2d(g, h, "deep", 7);
    h = ddpm_add_channels(g, h, ddpm_linear(g, time, "time", 8));
    h = ddpm_group_norm(g, ddpm_gelu(g, h), "norm");
    return ddpm_conv2d(g, h, "out", CHANNELS, 3, 1);
}

static inline void allocate(struct ddpm_weight_set *set, struct ddpm_device *device, int averages,
                            uint64_t seed)
{
    assert_ok(ddpm_weight_set_allocate(set, device, averages));
    assert_ok(ddpm_weight_set_initialize(set, seed));
}

#endif

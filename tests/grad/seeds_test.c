/* Differentiation from more than one seed: several in one call, and several calls for one value,
 * compared with central differences in fp64 on the reference kernels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "graph/ops.h"

#define H 1e-5
#define TOLERANCE 1e-7

#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        if ((expression) != DDPM_OK)                                                               \
            fail_msg("%s: %s", #expression, ddpm_error_message());                                 \
    } while (0)

/* Two outputs of one trunk, each weighted with a direction. */
struct forked {
    struct ddpm_device *device;
    struct ddpm_weight_set set;
    struct ddpm_graph *graph;
    struct ddpm_value *x, *y[2], *direction[2];
    double weigh[2]; /* of y[0] and y[1] in the objective */
};

static void fill(double *values, int64_t count, uint32_t sample)
{
    for (int64_t i = 0; i < count; ++i)
        values[i] = 2 * (double)ddpm_uniform(ddpm_philox(5, (uint32_t)i, sample, 0, 9).v[0]) - 1;
}

static void build(struct forked *forked, bool recompute)
{
    *forked = (struct forked){.set = DDPM_EMPTY_WEIGHT_SET};
    forked->set.dtype = DDPM_F64;
    assert_ok(
        ddpm_device_open("ref", &(struct ddpm_device_options){.threads = 1}, &forked->device));
    assert_ok(ddpm_graph_create(DDPM_F64, &forked->graph));
    struct ddpm_graph *g = forked->graph;
    g->recompute = recompute;
    ddpm_graph_use(g, &forked->set, 0);
    forked->x = ddpm_graph_input(g, DDPM_F64, 2, 4, 4, 2);
    forked->x->requires_gradient = true;
    ddpm_graph_begin_block(g);
    struct ddpm_value *trunk = ddpm_conv2d(g, forked->x, "in", 4, 3, 1);
    trunk = ddpm_group_norm(g, ddpm_gelu(g, trunk), "norm");
    trunk = ddpm_add(g, ddpm_conv2d(g, trunk, "trunk", 4, 3, 1), trunk);
    ddpm_graph_end_block(g);
    forked->y[0] = ddpm_conv2d(g, ddpm_depthwise_conv2d(g, trunk, "deep", 3), "a", 2, 1, 0);
    forked->y[1] = ddpm_gelu(g, ddpm_downsample(g, trunk, "b", 3));
    for (int i = 0; i < 2; ++i) {
        ddpm_graph_keep(forked->y[i]);
        forked->direction[i] = ddpm_graph_value(g, DDPM_VALUE_KEPT, forked->y[i]->tensor);
    }
    ddpm_graph_fuse(g, ~0u);
}

static void plan(struct forked *forked)
{
    struct ddpm_graph *g = forked->graph;
    assert_ok(ddpm_weight_set_allocate(&forked->set, forked->device, 0));
    assert_ok(ddpm_weight_set_acquire_gradients(&forked->set));
    assert_ok(ddpm_graph_plan(g, forked->device));
    fill(forked->set.slabs[0], forked->set.parameters.slab_count, 1);
    fill(forked->x->tensor.data, ddpm_tensor_count(&forked->x->tensor), 2);
    for (int i = 0; i < 2; ++i)
        fill(forked->direction[i]->tensor.data, ddpm_tensor_count(&forked->y[i]->tensor),
             3 + (uint32_t)i);
}

static void clear(struct forked *forked)
{
    ddpm_graph_destroy(&forked->graph);
    ddpm_weight_set_clear(&forked->set);
    ddpm_device_close(&forked->device);
}

static double objective(struct forked *forked)
{
    double sum = 0;
    ddpm_weight_set_changed(&forked->set);
    assert_ok(ddpm_graph_run(forked->graph, 0));
    for (int i = 0; i < 2; ++i) {
        const double *y = forked->y[i]->tensor.data, *d = forked->direction[i]->tensor.data;
        for (int64_t k = 0; k < ddpm_tensor_count(&forked->y[i]->tensor); ++k)
            sum += forked->weigh[i] * d[k] * y[k];
    }
    return sum;
}

static double difference(struct forked *forked, double *value)
{
    const double before = *value;
    *value = before + H;
    const double above = objective(forked);
    *value = before - H;
    const double below = objective(forked);
    *value = before;
    return (above - below) / (2 * H);
}

/* Run backward part `part` after the forward pass, and compare the result with the objective that
 * has weights a and b. */
static void check(struct forked *forked, int part, const struct ddpm_value *dx, double a, double b)
{
    struct ddpm_weight_set *set = &forked->set;
    const size_t bytes = ddpm_weight_set_bytes(set);
    const int64_t count = ddpm_tensor_count(&dx->tensor);
    double *gradients = malloc(bytes), *of_x = malloc((size_t)count * sizeof(double)), worst = 0;
    forked->weigh[0] = a;
    forked->weigh[1] = b;
    objective(forked);
    memset(set->gradients, 0, bytes);
    assert_ok(ddpm_graph_run(forked->graph, part));
    memcpy(gradients, set->gradients, bytes);
    memcpy(of_x, dx->tensor.data, (size_t)count * sizeof(double));
    for (size_t p = 0; p < set->parameters.count; ++p) {
        const struct ddpm_parameter *parameter = &set->parameters.items[p];
        for (int64_t i = 0; i < ddpm_parameter_count(parameter); ++i) {
            const int64_t at = parameter->offset + i;
            const double wanted = difference(forked, (double *)set->slabs[0] + at);
            worst = fmax(worst, fabs(gradients[at] - wanted) / fmax(1, fabs(wanted)));
        }
    }
    for (int64_t i = 0; i < count; ++i) {
        const double wanted = difference(forked, (double *)forked->x->tensor.data + i);
        worst = fmax(worst, fabs(of_x[i] - wanted) / fmax(1, fabs(wanted)));
    }
    if (!(worst < TOLERANCE))
        fail_msg("part %d, %g·a + %g·b: a gradient is off by %g", part, a, b, worst);
    free(gradients);
    free(of_x);
}

/* Append a backward part from these seeds, and keep the gradient of x. */
static struct ddpm_value *differentiate(struct forked *forked, const struct ddpm_seed *seeds,
                                        size_t count, int *part)
{
    struct ddpm_gradients of;
    *part = ddpm_graph_begin_part(forked->graph, "backward");
    assert_ok(ddpm_graph_differentiate(forked->graph, seeds, count, &of));
    struct ddpm_value *dx = ddpm_gradients_of(&of, forked->x);
    assert_non_null(dx);
    assert_int_equal(dx->tensor.pixel_stride, dx->tensor.c);
    ddpm_graph_keep(dx);
    ddpm_gradients_clear(&of);
    return dx;
}

static void several_seeds_in_one_call(void **state)
{
    (void)state;
    for (int recompute = 0; recompute < 2; ++recompute) {
        struct forked forked;
        int part;
        build(&forked, recompute);
        const struct ddpm_seed seeds[] = {{forked.y[0], forked.direction[0]},
                                          {forked.y[1], forked.direction[1]},
                                          {forked.y[0], forked.direction[0]}};
        const struct ddpm_value *dx = differentiate(&forked, seeds, 3, &part);
        plan(&forked);
        check(&forked, part, dx, 2, 1);
        clear(&forked);
    }
}

/* Each call has its own seeds; their parts are run in any order. */
static void one_value_is_differentiated_twice(void **state)
{
    (void)state;
    for (int recompute = 0; recompute < 2; ++recompute) {
        struct forked forked;
        int parts[3];
        struct ddpm_value *dx[3];
        build(&forked, recompute);
        const struct ddpm_seed a = {forked.y[0], forked.direction[0]},
                               b = {forked.y[1], forked.direction[1]}, both[] = {a, b, b, b};
        dx[0] = differentiate(&forked, &a, 1, &parts[0]);
        dx[1] = differentiate(&forked, &b, 1, &parts[1]);
        dx[2] = differentiate(&forked, both, 4, &parts[2]);
        plan(&forked);
        check(&forked, parts[0], dx[0], 1, 0);
        check(&forked, parts[1], dx[1], 0, 1);
        check(&forked, parts[2], dx[2], 1, 3);
        check(&forked, parts[0], dx[0], 1, 0);
        clear(&forked);
    }
}

/* One y with two directions: two calls, each correct on its own; run one after the other, they add
 * up in the set. */
static void one_value_has_two_seeds(void **state)
{
    (void)state;
    struct forked forked;
    int parts[2];
    build(&forked, false);
    struct ddpm_value *other = ddpm_graph_value(forked.graph, DDPM_VALUE_KEPT, forked.y[0]->tensor);
    const struct ddpm_seed first = {forked.y[0], forked.direction[0]},
                           second = {forked.y[0], other};
    const struct ddpm_value *dx = differentiate(&forked, &first, 1, &parts[0]);
    const struct ddpm_value *dx_of_other = differentiate(&forked, &second, 1, &parts[1]);
    plan(&forked);
    const int64_t count = ddpm_tensor_count(&other->tensor);
    const double *d = forked.direction[0]->tensor.data;
    for (int64_t i = 0; i < count; ++i)
        ((double *)other->tensor.data)[i] = -2 * d[i];
    check(&forked, parts[0], dx, 1, 0);
    check(&forked, parts[1], dx_of_other, -2, 0);
    double *sum = forked.set.gradients;
    forked.weigh[0] = 1;
    objective(&forked);
    memset(sum, 0, ddpm_weight_set_bytes(&forked.set));
    assert_ok(ddpm_graph_run(forked.graph, parts[0]));
    const double once = sum[0];
    assert_ok(ddpm_graph_run(forked.graph, parts[1]));
    assert_true(fabs(sum[0] + once) < TOLERANCE && fabs(once) > 0);
    clear(&forked);
}

/* Only the forward pass: values without differentiation have no gradients, and a seed that reaches
 * nothing is not an error. */
static void a_seed_that_reaches_nothing(void **state)
{
    (void)state;
    struct forked forked;
    struct ddpm_gradients of;
    build(&forked, false);
    struct ddpm_value *apart = ddpm_graph_input(forked.graph, DDPM_F64, 2, 4, 4, 2);
    const struct ddpm_seed seed = {apart, apart};
    const size_t nodes = forked.graph->node_count;
    assert_ok(ddpm_graph_differentiate(forked.graph, &seed, 1, &of));
    assert_int_equal(forked.graph->node_count, nodes);
    assert_null(ddpm_gradients_of(&of, forked.x));
    assert_ptr_equal(ddpm_gradients_of(&of, apart), apart);
    ddpm_gradients_clear(&of);
    ddpm_gradients_clear(&of);
    clear(&forked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_seeds_in_one_call),
        cmocka_unit_test(one_value_is_differentiated_twice),
        cmocka_unit_test(one_value_has_two_seeds),
        cmocka_unit_test(a_seed_that_reaches_nothing),
    };
    return cmocka_run_group_tests_name("seeds", tests, NULL, NULL);
}

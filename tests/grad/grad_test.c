/* Every gradient rule compared with central differences, in fp64 on the reference kernels.
 *
 * For a layer y = f(inputs, parameters) and a random direction d, differentiation computes the
 * gradient of Σ d·y from the seed d. It is compared, element by element, with (Σ d·y(v+h) - Σ
 * d·y(v-h)) / 2h. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/memory.h"
#include "core/random.h"
#include "graph/ops.h"

#define H 1e-5
#define TOLERANCE 1e-7
#define MAX_INPUTS 3

#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        ddpm_status status_ = (expression);                                                        \
        if (status_ != DDPM_OK)                                                                    \
            fail_msg("%s: %s", #expression, ddpm_error_message());                                 \
    } while (0)

/* A layer under test. */
struct layer {
    const char *name;
    int inputs;
    int64_t shapes[MAX_INPUTS][4];
    struct ddpm_value *(*build)(struct ddpm_graph *g, struct ddpm_value *const *in);
};

struct check {
    struct ddpm_weight_set set;
    struct ddpm_gradients of;
    struct ddpm_device *device;
    struct ddpm_graph *graph;
    struct ddpm_value *in[MAX_INPUTS], *y, *direction;
};

static void fill(double *values, int64_t count, uint32_t sample)
{
    for (int64_t i = 0; i < count; ++i)
        values[i] = 2 * (double)ddpm_uniform(ddpm_philox(5, (uint32_t)i, sample, 0, 9).v[0]) - 1;
}

static void set_up(struct check *check, const struct layer *layer)
{
    struct ddpm_device_options options = {.threads = 1};
    *check = (struct check){.set = DDPM_EMPTY_WEIGHT_SET};
    check->set.dtype = DDPM_F64;
    assert_ok(ddpm_device_open("ref", &options, &check->device));
    assert_ok(ddpm_graph_create(DDPM_F64, &check->graph));
    struct ddpm_graph *g = check->graph;
    ddpm_graph_use(g, &check->set, 0);
    for (int i = 0; i < layer->inputs; ++i) {
        const int64_t *s = layer->shapes[i];
        check->in[i] = ddpm_graph_input(g, DDPM_F64, s[0], s[1], s[2], s[3]);
        check->in[i]->requires_gradient = true;
    }
    check->y = layer->build(g, check->in);
    assert_ok(g->status);
    ddpm_graph_keep(check->y);
    check->direction = ddpm_graph_value(g, DDPM_VALUE_KEPT, check->y->tensor);
    ddpm_graph_fuse(g, ~0u);
    const struct ddpm_seed seed = {check->y, check->direction};
    ddpm_graph_begin_part(g, "backward");
    assert_ok(ddpm_graph_differentiate(g, &seed, 1, &check->of));
    assert_ok(ddpm_weight_set_allocate(&check->set, check->device, 0));
    assert_ok(ddpm_weight_set_acquire_gradients(&check->set));
    fill(check->set.slabs[0], check->set.parameters.slab_count, 1);
    for (int i = 0; i < layer->inputs; ++i)
        ddpm_graph_keep(ddpm_gradients_of(&check->of, check->in[i]));
    assert_ok(ddpm_graph_plan(g, check->device));
    for (int i = 0; i < layer->inputs; ++i)
        fill(check->in[i]->tensor.data, ddpm_tensor_count(&check->in[i]->tensor), 10 + (uint32_t)i);
    fill(check->direction->tensor.data, ddpm_tensor_count(&check->y->tensor), 2);
}

static void tear_down(struct check *check)
{
    ddpm_graph_destroy(&check->graph);
    ddpm_gradients_clear(&check->of);
    ddpm_weight_set_clear(&check->set);
    ddpm_device_close(&check->device);
}

static double objective(struct check *check)
{
    ddpm_weight_set_changed(&check->set);
    assert_ok(ddpm_graph_run(check->graph, 0));
    const double *y = check->y->tensor.data, *d = check->direction->tensor.data;
    double sum = 0;
    for (int64_t i = 0; i < ddpm_tensor_count(&check->y->tensor); ++i)
        sum += d[i] * y[i];
    return sum;
}

static void compare(struct check *check, const char *layer, const char *what, double *values,
                    const double *gradient, int64_t count, int64_t stride, int64_t channels)
{
    double worst = 0;
    for (int64_t i = 0; i < count; ++i) {
        double before = values[i];
        values[i] = before + H;
        double above = objective(check);
        values[i] = before - H;
        double below = objective(check);
        values[i] = before;
        double wanted = (above - below) / (2 * H);
        double got = gradient[i / channels * stride + i % channels];
        worst = fmax(worst, fabs(got - wanted) / fmax(1, fabs(wanted)));
    }
    if (worst > TOLERANCE)
        fail_msg("%s: gradient of %s is off by %g", layer, what, worst);
}

static void check_layer(const struct layer *layer)
{
    struct check check;
    set_up(&check, layer);
    objective(&check);
    assert_ok(ddpm_graph_run(check.graph, 1));

    /* The finite differences overwrite the arena: keep the gradients first. */
    double *kept[MAX_INPUTS] = {0};
    for (int i = 0; i < layer->inputs; ++i) {
        const struct ddpm_tensor *dx = &ddpm_gradients_of(&check.of, check.in[i])->tensor;
        kept[i] = malloc(ddpm_tensor_bytes(dx));
        memcpy(kept[i], dx->data, ddpm_tensor_bytes(dx));
    }
    for (int i = 0; i < layer->inputs; ++i) {
        const struct ddpm_tensor *x = &check.in[i]->tensor;
        char name[16];
        snprintf(name, sizeof name, "input %d", i);
        compare(&check, layer->name, name, x->data, kept[i], ddpm_tensor_count(x),
                ddpm_gradients_of(&check.of, check.in[i])->tensor.pixel_stride, x->c);
        free(kept[i]);
    }
    for (size_t p = 0; p < check.set.parameters.count; ++p) {
        const struct ddpm_parameter *parameter = &check.set.parameters.items[p];
        int64_t count = ddpm_parameter_count(parameter);
        compare(&check, layer->name, parameter->name,
                (double *)check.set.slabs[0] + parameter->offset,
                (double *)check.set.gradients + parameter->offset, count, 1, 1);
    }
    tear_down(&check);
}

#define BUILDER(name, expression)                                                                  \
    static struct ddpm_value *name(struct ddpm_graph *g, struct ddpm_value *const *in)             \
    {                                                                                              \
        return expression;                                                                         \
    }
BUILDER(conv3, ddpm_conv2d(g, in[0], "c", 4, 3, 1))
BUILDER(conv7, ddpm_conv2d(g, in[0], "c", 2, 7, 3))
BUILDER(conv1, ddpm_conv2d(g, in[0], "c", 5, 1, 0))
BUILDER(conv_residual, ddpm_add(g, ddpm_conv2d(g, in[0], "c", 3, 3, 1), in[1]))
BUILDER(downsample, ddpm_downsample(g, in[0], "c", 3))
BUILDER(linear, ddpm_linear(g, in[0], "c", 4))
BUILDER(depthwise, ddpm_depthwise_conv2d(g, in[0], "c", 7))
BUILDER(depthwise_time, ddpm_add_channels(g, ddpm_depthwise_conv2d(g, in[0], "c", 3), in[1]))
BUILDER(norm, ddpm_group_norm(g, in[0], "n"))
BUILDER(gelu_norm, ddpm_group_norm(g, ddpm_gelu(g, in[0]), "n"))
BUILDER(depthwise_norm,
        ddpm_group_norm(g, ddpm_depthwise_conv2d(g, in[0], "c", 3), "n")) /* statistics move */
BUILDER(gelu, ddpm_gelu(g, in[0]))
BUILDER(relu, ddpm_relu(g, in[0]))
BUILDER(sigmoid, ddpm_sigmoid(g, in[0]))
BUILDER(add, ddpm_add(g, in[0], in[1]))
BUILDER(add_twice, ddpm_add(g, in[0], in[0]))
BUILDER(add_channels, ddpm_add_channels(g, ddpm_gelu(g, in[0]), in[1]))
BUILDER(concat, ddpm_gelu(g, ddpm_concat(g, ddpm_gelu(g, in[0]), in[1])))
BUILDER(upsample, ddpm_upsample_nearest(g, in[0]))
BUILDER(scale_pixels, ddpm_scale_pixels(g, in[0], in[1]))
BUILDER(attention, ddpm_attention(g, in[0], 2))
/* A value used three times, twice through concatenations: gradients that are views are added up. */
BUILDER(shared,
        ddpm_add(g, ddpm_conv2d(g, ddpm_concat(g, in[0], ddpm_gelu(g, in[0])), "c", 2, 3, 1),
                 in[0]))

static const struct layer layers[] = {
    {"conv2d 3x3", 1, {{2, 4, 3, 3}}, conv3},
    {"conv2d 7x7", 1, {{1, 5, 4, 2}}, conv7},
    {"conv2d 1x1", 1, {{2, 3, 2, 3}}, conv1},
    {"conv2d + residual", 2, {{2, 3, 4, 2}, {2, 3, 4, 3}}, conv_residual},
    {"downsample", 1, {{2, 4, 6, 2}}, downsample},
    {"linear", 1, {{3, 1, 1, 5}}, linear},
    {"depthwise 7x7", 1, {{2, 5, 8, 3}}, depthwise},
    {"depthwise + time", 2, {{2, 4, 3, 3}, {2, 1, 1, 3}}, depthwise_time},
    {"group_norm", 1, {{2, 3, 4, 3}}, norm},
    {"gelu + group_norm", 1, {{2, 3, 4, 3}}, gelu_norm},
    {"depthwise + group_norm", 1, {{2, 3, 4, 3}}, depthwise_norm},
    {"gelu", 1, {{2, 3, 2, 3}}, gelu},
    {"relu", 1, {{2, 3, 2, 3}}, relu},
    {"sigmoid", 1, {{2, 3, 2, 3}}, sigmoid},
    {"add", 2, {{2, 3, 2, 3}, {2, 3, 2, 3}}, add},
    {"add to itself", 1, {{2, 3, 2, 3}}, add_twice},
    {"add_channels", 2, {{2, 3, 2, 3}, {2, 1, 1, 3}}, add_channels},
    {"concat", 2, {{2, 3, 2, 3}, {2, 3, 2, 4}}, concat},
    {"upsample", 1, {{2, 3, 2, 3}}, upsample},
    {"scale_pixels", 2, {{2, 3, 2, 1}, {2, 3, 2, 4}}, scale_pixels},
    {"attention", 1, {{2, 2, 3, 12}}, attention},
    {"a value used three times", 1, {{2, 3, 4, 2}}, shared},
};

static void gradients_are_the_central_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; ++i)
        check_layer(&layers[i]);
}

/* The loss has no rule: its gradient is an operation of its own. */
static void check_loss(enum ddpm_loss loss)
{
    struct ddpm_device_options options = {.threads = 1};
    struct ddpm_device *device;
    struct ddpm_graph *g;
    assert_ok(ddpm_device_open("ref", &options, &device));
    assert_ok(ddpm_graph_create(DDPM_F64, &g));
    struct ddpm_value *p = ddpm_graph_input(g, DDPM_F64, 2, 3, 2, 3);
    struct ddpm_value *target = ddpm_graph_input(g, DDPM_F64, 2, 3, 2, 3);
    struct ddpm_value *value = ddpm_loss_per_picture(g, p, target, NULL, loss);
    struct ddpm_value *gradient = ddpm_loss_gradient(g, p, target, NULL, loss, 1);
    ddpm_graph_keep(gradient);
    assert_ok(ddpm_graph_plan(g, device));
    const int64_t count = ddpm_tensor_count(&p->tensor);
    double *x = p->tensor.data, *per_image = value->tensor.data, *got = gradient->tensor.data;
    fill(x, count, 1);
    fill(target->tensor.data, count, 2);
    for (int64_t i = 0; i < count; ++i) {
        double before = x[i], mean[2];
        for (int side = 0; side < 2; ++side) {
            x[i] = before + (side ? H : -H);
            assert_ok(ddpm_graph_run(g, 0));
            mean[side] = (per_image[0] + per_image[1]) / 2;
        }
        x[i] = before;
        assert_ok(ddpm_graph_run(g, 0));
        assert_true(fabs(got[i] - (mean[1] - mean[0]) / (2 * H)) < TOLERANCE);
    }
    ddpm_graph_destroy(&g);
    ddpm_device_close(&device);
}

static void losses_have_their_gradients(void **state)
{
    (void)state;
    check_loss(DDPM_LOSS_L2);
    check_loss(DDPM_LOSS_L1);
}

/* Learned weights: the minimised quantity is loss·e^-u + u. */
static void uncertainty_has_its_gradient(void **state)
{
    (void)state;
    static const double loss[3] = {0.7, 0.02, 3}, u[3] = {-0.3, 1.5, 0};
    struct ddpm_device_options options = {.threads = 1};
    struct ddpm_device *device;
    struct ddpm_graph *g;
    assert_ok(ddpm_device_open("ref", &options, &device));
    assert_ok(ddpm_graph_create(DDPM_F64, &g));
    struct ddpm_value *losses = ddpm_graph_input(g, DDPM_F64, 3, 1, 1, 1);
    struct ddpm_value *logs = ddpm_graph_input(g, DDPM_F64, 3, 1, 1, 1), *slopes;
    struct ddpm_value *weights = ddpm_uncertainty(g, losses, logs, 0.5f, &slopes);
    ddpm_graph_keep(weights);
    ddpm_graph_keep(slopes);
    assert_ok(ddpm_graph_plan(g, device));
    memcpy(losses->tensor.data, loss, sizeof loss);
    memcpy(logs->tensor.data, u, sizeof u);
    assert_ok(ddpm_graph_run(g, 0));
    const double *weight = weights->tensor.data, *slope = slopes->tensor.data;
    for (int i = 0; i < 3; ++i) {
        double value[2];
        for (int side = 0; side < 2; ++side) {
            const double at = u[i] + (side ? H : -H);
            value[side] = 0.5 / 3 * (loss[i] * exp(-at) + at);
        }
        assert_true(fabs(weight[i] - exp(-u[i])) < 1e-14);
        assert_true(fabs(slope[i] - (value[1] - value[0]) / (2 * H)) < TOLERANCE);
    }
    ddpm_graph_destroy(&g);
    ddpm_device_close(&device);
}

/* The distilling loss of d = factor·p - target, and its slopes, which times d give the gradient
 * with respect to p. */
static void pseudo_huber_has_its_gradient(void **state)
{
    (void)state;
    static const double rows[2][4] = {{0.7, 1.5, 0.7, -1}, {-0.2, 30, -0.2, -1}};
    struct ddpm_device_options options = {.threads = 1};
    struct ddpm_device *device;
    struct ddpm_graph *g;
    assert_ok(ddpm_device_open("ref", &options, &device));
    assert_ok(ddpm_graph_create(DDPM_F64, &g));
    struct ddpm_value *p = ddpm_graph_input(g, DDPM_F64, 2, 3, 2, 3);
    struct ddpm_value *target = ddpm_graph_input(g, DDPM_F64, 2, 3, 2, 3);
    struct ddpm_value *row = ddpm_graph_input(g, DDPM_F64, 2, 1, 1, 4), *slopes;
    const int columns[DDPM_COMBINED] = {2}, both[DDPM_COMBINED] = {0, 1};
    struct ddpm_value *const scaled[DDPM_COMBINED] = {p};
    struct ddpm_value *f = ddpm_combine(g, row, columns, scaled, false, DDPM_F64, NULL);
    struct ddpm_value *squares = ddpm_loss_per_picture(g, f, target, NULL, DDPM_LOSS_L2);
    struct ddpm_value *value =
        ddpm_pseudo_huber(g, squares, ddpm_graph_view(g, row, 0, 2), 0.1f, 1.0f / 18, &slopes);
    struct ddpm_value *const apart[DDPM_COMBINED] = {f, target};
    struct ddpm_value *gradient = ddpm_combine(g, slopes, both, apart, false, DDPM_F64, NULL);
    ddpm_graph_keep(gradient);
    assert_ok(ddpm_graph_plan(g, device));
    const int64_t count = ddpm_tensor_count(&p->tensor);
    double *x = p->tensor.data, *loss = value->tensor.data, *got = gradient->tensor.data;
    fill(x, count, 1);
    fill(target->tensor.data, count, 2);
    memcpy(row->tensor.data, rows, sizeof rows);
    for (int64_t i = 0; i < count; ++i) {
        double before = x[i], mean[2];
        for (int side = 0; side < 2; ++side) {
            x[i] = before + (side ? H : -H);
            assert_ok(ddpm_graph_run(g, 0));
            mean[side] = (loss[0] + loss[1]) / 2;
        }
        x[i] = before;
        assert_ok(ddpm_graph_run(g, 0));
        const double wanted = (mean[1] - mean[0]) / (2 * H);
        assert_true(fabs(got[i] - wanted) < 1e-6 * fmax(1, fabs(wanted))); /* 1/18 is fp32 */
    }
    ddpm_graph_destroy(&g);
    ddpm_device_close(&device);
}

/* A learned variance: the derivative of the variational term with respect to v; ε̂ gets none. For
 * picture 0 the step ends in the picture, with values inside and at both ends; for picture 1 it
 * does not. */
static void variances_have_their_gradients(void **state)
{
    (void)state;
    static const double rows[2][DDPM_VARIANCE_COLUMNS] = {{-7, -6, 0.01, 1, 0.7},
                                                          {-6, -4.5, 0.2, 0, 0.7}};
    struct ddpm_device_options options = {.threads = 1};
    struct ddpm_device *device;
    struct ddpm_graph *g;
    assert_ok(ddpm_device_open("ref", &options, &device));
    assert_ok(ddpm_graph_create(DDPM_F64, &g));
    struct ddpm_value *answer = ddpm_graph_input(g, DDPM_F64, 2, 3, 2, 6);
    struct ddpm_value *noise = ddpm_graph_input(g, DDPM_F64, 2, 3, 2, 3);
    struct ddpm_value *x0 = ddpm_graph_input(g, DDPM_F64, 2, 3, 2, 3);
    struct ddpm_value *row = ddpm_graph_input(g, DDPM_F64, 2, 1, 1, DDPM_VARIANCE_COLUMNS);
    struct ddpm_value *simple = ddpm_graph_input(g, DDPM_F64, 2, 1, 1, 1);
    struct ddpm_value *value = ddpm_variational_loss(g, simple, answer, noise, x0, row);
    struct ddpm_value *gradient = ddpm_variational_gradient(g, answer, noise, x0, row, 1);
    ddpm_graph_keep(gradient);
    assert_ok(ddpm_graph_plan(g, device));
    const int64_t count = ddpm_tensor_count(&noise->tensor);
    double *v = answer->tensor.data, *loss = value->tensor.data, *got = gradient->tensor.data;
    double *x = x0->tensor.data;
    fill(v, 2 * count, 1);
    fill(noise->tensor.data, count, 2);
    fill(x, count, 3);
    fill(simple->tensor.data, 2, 4);
    x[0] = x[4] = x[8] = -1;
    x[1] = x[5] = x[9] = 1;
    memcpy(row->tensor.data, rows, sizeof rows);
    for (int64_t i = 0; i < count; ++i) {
        double *at = &v[i / 3 * 6 + 3 + i % 3], before = *at, mean[2];
        for (int side = 0; side < 2; ++side) {
            *at = before + (side ? H : -H);
            assert_ok(ddpm_graph_run(g, 0));
            mean[side] = (loss[0] + loss[1]) / 2;
        }
        *at = before;
        assert_ok(ddpm_graph_run(g, 0));
        const double wanted = (mean[1] - mean[0]) / (2 * H);
        assert_true(fabs(wanted) > 1e-6); /* no element has a difference too large to check */
        assert_true(fabs(got[i] - wanted) < TOLERANCE);
    }
    ddpm_graph_destroy(&g);
    ddpm_device_close(&device);
}

/* Every operation has a gradient, or is only used outside of what is differentiated. */
static void no_rule_is_missing(void **state)
{
    (void)state;
    for (int op = 0; op < DDPM_OP_COUNT; ++op) {
        bool backward = strstr(ddpm_op_info[op].name, "backward") != NULL;
        bool outside = op == DDPM_OP_SUM_PIXELS || op == DDPM_OP_TIMESTEP_EMBEDDING ||
                       op >= DDPM_OP_NORMALIZE_PICTURES;
        if (!backward && !outside && !ddpm_gradient_rules[op])
            fail_msg("%s has no gradient rule", ddpm_op_info[op].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_the_central_differences),
        cmocka_unit_test(losses_have_their_gradients),
        cmocka_unit_test(pseudo_huber_has_its_gradient),
        cmocka_unit_test(uncertainty_has_its_gradient),
        cmocka_unit_test(variances_have_their_gradients),
        cmocka_unit_test(no_rule_is_missing),
    };
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}

/* If graph->share is set, activations that several nodes need are computed once, and the gradients
 * of one value are added by the call that computes the last of them. */
#include "graph_support.h"

enum { BLOCKS = 3, WIDTH = 8 };

struct result {
    float y[COUNT], dtime[BATCH * WIDTH];
    int activations, slopes; /* nodes */
};

/* Blocks that each read the GELU of a linear layer of `time`, as those of the U-Nets do. */
static struct ddpm_value *blocks(struct ddpm_graph *g, struct ddpm_value *x,
                                 struct ddpm_value *time)
{
    time = ddpm_linear(g, time, "time", WIDTH);
    for (int i = 0; i < BLOCKS; ++i) {
        ddpm_graph_enter(g, "%d", i);
        ddpm_graph_begin_block(g);
        struct ddpm_value *bias = ddpm_linear(g, ddpm_gelu(g, time), "bias", CHANNELS);
        x = ddpm_add_channels(g, ddpm_conv2d(g, ddpm_gelu(g, x), "c", CHANNELS, 3, 1), bias);
        x = ddpm_gelu(g, ddpm_relu(g, x));
        ddpm_graph_end_block(g);
        ddpm_graph_leave(g);
    }
    return x;
}

static int count(const struct ddpm_graph *g, enum ddpm_op op)
{
    int found = 0;
    for (size_t i = 0; i < g->node_count; ++i)
        found += g->nodes[i]->op == op;
    return found;
}

static void run(const char *name, bool share, bool recompute, struct result *result)
{
    struct ddpm_device *device = open_device(name);
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
    struct ddpm_gradients of;
    struct ddpm_graph *g;
    int64_t image;
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    ddpm_graph_use(g, &set, 0);
    struct ddpm_value *x = picture(g), *time = ddpm_graph_input(g, DDPM_F32, BATCH, 1, 1, WIDTH);
    x->requires_gradient = time->requires_gradient = true;
    struct ddpm_value *y = blocks(g, x, time), *dy = picture(g);
    ddpm_graph_keep(y);
    g->share = share;
    g->recompute = recompute;
    ddpm_graph_fuse(g, ~0u);
    result->activations = count(g, DDPM_OP_ACTIVATION);
    ddpm_graph_begin_part(g, "backward");
    assert_ok(ddpm_graph_differentiate(g, &(struct ddpm_seed){y, dy}, 1, &of));
    result->slopes = count(g, DDPM_OP_ACTIVATION_BACKWARD);
    struct ddpm_value *dtime = ddpm_gradients_of(&of, time);
    ddpm_graph_keep(dtime);
    allocate(&set, device, 0, 3);
    assert_ok(ddpm_weight_set_acquire_gradients(&set));
    assert_ok(ddpm_graph_plan(g, device));
    write_random(g, x, 1);
    write_random(g, time, 2);
    write_random(g, dy, 3);
    for (int part = 0; part < 2; ++part)
        assert_ok(ddpm_graph_run_checked(g, part, &image));
    assert_ok(ddpm_graph_read(g, y, result->y));
    assert_ok(ddpm_graph_read(g, dtime, result->dtime));
    ddpm_gradients_clear(&of);
    ddpm_graph_destroy(&g);
    ddpm_weight_set_clear(&set);
    ddpm_device_close(&device);
}

static void one_activation_serves_all_blocks(void **state)
{
    (void)state;
    static const char *const devices[] = {"cpu", "check"};
    struct result apart, shared;
    run("cpu", false, false, &apart);
    assert_int_equal(apart.activations, BLOCKS * 4);
    assert_int_equal(apart.slopes, BLOCKS * 4);
    for (int i = 0; i < 4; ++i) {
        run(devices[i % 2], true, i / 2, &shared);
        /* Those of x differ: block i's last GELU is not the next one's first. */
        assert_int_equal(shared.activations, BLOCKS * 3 + 1);
        assert_int_equal(shared.slopes, BLOCKS * 3 + 1);
        if (i % 2 == 0)
            assert_memory_equal(shared.y, apart.y, sizeof apart.y);
        for (int k = 0; k < BATCH * WIDTH; ++k)
            if (!(fabsf(shared.dtime[k] - apart.dtime[k]) < 1e-5f * (1.0f + fabsf(apart.dtime[k]))))
                fail_msg("dtime[%d]: got %g, want %g", k, (double)shared.dtime[k],
                         (double)apart.dtime[k]);
    }
}

/* What the host reads, and what another part computes, stays. */
static void kept_results_stay(void **state)
{
    (void)state;
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
    struct ddpm_graph *g;
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    ddpm_graph_use(g, &set, 0);
    struct ddpm_value *x = ddpm_conv2d(g, picture(g), "c", CHANNELS, 1, 0);
    ddpm_gelu(g, x);
    ddpm_graph_keep(ddpm_gelu(g, x));
    ddpm_relu(g, x);
    ddpm_graph_begin_part(g, "later");
    ddpm_gelu(g, x);
    g->share = true;
    ddpm_graph_fuse(g, ~0u);
    assert_ok(g->status);
    assert_int_equal(count(g, DDPM_OP_ACTIVATION), 4);
    ddpm_graph_destroy(&g);
    ddpm_weight_set_clear(&set);
}

/* The gradient of x in y = conv(depthwise(x)) + x, and how many additions the backward pass has. */
static int residual(const char *name, bool share, float dx[COUNT])
{
    struct ddpm_device *device = open_device(name);
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
    struct ddpm_gradients of;
    struct ddpm_graph *g;
    int64_t image;
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    ddpm_graph_use(g, &set, 0);
    struct ddpm_value *x = picture(g), *dy = picture(g);
    x->requires_gradient = true;
    struct ddpm_value *y = ddpm_depthwise_conv2d(g, x, "d", 7);
    y = ddpm_add(g, ddpm_conv2d(g, y, "c", CHANNELS, 3, 1), x);
    g->share = share;
    ddpm_graph_fuse(g, ~0u);
    const int forward = count(g, DDPM_OP_ADD);
    ddpm_graph_begin_part(g, "backward");
    assert_ok(ddpm_graph_differentiate(g, &(struct ddpm_seed){y, dy}, 1, &of));
    const int additions = count(g, DDPM_OP_ADD) - forward;
    struct ddpm_value *gradient = ddpm_gradients_of(&of, x);
    ddpm_graph_keep(gradient);
    allocate(&set, device, 0, 3);
    assert_ok(ddpm_weight_set_acquire_gradients(&set));
    assert_ok(ddpm_graph_plan(g, device));
    write_random(g, x, 1);
    write_random(g, dy, 2);
    for (int part = 0; part < 2; ++part)
        assert_ok(ddpm_graph_run_checked(g, part, &image));
    assert_ok(ddpm_graph_read(g, gradient, dx));
    ddpm_gradients_clear(&of);
    ddpm_graph_destroy(&g);
    ddpm_weight_set_clear(&set);
    ddpm_device_close(&device);
    return additions;
}

static void a_depthwise_convolution_adds_the_residuals_gradient(void **state)
{
    (void)state;
    float apart[COUNT], shared[COUNT];
    assert_int_equal(residual("cpu", false, apart), 1);
    assert_int_equal(residual("cpu", true, shared), 0);
    assert_memory_equal(shared, apart, sizeof apart); /* in fp32 nothing else is rounded */
    assert_int_equal(residual("check", true, shared), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_activation_serves_all_blocks),
        cmocka_unit_test(kept_results_stay),
        cmocka_unit_test(a_depthwise_convolution_adds_the_residuals_gradient),
    };
    return cmocka_run_group_tests_name("shared activations", tests, NULL, NULL);
}

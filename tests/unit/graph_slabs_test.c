/* Gradients through a frozen network, and results with a set's moving averages. */
#include "graph_support.h"

/* dx through the network, frozen or not; the arena is filled with NaN before. */
static void gradient_of_input(const char *device_name, bool frozen, float dx[COUNT])
{
    struct ddpm_device *device = open_device(device_name);
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
    struct ddpm_gradients of;
    struct ddpm_graph *g;
    int64_t image;
    set.frozen = frozen;
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    ddpm_graph_use(g, &set, 0);
    struct ddpm_value *x = picture(g), *time = ddpm_graph_input(g, DDPM_F32, BATCH, 1, 1, 4);
    x->requires_gradient = true;
    time->requires_gradient = true;
    struct ddpm_value *y = network(g, x, time), *dy = picture(g);
    ddpm_graph_fuse(g, ~0u);
    ddpm_graph_begin_part(g, "backward");
    assert_ok(ddpm_graph_differentiate(g, &(struct ddpm_seed){y, dy}, 1, &of));
    struct ddpm_value *result = ddpm_gradients_of(&of, x);
    ddpm_graph_keep(result);
    assert_non_null(ddpm_gradients_of(&of, time));
    allocate(&set, device, 0, 3);
    if (!frozen)
        assert_ok(ddpm_weight_set_acquire_gradients(&set));
    assert_ok(ddpm_graph_plan(g, device));
    assert_true(!frozen || !set.gradients);
    for (size_t i = 0; i < g->arena_bytes / sizeof(uint32_t); ++i)
        ((uint32_t *)g->arena)[i] = 0x7fd5deadu; /* the NaN that the check backend looks for */
    write_random(g, x, 1);
    write_random(g, time, 2);
    write_random(g, dy, 3);
    for (int part = 0; part < 2; ++part)
        if (ddpm_graph_run_checked(g, part, &image) != DDPM_OK)
            fail_msg("%s, %s: %s", device_name, frozen ? "frozen" : "trained",
                     ddpm_error_message());
    assert_ok(ddpm_graph_read(g, result, dx));
    ddpm_gradients_clear(&of);
    ddpm_graph_destroy(&g);
    ddpm_weight_set_clear(&set);
    ddpm_device_close(&device);
}

static void a_gradient_flows_through_a_frozen_network(void **state)
{
    (void)state;
    static const char *const devices[] = {"cpu", "ref", "check"};
    float wanted[COUNT], got[COUNT];
    gradient_of_input("ref", false, wanted);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; ++i) {
        gradient_of_input(devices[i], true, got);
        for (int k = 0; k < COUNT; ++k)
            if (!(fabsf(got[k] - wanted[k]) < 1e-4f))
                fail_msg("%s: dx[%d]: got %g, want %g", devices[i], k, (double)got[k],
                         (double)wanted[k]);
    }
}

/* A moving average is read, not the trained values. */
static void slabs_of_one_set_give_their_own_results(void **state)
{
    (void)state;
    struct ddpm_device *device = open_device("cpu");
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
    struct ddpm_graph *graphs[3];
    struct ddpm_value *x[3], *time[3], *y[3];
    float results[3][COUNT];
    for (int slab = 0; slab < 3; ++slab) {
        assert_ok(ddpm_graph_create(DDPM_F32, &graphs[slab]));
        ddpm_graph_use(graphs[slab], &set, slab);
        x[slab] = picture(graphs[slab]);
        time[slab] = ddpm_graph_input(graphs[slab], DDPM_F32, BATCH, 1, 1, 4);
        y[slab] = network(graphs[slab], x[slab], time[slab]);
        ddpm_graph_keep(y[slab]);
    }
    allocate(&set, device, 2, 4);
    for (int slab = 1; slab < 3; ++slab)
        for (int64_t i = 0; i < set.parameters.slab_count; ++i)
            ((float *)set.slabs[slab])[i] *= 1 - 0.25f * (float)slab;
    ddpm_weight_set_changed(&set);
    for (int slab = 0; slab < 3; ++slab) {
        assert_ok(ddpm_graph_plan(graphs[slab], device));
        write_random(graphs[slab], x[slab], 1);
        write_random(graphs[slab], time[slab], 2);
        assert_ok(ddpm_graph_run(graphs[slab], 0));
        assert_ok(ddpm_graph_read(graphs[slab], y[slab], results[slab]));
    }
    for (int slab = 1; slab < 3; ++slab)
        assert_memory_not_equal(results[slab], results[slab - 1], sizeof results[0]);
    /* Copy the trained values to a moving average: the results are the same bit for bit. */
    memcpy(set.slabs[2], set.slabs[0], ddpm_weight_set_bytes(&set));
    ddpm_weight_set_changed(&set);
    assert_ok(ddpm_graph_run(graphs[2], 0));
    assert_ok(ddpm_graph_read(graphs[2], y[2], results[2]));
    assert_memory_equal(results[2], results[0], sizeof results[0]);
    for (int slab = 0; slab < 3; ++slab)
        ddpm_graph_destroy(&graphs[slab]);
    ddpm_weight_set_clear(&set);
    ddpm_device_close(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gradient_flows_through_a_frozen_network),
        cmocka_unit_test(slabs_of_one_set_give_their_own_results),
    };
    return cmocka_run_group_tests_name("slabs of weight sets", tests, NULL, NULL);
}

/* Gradients that are written instead of added to give the same bits, whatever their memory held. */
#include "graph_support.h"

/* How the network is used. */
enum uses { ONCE, TWICE, WITH_AN_UNUSED_LAYER };

struct step {
    struct ddpm_graph *graph;
    struct ddpm_weight_set set;
    struct ddpm_value *x, *time, *dy;
    struct ddpm_device *device;
};

static void open_step(struct step *step, const char *device, enum uses uses, bool overwrites)
{
    *step = (struct step){.set = DDPM_EMPTY_WEIGHT_SET, .device = open_device(device)};
    assert_ok(ddpm_graph_create(DDPM_F32, &step->graph));
    struct ddpm_graph *g = step->graph;
    ddpm_graph_use(g, &step->set, 0);
    step->x = picture(g);
    step->time = ddpm_graph_input(g, DDPM_F32, BATCH, 1, 1, CHANNELS);
    step->dy = picture(g);
    if (uses == WITH_AN_UNUSED_LAYER)
        ddpm_conv2d(g, step->x, "unused", CHANNELS, 1, 0);
    struct ddpm_value *y = network(g, step->x, step->time);
    if (uses == TWICE)
        y = network(g, y, step->time);
    ddpm_graph_fuse(g, ~0u);
    ddpm_graph_begin_part(g, "backward");
    assert_ok(ddpm_graph_differentiate(g, &(struct ddpm_seed){y, step->dy}, 1, NULL));
    if (overwrites)
        assert_ok(ddpm_graph_overwrite_gradients(g));
    allocate(&step->set, step->device, 0, 3);
    assert_ok(ddpm_weight_set_acquire_gradients(&step->set));
    assert_ok(ddpm_graph_plan(g, step->device));
}

static void run_step(struct step *step)
{
    int64_t image;
    write_random(step->graph, step->x, 1);
    write_random(step->graph, step->time, 2);
    write_random(step->graph, step->dy, 3);
    for (int part = 0; part < 2; ++part)
        assert_ok(ddpm_graph_run_checked(step->graph, part, &image));
}

static void close_step(struct step *step)
{
    ddpm_graph_destroy(&step->graph);
    ddpm_weight_set_clear(&step->set);
    ddpm_device_close(&step->device);
}

/* The gradients of all parameters, dense. */
static size_t read_gradients(const struct step *step, float *to)
{
    size_t used = 0;
    for (size_t i = 0; i < step->set.parameters.count; ++i) {
        const struct ddpm_parameter *p = &step->set.parameters.items[i];
        const size_t count = (size_t)ddpm_parameter_count(p);
        assert_ok(ddpm_weight_set_read(&step->set, step->set.gradients, p->name, to + used, count));
        used += count;
    }
    return used;
}

/* As the memory would be after a step that was not finite. */
static void spoil_gradients(const struct step *step)
{
    for (size_t i = 0; i < step->set.parameters.count; ++i) {
        const struct ddpm_parameter *p = &step->set.parameters.items[i];
        float *to = (float *)step->set.gradients + p->offset;
        for (int64_t k = 0; k < ddpm_parameter_count(p); ++k)
            to[k] = NAN;
    }
}

static void the_bits_are_those_of_adding_to_zeros(void **state)
{
    (void)state;
    static float want[4096], got[4096];
    for (enum uses uses = ONCE; uses <= TWICE; ++uses)
        for (int k = 0; k < 3; ++k) {
            static const char *const devices[] = {"cpu", "ref", "check"};
            struct step step;
            open_step(&step, devices[k], uses, false);
            run_step(&step);
            const size_t count = read_gradients(&step, want);
            close_step(&step);
            open_step(&step, devices[k], uses, true);
            assert_true(step.graph->overwrites);
            for (int again = 0; again < 2; ++again) {
                spoil_gradients(&step);
                run_step(&step);
                assert_int_equal(read_gradients(&step, got), count);
                assert_memory_equal(got, want, count * sizeof *got);
            }
            close_step(&step);
        }
}

/* Nobody would write the gradient of a layer that the loss does not reach: all are zeroed. */
static void an_unused_parameter_keeps_adding(void **state)
{
    (void)state;
    struct step step;
    open_step(&step, "cpu", WITH_AN_UNUSED_LAYER, true);
    assert_false(step.graph->overwrites);
    for (size_t i = 0; i < step.graph->node_count; ++i)
        assert_int_equal(step.graph->nodes[i]->attributes.overwrites, 0);
    close_step(&step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_are_those_of_adding_to_zeros),
        cmocka_unit_test(an_unused_parameter_keeps_adding),
    };
    return cmocka_run_group_tests_name("overwritten gradients", tests, NULL, NULL);
}

/* The bf16 copy of the weights that training keeps for convolutions: results are the same bits with
 * and without it, and it holds the rounded weights whatever changed them. Runs on the device in
 * DDPM_TEST_DEVICE; the CPU's kernels do not read the copy, but it is kept there too if
 * requested. */
#include "library_support.h"

#include "model/model.h"
#include "training/inspect.h"

enum { STEPS = 3 };

static const char *const plain[] = {"accumulate", "1"};

/* A trainer on a device whose backend claims to read copies, or not. */
struct run {
    struct ddpm_backend backend;
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
};

static void open_run(struct run *run, const char *const option[2], bool copies)
{
    struct ddpm_config *config =
        tiny_config("precision=bf16 dim-mults=1 image-size=4 batch-size=1");
    assert_ok(ddpm_config_set(config, option[0], option[1]));
    assert_ok(ddpm_network_create(config, &run->network));
    run->backend = *run->network->device->backend;
    run->backend.reads_bf16_weights = copies;
    run->network->device->backend = &run->backend;
    assert_ok(ddpm_trainer_create(run->network, NULL, NULL, &run->trainer));
    ddpm_config_destroy(&config);
}

static void close_run(struct run *run)
{
    ddpm_trainer_destroy(&run->trainer);
    ddpm_network_destroy(&run->network);
}

static void assert_copies_are_the_weights(const struct run *run)
{
    struct ddpm_device *device = run->network->device;
    const size_t count = (size_t)run->network->weights.parameters.slab_count;
    float *weights = malloc(count * sizeof *weights);
    uint16_t *copies = malloc(count * sizeof *copies);
    assert_ok(device->backend->download(
        device, weights, run->network->weights.slabs[DDPM_WEIGHTS_MODEL], count * sizeof *weights));
    assert_ok(device->backend->download(device, copies, run->network->weights.copies,
                                        count * sizeof *copies));
    for (size_t i = 0; i < count; ++i)
        assert_int_equal(copies[i], ddpm_float_to_bf16(weights[i]));
    free(copies);
    free(weights);
}

/* Set new weights for the first 3×3 convolution that tensor cores can multiply. */
static void set_weights(struct run *run)
{
    const struct ddpm_parameter *p = run->network->weights.parameters.items;
    while (p->r != 3 || p->c % 8 != 0 || p->k < 8)
        ++p;
    const size_t count = (size_t)ddpm_parameter_count(p);
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; ++i)
        values[i] = 0.01f * (float)(i % 29);
    assert_ok(ddpm_network_set(run->network, DDPM_WEIGHTS_MODEL, p->name, values, count));
    free(values);
}

/* Steps [first, last), each with its own values. */
static void make_steps(struct run *run, int first, int last, struct ddpm_step_result *results)
{
    for (int step = first; step < last; ++step)
        assert_ok(step_made_up(run->trainer, run->network, (uint32_t)step, &results[step]));
}

static void assert_same_results(const struct ddpm_step_result *a, const struct ddpm_step_result *b,
                                int first)
{
    for (int step = first; step < STEPS; ++step)
        assert_true(a[step].loss == b[step].loss && a[step].grad_norm == b[step].grad_norm);
}

static int packed_calls(const struct run *run)
{
    const struct ddpm_graph *graph = ddpm_trainer_inspect(run->trainer).graph;
    int count = 0;
    for (size_t i = 0; i < graph->node_count; ++i)
        count += graph->calls[i].packed_bytes > 0;
    return count;
}

static void copies_change_no_bit(void **state)
{
    (void)state;
    static const char *const options[][2] = {
        {"accumulate", "1"}, {"accumulate", "2"}, {"memory", "low"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        struct run with, without;
        struct ddpm_step_result got[STEPS], wanted[STEPS];
        open_run(&with, options[i], true);
        open_run(&without, options[i], false);
        assert_non_null(with.network->weights.copies);
        assert_null(without.network->weights.copies);
        assert_int_equal(packed_calls(&with) < packed_calls(&without),
                         strncmp(test_device(), "cuda", 4) == 0);
        make_steps(&with, 0, STEPS, got);
        make_steps(&without, 0, STEPS, wanted);
        assert_same_results(got, wanted, 0);
        assert_same_weights(with.network, without.network, DDPM_WEIGHTS_MODEL);
        assert_same_weights(with.network, without.network, DDPM_WEIGHTS_EMA);
        assert_copies_are_the_weights(&with);
        close_run(&with);
        close_run(&without);
    }
}

static void fp32_keeps_no_copies(void **state)
{
    (void)state;
    struct run run;
    open_run(&run, (const char *const[]){"precision", "fp32"}, true);
    assert_null(run.network->weights.copies);
    close_run(&run);
}

static void copies_count_as_memory(void **state)
{
    (void)state;
    struct run with, without;
    struct ddpm_memory_plan measured;
    open_run(&with, plain, true);
    open_run(&without, plain, false);
    assert_ok(ddpm_trainer_measure(with.network, NULL, &measured));
    assert_int_equal(measured.weights, ddpm_trainer_memory(with.trainer).weights);
    assert_int_equal(measured.weights - ddpm_trainer_memory(without.trainer).weights,
                     2 * with.network->weights.parameters.slab_count);
    close_run(&with);
    close_run(&without);
}

static void weights_that_are_set_are_copied(void **state)
{
    (void)state;
    struct run with, without;
    struct ddpm_step_result got[STEPS], wanted[STEPS];
    open_run(&with, plain, true);
    open_run(&without, plain, false);
    make_steps(&with, 0, 1, got);
    make_steps(&without, 0, 1, wanted);
    set_weights(&with);
    set_weights(&without);
    make_steps(&with, 1, STEPS, got);
    make_steps(&without, 1, STEPS, wanted);
    assert_same_results(got, wanted, 0);
    assert_copies_are_the_weights(&with);
    close_run(&with);
    close_run(&without);
}

/* The resumed trainer has already done a step, so its copies hold different weights. */
static void resuming_copies_the_weights_that_are_read(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct run first, resumed;
    struct ddpm_step_result wanted[STEPS], got[STEPS];
    open_run(&first, plain, true);
    make_steps(&first, 0, 1, wanted);
    assert_ok(ddpm_trainer_save(first.trainer, folder));
    make_steps(&first, 1, STEPS, wanted);
    open_run(&resumed, plain, true);
    set_weights(&resumed);
    make_steps(&resumed, 0, 1, got);
    assert_true(got[0].loss != wanted[0].loss);
    assert_ok(ddpm_trainer_resume(resumed.trainer, folder));
    make_steps(&resumed, 1, STEPS, got);
    assert_same_results(got, wanted, 1);
    assert_same_weights(resumed.network, first.network, DDPM_WEIGHTS_MODEL);
    assert_copies_are_the_weights(&resumed);
    close_run(&resumed);
    close_run(&first);
    remove_folder(folder);
}

int main(void)
{
    if (!has_test_device())
        return EXIT_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_change_no_bit),
        cmocka_unit_test(fp32_keeps_no_copies),
        cmocka_unit_test(copies_count_as_memory),
        cmocka_unit_test(weights_that_are_set_are_copied),
        cmocka_unit_test(resuming_copies_the_weights_that_are_read),
    };
    return cmocka_run_group_tests_name("bf16 copies of weights", tests, NULL, NULL);
}

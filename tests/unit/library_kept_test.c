/* On a device with its own memory, and enough of it, the backward pass recomputes no result of the
 * forward pass: more memory, fewer calls, the same bits. Runs on the device in DDPM_TEST_DEVICE;
 * the CPU's memory is the host's, but here its backend claims otherwise. */
#include "library_support.h"

#include "model/model.h"
#include "training/inspect.h"

enum { STEPS = 2 };

static size_t free_bytes;

static size_t available(struct ddpm_device *device)
{
    (void)device;
    return free_bytes;
}

/* A trainer on a device that reports how much memory is free. */
struct run {
    struct ddpm_backend backend;
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
    struct ddpm_step_result results[STEPS];
};

static void open_network(struct run *run, const char *options, bool own_memory)
{
    struct ddpm_config *config = tiny_config(options);
    assert_ok(ddpm_network_create(config, &run->network));
    run->backend = *run->network->device->backend;
    run->backend.host_memory = !own_memory;
    run->backend.available = available;
    run->network->device->backend = &run->backend;
    ddpm_config_destroy(&config);
}

static void open_trainer(struct run *run)
{
    assert_ok(ddpm_trainer_create(run->network, NULL, NULL, &run->trainer));
}

static void make_steps(struct run *run)
{
    open_trainer(run);
    for (int step = 0; step < STEPS; ++step)
        assert_ok(step_made_up(run->trainer, run->network, (uint32_t)step, &run->results[step]));
}

static void close_run(struct run *run)
{
    ddpm_trainer_destroy(&run->trainer);
    ddpm_network_destroy(&run->network);
}

static size_t calls(const struct run *run)
{
    return ddpm_trainer_inspect(run->trainer).graph->call_count;
}

static uint64_t activations(const struct run *run)
{
    return ddpm_trainer_memory(run->trainer).activations;
}

static void kept_results_change_no_bit(void **state)
{
    (void)state;
    static const char *const options[] = {
        "dim-mults=1 image-size=4 batch-size=1",
        "dim-mults=1 image-size=4 batch-size=1 precision=bf16 accumulate=2",
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        struct run kept, again;
        free_bytes = (size_t)1 << 40;
        open_network(&kept, options[i], true);
        open_network(&again, options[i], false);
        make_steps(&kept);
        make_steps(&again);
        assert_true(calls(&kept) < calls(&again));
        assert_true(activations(&kept) > activations(&again));
        for (int step = 0; step < STEPS; ++step)
            assert_true(kept.results[step].loss == again.results[step].loss &&
                        kept.results[step].grad_norm == again.results[step].grad_norm);
        assert_same_weights(kept.network, again.network, DDPM_WEIGHTS_MODEL);
        assert_same_weights(kept.network, again.network, DDPM_WEIGHTS_EMA);
        close_run(&kept);
        close_run(&again);
    }
}

/* The trainer's total must fit in half of the free memory. */
static void results_are_kept_only_where_there_is_room(void **state)
{
    (void)state;
    static const char *const options = "dim-mults=1,2 image-size=16 batch-size=4";
    struct ddpm_memory_plan kept, again, low;
    struct run run;
    free_bytes = (size_t)1 << 40;
    open_network(&run, options, true);
    assert_ok(ddpm_trainer_measure(run.network, NULL, &kept));
    free_bytes = (size_t)(kept.activations + kept.packed + kept.weights + kept.host);
    assert_ok(ddpm_trainer_measure(run.network, NULL, &again));
    assert_true(again.activations < kept.activations);
    open_trainer(&run);
    assert_int_equal(activations(&run), again.activations);
    ddpm_trainer_destroy(&run.trainer);
    free_bytes = (size_t)1 << 40;
    open_trainer(&run);
    assert_int_equal(activations(&run), kept.activations);
    close_run(&run);

    open_network(&run, "dim-mults=1,2 image-size=16 batch-size=4 memory=low", true);
    assert_ok(ddpm_trainer_measure(run.network, NULL, &low));
    assert_true(low.activations <= again.activations);
    ddpm_network_destroy(&run.network);
}

int main(void)
{
    if (!has_test_device())
        return EXIT_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_results_change_no_bit),
        cmocka_unit_test(results_are_kept_only_where_there_is_room),
    };
    return cmocka_run_group_tests_name("results that are kept", tests, NULL, NULL);
}

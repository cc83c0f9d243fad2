/* Training on patches first: which steps see what, through the public interface. */
#include "allocations.h"
#include "run_support.h"

#include "training/optimizer.h"
#include "training/trainer_state.h"

enum { SIDE = 16, HALF = 8, CHANNELS = 3, COUNT = 5 };

/* Ten steps, the first six on patches of 8x8. */
#define OPTIONS "image-size=16 batch-size=2 steps=10 patches=2 patch-share=0.6 "

static void assert_close(double got, double wanted)
{
    assert_true(fabs(got - wanted) < 1e-12);
}

static void assert_size(const struct run *run, int64_t side)
{
    const struct ddpm_tensor *x0 = &run->trainer->x0->tensor;
    assert_int_equal(x0->h, side);
    assert_int_equal(x0->w, side);
}

static void the_run_changes_to_whole_pictures(void **state)
{
    (void)state;
    char *folder = folder_with_windows(COUNT, SIDE);
    struct run run;
    start(&run, folder, OPTIONS);
    for (int step = 1; step <= 10; ++step) {
        steps(&run, 1);
        assert_size(&run, step <= 6 ? HALF : SIDE);
    }
    end(&run);
    remove_folder(folder);
}

/* Stopped among the patches, at the change, and after it. */
static void going_on_is_as_never_having_stopped(void **state)
{
    (void)state;
    static const char *const options[] = {
        OPTIONS "recipe=fast patches=2 patch-share=0.6 steps=10 image-size=16 dim-mults=1,2",
        OPTIONS "ema=power network=AttentionUNet attention=on coordinates=on accumulate=2",
        OPTIONS "ema=power memory=low reduce=exact shares=2",
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        char *folder = folder_with_windows(COUNT, SIDE);
        train_and_save(folder, options[i], "straight", false, 10);
        train_and_save(folder, options[i], "run", false, 4);
        train_and_save(folder, options[i], "run", true, 2);
        train_and_save(folder, options[i], "run", true, 1);
        train_and_save(folder, options[i], "run", true, 3);
        assert_same_state(folder, "straight", "run", true);
        remove_folder(folder);
    }
}

/* The state after some steps on patches is that of a run on pictures of that size. */
static void a_step_on_patches_is_a_step_on_small_pictures(void **state)
{
    (void)state;
    enum { BYTES = HALF * HALF * CHANNELS };
    const int64_t shape[] = {2, HALF, HALF, CHANNELS};
    uint8_t pixels[2 * BYTES];
    float x0[2 * BYTES];
    char *folder = folder_with_windows(COUNT, SIDE);
    struct run run;
    /* two pictures, so that the only step has them in a known order */
    write_pictures(in_folder(folder, "p.npy"), 2, SIDE);
    start(&run, folder, OPTIONS "flip=off");
    steps(&run, 1);
    assert_ok(ddpm_graph_read(run.trainer->graph, run.trainer->x0, x0));
    for (int b = 0; b < 2; ++b) {
        const int64_t item = ddpm_permute((uint32_t)b, 2, run.config->training.seed, 0);
        for (int i = 0; i < BYTES; ++i)
            pixels[item * BYTES + i] = (uint8_t)lroundf((x0[b * BYTES + i] + 1) * 127.5f);
    }
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "patches")));
    end(&run);
    assert_ok(ddpm_npy_write(in_folder(folder, "p.npy"), DDPM_NPY_U8, 4, shape, pixels));
    start(&run, folder, "image-size=8 batch-size=2 steps=10 flip=off");
    steps(&run, 1);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "small")));
    end(&run);
    assert_same_file(in_folder(folder, "patches/checkpoints/latest/model.safetensors"),
                     in_folder(folder, "small/checkpoints/latest/model.safetensors"));
    remove_folder(folder);
}

static void late_steps_are_the_same_steps(void **state)
{
    (void)state;
    char *folder = folder_with_windows(COUNT, SIDE);
    struct run waiting, late;
    struct ddpm_step_result wanted[10], got;
    int taken = 0;
    start(&waiting, folder, OPTIONS);
    start(&late, folder, OPTIONS);
    for (int i = 0; i < 10; ++i)
        assert_ok(ddpm_trainer_step(waiting.trainer, &wanted[i]));
    for (int i = 0; i < 11; ++i) {
        assert_ok(i < 10 ? ddpm_trainer_step_late(late.trainer, &got)
                         : ddpm_trainer_flush(late.trainer, &got));
        if (got.step == 0)
            continue;
        assert_int_equal(got.step, ++taken);
        assert_true(got.loss == wanted[taken - 1].loss && got.lr == wanted[taken - 1].lr);
    }
    assert_int_equal(taken, 10);
    assert_same_weights(late.network, waiting.network, DDPM_WEIGHTS_MODEL);
    end(&waiting);
    end(&late);
    remove_folder(folder);
}

enum { VALUES = 2 * SIDE * SIDE * CHANNELS }; /* of two whole pictures */

/* A step on two given pictures, which are grey but for their first value. */
static ddpm_status step_given(const struct run *run, size_t picture_count, float first,
                              struct ddpm_step_result *result)
{
    static float pictures[VALUES], noise[VALUES];
    const int64_t t[2] = {3, 4};
    const struct ddpm_step_input input = {.size = sizeof input,
                                          .pictures = pictures,
                                          .picture_count = picture_count,
                                          .timesteps = t,
                                          .timestep_count = 2,
                                          .noise = noise,
                                          .noise_count = VALUES};
    pictures[0] = first;
    return ddpm_trainer_step_given(run->trainer, &input, result);
}

/* Steps on given values take whole pictures, also among steps on patches. */
static void given_pictures_are_whole(void **state)
{
    (void)state;
    char *folder = folder_with_windows(COUNT, SIDE);
    struct ddpm_step_result result;
    struct run run;
    start(&run, folder, OPTIONS);
    steps(&run, 1);
    assert_ok(step_given(&run, VALUES, 0, &result));
    assert_int_equal(result.step, 2);
    assert_size(&run, SIDE);
    steps(&run, 1);
    assert_size(&run, HALF);
    end(&run);
    remove_folder(folder);
}

/* Given values that fail at the change leave nothing of it behind. */
static void given_pictures_may_fail_at_the_change(void **state)
{
    (void)state;
    char *folder = folder_with_windows(COUNT, SIDE);
    struct ddpm_step_result result;
    struct run wanted, run;
    start(&wanted, folder, OPTIONS);
    steps(&wanted, 10);
    start(&run, folder, OPTIONS);
    steps(&run, 6);
    assert_error(step_given(&run, VALUES - 1, 0, &result), DDPM_ERROR_ARGUMENT,
                 "a step: pictures: ");
    assert_int_equal(step_given(&run, VALUES, 3e38f, &result), DDPM_ERROR_NOT_FINITE);
    steps(&run, 4);
    assert_same_weights(run.network, wanted.network, DDPM_WEIGHTS_MODEL);
    end(&run);
    end(&wanted);
    remove_folder(folder);
}

static struct ddpm_config *settled(const char *options)
{
    struct ddpm_config *config = tiny_config(options);
    ddpm_patches_settle(config);
    return config;
}

static void assert_patches(const char *options, int64_t height, int64_t width, int64_t patch_steps)
{
    struct ddpm_config *config = settled(options);
    const struct ddpm_size size = ddpm_size_after(config, 0);
    assert_int_equal(size.height, height);
    assert_int_equal(size.width, width);
    assert_int_equal(ddpm_patch_steps(&config->training), patch_steps);
    ddpm_config_destroy(&config);
}

/* Sides are multiples of what the network takes: of 2 with two levels. */
static void sizes_and_steps(void **state)
{
    (void)state;
    assert_patches("image-size=16 steps=100 patches=2", 8, 8, 75);
    assert_patches("image-size=20 steps=100 patches=2 patch-share=0.5", 10, 10, 50);
    assert_patches("image-size=16 steps=100 patches=2 patch-share=0.29", 8, 8, 29);
    assert_patches("image-size=18 steps=100 patches=2", 8, 8, 75);
    assert_patches("image-size=32x18 steps=100 patches=4", 8, 4, 75);
    assert_patches("image-size=32x2 steps=100 patches=4", 8, 2, 75);
    assert_patches("image-size=16 steps=100 patches=64", 2, 2, 75);
    assert_patches("image-size=16 steps=1 patches=2", 16, 16, 0);
    assert_patches("image-size=16 steps=100 patches=1", 16, 16, 0);
    assert_patches("image-size=2 steps=100 patches=2", 2, 2, 0); /* nothing smaller */
}

static void nothing_smaller_trains_as_without_patches(void **state)
{
    (void)state;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), COUNT, 2);
    train_and_save(folder, "image-size=2 steps=10 patches=2 ema=power lr-schedule=cosine", "a",
                   false, 10);
    train_and_save(folder, "image-size=2 steps=10 ema=power lr-schedule=cosine", "b", false, 10);
    for (int i = 0; i < 2; ++i) {
        static const char *const names[2][2] = {
            {"a/checkpoints/latest/model.safetensors", "b/checkpoints/latest/model.safetensors"},
            {"a/checkpoints/latest/ema.safetensors", "b/checkpoints/latest/ema.safetensors"}};
        assert_same_file(in_folder(folder, names[i][0]), in_folder(folder, names[i][1]));
    }
    remove_folder(folder);
}

/* The learning rate decays over the steps on whole pictures, and the averages start again there. */
static void decay_and_averages_belong_to_whole_pictures(void **state)
{
    (void)state;
    struct ddpm_config *config =
        settled("image-size=16 steps=100 patches=2 patch-share=0.6 lr=1 lr-schedule=linear "
                "warmup=10 ema=power ema-length=0.1 ema-second=0.05 ema-every=1");
    struct ddpm_training_config *with = &config->training, without = *with;
    without.patches = 1;
    for (int64_t done = 0; done < 10; ++done)
        assert_close(ddpm_learning_rate(with, done), 0.1 * (double)(done + 1));
    for (int64_t done = 10; done <= 60; ++done)
        assert_close(ddpm_learning_rate(with, done), 1);
    for (int64_t done = 60; done < 100; ++done)
        assert_close(ddpm_learning_rate(with, done), 1 - (double)(done - 60) / 40);
    for (int64_t done = 0; done < 40; ++done) {
        const double wanted = ddpm_ema_decay(&without, done);
        assert_close(ddpm_ema_decay(with, done), wanted);
        assert_close(ddpm_ema_decay(with, done + 60), wanted);
        assert_close(ddpm_second_ema_decay(with, done + 60), ddpm_second_ema_decay(&without, done));
    }
    assert_close(ddpm_ema_decay(with, 60), 0); /* a copy */
    ddpm_config_destroy(&config);
}

static void the_plan_is_that_of_whole_pictures(void **state)
{
    (void)state;
    char *folder = folder_with_windows(COUNT, SIDE);
    struct ddpm_memory_plan measured, plan, whole;
    struct run run;
    start(&run, folder, OPTIONS);
    plan = ddpm_trainer_memory(run.trainer);
    assert_ok(ddpm_trainer_measure(run.network, NULL, &measured));
    assert_int_equal(plan.activations, measured.activations);
    assert_true(plan.flops_per_step == measured.flops_per_step);
    assert_true(ddpm_trainer_patch_cost(run.trainer) > 0.2);
    assert_true(ddpm_trainer_patch_cost(run.trainer) < 0.6);
    assert_close(ddpm_trainer_mean_cost(run.trainer),
                 0.6 * ddpm_trainer_patch_cost(run.trainer) + 0.4);
    end(&run);
    start(&run, folder, OPTIONS "patches=1");
    whole = ddpm_trainer_memory(run.trainer);
    assert_int_equal(plan.activations, whole.activations);
    assert_true(plan.flops_per_step == whole.flops_per_step);
    assert_true(ddpm_trainer_patch_cost(run.trainer) == 1);
    end(&run);
    remove_folder(folder);
}

/* Whatever cannot be allocated for whole pictures: the step fails, nothing is lost, and it can be
 * tried again. A device that is late returns the step before it all the same. */
static void a_change_without_memory_can_be_tried_again(void **state)
{
    (void)state;
    char *folder = folder_with_windows(COUNT, SIDE);
    const char *options = OPTIONS "dim=4 prefetch=2 decode-threads=1";
    const bool late = strcmp(test_device(), "cpu") != 0; /* and slow, if it is emulated */
    struct run wanted, run;
    struct ddpm_step_result result;
    long failures = 0;
    bool fails = true;
    start(&wanted, folder, options);
    steps(&wanted, 8);
    for (long which = 1; fails && failures < (late ? 2 : 1000); which += which / 8 + 1) {
        start(&run, folder, options);
        steps(&run, 5);
        assert_ok(ddpm_trainer_step_late(run.trainer, &result));
        allocations_fail(which);
        const ddpm_status status = ddpm_trainer_step_late(run.trainer, &result);
        fails = allocations_have_failed();
        allocations_fail(0);
        if (fails)
            assert_int_equal(status, DDPM_ERROR_MEMORY);
        if (late)
            assert_int_equal(result.step, 6);
        assert_ok(ddpm_trainer_flush(run.trainer, &result));
        failures += fails;
        steps(&run, fails ? 2 : 1);
        assert_same_weights(run.network, wanted.network, DDPM_WEIGHTS_MODEL);
        end(&run);
    }
    printf("%ld allocations of the change failed in turn\n", failures);
    assert_true(late || failures > 20);
    end(&wanted);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_run_changes_to_whole_pictures),
        cmocka_unit_test(going_on_is_as_never_having_stopped),
        cmocka_unit_test(a_step_on_patches_is_a_step_on_small_pictures),
        cmocka_unit_test(late_steps_are_the_same_steps),
        cmocka_unit_test(a_change_without_memory_can_be_tried_again),
        cmocka_unit_test(given_pictures_are_whole),
        cmocka_unit_test(given_pictures_may_fail_at_the_change),
        cmocka_unit_test(sizes_and_steps),
        cmocka_unit_test(nothing_smaller_trains_as_without_patches),
        cmocka_unit_test(decay_and_averages_belong_to_whole_pictures),
        cmocka_unit_test(the_plan_is_that_of_whole_pictures),
    };
    return has_test_device() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}

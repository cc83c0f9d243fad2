/* Averages of other lengths, reconstructed after training: the profiles, and a run's weights
 * compared with a run that kept that average itself. */
#include "run_support.h"

#include <sys/stat.h>

#include "diffusion/start.h"
#include "model/model.h"
#include "model/start_files.h"
#include "training/ema.h"
#include "training/ema_reconstruct.h"

enum { SIDE = 8, MOST = 64 };

static char *folder_with_pictures(void)
{
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 7, SIDE);
    return folder;
}

/* Two profiles after each of `count` times up to 1000. */
static size_t fill_profiles(struct ddpm_ema_profile *kept, int count)
{
    for (int i = 0; i < count; ++i) {
        kept[2 * i] = (struct ddpm_ema_profile){1000.0 * (i + 1) / count, 0.05};
        kept[2 * i + 1] = (struct ddpm_ema_profile){1000.0 * (i + 1) / count, 0.1};
    }
    return 2 * (size_t)count;
}

static void what_is_kept_is_found_again(void **state)
{
    (void)state;
    struct ddpm_ema_profile kept[2 * MOST];
    double weights[2 * MOST], error;
    const size_t count = fill_profiles(kept, 8);
    for (size_t i = 0; i < count; ++i) {
        assert_ok(ddpm_ema_solve(kept, count, &kept[i], weights, &error));
        assert_true(error < 1e-4);
        for (size_t k = 0; k < count; ++k)
            assert_true(fabs(weights[k] - (k == i)) < 1e-3);
    }
}

/* The more checkpoints, the smaller the error; their coefficients sum to 1, as nearly as the error
 * allows. */
static void more_checkpoints_come_nearer(void **state)
{
    (void)state;
    static const double lengths[] = {0.03, 0.07, 0.15, 0.25};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; ++l) {
        const struct ddpm_ema_profile wanted = {1000, lengths[l]};
        double before = 1;
        for (int count = 1; count <= MOST; count *= 4) {
            struct ddpm_ema_profile kept[2 * MOST];
            double weights[2 * MOST], error, sum = 0;
            const size_t profiles = fill_profiles(kept, count);
            assert_ok(ddpm_ema_solve(kept, profiles, &wanted, weights, &error));
            assert_true(error < before);
            before = error;
            for (size_t i = 0; i < profiles; ++i)
                sum += weights[i];
            /* By Cauchy-Schwarz: the profile's norm times the square root of the time. */
            const double exponent = ddpm_ema_exponent(wanted.length);
            assert_true(fabs(sum - 1) <= error * (exponent + 1) / sqrt(2 * exponent + 1) + 1e-9);
        }
        printf("length %g from 64 checkpoints: %.1e off\n", wanted.length, before);
        assert_true(before < 0.02);
    }
}

/* `count` steps, with a checkpoint after every second step. */
static void train(const char *folder, const char *name, const char *more, int count)
{
    char options[160];
    struct run run;
    snprintf(options, sizeof options, "ema=power ema-every=1 keep=0 lr=0.003 ema-length=%s", more);
    start(&run, folder, options);
    for (int i = 0; i < count; i += 2) {
        steps(&run, 2);
        assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, name)));
    }
    end(&run);
}

static float *weights_of(const char *model, size_t *count)
{
    struct ddpm_network *network;
    assert_ok(ddpm_network_open(model, NULL, DDPM_WEIGHTS_EMA, &network));
    *count = (size_t)network->weights.parameters.slab_count;
    float *values = malloc(*count * sizeof *values);
    assert_non_null(values);
    memcpy(values, network->weights.slabs[DDPM_WEIGHTS_EMA], *count * sizeof *values);
    ddpm_network_destroy(&network);
    return values;
}

static double distance(const char *a, const char *b)
{
    size_t count, other;
    float *x = weights_of(a, &count), *y = weights_of(b, &other);
    double sum = 0;
    assert_int_equal(count, other);
    for (size_t i = 0; i < count; ++i)
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    free(x);
    free(y);
    return sqrt(sum);
}

/* Give the last of the run's checkpoints a fitted start. */
static void add_start(const char *folder)
{
    const struct ddpm_start_shape shape = ddpm_start_shape_of(SIDE, SIDE, 3);
    struct ddpm_start *made;
    assert_ok(ddpm_start_new(&shape, 1, &made));
    for (int64_t i = 0; i < ddpm_start_values(&shape); ++i)
        made->mean[i] = made->directions[i] = 0.125f;
    made->deviations[0] = 1;
    made->level = 10;
    assert_ok(
        ddpm_start_write(made, in_folder(folder, "run/checkpoints/step-000060/" DDPM_START_FILE)));
    ddpm_start_free(&made);
}

static void an_average_is_put_together(void **state)
{
    (void)state;
    struct ddpm_ema_reconstruction made;
    char *folder = folder_with_pictures();
    char *run = strdup(in_folder(folder, "run")), *other = strdup(in_folder(folder, "other"));
    char *model = strdup(in_folder(folder, "model"));
    assert_true(run && other && model);
    train(folder, "run", "0.1", 60);
    train(folder, "other", "0.2", 60);
    add_start(folder);
    assert_ok(ddpm_ema_reconstruct(run, 0.2, 0, model, &made));
    assert_int_equal(made.step, 60);
    assert_int_equal(made.checkpoints, 30);
    assert_true(made.error < 0.02);
    const double apart = distance(run, other), left = distance(model, other);
    printf("averages of length 0.1 and 0.2 are %.2e apart, the one put together is %.2e off\n",
           apart, left);
    assert_true(left < 0.1 * apart);
    /* Options and start are the run's. */
    struct ddpm_network *network;
    char text[16];
    assert_ok(ddpm_network_open(model, NULL, DDPM_WEIGHTS_EMA, &network));
    assert_ok(ddpm_config_get(ddpm_network_config(network), "device", text, sizeof text));
    assert_string_equal(text, test_device());
    assert_non_null(network->start);
    assert_true(network->start->level == 10);
    ddpm_network_destroy(&network);
    /* The run's device is kept, but not needed. */
    struct ddpm_config *config;
    const char *file = "run/checkpoints/step-000060/config.json";
    assert_ok(ddpm_config_create(&config));
    assert_ok(ddpm_config_read(config, in_folder(folder, file)));
    assert_ok(ddpm_config_set(config, "device", "cuda:99"));
    assert_ok(ddpm_config_write(config, in_folder(folder, file)));
    assert_ok(ddpm_ema_reconstruct(run, 0.2, 0, in_folder(folder, "elsewhere"), &made));
    assert_ok(ddpm_config_read(config, in_folder(folder, "elsewhere/config.json")));
    assert_ok(ddpm_config_get(config, "device", text, sizeof text));
    assert_string_equal(text, "cuda:99");
    assert_ok(ddpm_config_set(config, "device", test_device()));
    assert_ok(ddpm_config_write(config, in_folder(folder, file)));
    ddpm_config_destroy(&config);
    /* A stored average comes out unchanged. */
    assert_ok(ddpm_ema_reconstruct(run, 0.1, 0, in_folder(folder, "same"), &made));
    assert_true(distance(in_folder(folder, "same"), run) < 1e-3 * apart);
    /* After an earlier step. */
    assert_ok(ddpm_ema_reconstruct(run, 0.1, 40, in_folder(folder, "early"), &made));
    assert_int_equal(made.step, 40);
    assert_int_equal(made.checkpoints, 20);
    free(run);
    free(other);
    free(model);
    remove_folder(folder);
}

/* Averages of patches are not mixed with those of whole pictures. */
static void averages_start_again_after_patches(void **state)
{
    (void)state;
    struct ddpm_ema_reconstruction made;
    char *folder = folder_with_pictures();
    char *run = strdup(in_folder(folder, "run")), *other = strdup(in_folder(folder, "other"));
    assert_true(run && other);
    train(folder, "run", "0.1 steps=60 patches=2 patch-share=0.3", 60); /* 18 steps on patches */
    train(folder, "other", "0.2 steps=60 patches=2 patch-share=0.3", 60);
    const double apart = distance(run, other);
    assert_ok(ddpm_ema_reconstruct(run, 0.1, 0, in_folder(folder, "same"), &made));
    assert_int_equal(made.checkpoints, 21);
    assert_true(made.error < 1e-4);
    assert_true(distance(in_folder(folder, "same"), run) < 1e-3 * apart);
    assert_ok(ddpm_ema_reconstruct(run, 0.2, 0, in_folder(folder, "longer"), &made));
    assert_true(made.error < 0.03);
    assert_true(distance(in_folder(folder, "longer"), other) < 0.1 * apart);
    assert_ok(ddpm_ema_reconstruct(run, 0.1, 18, in_folder(folder, "patches"), &made));
    assert_int_equal(made.checkpoints, 9);
    assert_int_equal(made.step, 18);
    free(run);
    free(other);
    remove_folder(folder);
}

static void what_cannot_be_put_together(void **state)
{
    (void)state;
    struct ddpm_ema_reconstruction made;
    char *folder = folder_with_pictures();
    char *model = strdup(in_folder(folder, "model")), *run = strdup(in_folder(folder, "run"));
    assert_true(model && run);
    assert_error(ddpm_ema_reconstruct(run, 0.1, 0, model, &made), DDPM_ERROR_IO, "checkpoints");
    assert_int_equal(mkdir(run, 0700), 0);
    assert_int_equal(mkdir(in_folder(folder, "run/checkpoints"), 0700), 0);
    assert_error(ddpm_ema_reconstruct(run, 0.1, 0, model, &made), DDPM_ERROR_IO,
                 "got a run without checkpoints");
    train(folder, "run", "0.1", 4);
    assert_error(ddpm_ema_reconstruct(run, 0.1, 3, model, &made), DDPM_ERROR_IO,
                 "no checkpoint of step 3");
    const char *file = in_folder(folder, "run/checkpoints/step-000002/ema-second.safetensors");
    assert_int_equal(truncate(file, 1000), 0);
    assert_true(ddpm_ema_reconstruct(run, 0.1, 0, model, &made) != DDPM_OK);
    assert_non_null(strstr(ddpm_error_message(), "ema-second.safetensors"));
    assert_int_equal(access(model, F_OK), -1);
    struct run plain;
    start(&plain, folder, NULL);
    steps(&plain, 1);
    assert_ok(ddpm_trainer_save(plain.trainer, in_folder(folder, "plain")));
    end(&plain);
    assert_error(ddpm_ema_reconstruct(in_folder(folder, "plain"), 0.1, 0, model, &made),
                 DDPM_ERROR_ARGUMENT, "got a run with ema exponential");
    free(run);
    free(model);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_found_again),
        cmocka_unit_test(more_checkpoints_come_nearer),
        cmocka_unit_test(an_average_is_put_together),
        cmocka_unit_test(averages_start_again_after_patches),
        cmocka_unit_test(what_cannot_be_put_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

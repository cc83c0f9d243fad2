/* Checkpoints: resuming gives the same results as never stopping; errors name what does not fit;
 * damage is noticed; `keep` keeps the newest. */
#include <dirent.h>

#include "run_support.h"

static char *folder_with_pictures(void)
{
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 7, 8);
    return folder;
}

static void going_on_is_as_never_having_stopped(void **state)
{
    (void)state;
    static const char options[] = "accumulate=2 warmup=3 lr-schedule=cosine steps=20";
    static const char *const files[] = {"model.safetensors", "ema.safetensors",
                                        "optimizer.safetensors"};
    char *folder = folder_with_pictures();
    struct run straight, first, second;
    start(&straight, folder, options);
    steps(&straight, 7);
    assert_ok(ddpm_trainer_save(straight.trainer, in_folder(folder, "straight")));
    start(&first, folder, options);
    steps(&first, 4);
    assert_ok(ddpm_trainer_save(first.trainer, in_folder(folder, "run")));
    end(&first);
    start(&second, folder, options);
    assert_ok(ddpm_trainer_resume(second.trainer, in_folder(folder, "run")));
    assert_int_equal(ddpm_trainer_steps_done(second.trainer), 4);
    steps(&second, 3);
    assert_ok(ddpm_trainer_save(second.trainer, in_folder(folder, "run")));
    for (int i = 0; i < 3; ++i) {
        char a[64], b[64];
        snprintf(a, sizeof a, "straight/checkpoints/latest/%s", files[i]);
        snprintf(b, sizeof b, "run/checkpoints/step-000007/%s", files[i]);
        assert_same_file(in_folder(folder, a), in_folder(folder, b));
    }
    struct ddpm_network *opened;
    assert_ok(ddpm_network_open(in_folder(folder, "run"), NULL, DDPM_WEIGHTS_EMA, &opened));
    assert_same_weights(opened, second.network, DDPM_WEIGHTS_EMA);
    ddpm_network_destroy(&opened);
    end(&straight);
    end(&second);
    remove_folder(folder);
}

/* Every option that a resumed run may not change, with a value different from tiny_config()'s. */
static const char *const locked[] = {
    "network=OneResUNet",
    "dim=12",
    "init-dim=12",
    "dim-mults=1,1",
    "channels=1",
    "theta=5000",
    "mult=1",
    "norm=off",
    "timesteps=30",
    "schedule=sigmoid",
    "image-size=16",
    "loss=l1",
    "batch-size=3",
    "accumulate=2",
    "seed=5",
    "flip=off",
    "timestep-per-batch=on",
};

static void another_option_is_refused_by_name(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddpm_network *network = tiny_network(NULL);
    struct ddpm_trainer *trainer;
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_ok(ddpm_trainer_save(trainer, in_folder(folder, "run")));
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    for (size_t i = 0; i < sizeof locked / sizeof *locked; ++i) {
        char text[64];
        snprintf(text, sizeof text, "cannot resume: %.*s is ", (int)strcspn(locked[i], "="),
                 locked[i]);
        network = tiny_network(locked[i]);
        assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
        assert_error(ddpm_trainer_resume(trainer, in_folder(folder, "run")), DDPM_ERROR_MISMATCH,
                     text);
        ddpm_trainer_destroy(&trainer);
        ddpm_network_destroy(&network);
    }
    network = tiny_network("lr=5 threads=2 keep=1");
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_ok(ddpm_trainer_resume(trainer, in_folder(folder, "run")));
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    remove_folder(folder);
}

/* It must not train on silently, from its first weights. */
static void a_trainer_that_could_not_be_resumed_is_refused(void **state)
{
    (void)state;
    char *folder = folder_with_pictures();
    struct ddpm_step_result result;
    struct run run;
    start(&run, folder, NULL);
    steps(&run, 1);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
    end(&run);
    start(&run, folder, NULL);
    assert_error(ddpm_trainer_resume(run.trainer, in_folder(folder, "none")), DDPM_ERROR_IO,
                 "none");
    assert_error(ddpm_trainer_step(run.trainer, &result), DDPM_ERROR_ARGUMENT,
                 "this trainer could not be resumed");
    assert_error(ddpm_trainer_step_late(run.trainer, &result), DDPM_ERROR_ARGUMENT,
                 "this trainer could not be resumed");
    assert_error(ddpm_trainer_step_given(run.trainer, NULL, &result), DDPM_ERROR_ARGUMENT,
                 "this trainer could not be resumed");
    assert_error(ddpm_trainer_save(run.trainer, in_folder(folder, "run")), DDPM_ERROR_ARGUMENT,
                 "this trainer could not be resumed");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")));
    steps(&run, 1);
    assert_int_equal(ddpm_trainer_steps_done(run.trainer), 2);
    end(&run);
    remove_folder(folder);
}

static void other_pictures_are_refused(void **state)
{
    (void)state;
    char *folder = folder_with_pictures(), *other = make_folder();
    struct run run;
    start(&run, folder, NULL);
    steps(&run, 1);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
    assert_error(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")), DDPM_ERROR_ARGUMENT,
                 "has already done a step");
    end(&run);
    write_pictures(in_folder(other, "p.npy"), 8, 8);
    start(&run, other, NULL);
    assert_error(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")), DDPM_ERROR_MISMATCH,
                 "data is");
    assert_non_null(strstr(ddpm_error_message(), folder)); /* both paths */
    assert_non_null(strstr(ddpm_error_message(), other));
    assert_error(ddpm_trainer_resume(run.trainer, in_folder(folder, "none")), DDPM_ERROR_IO,
                 "none");
    end(&run);
    remove_folder(folder);
    remove_folder(other);
}

/* Change one byte of a file, or cut off its end. */
static void damage(const char *path, long place, bool cut)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    if (cut) {
        assert_int_equal(ftruncate(fileno(file), place), 0);
    } else {
        assert_int_equal(fseek(file, place, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, place, SEEK_SET), 0);
        assert_int_equal(fputc(byte ^ 4, file), byte ^ 4);
    }
    assert_int_equal(fclose(file), 0);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    static const char *const files[] = {"model.safetensors", "ema.safetensors",
                                        "optimizer.safetensors"};
    for (int i = 0; i < 6; ++i) {
        char *folder = folder_with_pictures(), name[64];
        struct run run;
        start(&run, folder, NULL);
        steps(&run, 1);
        assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
        end(&run);
        snprintf(name, sizeof name, "run/checkpoints/step-000001/%s", files[i % 3]);
        damage(in_folder(folder, name), 20000, i >= 3);
        start(&run, folder, NULL);
        assert_error(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")), DDPM_ERROR_FORMAT,
                     files[i % 3]);
        end(&run);
        remove_folder(folder);
    }
}

static int count_of(const char *folder, const char *prefix)
{
    int count = 0;
    DIR *opened = opendir(folder);
    assert_non_null(opened);
    for (struct dirent *entry; (entry = readdir(opened));)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(opened);
    return count;
}

static void only_the_newest_are_kept(void **state)
{
    (void)state;
    char *folder = folder_with_pictures();
    struct run run;
    start(&run, folder, "keep=2");
    for (int i = 0; i < 4; ++i) {
        steps(&run, 1);
        assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
        assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run"))); /* no harm in twice */
    }
    assert_int_equal(count_of(in_folder(folder, "run/checkpoints"), "step-"), 2);
    assert_int_equal(count_of(in_folder(folder, "run/checkpoints"), ".tmp"), 0);
    assert_true(ddpm_path_exists(in_folder(folder, "run/checkpoints/step-000003")));
    end(&run);
    start(&run, folder, "keep=2");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run/checkpoints/step-000003")));
    assert_int_equal(ddpm_trainer_steps_done(run.trainer), 3);
    end(&run);
    remove_folder(folder);
}

/* Resuming from an earlier checkpoint while later ones exist: `latest` points to the last one
 * written, even if an older one had the same name. */
static void the_state_saved_last_is_the_latest(void **state)
{
    (void)state;
    char *folder = folder_with_pictures();
    struct run run;
    struct ddpm_network *opened;
    start(&run, folder, "keep=4");
    for (int i = 0; i < 3; ++i) {
        steps(&run, 1);
        assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
    }
    end(&run);

    start(&run, folder, "keep=4 lr=5e-3");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run/checkpoints/step-000001")));
    steps(&run, 1);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
    assert_ok(ddpm_network_open(in_folder(folder, "run"), NULL, DDPM_WEIGHTS_MODEL, &opened));
    assert_same_weights(opened, run.network, DDPM_WEIGHTS_MODEL);
    ddpm_network_destroy(&opened);
    assert_int_equal(count_of(in_folder(folder, "run/checkpoints"), "step-"), 3);
    assert_int_equal(count_of(in_folder(folder, "run/checkpoints"), ".tmp"), 0);
    end(&run);

    start(&run, folder, "keep=1");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run/checkpoints/step-000001")));
    steps(&run, 1);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
    assert_int_equal(count_of(in_folder(folder, "run/checkpoints"), "step-"), 1);
    assert_ok(ddpm_network_open(in_folder(folder, "run"), NULL, DDPM_WEIGHTS_MODEL, &opened));
    assert_same_weights(opened, run.network, DDPM_WEIGHTS_MODEL);
    ddpm_network_destroy(&opened);
    end(&run);
    remove_folder(folder);
}

/* Without the link, both the trainer and the network search for the newest complete checkpoint. */
static void the_newest_whole_one_is_found(void **state)
{
    (void)state;
    char *folder = folder_with_pictures();
    struct run run;
    struct ddpm_network *opened;
    start(&run, folder, "keep=0");
    for (int i = 0; i < 3; ++i) {
        steps(&run, 1);
        assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
    }
    assert_ok(ddpm_directory_remove(in_folder(folder, "run/checkpoints/latest")));
    assert_ok(ddpm_network_open(in_folder(folder, "run"), NULL, DDPM_WEIGHTS_EMA, &opened));
    assert_same_weights(opened, run.network, DDPM_WEIGHTS_EMA);
    ddpm_network_destroy(&opened);
    end(&run);

    static const char name[] = "step-000002\n", nothing[] = "no such name";
    assert_ok(ddpm_file_write_whole(in_folder(folder, "run/checkpoints/latest"), name, 12));
    start(&run, folder, "keep=0");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")));
    assert_int_equal(ddpm_trainer_steps_done(run.trainer), 2);
    end(&run);
    assert_ok(ddpm_file_write_whole(in_folder(folder, "run/checkpoints/latest"), nothing, 12));
    assert_ok(ddpm_directory_remove(
        in_folder(folder, "run/checkpoints/step-000003/optimizer.safetensors")));
    assert_ok(ddpm_directory_remove(in_folder(folder, "run/checkpoints/step-000002/state.json")));
    start(&run, folder, "keep=0");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")));
    assert_int_equal(ddpm_trainer_steps_done(run.trainer), 1);
    end(&run);
    assert_ok(ddpm_directory_remove(in_folder(folder, "run/checkpoints/step-000001")));
    assert_error(ddpm_network_open(in_folder(folder, "run"), NULL, DDPM_WEIGHTS_EMA, &opened),
                 DDPM_ERROR_IO, "no complete checkpoint");
    remove_folder(folder);
}

static void weights_that_are_not_finite_are_never_saved(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddpm_network *network = tiny_network(NULL);
    struct ddpm_trainer *trainer;
    const float sick[3] = {0, INFINITY, 0};
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_MODEL, "final_conv.bias", sick, 3));
    assert_error(ddpm_trainer_save(trainer, in_folder(folder, "run")), DDPM_ERROR_NOT_FINITE,
                 "nothing was saved");
    assert_false(ddpm_path_exists(in_folder(folder, "run/checkpoints/step-000000")));
    assert_false(ddpm_path_exists(in_folder(folder, "run/checkpoints/latest")));
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(going_on_is_as_never_having_stopped),
        cmocka_unit_test(another_option_is_refused_by_name),
        cmocka_unit_test(a_trainer_that_could_not_be_resumed_is_refused),
        cmocka_unit_test(other_pictures_are_refused),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(only_the_newest_are_kept),
        cmocka_unit_test(the_state_saved_last_is_the_latest),
        cmocka_unit_test(the_newest_whole_one_is_found),
        cmocka_unit_test(weights_that_are_not_finite_are_never_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

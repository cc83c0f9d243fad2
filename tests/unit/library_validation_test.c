/* Validation: pictures set aside are not trained on; the measured loss follows its definition, with
 * the same bits for any names, order, thread count and after a resume; the best checkpoint is
 * kept. */
#include <dirent.h>

#include "run_support.h"

#include "data/content.h"

/* Open data and trainer; `data` is a name in `folder`. */
static void start_on(struct run *run, const char *folder, const char *data, const char *options)
{
    run->config = tiny_config(options);
    assert_ok(ddpm_config_set(run->config, "data", in_folder(folder, data)));
    assert_ok(ddpm_data_open(run->config, &run->data));
    assert_ok(ddpm_data_split(run->data, run->config, NULL));
    assert_ok(ddpm_data_measure(run->data, run->config));
    assert_ok(ddpm_network_create(run->config, &run->network));
    assert_ok(ddpm_trainer_create(run->network, NULL, run->data, &run->trainer));
}

static struct ddpm_validation_result validate(struct run *run)
{
    struct ddpm_validation_result result;
    assert_ok(ddpm_trainer_validate(run->trainer, &result));
    assert_true(isfinite(result.loss) && isfinite(result.training_loss));
    return result;
}

static void assert_same(const struct ddpm_validation_result *a,
                        const struct ddpm_validation_result *b)
{
    assert_memory_equal(a, b, sizeof *a);
}

static char *folder_with_pictures(int64_t count)
{
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), count, 8);
    return folder;
}

static void threads_and_resuming_change_no_bit(void **state)
{
    (void)state;
    static const char *const others[] = {"validation=0.4 batch-size=3 threads=2",
                                         "validation=0.4 batch-size=3 prefetch=2 decode-threads=1",
                                         "validation=0.4 batch-size=3 prefetch=9 decode-threads=3"};
    char *folder = folder_with_pictures(30);
    struct run run;
    struct ddpm_validation_result at[3], now;
    start_on(&run, folder, "p.npy", "validation=0.4 batch-size=3");
    for (int i = 0; i < 3; ++i) {
        at[i] = validate(&run);
        assert_int_equal(at[i].step, 4 * i);
        now = validate(&run);
        assert_same(&at[i], &now);
        if (i == 1)
            assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
        steps(&run, i < 2 ? 4 : 0);
    }
    assert_true(at[0].loss != at[1].loss && at[1].loss != at[2].loss);
    end(&run);
    for (size_t k = 0; k < sizeof others / sizeof *others; ++k) {
        start_on(&run, folder, "p.npy", others[k]);
        for (int i = 0; i < 3; ++i) {
            now = validate(&run);
            assert_same(&at[i], &now);
            steps(&run, i < 2 ? 4 : 0);
        }
        end(&run);
    }
    start_on(&run, folder, "p.npy", "validation=0.4 batch-size=3");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")));
    now = validate(&run);
    assert_same(&at[1], &now);
    steps(&run, 4);
    now = validate(&run);
    assert_same(&at[2], &now);
    end(&run);
    remove_folder(folder);
}

static void measuring_changes_nothing_of_the_training(void **state)
{
    (void)state;
    char *folder = folder_with_pictures(30);
    struct run watched, blind;
    start_on(&watched, folder, "p.npy", "validation=0.4");
    start_on(&blind, folder, "p.npy", "validation=0.4");
    for (int i = 0; i < 4; ++i) {
        validate(&watched);
        steps(&watched, 1);
        steps(&blind, 1);
    }
    assert_same_weights(watched.network, blind.network, DDPM_WEIGHTS_MODEL);
    assert_same_weights(watched.network, blind.network, DDPM_WEIGHTS_EMA);
    end(&watched);
    end(&blind);
    remove_folder(folder);
}

/* The pictures of p.npy in a different order. */
static void order_changes_no_bit(void **state)
{
    (void)state;
    enum { COUNT = 40, BYTES = 8 * 8 * 3 };
    char *folder = folder_with_pictures(COUNT);
    struct ddpm_npy npy;
    uint8_t turned[COUNT * BYTES];
    const int64_t shape[] = {COUNT, 8, 8, 3};
    assert_ok(ddpm_npy_open(&npy, in_folder(folder, "p.npy")));
    for (int i = 0; i < COUNT; ++i)
        memcpy(turned + i * BYTES, (const uint8_t *)npy.data + (7 * i + 3) % COUNT * BYTES, BYTES);
    ddpm_npy_close(&npy);
    assert_ok(ddpm_npy_write(in_folder(folder, "turned.npy"), DDPM_NPY_U8, 4, shape, turned));
    struct run run;
    start_on(&run, folder, "p.npy", "validation=0.3");
    const struct ddpm_validation_result wanted = validate(&run);
    end(&run);
    start_on(&run, folder, "turned.npy", "validation=0.3 seed=0");
    const struct ddpm_validation_result got = validate(&run);
    assert_same(&wanted, &got);
    end(&run);
    remove_folder(folder);
}

/* Mean squared error of one picture at one timestep, as docs/validation.md defines it. */
static double error_by_hand(struct ddpm_network *network, const uint8_t *picture, uint64_t hash,
                            int band)
{
    enum { VALUES = 8 * 8 * 3 };
    const int64_t t = (2 * band + 1) * 25 / 16;
    const double pi = 3.14159265358979323846, s = 0.008;
    float noise[VALUES], x[VALUES], answer[VALUES];
    double bar = 1, sum = 0;
    for (int64_t i = 0; i <= t; ++i) { /* the cosine schedule */
        const double above = cos(((double)(i + 1) / 25 + s) / (1 + s) * pi / 2);
        const double below = cos(((double)i / 25 + s) / (1 + s) * pi / 2);
        const double beta = 1 - above * above / (below * below);
        bar *= 1 - (beta < 1e-4 ? 1e-4 : beta > 0.9999 ? 0.9999 : beta);
    }
    ddpm_fill_normal(noise, VALUES, 0, DDPM_STREAM_VALIDATION,
                     ((uint32_t)(hash >> 32) & ~(uint32_t)7) | (uint32_t)band, (uint32_t)hash);
    for (int pixel = 0; pixel < 64; ++pixel)
        for (int c = 0; c < 3; ++c) {
            const double x0 = picture[3 * pixel + c] / 127.5 - 1;
            x[64 * c + pixel] =
                (float)(sqrt(bar) * x0 + sqrt(1 - bar) * (double)noise[3 * pixel + c]);
        }
    assert_ok(forward_on(network, DDPM_WEIGHTS_EMA, x, &t, 1, 8, 8, answer));
    for (int pixel = 0; pixel < 64; ++pixel)
        for (int c = 0; c < 3; ++c) {
            const double error = (double)(answer[64 * c + pixel] - noise[3 * pixel + c]);
            sum += error * error;
        }
    return sum / VALUES;
}

static void assert_near(double got, double wanted)
{
    if (!(fabs(got - wanted) <= 1e-4 * wanted))
        fail_msg("got a loss of %.9g, want %.9g", got, wanted);
}

static void the_loss_is_what_its_definition_says(void **state)
{
    (void)state;
    enum { COUNT = 12, BYTES = 8 * 8 * 3 };
    char *folder = folder_with_pictures(COUNT);
    struct run run;
    struct ddpm_source *source;
    struct ddpm_content *contents;
    struct ddpm_npy npy;
    const struct ddpm_source_options options = {
        .channels = 3, .height = 8, .width = 8, .threads = 1};
    start_on(&run, folder, "p.npy", "validation=0.5 loss-weight=min-snr offset-noise=0.1");
    steps(&run, 3);
    const struct ddpm_validation_result result = validate(&run);
    struct ddpm_validation_plan plan;
    assert_ok(ddpm_trainer_validation_plan(run.trainer, &plan));
    assert_int_equal(plan.levels, 8);

    assert_ok(ddpm_source_open(&source, in_folder(folder, "p.npy"), &options));
    assert_ok(ddpm_contents_make(&contents, source, NULL));
    assert_ok(ddpm_npy_open(&npy, in_folder(folder, "p.npy")));
    for (int aside = 1; aside >= 0; --aside) {
        struct ddpm_hashed_item *items;
        int64_t count;
        double sum = 0;
        assert_ok(ddpm_contents_sort(&items, &count, contents, COUNT, 0.5, aside));
        assert_true(count >= plan.pictures && plan.pictures > 0);
        for (int band = 0; band < 8; ++band) {
            double of_band = 0;
            for (int64_t i = 0; i < plan.pictures; ++i)
                of_band +=
                    error_by_hand(run.network, (const uint8_t *)npy.data + items[i].item * BYTES,
                                  items[i].hash, band);
            of_band /= (double)plan.pictures;
            assert_near(aside ? result.bands[band] : result.training_bands[band], of_band);
            sum += of_band / 8;
        }
        assert_near(aside ? result.loss : result.training_loss, sum);
        free(items);
    }
    ddpm_npy_close(&npy);
    free(contents);
    ddpm_source_close(&source);
    end(&run);
    remove_folder(folder);
}

/* A picture of one colour except for one value, so that no picture has only one colour. */
static void write_bmp(const char *folder, const char *name, uint8_t colour)
{
    uint8_t file[54 + 8 * 24] = {'B', 'M', 0xf6, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40,
                                 0,   0,   0,    8, 0, 0, 0, 8, 0, 0, 0,  1, 0, 24};
    memset(file + 54, colour, sizeof file - 54);
    file[54] = 7;
    assert_ok(ddpm_file_write_whole(in_folder(folder, name), file, sizeof file));
}

/* Delete the pictures set aside after the split. With random crops nothing is cached, so a run that
 * reads one would fail. */
static void what_is_set_aside_is_not_trained_on(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    char *folder = make_folder();
    struct run run;
    struct ddpm_source *source;
    struct ddpm_content *contents;
    const struct ddpm_source_options options = {
        .channels = 3, .height = 8, .width = 8, .threads = 1};
    for (int i = 0; i < COUNT; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%02d.bmp", i);
        write_bmp(folder, name, (uint8_t)(5 * i));
    }
    start_on(&run, folder, ".", "validation=0.3 crop=random");
    struct ddpm_validation_plan plan;
    assert_ok(ddpm_trainer_validation_plan(run.trainer, &plan));
    assert_int_equal(plan.set_aside + plan.trained_on, COUNT);
    const struct ddpm_validation_result before = validate(&run);
    assert_ok(ddpm_source_open(&source, folder, &options));
    assert_ok(ddpm_contents_make(&contents, source, NULL));
    int64_t gone = 0;
    for (int64_t i = 0; i < COUNT; ++i)
        if (ddpm_content_is_set_aside(contents[i].hash, 0.3)) {
            assert_ok(
                ddpm_directory_remove(in_folder(folder, ddpm_source_name(source, i, NULL, 0))));
            ++gone;
        }
    assert_int_equal(gone, plan.set_aside);
    free(contents);
    ddpm_source_close(&source);
    steps(&run, 3 * COUNT / 2);
    assert_int_equal(ddpm_data_skipped(run.data), 0);
    validate(&run); /* needs no file either */
    assert_true(before.step == 0);
    end(&run);
    remove_folder(folder);
}

static void every_objective_is_measured(void **state)
{
    (void)state;
    static const char *const objectives[] = {
        "objective=x0",          "objective=v zero-terminal-snr=on",
        "objective=flow",        "objective=flow flow-times=logit-normal shift=2",
        "objective=edm",         "objective=noise loss=l1",
        "objective=v shift=0.5", "objective=noise accumulate=2 memory=low"};
    char *folder = folder_with_pictures(20);
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; ++i) {
        char options[128];
        struct run run;
        snprintf(options, sizeof options, "validation=0.4 %s", objectives[i]);
        start_on(&run, folder, "p.npy", options);
        steps(&run, 1);
        const struct ddpm_validation_result result = validate(&run);
        for (int band = 0; band < DDPM_VALIDATION_BANDS; ++band)
            assert_true(result.bands[band] > 0 && result.training_bands[band] > 0);
        end(&run);
    }
    remove_folder(folder);
}

static ddpm_status split(const char *folder, const char *data, const char *validation)
{
    struct ddpm_config *config = tiny_config(NULL);
    struct ddpm_data *opened;
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, data)));
    assert_ok(ddpm_config_set(config, "validation", validation));
    assert_ok(ddpm_data_open(config, &opened));
    const ddpm_status status = ddpm_data_split(opened, config, NULL);
    ddpm_data_close(&opened);
    ddpm_config_destroy(&config);
    return status;
}

static void splits_that_say_nothing_are_refused(void **state)
{
    (void)state;
    char *folder = folder_with_pictures(20), path[1024];
    write_pictures(in_folder(folder, "more.npy"), 30, 8); /* the first 20 are those of p.npy */
    assert_error(split(folder, "p.npy", "0.000001"), DDPM_ERROR_ARGUMENT,
                 "got 0.000001, which sets none of the 20 pictures aside");
    snprintf(path, sizeof path, "%s", in_folder(folder, "more.npy"));
    assert_error(split(folder, "p.npy", path), DDPM_ERROR_ARGUMENT, "20 of the 30 pictures of ");
    snprintf(path, sizeof path, "%s", in_folder(folder, "p.npy"));
    assert_error(split(folder, "p.npy", path), DDPM_ERROR_ARGUMENT, "20 of the 20 pictures");
    snprintf(path, sizeof path, "%s", in_folder(folder, "none"));
    assert_error(split(folder, "p.npy", path), DDPM_ERROR_IO, "option validation: ");
    assert_error(split(folder, "p.npy", "0.6"), DDPM_ERROR_ARGUMENT, "want auto, off");
    assert_error(split(folder, "p.npy", "-1"), DDPM_ERROR_ARGUMENT, "want auto, off");
    assert_error(split(folder, "p.npy", "0"), DDPM_ERROR_ARGUMENT, "want auto, off");
    remove_folder(folder);
}

static void auto_means_enough_pictures(void **state)
{
    (void)state;
    static const struct {
        int64_t pictures;
        const char *wanted;
    } cases[] = {{199, "off"}, {200, "0.05"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        char *folder = folder_with_pictures(cases[i].pictures), text[64];
        struct run run;
        struct ddpm_validation_plan plan;
        struct ddpm_validation_result result;
        start_on(&run, folder, "p.npy", NULL);
        assert_ok(ddpm_config_get(run.config, "validation", text, sizeof text));
        assert_string_equal(text, cases[i].wanted);
        assert_ok(ddpm_trainer_validation_plan(run.trainer, &plan));
        assert_int_equal(plan.set_aside > 0, i == 1);
        if (i == 0)
            assert_error(ddpm_trainer_validate(run.trainer, &result), DDPM_ERROR_ARGUMENT,
                         "ddpm_data_split()");
        end(&run);
        remove_folder(folder);
    }
    /* 200 copies of one picture are all on one side, so none is set aside. */
    char *folder = make_folder(), text[64];
    const int64_t shape[] = {200, 8, 8, 3};
    uint8_t *pixels = calloc(200, 8 * 8 * 3);
    struct run run;
    assert_ok(ddpm_npy_write(in_folder(folder, "p.npy"), DDPM_NPY_U8, 4, shape, pixels));
    start_on(&run, folder, "p.npy", NULL);
    assert_ok(ddpm_config_get(run.config, "validation", text, sizeof text));
    assert_string_equal(text, "off");
    steps(&run, 1);
    end(&run);
    free(pixels);
    remove_folder(folder);
}

static void a_run_keeps_its_split(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *error; /* NULL: continues */
    } cases[] = {
        {"validation=0.4", "validation=0.3", "validation is 0.4 in the checkpoint and 0.3 now"},
        {"validation=0.4", "validation=off", "validation is 0.4 in the checkpoint and off now"},
        {"validation=off", "validation=0.4", "validation is off in the checkpoint and 0.4 now"},
        {"validation=0.4", "validation=0.40", NULL},
        {"validation=off", "validation=auto", NULL},
    };
    char *folder = folder_with_pictures(30);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        struct run run;
        start_on(&run, folder, "p.npy", cases[i].first);
        assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
        end(&run);
        start_on(&run, folder, "p.npy", cases[i].second);
        const ddpm_status status = ddpm_trainer_resume(run.trainer, in_folder(folder, "run"));
        if (cases[i].error)
            assert_error(status, DDPM_ERROR_MISMATCH, cases[i].error);
        else
            assert_ok(status);
        end(&run);
        assert_ok(ddpm_directory_remove(in_folder(folder, "run")));
    }
    remove_folder(folder);
}

static void assert_names(const char *folder, const char *pointer, const char *wanted)
{
    char path[1100], target[64] = "";
    snprintf(path, sizeof path, "%s/run/checkpoints/%s", folder, pointer);
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_string_equal(target, wanted);
}

static bool has(const char *folder, int step)
{
    char name[64];
    snprintf(name, sizeof name, "run/checkpoints/step-%06d/state.json", step);
    return ddpm_path_exists(in_folder(folder, name));
}

static void the_best_is_kept(void **state)
{
    (void)state;
    char *folder = folder_with_pictures(30);
    struct run run;
    start_on(&run, folder, "p.npy", "validation=0.4 keep=2");
    for (int i = 1; i <= 5; ++i) {
        steps(&run, 1);
        assert_ok(i == 2 ? ddpm_trainer_save_best_begin(run.trainer, in_folder(folder, "run"))
                         : ddpm_trainer_save_begin(run.trainer, in_folder(folder, "run")));
        assert_ok(ddpm_trainer_save_end(run.trainer));
    }
    assert_names(folder, "best", "step-000002");
    assert_names(folder, "latest", "step-000005");
    assert_true(!has(folder, 1) && has(folder, 2) && !has(folder, 3) && has(folder, 4) &&
                has(folder, 5));
    /* A better one replaces it, even if its step is saved already. */
    assert_ok(ddpm_trainer_save_best_begin(run.trainer, in_folder(folder, "run")));
    assert_ok(ddpm_trainer_save_end(run.trainer));
    assert_names(folder, "best", "step-000005");
    assert_true(!has(folder, 2) && has(folder, 4) && has(folder, 5));
    end(&run);
    /* A text file with its name works like a link. */
    assert_ok(ddpm_directory_remove(in_folder(folder, "run/checkpoints/best")));
    assert_ok(
        ddpm_file_write_whole(in_folder(folder, "run/checkpoints/best"), "step-000004\n", 12));
    start_on(&run, folder, "p.npy", "validation=0.4 keep=1");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")));
    steps(&run, 1);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
    assert_true(has(folder, 4) && !has(folder, 5) && has(folder, 6));
    end(&run);
    remove_folder(folder);
}

static void its_memory_is_planned(void **state)
{
    (void)state;
    struct ddpm_config *off = tiny_config("validation=off"), *on = tiny_config("validation=0.1"),
                       *undecided = tiny_config("validation=auto");
    struct ddpm_network *network;
    struct ddpm_memory_plan without, with, neither;
    assert_ok(ddpm_network_declare(NULL, off, &network));
    assert_ok(ddpm_trainer_measure(network, off, &without));
    assert_ok(ddpm_trainer_measure(network, on, &with));
    assert_ok(ddpm_trainer_measure(network, undecided, &neither));
    assert_true(with.activations > without.activations);
    assert_true(neither.activations == without.activations);
    assert_true(with.flops_per_step == without.flops_per_step);
    assert_ok(ddpm_trainer_check_memory(network, on, 0));
    ddpm_network_destroy(&network);

    /* A trainer without data cannot validate, whatever its configuration says. */
    struct ddpm_trainer *trainer;
    struct ddpm_validation_result result;
    assert_ok(ddpm_network_create(on, &network));
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_true(ddpm_trainer_memory(trainer).activations == without.activations);
    assert_error(ddpm_trainer_validate(trainer, &result), DDPM_ERROR_ARGUMENT, "split");
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&off);
    ddpm_config_destroy(&on);
    ddpm_config_destroy(&undecided);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_resuming_change_no_bit),
        cmocka_unit_test(measuring_changes_nothing_of_the_training),
        cmocka_unit_test(order_changes_no_bit),
        cmocka_unit_test(the_loss_is_what_its_definition_says),
        cmocka_unit_test(what_is_set_aside_is_not_trained_on),
        cmocka_unit_test(every_objective_is_measured),
        cmocka_unit_test(splits_that_say_nothing_are_refused),
        cmocka_unit_test(auto_means_enough_pictures),
        cmocka_unit_test(a_run_keeps_its_split),
        cmocka_unit_test(the_best_is_kept),
        cmocka_unit_test(its_memory_is_planned),
    };
    return cmocka_run_group_tests_name("library: validation", tests, NULL, NULL);
}

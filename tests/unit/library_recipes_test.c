/* The optimizers, averages and draws of recipes through the public interface: resuming gives the
 * same results as never stopping, for any number of threads, and the second average is in the
 * memory plan and the checkpoints. */
#include "run_support.h"

#include "training/trainer_state.h"

enum { SIDE = 8 };

/* The options, and whether a second average is kept. */
static const struct {
    const char *options;
    bool second;
} runs[] = {
    {"decay=matrices weight-decay=0.5 beta1=0.8 beta2=0.95 lr-schedule=linear warmup=2", false},
    {"ema=power ema-every=1", true},
    {"ema=power ema-every=2 ema-length=0.2 ema-second=0 lr-schedule=cosine", false},
    {"rotate=on", false},
    {"rotate=on flip=off accumulate=2", false},
    {"optimizer=muon", false},
    {"optimizer=muon decay=matrices max-grad-norm=0.5 ema=power accumulate=2", true},
    {"level-sampling=stratified accumulate=2", false},
    {"level-sampling=stratified objective=edm", false},
    {"noise-candidates=3", false},
    {"objective=flow noise-candidates=4 offset-noise=0.1 accumulate=2", false},
    {"attention=on optimizer=muon decay=matrices", false},
    {"attention=on memory=low network=AttentionUNet", false},
    {"coordinates=on memory=low optimizer=muon", false},
    {"recipe=fast", true},
    {"recipe=best accumulate=2", true},
};
enum { RUNS = sizeof runs / sizeof *runs };

static char *folder_with_pictures(void)
{
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 7, SIDE);
    return folder;
}

static void going_on_is_as_never_having_stopped(void **state)
{
    (void)state;
    for (int i = 0; i < RUNS; ++i) {
        char *folder = folder_with_pictures(), threads[200];
        snprintf(threads, sizeof threads, "%s threads=1", runs[i].options);
        train_and_save(folder, threads, "straight", false, 6);
        snprintf(threads, sizeof threads, "%s threads=3", runs[i].options);
        train_and_save(folder, threads, "run", false, 3);
        train_and_save(folder, threads, "run", true, 3);
        assert_same_state(folder, "straight", "run", runs[i].second);
        const char *file = in_folder(folder, "run/checkpoints/latest/ema-second.safetensors");
        assert_int_equal(access(file, F_OK) == 0, runs[i].second);
        remove_folder(folder);
    }
}

/* Options that define a run may not change. */
static void another_run_is_refused(void **state)
{
    (void)state;
    static const char *const others[] = {
        "ema=exponential",          "ema-length=0.2",     "ema-second=0",
        "optimizer=muon",           "noise-candidates=2", "rotate=on",
        "level-sampling=stratified"};
    char *folder = folder_with_pictures();
    struct run run;
    train_and_save(folder, "ema=power", "run", false, 1);
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i) {
        char options[64], words[64];
        snprintf(options, sizeof options, "ema=power %s", others[i]);
        snprintf(words, sizeof words, "cannot resume: %.*s is ", (int)strcspn(others[i], "="),
                 others[i]);
        start(&run, folder, options);
        assert_error(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")),
                     DDPM_ERROR_MISMATCH, words);
        end(&run);
    }
    train_and_save(folder, "ema=power lr=0.01 decay=matrices weight-decay=0 recipe=none", "run",
                   true, 1);
    remove_folder(folder);
}

/* A checkpoint whose second average is missing or damaged is an error. */
static void a_checkpoint_without_its_second_average_is_refused(void **state)
{
    (void)state;
    char *folder = folder_with_pictures();
    struct run run;
    train_and_save(folder, "ema=power", "run", false, 1);
    const char *file = in_folder(folder, "run/checkpoints/latest/ema-second.safetensors");
    assert_int_equal(unlink(file), 0);
    start(&run, folder, "ema=power");
    assert_true(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")) != DDPM_OK);
    assert_non_null(strstr(ddpm_error_message(), "ema-second.safetensors"));
    end(&run);
    remove_folder(folder);
}

/* A picture rotated counterclockwise by a quarter turn: its last column becomes its first row. */
static void turn(float *x)
{
    float before[SIDE * SIDE * 3];
    memcpy(before, x, sizeof before);
    for (int h = 0; h < SIDE; ++h)
        for (int w = 0; w < SIDE; ++w)
            memcpy(x + (h * SIDE + w) * 3, before + (w * SIDE + SIDE - 1 - h) * 3, 3 * sizeof *x);
}

static void mirror(float *x)
{
    float before[SIDE * SIDE * 3];
    memcpy(before, x, sizeof before);
    for (int p = 0; p < SIDE * SIDE; ++p)
        memcpy(x + p * 3, before + (p - p % SIDE + SIDE - 1 - p % SIDE) * 3, 3 * sizeof *x);
}

/* Which of the eight orientations of the picture the network was trained on, or -1. */
static int symmetry_of(const float *got, const float *picture)
{
    float x[SIDE * SIDE * 3];
    for (int i = 0; i < 8; ++i) {
        memcpy(x, picture, sizeof x);
        if (i & 1)
            mirror(x);
        for (int turns = 0; turns < i >> 1; ++turns)
            turn(x);
        if (memcmp(x, got, sizeof x) == 0)
            return i;
    }
    return -1;
}

static void pictures_are_mirrored_and_turned(void **state)
{
    (void)state;
    enum { VALUES = SIDE * SIDE * 3 };
    char *folder = make_folder();
    float x0[2 * VALUES], picture[VALUES];
    uint8_t pixels[VALUES];
    const int64_t shape[] = {1, SIDE, SIDE, 3};
    int seen[8] = {0};
    struct run run;
    for (int i = 0; i < VALUES; ++i) {
        pixels[i] = (uint8_t)i;
        picture[i] = (float)(2 * i % 512) / 255.0f - 1.0f;
    }
    assert_ok(ddpm_npy_write(in_folder(folder, "p.npy"), DDPM_NPY_U8, 4, shape, pixels));
    start(&run, folder, "rotate=on");
    for (int i = 0; i < 40; ++i) {
        steps(&run, 1);
        assert_ok(ddpm_graph_read(run.trainer->graph, run.trainer->x0, x0));
        for (int b = 0; b < 2; ++b) {
            const int symmetry = symmetry_of(x0 + b * VALUES, picture);
            assert_in_range(symmetry, 0, 7);
            ++seen[symmetry];
        }
    }
    for (int i = 0; i < 8; ++i)
        assert_true(seen[i] > 0);
    end(&run);
    remove_folder(folder);
}

static double distance(const float *a, const float *b, int count)
{
    double sum = 0;
    for (int i = 0; i < count; ++i)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

/* The draws for this picture in this step; the first is that of a run without choice. */
static int nearest_draw(const float *picture, const float *noise, uint32_t step, uint32_t place)
{
    enum { VALUES = SIDE * SIDE * 3, CANDIDATES = 5 };
    float draws[CANDIDATES][VALUES];
    int nearest = 0;
    for (uint32_t i = 0; i < CANDIDATES; ++i) {
        ddpm_fill_normal(draws[i], VALUES, 9, DDPM_STREAM_NOISE + (i << 16), step, place);
        if (distance(picture, draws[i], VALUES) < distance(picture, draws[nearest], VALUES))
            nearest = (int)i;
    }
    assert_memory_equal(noise, draws[nearest], sizeof draws[nearest]);
    return nearest;
}

static void noise_is_the_nearest_of_its_candidates(void **state)
{
    (void)state;
    enum { VALUES = SIDE * SIDE * 3 };
    char *folder = folder_with_pictures();
    float x0[2 * VALUES], noise[2 * VALUES];
    int chosen[5] = {0};
    struct run run;
    start(&run, folder, "noise-candidates=5 seed=9");
    for (uint32_t step = 0; step < 20; ++step) {
        steps(&run, 1);
        assert_ok(ddpm_graph_read(run.trainer->graph, run.trainer->x0, x0));
        assert_ok(ddpm_graph_read(run.trainer->graph, run.trainer->noise, noise));
        for (uint32_t b = 0; b < 2; ++b)
            ++chosen[nearest_draw(x0 + b * VALUES, noise + b * VALUES, step, b)];
    }
    for (int i = 0; i < 5; ++i)
        assert_true(chosen[i] > 0);
    end(&run);
    remove_folder(folder);
}

static void stratified_timesteps_are_spread_over_the_step(void **state)
{
    (void)state;
    enum { STEPS = 200, COUNT = 1000 };
    char *folder = folder_with_pictures();
    int32_t t[2];
    int below = 0;
    struct run run;
    start(&run, folder, "level-sampling=stratified timesteps=1000 dim=4 dim-mults=1");
    for (int step = 0; step < STEPS; ++step) {
        steps(&run, 1);
        assert_ok(ddpm_graph_read(run.trainer->graph, run.trainer->t, t));
        assert_in_range(t[0], 0, COUNT / 2 - 1);
        assert_in_range(t[1], COUNT / 2, COUNT - 1);
        assert_in_range(t[1] - t[0], COUNT / 2 - 1, COUNT / 2 + 1);
        below += t[0] < COUNT / 4;
    }
    assert_in_range(below, STEPS * 4 / 10, STEPS * 6 / 10);
    end(&run);
    remove_folder(folder);
}

/* A step whose gradient is not finite changes nothing, not even Muon's momentum. */
static void a_bad_step_changes_nothing(void **state)
{
    (void)state;
    char *folder = folder_with_pictures();
    struct run run;
    struct ddpm_step_result result;
    start(&run, folder, "optimizer=muon ema=power");
    steps(&run, 2);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "before")));
    float *pictures = calloc(2 * SIDE * SIDE * 3, sizeof *pictures);
    assert_non_null(pictures);
    const int64_t t[2] = {3, 4};
    pictures[7] = 3e38f;
    const struct ddpm_step_input input = {.size = sizeof input,
                                          .pictures = pictures,
                                          .picture_count = 2 * SIDE * SIDE * 3,
                                          .timesteps = t,
                                          .timestep_count = 2,
                                          .noise = pictures,
                                          .noise_count = 2 * SIDE * SIDE * 3};
    assert_int_equal(ddpm_trainer_step_given(run.trainer, &input, &result), DDPM_ERROR_NOT_FINITE);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "after")));
    assert_same_state(folder, "before", "after", true);
    free(pictures);
    end(&run);
    remove_folder(folder);
}

static uint64_t planned(const char *options)
{
    struct ddpm_network *network = tiny_network(options);
    struct ddpm_memory_plan plan;
    assert_ok(ddpm_trainer_measure(network, NULL, &plan));
    ddpm_network_destroy(&network);
    return plan.weights;
}

static void the_second_average_is_planned(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    const uint64_t slab = ddpm_weight_set_bytes(&network->weights);
    ddpm_network_destroy(&network);
    assert_int_equal(planned("ema=power"), planned("ema=exponential") + slab);
    assert_int_equal(planned("ema=power ema-second=0"), planned("ema=exponential"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(going_on_is_as_never_having_stopped),
        cmocka_unit_test(another_run_is_refused),
        cmocka_unit_test(a_checkpoint_without_its_second_average_is_refused),
        cmocka_unit_test(pictures_are_mirrored_and_turned),
        cmocka_unit_test(noise_is_the_nearest_of_its_candidates),
        cmocka_unit_test(stratified_timesteps_are_spread_over_the_step),
        cmocka_unit_test(a_bad_step_changes_nothing),
        cmocka_unit_test(the_second_average_is_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

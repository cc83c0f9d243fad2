/* Samplers through the public interface: the cost of a second draw, what pictures depend on, how
 * chains start and stop, and networks that share a device. */
#include "library_support.h"

#include "allocations.h"

enum { SIDE = 8, VALUES = 3 * SIDE * SIDE, STEPS = 5 };

static struct ddpm_sampler *make_sampler(struct ddpm_network *network, const char *name,
                                         int64_t batch)
{
    struct ddpm_sampler *sampler;
    const struct ddpm_sampler_options options = {.size = sizeof options,
                                                 .sampler = name,
                                                 .steps = STEPS,
                                                 .batch = batch,
                                                 .weights = DDPM_WEIGHTS_EMA,
                                                 .clip = -1};
    assert_ok(ddpm_sampler_create(network, &options, &sampler));
    return sampler;
}

static void draw_into(struct ddpm_sampler *sampler, uint64_t seed, int64_t first, int64_t count,
                      uint8_t *pictures)
{
    const struct ddpm_draw draw = {
        .size = sizeof draw, .count = count, .first = first, .seed = seed};
    assert_ok(ddpm_sampler_draw(sampler, &draw, pictures, (size_t)(count * VALUES)));
}

/* How many samplers to try: all on the CPU, two on a GPU, since an emulated one takes seconds for
 * each. */
static size_t samplers_to_try(void)
{
    return strcmp(test_device(), "cpu") == 0 ? ordinary_samplers() : 2;
}

static void a_second_drawing_allocates_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"ancestral", "dpmpp"};
    struct ddpm_network *network = tiny_network("network=AttentionUNet threads=2");
    uint8_t pictures[5 * VALUES];
    float values[VALUES];
    const struct ddpm_draw draw = {.size = sizeof draw, .count = 1, .seed = 9};
    for (int i = 0; i < 2; ++i) {
        struct ddpm_sampler *sampler = make_sampler(network, names[i], 2);
        draw_into(sampler, 1, 0, 2, pictures);
        const long before = allocations_of_all();
        draw_into(sampler, 2, 7, 5, pictures);
        draw_into(sampler, UINT64_MAX, 1000000, 1, pictures);
        draw_into(sampler, 1, 0, 2, pictures);
        assert_ok(ddpm_sampler_draw_array(sampler, &draw, values, VALUES));
        assert_int_equal(allocations_of_all(), before);
        ddpm_sampler_destroy(&sampler);
    }
    ddpm_network_destroy(&network);
}

static void a_sampler_draws_what_sample_draws(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    uint8_t once[5 * VALUES], again[5 * VALUES], other[VALUES];
    for (size_t i = 0; i < ordinary_samplers(); ++i) {
        const char *name = ddpm_sampler_at(i).name;
        const struct ddpm_sample_options options = {.size = sizeof options,
                                                    .count = 5,
                                                    .first = 3,
                                                    .seed = 11,
                                                    .clip = -1,
                                                    .batch = 3,
                                                    .weights = DDPM_WEIGHTS_EMA,
                                                    .sampler = name,
                                                    .steps = STEPS};
        struct ddpm_sampler *sampler = make_sampler(network, name, 2);
        assert_int_equal(ddpm_sampler_picture_bytes(sampler), VALUES);
        assert_int_equal(ddpm_sampler_steps(sampler), STEPS);
        assert_true(ddpm_sampler_evaluations(sampler) >= STEPS);
        assert_non_null(strstr(ddpm_sampler_description(sampler), name));
        assert_ok(sample_into(network, &options, once));
        draw_into(sampler, 1, 0, 1, other); /* earlier draws have no effect */
        draw_into(sampler, 11, 3, 5, again);
        assert_memory_equal(once, again, sizeof once);
        assert_memory_not_equal(once, other, sizeof other);
        assert_memory_not_equal(once, once + VALUES, VALUES);
        ddpm_sampler_destroy(&sampler);
    }
    ddpm_network_destroy(&network);
}

static void a_picture_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("network=TwoResUNet threads=2 dim=16");
    static const int64_t batches[] = {1, 2, 3, 7};
    float wanted[7 * VALUES], got[7 * VALUES];
    for (size_t i = 0; i < samplers_to_try(); ++i)
        for (int b = 0; b < 4; ++b) {
            struct ddpm_sampler *sampler =
                make_sampler(network, ddpm_sampler_at(i).name, batches[b]);
            struct ddpm_draw draw = {.size = sizeof draw, .count = 7, .seed = 4};
            assert_ok(ddpm_sampler_draw_array(sampler, &draw, b ? got : wanted, 7 * VALUES));
            if (b && memcmp(got, wanted, sizeof got) != 0)
                fail_msg("%s, batches of %lld", ddpm_sampler_at(i).name, (long long)batches[b]);
            draw.first = 5;
            draw.count = 2;
            assert_ok(ddpm_sampler_draw_array(sampler, &draw, got, 2 * VALUES));
            assert_memory_equal(got, wanted + 5 * VALUES, 2 * VALUES * sizeof *got);
            ddpm_sampler_destroy(&sampler);
        }
    ddpm_network_destroy(&network);
}

/* Bytes from values, as documented: (x+1)/2 scaled to 0 … 255, rounded, clamped; [C,H,W] to
 * [H,W,C]. */
static void arrays_are_the_pictures_before_rounding(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    uint8_t pictures[3 * VALUES];
    float values[3 * VALUES];
    const struct ddpm_draw draw = {.size = sizeof draw, .count = 3, .first = 2, .seed = 6};
    for (size_t i = 0; i < samplers_to_try(); ++i) {
        struct ddpm_sampler *sampler = make_sampler(network, ddpm_sampler_at(i).name, 2);
        assert_ok(ddpm_sampler_draw(sampler, &draw, pictures, sizeof pictures));
        assert_ok(ddpm_sampler_draw_array(sampler, &draw, values, 3 * VALUES));
        for (int k = 0; k < 3 * VALUES; ++k) {
            const int image = k / VALUES, pixel = k % VALUES / 3, c = k % 3;
            const double x = (double)values[image * VALUES + c * SIDE * SIDE + pixel];
            const double byte = fmin(fmax((x + 1) / 2 * 255, 0), 255);
            assert_true(fabs((double)pictures[k] - byte) <= 0.5 + 1e-4);
        }
        ddpm_sampler_destroy(&sampler);
    }
    ddpm_network_destroy(&network);
}

/* The start of a chain: passing the drawn noise back in gives the same pictures; other values give
 * others. */
static void a_chain_begins_where_it_is_told(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    struct ddpm_sampler *sampler = make_sampler(network, "ddim", 2);
    float init[3 * VALUES], drawn[3 * VALUES], got[3 * VALUES], alone[VALUES];
    struct ddpm_draw draw = {
        .size = sizeof draw, .count = 3, .seed = 3, .init = init, .init_count = 3 * VALUES};
    for (int64_t k = 0; k < 3; ++k) { /* like start(): picture by picture, channels last */
        float noise[VALUES];
        ddpm_fill_normal(noise, VALUES, 3, DDPM_STREAM_SAMPLE_INIT, 0, (uint32_t)k);
        for (int i = 0; i < VALUES; ++i)
            init[k * VALUES + i % 3 * SIDE * SIDE + i / 3] = noise[i];
    }
    assert_ok(ddpm_sampler_draw_array(sampler, &draw, got, 3 * VALUES));
    const struct ddpm_draw plain = {.size = sizeof plain, .count = 3, .seed = 3};
    assert_ok(ddpm_sampler_draw_array(sampler, &plain, drawn, 3 * VALUES));
    assert_memory_equal(got, drawn, sizeof got);

    draw.count = 1; /* the second picture's, alone */
    draw.init = init + VALUES;
    draw.init_count = VALUES;
    assert_ok(ddpm_sampler_draw_array(sampler, &draw, alone, VALUES));
    assert_memory_equal(alone, drawn + VALUES, sizeof alone);

    draw.init_count = VALUES - 1;
    assert_error(ddpm_sampler_draw_array(sampler, &draw, alone, VALUES), DDPM_ERROR_ARGUMENT,
                 "init: got a buffer of 191, want 192");
    draw.init_count = VALUES;
    init[VALUES + 5] = INFINITY;
    assert_error(ddpm_sampler_draw_array(sampler, &draw, alone, VALUES), DDPM_ERROR_ARGUMENT,
                 "init: got inf at position 5");
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
}

/* What a callback received. */
struct seen {
    int calls, pictures, stop_at;
    int64_t done, total;
    double time;
    float last[2 * VALUES];
};

static int watch(void *user, const struct ddpm_sample_progress *progress)
{
    struct seen *seen = user;
    ++seen->calls;
    assert_int_equal(progress->done, seen->done + 1);
    assert_true(progress->total == seen->total || !seen->total);
    assert_int_equal(progress->channels * progress->height * progress->width, VALUES);
    assert_int_equal(progress->timestep, STEPS - 1 - (progress->done - 1) % STEPS);
    seen->done = progress->done;
    seen->total = progress->total;
    seen->time = progress->time;
    if (progress->x) {
        ++seen->pictures;
        memcpy(seen->last, progress->x, (size_t)(progress->count * VALUES) * sizeof(float));
    }
    return seen->calls == seen->stop_at;
}

static void callbacks_see_the_steps_they_ask_for(void **state)
{
    (void)state;
    /* Steps count down to 0: every 2 of 5 are 4, 2, 0. */
    static const int wanted[][2] = {{0, 0}, {1, 5}, {2, 3}, {3, 2}, {5, 1}, {99, 1}};
    struct ddpm_network *network = tiny_network("");
    float values[3 * VALUES];
    for (size_t s = 0; s < samplers_to_try(); ++s) {
        struct ddpm_sampler *sampler = make_sampler(network, ddpm_sampler_at(s).name, 2);
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; ++i) {
            struct seen seen = {0};
            const struct ddpm_draw draw = {.size = sizeof draw,
                                           .count = 3,
                                           .every = wanted[i][0],
                                           .callback = watch,
                                           .user = &seen};
            assert_ok(ddpm_sampler_draw_array(sampler, &draw, values, 3 * VALUES));
            assert_int_equal(seen.calls, 2 * STEPS); /* two batches */
            assert_int_equal(seen.total, 2 * STEPS);
            assert_int_equal(seen.pictures, 2 * wanted[i][1]);
            if (seen.pictures) /* the last x is the result */
                assert_memory_equal(seen.last, values + 2 * VALUES, VALUES * sizeof(float));
        }
        ddpm_sampler_destroy(&sampler);
    }
    ddpm_network_destroy(&network);
}

static void a_callback_stops_and_the_sampler_goes_on(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    struct ddpm_sampler *sampler = make_sampler(network, "dpmpp", 2);
    uint8_t wanted[2 * VALUES], got[2 * VALUES];
    struct seen seen = {.stop_at = 3};
    const struct ddpm_draw draw = {
        .size = sizeof draw, .count = 2, .seed = 8, .callback = watch, .user = &seen};
    draw_into(sampler, 8, 0, 2, wanted);
    assert_error(ddpm_sampler_draw(sampler, &draw, got, sizeof got), DDPM_STOPPED, "2 steps left");
    assert_int_equal(seen.calls, 3);
    draw_into(sampler, 8, 0, 2, got);
    assert_memory_equal(got, wanted, sizeof got);
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
}

/* The next draw uses new weights. */
static void a_sampler_follows_its_network(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(""), *other = tiny_network("seed=5");
    struct ddpm_sampler *sampler = make_sampler(network, "ancestral", 2),
                        *of_other = make_sampler(other, "ancestral", 2);
    char *folder = make_folder();
    const char *path = in_folder(folder, "other.safetensors");
    uint8_t before[VALUES], after[VALUES], wanted[VALUES];
    draw_into(sampler, 1, 0, 1, before);
    draw_into(of_other, 1, 0, 1, wanted);
    assert_ok(ddpm_network_save(other, DDPM_WEIGHTS_EMA, path));
    assert_ok(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, path));
    draw_into(sampler, 1, 0, 1, after);
    assert_memory_equal(after, before, sizeof after); /* it does not use those weights */
    assert_ok(ddpm_network_load(network, DDPM_WEIGHTS_EMA, path));
    draw_into(sampler, 1, 0, 1, after);
    assert_memory_equal(after, wanted, sizeof after);
    ddpm_sampler_destroy(&sampler);
    ddpm_sampler_destroy(&of_other);
    ddpm_network_destroy(&network);
    ddpm_network_destroy(&other);
    remove_folder(folder);
}

int main(void)
{
    if (!has_test_device())
        return EXIT_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_drawing_allocates_nothing),
        cmocka_unit_test(a_sampler_draws_what_sample_draws),
        cmocka_unit_test(a_picture_does_not_depend_on_its_batch),
        cmocka_unit_test(arrays_are_the_pictures_before_rounding),
        cmocka_unit_test(a_chain_begins_where_it_is_told),
        cmocka_unit_test(callbacks_see_the_steps_they_ask_for),
        cmocka_unit_test(a_callback_stops_and_the_sampler_goes_on),
        cmocka_unit_test(a_sampler_follows_its_network),
    };
    return cmocka_run_group_tests_name("samplers", tests, NULL, NULL);
}

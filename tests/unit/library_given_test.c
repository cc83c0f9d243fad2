/* Drawing from pictures through the public interface: part of the chain, inside a mask, backwards
 * and forwards again. */
#include "library_support.h"

#include "allocations.h"

enum { SIDE = 8, AREA = SIDE * SIDE, VALUES = 3 * AREA, STEPS = 6, MOST = 5 };

static struct ddpm_sampler *make_sampler(struct ddpm_network *network,
                                         const struct ddpm_sampler_options *more)
{
    struct ddpm_sampler *sampler;
    struct ddpm_memory_plan plan;
    struct ddpm_sampler_options options = *more;
    options.size = sizeof options;
    options.steps = options.steps ? options.steps : STEPS;
    options.weights = DDPM_WEIGHTS_EMA;
    options.batch = options.batch ? options.batch : 2;
    assert_ok(ddpm_sampler_measure(network, &options, &plan));
    assert_ok(ddpm_sampler_create(network, &options, &sampler));
    return sampler;
}

/* How many samplers to try: all on the CPU, two on a GPU, since an emulated one takes seconds for
 * each. */
static size_t samplers_to_try(void)
{
    return strcmp(test_device(), "cpu") == 0 ? ordinary_samplers() : 2;
}

static float pictures[MOST * VALUES], masks[MOST * AREA];

/* Pictures with values that bytes can represent, and masks of zeros and ones, different for each
 * picture. */
static int make_pictures(void **state)
{
    (void)state;
    for (int i = 0; i < MOST * VALUES; ++i)
        pictures[i] = 2 * (float)(i * 37 % 256) / 255 - 1;
    for (int i = 0; i < MOST * AREA; ++i)
        masks[i] = i % SIDE < 2 + i / AREA;
    return 0;
}

static struct ddpm_draw draw_of(int64_t count)
{
    return (struct ddpm_draw){.size = sizeof(struct ddpm_draw),
                              .count = count,
                              .first = 2,
                              .seed = 5,
                              .from = pictures,
                              .from_count = (size_t)(count * VALUES)};
}

static void draw_into(struct ddpm_sampler *sampler, const struct ddpm_draw *draw, float *out)
{
    assert_ok(ddpm_sampler_draw_array(sampler, draw, out, (size_t)(draw->count * VALUES)));
}

static double distance(const float *a, const float *b, int count)
{
    double squares = 0;
    for (int i = 0; i < count; ++i)
        squares += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return sqrt(squares / count);
}

static void strength_goes_from_the_picture_to_a_plain_draw(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("clip=on");
    float got[3 * VALUES], plain[3 * VALUES];
    for (size_t i = 0; i < samplers_to_try(); ++i) {
        const struct ddpm_sampler_options all = {.sampler = ddpm_sampler_at(i).name, .clip = 1};
        const struct ddpm_draw draw = draw_of(3);
        struct ddpm_draw without = draw;
        struct ddpm_sampler *sampler = make_sampler(network, &all);
        without.from = NULL;
        draw_into(sampler, &without, plain);
        ddpm_sampler_destroy(&sampler);
        double before = 0;
        static const double strengths[] = {0, 0.2, 1};
        for (int k = 0; k < 3; ++k) {
            struct ddpm_sampler_options part = all;
            part.from = 1;
            part.strength = strengths[k];
            sampler = make_sampler(network, &part);
            draw_into(sampler, &draw, got);
            const double far = distance(got, pictures, 3 * VALUES);
            assert_true(k == 0 ? far == 0 : far > before);
            before = far;
            assert_int_equal(ddpm_sampler_steps(sampler), k == 0 ? 0 : k == 1 ? 1 : STEPS);
            ddpm_sampler_destroy(&sampler);
        }
        assert_memory_equal(got, plain, sizeof got);
    }
    ddpm_network_destroy(&network);
}

/* The noise added to the picture is the noise that a plain draw with this seed starts from. */
static void a_picture_is_noised_with_its_own_noise(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    const struct ddpm_sampler_options options = {.from = 1, .strength = 0.5, .sampler = "ddim"};
    struct ddpm_sampler *sampler = make_sampler(network, &options);
    float noise[VALUES], one[VALUES], other[VALUES];
    struct ddpm_draw draw = draw_of(1);
    assert_ok(ddpm_sampler_start_noise(sampler, draw.seed, draw.first, 1, noise, VALUES));
    draw_into(sampler, &draw, one);
    draw.seed = 6;
    draw_into(sampler, &draw, other);
    assert_memory_not_equal(one, other, sizeof one);
    double with = 0;
    for (int i = 0; i < VALUES; ++i)
        with += (double)((one[i] - other[i]) * noise[i]);
    assert_true(with > 0);
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
}

static void noise_that_is_handed_out_is_what_draws_begin_from(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    const struct ddpm_sampler_options options = {.sampler = "dpmpp", .clip = 1};
    struct ddpm_sampler *sampler = make_sampler(network, &options);
    float noise[3 * VALUES], got[3 * VALUES], wanted[3 * VALUES];
    struct ddpm_draw draw = draw_of(3);
    draw.from = NULL;
    draw_into(sampler, &draw, wanted);
    assert_ok(ddpm_sampler_start_noise(sampler, draw.seed, draw.first, 3, noise, 3 * VALUES));
    draw.seed = 99;
    draw.init = noise;
    draw.init_count = 3 * VALUES;
    draw_into(sampler, &draw, got);
    assert_memory_equal(got, wanted, sizeof got);
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
}

static void masks_keep_pixels_exactly(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    float got[3 * VALUES];
    uint8_t bytes[3 * VALUES];
    for (size_t i = 0; i < samplers_to_try(); ++i)
        for (int times = 1; times < 3; ++times) {
            const struct ddpm_sampler_options options = {.sampler = ddpm_sampler_at(i).name,
                                                         .from = 1,
                                                         .strength = i % 2 ? 1 : 0.7,
                                                         .mask = 1,
                                                         .resample = times,
                                                         .jump = 2};
            struct ddpm_sampler *sampler = make_sampler(network, &options);
            struct ddpm_draw draw = draw_of(3);
            draw.mask = masks;
            draw.mask_count = 3 * AREA;
            draw_into(sampler, &draw, got);
            assert_ok(ddpm_sampler_draw(sampler, &draw, bytes, sizeof bytes));
            for (int k = 0; k < 3 * VALUES; ++k) {
                const int image = k / VALUES, pixel = k % AREA;
                const bool drawn = masks[image * AREA + pixel] > 0;
                assert_true(drawn == (memcmp(&got[k], &pictures[k], sizeof *got) != 0));
                const int c = k % VALUES / AREA;
                if (!drawn)
                    assert_int_equal(bytes[image * VALUES + 3 * pixel + c], k * 37 % 256);
            }
            assert_int_equal(ddpm_sampler_steps(sampler), times * (i % 2 ? STEPS : 4));
            ddpm_sampler_destroy(&sampler);
        }
    ddpm_network_destroy(&network);
}

static void batches_do_not_matter_and_one_picture_serves_all(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("network=TwoResUNet threads=2 dim=16");
    static const struct ddpm_sampler_options kinds[] = {
        {.sampler = "dpmpp-sde", .from = 1, .strength = 0.6},
        {.sampler = "unipc", .from = 1, .strength = 1, .mask = 1, .resample = 2, .jump = 3},
        {.invert = 1}};
    float wanted[MOST * VALUES], got[MOST * VALUES];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        for (int batch = 1; batch <= 4; ++batch) {
            struct ddpm_sampler_options options = kinds[i];
            options.batch = batch;
            struct ddpm_sampler *sampler = make_sampler(network, &options);
            struct ddpm_draw draw = draw_of(MOST);
            if (options.mask) {
                draw.mask = masks;
                draw.mask_count = MOST * AREA;
            }
            draw_into(sampler, &draw, batch == 1 ? wanted : got);
            if (batch > 1)
                assert_memory_equal(got, wanted, sizeof got);
            draw = draw_of(2);
            draw.first = 2;
            draw.from_count = VALUES; /* the first picture for both */
            draw.mask = options.mask ? masks : NULL;
            draw.mask_count = AREA;
            draw_into(sampler, &draw, got);
            assert_memory_equal(got, wanted, VALUES * sizeof *got);
            if (options.invert) /* without noise */
                assert_memory_equal(got + VALUES, wanted, VALUES * sizeof *got);
            else
                assert_memory_not_equal(got + VALUES, wanted, VALUES * sizeof *got);
            ddpm_sampler_destroy(&sampler);
        }
    }
    ddpm_network_destroy(&network);
}

/* A network trained on the first two pictures long enough to predict noise. */
static struct ddpm_network *trained_network(void)
{
    struct ddpm_network *network = tiny_network("timesteps=50 schedule=linear lr=3e-3 dim=16");
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    for (uint32_t step = 0; step < 600; ++step) {
        struct given given = make_given(network, step);
        memcpy(given.pictures, pictures, 2 * VALUES * sizeof *pictures);
        for (int b = 0; b < 2; ++b)
            given.timesteps[b] = (int64_t)(step * 7 + (uint32_t)b * 23) % 50;
        assert_ok(step_on(trainer, &given, &result));
        free_given(&given);
    }
    ddpm_trainer_destroy(&trainer);
    return network;
}

static void inverted_pictures_come_back(void **state)
{
    (void)state;
    struct ddpm_network *network = trained_network();
    float latents[2 * VALUES], again[2 * VALUES];
    double before = INFINITY;
    for (int64_t steps = 50; steps <= 200; steps *= 2) {
        const struct ddpm_sampler_options options = {
            .sampler = "ddim", .spacing = "trailing", .steps = steps};
        struct ddpm_sampler_options backwards = options;
        backwards.invert = 1;
        struct ddpm_sampler *back = make_sampler(network, &backwards),
                            *forth = make_sampler(network, &options);
        struct ddpm_draw draw = draw_of(2);
        draw_into(back, &draw, latents);
        assert_int_equal(ddpm_sampler_steps(back), steps);
        assert_int_equal(ddpm_sampler_evaluations(back), steps);
        draw.from = NULL;
        draw.init = latents;
        draw.init_count = 2 * VALUES;
        draw_into(forth, &draw, again);
        const double far = distance(again, pictures, 2 * VALUES);
        print_message("%lld steps: %.4f from the picture\n", (long long)steps, far);
        assert_true(far < 0.7 * before);
        before = far;
        ddpm_sampler_destroy(&back);
        ddpm_sampler_destroy(&forth);
    }
    assert_true(before < 0.05);
    ddpm_network_destroy(&network);
}

/* For an inversion, a configured sampler that draws noise is replaced by ddim; one that is named is
 * an error. */
static void an_inversion_is_always_ddims(void **state)
{
    (void)state;
    static const char *const configured[] = {"sampler=heun churn=3", "sampler=unipc solver-order=3",
                                             "sampler=ddim eta=1",
                                             "sampler=ancestral spacing=karras"};
    struct ddpm_sampler *sampler;
    for (size_t i = 0; i < sizeof configured / sizeof *configured; ++i) {
        struct ddpm_network *network = tiny_network(configured[i]);
        const struct ddpm_sampler_options options = {.invert = 1, .steps = 7};
        sampler = make_sampler(network, &options);
        assert_string_equal(ddpm_sampler_description(sampler), "ddim, 7 steps, karras, inverted");
        assert_string_equal(ddpm_sampler_in_force(sampler)->sampler, "ddim");
        ddpm_sampler_destroy(&sampler);
        ddpm_network_destroy(&network);
    }
    struct ddpm_network *network = tiny_network("");
    const struct ddpm_sampler_options noisy = {
        .size = sizeof noisy, .invert = 1, .sampler = "ancestral"};
    assert_error(ddpm_sampler_create(network, &noisy, &sampler), DDPM_ERROR_ARGUMENT,
                 "got sampler ancestral, which adds noise");
    ddpm_network_destroy(&network);
}

static void sample_takes_them_too(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    uint8_t once[2 * VALUES], again[2 * VALUES];
    const struct ddpm_sample_options options = {.size = sizeof options,
                                                .count = 2,
                                                .first = 2,
                                                .seed = 5,
                                                .weights = DDPM_WEIGHTS_EMA,
                                                .sampler = "heun",
                                                .steps = STEPS,
                                                .from = pictures,
                                                .from_count = 2 * VALUES,
                                                .strength = 0.8,
                                                .mask = masks,
                                                .mask_count = 2 * AREA,
                                                .resample = 2,
                                                .jump = 2};
    const struct ddpm_sampler_options same = {
        .sampler = "heun", .from = 1, .strength = 0.8, .mask = 1, .resample = 2, .jump = 2};
    struct ddpm_sampler *sampler = make_sampler(network, &same);
    struct ddpm_draw draw = draw_of(2);
    draw.mask = masks;
    draw.mask_count = 2 * AREA;
    assert_ok(sample_into(network, &options, once));
    assert_ok(ddpm_sampler_draw(sampler, &draw, again, sizeof again));
    assert_memory_equal(once, again, sizeof once);
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
}

/* What a callback received. */
struct seen {
    int calls;
    int64_t total;
    float last[2 * VALUES];
};

static int watch(void *user, const struct ddpm_sample_progress *progress)
{
    struct seen *seen = user;
    assert_int_equal(progress->done, ++seen->calls);
    assert_int_equal(progress->total - progress->done, progress->timestep);
    seen->total = progress->total;
    memcpy(seen->last, progress->x, sizeof seen->last);
    return 0;
}

static void callbacks_count_what_is_run_and_nothing_is_allocated(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("");
    static const struct {
        struct ddpm_sampler_options options;
        int steps;
    } kinds[] = {{{.from = 1, .strength = 0.5}, 3},
                 {{.from = 1, .strength = 0}, 0},
                 {{.from = 1, .strength = 1, .mask = 1, .resample = 3, .jump = 2}, 3 * STEPS},
                 {{.invert = 1}, STEPS}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        struct ddpm_sampler *sampler = make_sampler(network, &kinds[i].options);
        struct seen seen = {0};
        struct ddpm_draw draw = draw_of(2);
        float got[2 * VALUES];
        draw.every = 1;
        draw.callback = watch;
        draw.user = &seen;
        draw.mask = kinds[i].options.mask ? masks : NULL;
        draw.mask_count = AREA;
        draw_into(sampler, &draw, got);
        assert_int_equal(seen.calls, kinds[i].steps);
        assert_int_equal(seen.total, kinds[i].steps);
        if (seen.calls)
            assert_memory_equal(seen.last, got, sizeof got);
        draw.callback = NULL;
        const long before = allocations_of_all();
        draw_into(sampler, &draw, got);
        assert_int_equal(allocations_of_all(), before);
        ddpm_sampler_destroy(&sampler);
    }
    ddpm_network_destroy(&network);
}

int main(void)
{
    if (!has_test_device())
        return EXIT_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strength_goes_from_the_picture_to_a_plain_draw),
        cmocka_unit_test(a_picture_is_noised_with_its_own_noise),
        cmocka_unit_test(noise_that_is_handed_out_is_what_draws_begin_from),
        cmocka_unit_test(masks_keep_pixels_exactly),
        cmocka_unit_test(batches_do_not_matter_and_one_picture_serves_all),
        cmocka_unit_test(inverted_pictures_come_back),
        cmocka_unit_test(an_inversion_is_always_ddims),
        cmocka_unit_test(sample_takes_them_too),
        cmocka_unit_test(callbacks_count_what_is_run_and_nothing_is_allocated),
    };
    return cmocka_run_group_tests_name("drawing from pictures", tests, make_pictures, NULL);
}

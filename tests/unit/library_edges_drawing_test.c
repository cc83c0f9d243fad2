/* Wrong arguments to functions that draw, see library_edges_test.c. */
#include "library_edges.h"

enum { AREA = VALUES / 3 };

static int go_on(void *user, const struct ddpm_sample_progress *progress)
{
    (void)user;
    (void)progress;
    return 0;
}

/* With one option changed, both creating and measuring a sampler fail with `part` in the text. */
#define SAMPLER_WITH(member, value, part)                                                          \
    do {                                                                                           \
        struct ddpm_sampler_options changed = options_;                                            \
        changed.member = value;                                                                    \
        refused(ddpm_sampler_create(network, &changed, &sampler), part);                           \
        assert_null(sampler);                                                                      \
        refused(ddpm_sampler_measure(network, &changed, &plan), part);                             \
    } while (0)

static ddpm_status create_and_destroy(struct ddpm_network *network,
                                      const struct ddpm_sampler_options *options)
{
    struct ddpm_sampler *sampler;
    ddpm_status status = ddpm_sampler_create(network, options, &sampler);
    ddpm_sampler_destroy(&sampler);
    return status;
}

static void samplers(void **state)
{
    (void)state;
    struct ddpm_sampler *sampler;
    struct ddpm_memory_plan plan;
    struct ddpm_network *network = tiny_network("sampler=ancestral");
    const struct ddpm_sampler_options options_ = {.size = sizeof options_};
    assert_null(ddpm_sampler_in_force(NULL));
    refused(ddpm_sampler_create(NULL, &options_, &sampler), "want a network");
    refused(ddpm_sampler_create(network, NULL, &sampler), "ddpm_sampler_options");
    refused(ddpm_sampler_create(network, &options_, NULL), "got NULL as out");
    refused(ddpm_sampler_measure(NULL, &options_, &plan), "got NULL as network");
    refused(ddpm_sampler_measure(network, NULL, &plan), "ddpm_sampler_options");
    refused(ddpm_sampler_measure(network, &options_, NULL), "got NULL as out");
    SAMPLER_WITH(sampler, "", "sampler");
    SAMPLER_WITH(sampler, "ancestrel", "ancestral");
    SAMPLER_WITH(spacing, "", "spacing");
    SAMPLER_WITH(spacing, "x", "spacing \"x\"; want leading, linspace");
    SAMPLER_WITH(steps, -1, "steps: got -1, want 0 or more");
    SAMPLER_WITH(steps, 26, "got 26 sampling steps");
    SAMPLER_WITH(steps, INT64_MAX, "sampling steps");
    SAMPLER_WITH(batch, -1, "batch: got -1, want 0 or more");
    SAMPLER_WITH(batch, INT64_MAX, "batch: got 9223372036854775807");
    SAMPLER_WITH(pictures, -1, "pictures: got -1, want 0 to 2147483647");
    SAMPLER_WITH(pictures, INT64_MAX, "pictures");
    SAMPLER_WITH(height, -8, "height: got -8");
    SAMPLER_WITH(width, -8, "width: got -8");
    SAMPLER_WITH(weights, BAD_WEIGHTS, "got weights 7");
    SAMPLER_WITH(clip, 2, "clip: got 2, want 0, 1 or -1");
    SAMPLER_WITH(clip, -2, "clip: got -2");
    SAMPLER_WITH(eta, 0.5, "eta 0.5");
    SAMPLER_WITH(eta, (double)NAN, "eta");
    TRY_SIZES(ddpm_sampler_options, options_, sizeof(size_t), DDPM_OK,
              create_and_destroy(network, options));
    TRY_SIZES(ddpm_sampler_options, options_, sizeof(size_t), DDPM_OK,
              ddpm_sampler_measure(network, options, &plan));
    struct ddpm_sampler_options wrong_size = options_;
    wrong_size.height = wrong_size.width = 9;
    refused(ddpm_sampler_create(network, &wrong_size, &sampler), "got 9x9");
    wrong_size.height = wrong_size.width = INT64_MAX - 1;
    assert_int_equal(ddpm_sampler_create(network, &wrong_size, &sampler), DDPM_ERROR_MEMORY);
    assert_null(sampler);
    /* A caller built against an older header, whose struct ends here: nothing after it is read. */
    size_t *old = malloc(sizeof *old);
    *old = sizeof *old;
    assert_ok(create_and_destroy(network, (const struct ddpm_sampler_options *)old));
    free(old);
    ddpm_sampler_destroy(NULL);
    assert_int_equal(ddpm_sampler_picture_bytes(NULL), 0);
    assert_int_equal(ddpm_sampler_steps(NULL), 0);
    assert_int_equal(ddpm_sampler_evaluations(NULL), 0);
    assert_string_equal(ddpm_sampler_description(NULL), "");
    ddpm_network_destroy(&network);
}

static void samplers_from_pictures(void **state)
{
    (void)state;
    struct ddpm_sampler *sampler;
    struct ddpm_memory_plan plan;
    struct ddpm_network *network = tiny_network("sampler=ancestral");
    const struct ddpm_sampler_options options_ = {.size = sizeof options_};
    SAMPLER_WITH(strength, 0.5, "strength 0.5 without pictures");
    SAMPLER_WITH(strength, 2, "got strength 2, want 0 to 1");
    SAMPLER_WITH(strength, (double)NAN, "strength");
    SAMPLER_WITH(mask, 1, "a mask without pictures");
    SAMPLER_WITH(resample, 3, "without a mask");
    SAMPLER_WITH(jump, INT64_MAX, "without a mask");
    struct ddpm_sampler_options given = options_;
    given.from = given.mask = 1;
    given.resample = INT64_MAX;
    refused(ddpm_sampler_create(network, &given, &sampler), "resample 9223372036854775807");
    given.resample = 0;
    given.jump = -1;
    refused(ddpm_sampler_create(network, &given, &sampler), "jump -1");
    given.jump = 0;
    given.invert = 1;
    refused(ddpm_sampler_create(network, &given, &sampler), "inversion");
    ddpm_network_destroy(&network);
}

#define DRAW_WITH(member, value, part)                                                             \
    do {                                                                                           \
        struct ddpm_draw changed = draw;                                                           \
        changed.member = value;                                                                    \
        refused(ddpm_sampler_draw(sampler, &changed, pictures, VALUES), part);                     \
        refused(ddpm_sampler_draw_array(sampler, &changed, values, VALUES), part);                 \
    } while (0)

static void drawing(void **state)
{
    (void)state;
    uint8_t pictures[VALUES + 1];
    float values[VALUES + 1] = {0};
    struct ddpm_sampler *sampler;
    struct ddpm_network *network = tiny_network("timesteps=3 sampler=ancestral");
    const struct ddpm_sampler_options options_ = {.size = sizeof options_};
    const struct ddpm_draw draw = {.size = sizeof draw, .count = 1, .callback = go_on};
    assert_ok(ddpm_sampler_create(network, &options_, &sampler));
    refused(ddpm_sampler_draw(NULL, &draw, pictures, VALUES), "got NULL as sampler");
    refused(ddpm_sampler_draw(sampler, NULL, pictures, VALUES), "ddpm_draw");
    refused(ddpm_sampler_draw(sampler, &draw, NULL, VALUES), "got NULL as pictures");
    refused(ddpm_sampler_draw(sampler, &draw, pictures, VALUES - 1), "pictures: got");
    refused(ddpm_sampler_draw(sampler, &draw, pictures, VALUES + 1), "pictures: got");
    refused(ddpm_sampler_draw_array(NULL, &draw, values, VALUES), "got NULL as sampler");
    refused(ddpm_sampler_draw_array(sampler, NULL, values, VALUES), "ddpm_draw");
    refused(ddpm_sampler_draw_array(sampler, &draw, NULL, VALUES), "got NULL as pictures");
    refused(ddpm_sampler_draw_array(sampler, &draw, values, VALUES - 1), "pictures: got");
    refused(ddpm_sampler_draw_array(sampler, &draw, values, VALUES + 1), "pictures: got");
    DRAW_WITH(count, 0, "count: got 0, want 1");
    DRAW_WITH(count, -1, "count: got -1");
    DRAW_WITH(count, INT64_MAX, "count: got");
    DRAW_WITH(first, -1, "first: got -1, want 0 or more");
    DRAW_WITH(first, INT64_MAX, "first: got");
    DRAW_WITH(every, -1, "every");
    DRAW_WITH(init, values, "init: got a buffer of 0");
    values[7] = NAN;
    struct ddpm_draw from = draw;
    from.init = values;
    from.init_count = VALUES;
    refused(ddpm_sampler_draw(sampler, &from, pictures, VALUES), "init: got nan at position 7");
    from.init_count = VALUES + 1;
    refused(ddpm_sampler_draw(sampler, &from, pictures, VALUES), "init: got a buffer of 193");
    TRY_SIZES(ddpm_draw, draw, sizeof(size_t), DDPM_OK,
              ddpm_sampler_draw(sampler, options, pictures, VALUES));
    DRAW_WITH(from, values, "from: the sampler was not planned with `from`");
    DRAW_WITH(mask, values, "mask: the sampler was not planned with `mask`");
    refused(ddpm_sampler_start_noise(NULL, 0, 0, 1, values, VALUES), "got NULL as sampler");
    refused(ddpm_sampler_start_noise(sampler, 0, 0, 1, NULL, VALUES), "got NULL as x");
    refused(ddpm_sampler_start_noise(sampler, 0, 0, 0, values, VALUES), "count: got 0");
    refused(ddpm_sampler_start_noise(sampler, 0, -1, 1, values, VALUES), "first: got -1");
    refused(ddpm_sampler_start_noise(sampler, 0, 0, 1, values, VALUES + 1), "x: got");
    ddpm_sampler_destroy(&sampler);
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
}

static void drawing_from_pictures(void **state)
{
    (void)state;
    uint8_t pictures[2 * VALUES];
    float values[2 * VALUES] = {0}, mask[2 * AREA] = {0};
    struct ddpm_sampler *sampler;
    struct ddpm_network *network = tiny_network("timesteps=3 sampler=ancestral");
    const struct ddpm_sampler_options options_ = {
        .size = sizeof options_, .from = 1, .strength = 1, .mask = 1};
    const struct ddpm_draw draw = {.size = sizeof draw,
                                   .count = 1,
                                   .from = values,
                                   .from_count = VALUES,
                                   .mask = mask,
                                   .mask_count = AREA};
    assert_ok(ddpm_sampler_create(network, &options_, &sampler));
    assert_ok(ddpm_sampler_draw(sampler, &draw, pictures, VALUES));
    DRAW_WITH(from, NULL, "from: got NULL, but the sampler was planned with `from`");
    DRAW_WITH(mask, NULL, "mask: got NULL, but the sampler was planned with `mask`");
    DRAW_WITH(init, values, "got init and pictures");
    DRAW_WITH(from_count, VALUES - 1, "from: got 191 values, want 192");
    DRAW_WITH(from_count, 2 * VALUES, "from: got 384 values");
    DRAW_WITH(mask_count, 0, "mask: got 0 values, want 64");
    struct ddpm_draw two = draw;
    two.count = 2;
    two.from_count = 2 * VALUES;
    two.mask_count = 2 * AREA;
    assert_ok(ddpm_sampler_draw(sampler, &two, pictures, 2 * VALUES));
    two.from_count = 3;
    refused(ddpm_sampler_draw(sampler, &two, pictures, 2 * VALUES),
            "want 192 values for one picture, or count times that, which is 384");
    values[9] = INFINITY;
    refused(ddpm_sampler_draw(sampler, &draw, pictures, VALUES), "from: got inf at position 9");
    values[9] = 0;
    mask[3] = 1.5F;
    refused(ddpm_sampler_draw(sampler, &draw, pictures, VALUES), "mask: got 1.5 at position 3");
    mask[3] = NAN;
    refused(ddpm_sampler_draw(sampler, &draw, pictures, VALUES), "mask: got nan at position 3");
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
}

#define SAMPLE_WITH(member, value, part)                                                           \
    do {                                                                                           \
        struct ddpm_sample_options changed = options_;                                             \
        changed.member = value;                                                                    \
        refused(ddpm_sample(network, &changed, pictures, VALUES), part);                           \
    } while (0)

static void sampling_in_one_call(void **state)
{
    (void)state;
    uint8_t pictures[VALUES + 1];
    struct ddpm_network *network = tiny_network("timesteps=3 sampler=ancestral");
    const struct ddpm_sample_options options_ = {.size = sizeof options_, .count = 1};
    refused(ddpm_sample(NULL, &options_, pictures, VALUES), "want a network");
    refused(ddpm_sample(network, NULL, pictures, VALUES), "ddpm_sample_options");
    refused(ddpm_sample(network, &options_, NULL, VALUES), "got NULL as pictures");
    refused(ddpm_sample(network, &options_, pictures, VALUES - 1), "pictures: got");
    refused(ddpm_sample(network, &options_, pictures, VALUES + 1), "pictures: got");
    SAMPLE_WITH(count, 0, "count: got 0, want 1");
    SAMPLE_WITH(count, -1, "count: got -1, want 1 to 2147483647");
    SAMPLE_WITH(count, INT64_MAX, "count: got 9223372036854775807, want 1 to");
    SAMPLE_WITH(first, -1, "first: got -1, want 0 or more");
    SAMPLE_WITH(every, -1, "every");
    SAMPLE_WITH(batch, -1, "batch: got -1, want 0 or more");
    SAMPLE_WITH(height, -8, "height: got -8");
    SAMPLE_WITH(weights, BAD_WEIGHTS, "got weights 7");
    SAMPLE_WITH(clip, 3, "clip: got 3");
    SAMPLE_WITH(sampler, "", "sampler");
    SAMPLE_WITH(steps, 4, "got 4 sampling steps");
    SAMPLE_WITH(spacing, "none", "spacing \"none\"; want leading");
    SAMPLE_WITH(eta, 2, "eta 2");
    SAMPLE_WITH(strength, 0.5, "without pictures");
    const float values[VALUES] = {0};
    SAMPLE_WITH(from, values, "from: got 0 values");
    SAMPLE_WITH(mask, values, "a mask without pictures");
    TRY_SIZES(ddpm_sample_options, options_, sizeof(size_t), DDPM_OK,
              ddpm_sample(network, options, pictures, VALUES));
    ddpm_network_destroy(&network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samplers),
        cmocka_unit_test(samplers_from_pictures),
        cmocka_unit_test(drawing),
        cmocka_unit_test(drawing_from_pictures),
        cmocka_unit_test(sampling_in_one_call),
    };
    return cmocka_run_group_tests_name("library edges: drawing", tests, NULL, NULL);
}

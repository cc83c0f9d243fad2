/* The built-in features: what changes them and what does not. */
#include "evaluation_support.h"

#include "data/resize.h"

/* Features of one picture [height, width, channels]. */
static float *features_of(const uint8_t *pixels, int height, int width, int channels)
{
    struct ddpm_picture_set *set;
    int64_t columns;
    const struct ddpm_picture_set_options options = {
        .size = sizeof options,
        .features = "builtin",
        .height = height,
        .width = width,
        .channels = channels,
        .threads = 1,
    };
    assert_ok(ddpm_picture_set_create(&options, &set));
    assert_ok(
        ddpm_picture_set_add(set, pixels, 1, (size_t)height * (size_t)width * (size_t)channels));
    const float *values = ddpm_picture_set_features(set, &columns);
    assert_int_equal(columns, ddpm_features_at(0).width);
    float *copy = malloc((size_t)columns * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, values, (size_t)columns * sizeof *copy);
    ddpm_picture_set_destroy(&set);
    return copy;
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (int64_t i = 0; i < ddpm_features_at(0).width; ++i)
        sum += (double)((a[i] - b[i]) * (a[i] - b[i]));
    return sqrt(sum);
}

static double distance_of(const uint8_t *a, const uint8_t *b, int side, int channels)
{
    float *x = features_of(a, side, side, channels), *y = features_of(b, side, side, channels);
    const double found = distance(x, y);
    free(x);
    free(y);
    return found;
}

static void the_table(void **state)
{
    (void)state;
    assert_int_equal(ddpm_features_count(), 2);
    assert_string_equal(ddpm_features_at(0).name, "builtin");
    assert_false(ddpm_features_at(0).wants_network);
    assert_string_equal(ddpm_features_at(1).name, "inception");
    assert_true(ddpm_features_at(1).wants_network);
    assert_int_equal(ddpm_features_at(1).width, 2048);
    assert_null(ddpm_features_at(2).name);
    assert_int_equal(ddpm_features_at(2).width, 0);
}

static void every_size_is_finite(void **state)
{
    (void)state;
    static const int sides[][2] = {{1, 1}, {1, 2}, {2, 1}, {2, 3}, {3, 2}, {5, 7}, {8, 8}, {40, 9}};
    static const int channels[] = {1, 3, 4};
    uint8_t *pixels = make_waves(1, 40, 4, 3);
    for (size_t s = 0; s < sizeof sides / sizeof *sides; ++s)
        for (size_t c = 0; c < 3; ++c) {
            float *values = features_of(pixels, sides[s][0], sides[s][1], channels[c]);
            for (int64_t i = 0; i < ddpm_features_at(0).width; ++i)
                assert_true(isfinite(values[i]));
            free(values);
        }
    free(pixels);
}

static void a_mirrored_picture_is_the_same(void **state)
{
    (void)state;
    static const int sides[] = {7, 32, 33};
    for (size_t s = 0; s < sizeof sides / sizeof *sides; ++s) {
        const int side = sides[s];
        const size_t bytes = (size_t)side * (size_t)side * 3;
        uint8_t *pixels = make_waves(2, side, 3, 5), *mirrored = malloc(bytes);
        assert_non_null(mirrored);
        memcpy(mirrored, pixels, bytes);
        ddpm_flip_horizontal(mirrored, side, side, 3);
        const double same = distance_of(pixels, mirrored, side, 3);
        const double other = distance_of(pixels, pixels + bytes, side, 3);
        if (!(same < 1e-5 * other))
            fail_msg("side %d: got %g when mirrored, and %g to another picture", side, same, other);
        free(mirrored);
        free(pixels);
    }
}

static void grey_is_grey_and_opaque_is_opaque(void **state)
{
    (void)state;
    enum { SIDE = 16, AREA = SIDE * SIDE };
    uint8_t *grey = make_waves(1, SIDE, 1, 6), colour[AREA * 3], opaque[AREA * 4];
    for (int i = 0; i < AREA; ++i) {
        for (int c = 0; c < 3; ++c)
            opaque[4 * i + c] = colour[3 * i + c] = grey[i];
        opaque[4 * i + 3] = 255;
    }
    float *one = features_of(grey, SIDE, SIDE, 1), *three = features_of(colour, SIDE, SIDE, 3);
    float *four = features_of(opaque, SIDE, SIDE, 4);
    assert_true(distance(one, three) < 1e-5);
    assert_true(distance(one, four) < 1e-5);
    for (int i = 0; i < AREA; ++i)
        opaque[4 * i + 3] = 0;
    free(four);
    four = features_of(opaque, SIDE, SIDE, 4);
    assert_true(distance(one, four) > 0.1);
    free(one);
    free(three);
    free(four);
    free(grey);
}

/* More noise, and a stronger colour, are farther away. */
static void worse_is_farther(void **state)
{
    (void)state;
    enum { SIDE = 32, BYTES = SIDE * SIDE * 3 };
    uint8_t *picture = make_waves(1, SIDE, 3, 7), *noisy = malloc(BYTES), *tinted = malloc(BYTES);
    double noise_before = 0, tint_before = 0;
    assert_true(noisy && tinted);
    for (int level = 1; level <= 4; ++level) {
        for (int i = 0; i < BYTES; ++i) {
            float z[4];
            ddpm_normal4(ddpm_philox(1, (uint32_t)i, 0, 0, 9), z);
            noisy[i] = (uint8_t)fmin(255, fmax(0, picture[i] + 4.0 * level * (double)z[0]));
            tinted[i] = (uint8_t)fmin(255, picture[i] + (i % 3 == 0 ? 8 * level : 0));
        }
        const double noise = distance_of(picture, noisy, SIDE, 3);
        const double tint = distance_of(picture, tinted, SIDE, 3);
        assert_true(noise > noise_before && tint > tint_before);
        noise_before = noise;
        tint_before = tint;
    }
    free(picture);
    free(noisy);
    free(tinted);
}

static void threads_and_pieces_change_nothing(void **state)
{
    (void)state;
    enum { COUNT = 37, SIDE = 20, BYTES = SIDE * SIDE * 3 };
    uint8_t *pictures = make_waves(COUNT, SIDE, 3, 8);
    struct ddpm_picture_set *one = set_of(pictures, COUNT, SIDE, 3, 1);
    struct ddpm_picture_set *three = set_of(pictures, 5, SIDE, 3, 3);
    int64_t width;
    assert_ok(ddpm_picture_set_add(three, pictures + 5 * BYTES, COUNT - 5, (COUNT - 5) * BYTES));
    assert_int_equal(ddpm_picture_set_count(three), COUNT);
    const float *values = ddpm_picture_set_features(one, &width);
    assert_memory_equal(values, ddpm_picture_set_features(three, NULL),
                        (size_t)(COUNT * width) * sizeof *values);
    ddpm_picture_set_destroy(&one);
    ddpm_picture_set_destroy(&three);
    free(pictures);
}

/* It would need 5 TB, for matrices of 200,000 x 200,000. */
static void too_wide_features_have_no_frechet_distance(void **state)
{
    (void)state;
    enum { ROWS = 10, WIDTH = 200000 };
    float *features = calloc((size_t)ROWS * WIDTH, sizeof *features);
    const struct ddpm_picture_set_options options = {.size = sizeof options};
    struct ddpm_picture_set *set;
    assert_non_null(features);
    for (int i = 0; i < ROWS; ++i)
        features[i * WIDTH + i] = 1;
    assert_ok(ddpm_picture_set_create(&options, &set));
    assert_ok(ddpm_picture_set_give(set, features, ROWS, WIDTH, (size_t)ROWS * WIDTH));
    struct ddpm_evaluation *found = compare(set, set);
    assert_non_null(found->frechet.missing);
    assert_true(strstr(found->frechet.missing, "memory") ||
                strstr(found->frechet.missing, "LAPACK"));
    assert_null(found->kernel.missing);
    assert_true(found->precision.value == 1);
    ddpm_evaluation_destroy(&found);
    ddpm_picture_set_destroy(&set);
    free(features);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(every_size_is_finite),
        cmocka_unit_test(a_mirrored_picture_is_the_same),
        cmocka_unit_test(grey_is_grey_and_opaque_is_opaque),
        cmocka_unit_test(worse_is_farther),
        cmocka_unit_test(threads_and_pieces_change_nothing),
        cmocka_unit_test(too_wide_features_have_no_frechet_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Copies, duplicates, pictures that show nothing; stopping; threads. */
#include "evaluation_support.h"

#include "data/picture_kind.h"
#include "data/resize.h"

enum { COUNT = 60, SIDE = 24, BYTES = SIDE * SIDE * 3, SMALL_SIDE = 12 };

static void fresh_pictures_are_no_copies(void **state)
{
    (void)state;
    uint8_t *a = make_waves(COUNT, SIDE, 3, 1), *b = make_waves(COUNT, SIDE, 3, 2);
    struct ddpm_picture_set *generated = set_of(a, COUNT, SIDE, 3, 2);
    struct ddpm_picture_set *real = set_of(b, COUNT, SIDE, 3, 2);
    struct ddpm_evaluation *found = compare(generated, real);
    assert_null(found->pixels.missing);
    assert_null(found->features.missing);
    assert_true(found->pixels.threshold > 0 && found->features.threshold > 0);
    assert_true(found->pixels.near < COUNT / 4 && found->features.near < COUNT / 4);
    assert_int_equal(found->pixels.same + found->pixels.same_own, 0);
    assert_int_equal(found->kinds[DDPM_PICTURE_USUAL], COUNT);
    ddpm_evaluation_destroy(&found);
    assert_null(found);
    ddpm_picture_set_destroy(&generated);
    ddpm_picture_set_destroy(&real);
    free(a);
    free(b);
}

/* Picture 3 is real picture 7, picture 4 is 8 mirrored, picture 5 is 9 with every fifth value off
 * by one, and 11 is 10 again. */
static void copies_are_found(void **state)
{
    (void)state;
    uint8_t *a = make_waves(COUNT, SIDE, 3, 1), *b = make_waves(COUNT, SIDE, 3, 2);
    memcpy(a + 3 * BYTES, b + 7 * BYTES, BYTES);
    memcpy(a + 4 * BYTES, b + 8 * BYTES, BYTES);
    ddpm_flip_horizontal(a + 4 * BYTES, SIDE, SIDE, 3);
    for (int i = 0; i < BYTES; ++i)
        a[5 * BYTES + i] = (uint8_t)(b[9 * BYTES + i] + (i % 5 == 0));
    memcpy(a + 11 * BYTES, a + 10 * BYTES, BYTES);
    struct ddpm_picture_set *generated = set_of(a, COUNT, SIDE, 3, 2);
    struct ddpm_picture_set *real = set_of(b, COUNT, SIDE, 3, 2);
    struct ddpm_evaluation *found = compare(generated, real);
    const struct ddpm_neighbours *pixels = &found->pixels, *features = &found->features;
    assert_int_equal(pixels->same, 2);
    assert_int_equal(pixels->real[3].index, 7);
    assert_false(pixels->real[3].mirrored);
    assert_int_equal(pixels->real[4].index, 8);
    assert_true(pixels->real[4].mirrored);
    assert_int_equal(pixels->real[5].index, 9);
    assert_true(pixels->real[5].distance > 0 && pixels->real[5].distance < 1);
    assert_true(pixels->near >= 3);
    assert_int_equal(pixels->same_own, 2);
    assert_int_equal(pixels->own[10].index, 11);
    assert_int_equal(pixels->own[11].index, 10);
    for (int i = 3; i < 6; ++i) {
        assert_int_equal(features->real[i].index, i + 4);
        assert_true(features->real[i].distance < features->threshold);
    }
    assert_true(features->real[3].distance == 0 && features->same >= 1);
    ddpm_evaluation_destroy(&found);
    ddpm_picture_set_destroy(&generated);
    ddpm_picture_set_destroy(&real);
    free(a);
    free(b);
}

/* The shares of generated pictures that are near another one, by pixels and by features. */
static void repetition(const uint8_t *a, int64_t count, const uint8_t *b, int64_t other,
                       double shares[2])
{
    struct ddpm_picture_set *generated = set_of(a, count, SMALL_SIDE, 3, 2);
    struct ddpm_picture_set *real = set_of(b, other, SMALL_SIDE, 3, 2);
    struct ddpm_evaluation *found = compare(generated, real);
    shares[0] = (double)found->pixels.near_own / (double)count;
    shares[1] = (double)found->features.near_own / (double)count;
    ddpm_evaluation_destroy(&found);
    ddpm_picture_set_destroy(&generated);
    ddpm_picture_set_destroy(&real);
}

/* Among ten times as many pictures the nearest is nearer, but that is not repetition. */
static void repetition_is_judged_among_equal_numbers(void **state)
{
    (void)state;
    enum { FEW = 100, MANY = 1000, SMALL_BYTES = SMALL_SIDE * SMALL_SIDE * 3 };
    uint8_t *a = make_waves(MANY, SMALL_SIDE, 3, 1), *b = make_waves(MANY, SMALL_SIDE, 3, 2);
    double shares[2];
    repetition(a, MANY, b, FEW, shares);
    assert_true(shares[0] < 0.1 && shares[1] < 0.1);
    repetition(a, FEW, b, MANY, shares);
    assert_true(shares[0] < 0.2 && shares[1] < 0.2);
    for (int i = 40; i < MANY; ++i) /* collapsed to the first forty */
        memcpy(a + (size_t)i * SMALL_BYTES, a + (size_t)(i % 40) * SMALL_BYTES, SMALL_BYTES);
    repetition(a, MANY, b, FEW, shares);
    /* Each is compared with 99 others. 1 in 14 finds none of its 24 copies among these. */
    assert_true(shares[0] > 0.85 && shares[1] > 0.85);
    for (int i = 10; i < MANY; ++i) /* to the first ten: 99 copies of each */
        memcpy(a + (size_t)i * SMALL_BYTES, a + (size_t)(i % 10) * SMALL_BYTES, SMALL_BYTES);
    repetition(a, MANY, b, FEW, shares);
    assert_true(shares[0] == 1 && shares[1] == 1);
    free(a);
    free(b);
}

enum { LONE = 26, CROWD = 1000, PAIR_BYTES = SMALL_SIDE * SMALL_SIDE * 3 };

/* Make picture 2i + 1 nearly equal to picture 2i, as in a burst of photographs. */
static void pair_up(uint8_t *pictures, int count)
{
    for (int i = 1; i < count; i += 2) {
        uint8_t *at = pictures + (size_t)i * PAIR_BYTES;
        memcpy(at, at - PAIR_BYTES, PAIR_BYTES);
        for (int v = i % 7; v < PAIR_BYTES; v += 7)
            at[v] ^= 1;
    }
}

/* Bursts of real pictures stand next to each other in a folder. A generated picture repeats another
 * one whatever the order of the real ones. */
static void the_order_of_real_pictures_does_not_hide_repetition(void **state)
{
    (void)state;
    uint8_t *a = make_waves(LONE, SMALL_SIDE, 3, 1), *b = make_waves(CROWD, SMALL_SIDE, 3, 2);
    uint8_t *shuffled = malloc((size_t)CROWD * PAIR_BYTES);
    double shares[2];
    assert_non_null(shuffled);
    pair_up(a, LONE);
    pair_up(b, CROWD);
    for (int i = 0; i < CROWD; ++i)
        memcpy(shuffled + (size_t)ddpm_permute((uint32_t)i, CROWD, 1, 1) * PAIR_BYTES,
               b + (size_t)i * PAIR_BYTES, PAIR_BYTES);
    repetition(a, LONE, b, CROWD, shares);
    assert_true(shares[0] == 1 && shares[1] == 1);
    repetition(a, LONE, shuffled, CROWD, shares);
    assert_true(shares[0] == 1 && shares[1] == 1);
    free(shuffled);
    free(a);
    free(b);
}

/* The same neighbours as comparing all pairs of full pictures, which are small enough here. */
static void neighbours_are_the_nearest(void **state)
{
    (void)state;
    uint8_t *a = make_waves(COUNT, SIDE, 3, 3), *b = make_waves(COUNT, SIDE, 3, 4);
    struct ddpm_picture_set *generated = set_of(a, COUNT, SIDE, 3, 2);
    struct ddpm_picture_set *real = set_of(b, COUNT, SIDE, 3, 2);
    struct ddpm_evaluation *found = compare(generated, real);
    for (int i = 0; i < COUNT; ++i) {
        double least = INFINITY;
        for (int turn = 0; turn < 2; ++turn) {
            for (int k = 0; k < COUNT; ++k) {
                double sum = 0;
                for (int v = 0; v < BYTES; ++v) {
                    const double d = (double)a[i * BYTES + v] - (double)b[k * BYTES + v];
                    sum += d * d;
                }
                least = fmin(least, sqrt(sum / BYTES));
            }
            ddpm_flip_horizontal(a + i * BYTES, SIDE, SIDE, 3);
        }
        assert_true(fabs(found->pixels.real[i].distance - least) < 1e-9);
    }
    ddpm_evaluation_destroy(&found);
    ddpm_picture_set_destroy(&generated);
    ddpm_picture_set_destroy(&real);
    free(a);
    free(b);
}

static void pictures_that_show_nothing(void **state)
{
    (void)state;
    uint8_t *a = make_waves(COUNT, SIDE, 3, 1);
    memset(a, 0, BYTES);
    memset(a + BYTES, 255, BYTES);
    memset(a + 2 * BYTES, 90, BYTES);
    for (int i = 0; i < BYTES; ++i)
        a[3 * BYTES + i] = (uint8_t)ddpm_philox(1, (uint32_t)i, 0, 0, 9).v[0];
    struct ddpm_picture_set *set = set_of(a, COUNT, SIDE, 3, 2);
    struct ddpm_evaluation *found = compare(set, set);
    assert_int_equal(found->kinds[DDPM_PICTURE_BLACK], 1);
    assert_int_equal(found->kinds[DDPM_PICTURE_WHITE], 1);
    assert_int_equal(found->kinds[DDPM_PICTURE_ONE_COLOUR], 1);
    assert_int_equal(found->kinds[DDPM_PICTURE_NOISE], 1);
    assert_int_equal(found->pixels.same, COUNT); /* compared with itself */
    assert_true(found->precision.value == 1 && found->recall.value == 1);
    assert_true(found->frechet.missing || found->frechet.value < 1e-6);
    ddpm_evaluation_destroy(&found);
    ddpm_picture_set_destroy(&set);
    free(a);
}

/* With given features and pictures, both are compared. */
static void given_features_beside_pictures(void **state)
{
    (void)state;
    uint8_t *a = make_waves(COUNT, SIDE, 3, 1);
    float features[COUNT * 2];
    struct ddpm_picture_set *set;
    const struct ddpm_picture_set_options options = {
        .size = sizeof options, .height = SIDE, .width = SIDE, .channels = 3};
    for (int i = 0; i < COUNT * 2; ++i)
        features[i] = (float)((i * 37) % 101);
    assert_ok(ddpm_picture_set_create(&options, &set));
    assert_ok(ddpm_picture_set_add(set, a, COUNT, COUNT * BYTES));
    assert_int_equal(ddpm_picture_set_give(set, features, COUNT - 1, 2, (COUNT - 1) * 2),
                     DDPM_ERROR_MISMATCH);
    features[5] = NAN;
    assert_int_equal(ddpm_picture_set_give(set, features, COUNT, 2, COUNT * 2),
                     DDPM_ERROR_NOT_FINITE);
    features[5] = 5;
    assert_ok(ddpm_picture_set_give(set, features, COUNT, 2, COUNT * 2));
    struct ddpm_evaluation *found = compare(set, set);
    assert_int_equal(found->width, 2);
    assert_null(found->features.missing);
    assert_null(found->pixels.missing);
    ddpm_evaluation_destroy(&found);
    ddpm_picture_set_destroy(&set);
    free(a);
}

struct stopping {
    int calls, stop_at;
    int64_t before;
};

static int count_down(void *user, const char *what, int64_t done, int64_t total)
{
    struct stopping *stopping = user;
    assert_non_null(what);
    assert_true(done >= stopping->before && done <= total);
    stopping->before = done;
    return ++stopping->calls == stopping->stop_at;
}

static void it_stops_anywhere(void **state)
{
    (void)state;
    uint8_t *a = make_waves(COUNT, SIDE, 3, 1);
    struct ddpm_picture_set *set = set_of(a, COUNT, SIDE, 3, 2);
    struct stopping stopping = {0};
    struct ddpm_evaluate_options options = {
        .size = sizeof options, .threads = 2, .callback = count_down, .user = &stopping};
    struct ddpm_evaluation *found;
    assert_ok(ddpm_evaluate(set, set, &options, &found));
    const int calls = stopping.calls;
    assert_true(calls >= 6);
    ddpm_evaluation_destroy(&found);
    for (int stop = 1; stop <= calls; ++stop) {
        stopping = (struct stopping){.stop_at = stop};
        assert_int_equal(ddpm_evaluate(set, set, &options, &found), DDPM_STOPPED);
        assert_null(found);
    }
    ddpm_picture_set_destroy(&set);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_pictures_are_no_copies),
        cmocka_unit_test(copies_are_found),
        cmocka_unit_test(repetition_is_judged_among_equal_numbers),
        cmocka_unit_test(the_order_of_real_pictures_does_not_hide_repetition),
        cmocka_unit_test(neighbours_are_the_nearest),
        cmocka_unit_test(pictures_that_show_nothing),
        cmocka_unit_test(given_features_beside_pictures),
        cmocka_unit_test(it_stops_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

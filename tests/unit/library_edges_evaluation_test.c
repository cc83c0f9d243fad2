/* Wrong arguments to functions that compare pictures, see library_edges_test.c. */
#include "library_edges.h"

enum { ROWS = 10, WIDTH = 2, COUNT = ROWS * WIDTH };

static const float features[COUNT] = {1, 2,  3,  5,  8, 13, 2, 1, 3, 4,
                                      7, 11, 18, 29, 4, 7,  1, 0, 2, 9};

static ddpm_status create_and_destroy(const struct ddpm_picture_set_options *given)
{
    struct ddpm_picture_set *set;
    ddpm_status status = ddpm_picture_set_create(given, &set);
    ddpm_picture_set_destroy(&set);
    return status;
}

static struct ddpm_picture_set *set_with(const struct ddpm_picture_set_options *given)
{
    struct ddpm_picture_set *set;
    assert_ok(ddpm_picture_set_create(given, &set));
    return set;
}

static void sets(void **state)
{
    (void)state;
    struct ddpm_picture_set *set, *none = NULL;
    struct ddpm_picture_set_options given = {
        .size = sizeof given, .features = "builtin", .height = 4, .width = 5, .channels = 3};
    uint8_t picture[4 * 5 * 3] = {0};
    int64_t width = 7;
    refused(ddpm_picture_set_create(NULL, &set), "ddpm_picture_set_options");
    assert_null(set);
    refused(ddpm_picture_set_create(&given, NULL), "got NULL as out");
    TRY_SIZES(ddpm_picture_set_options, given, sizeof(size_t), DDPM_OK,
              create_and_destroy(options));
    given.features = "inception";
    refused(ddpm_picture_set_create(&given, &set), "got features \"inception\"");
    given.features = "such";
    refused(ddpm_picture_set_create(&given, &set), "got features \"such\"");
    given.features = "builtin";
    given.channels = 2;
    refused(ddpm_picture_set_create(&given, &set), "2 channels");
    given.channels = 3;
    given.height = 0;
    refused(ddpm_picture_set_create(&given, &set), "0x5");
    given.height = 4;
    given.threads = -1;
    refused(ddpm_picture_set_create(&given, &set), "-1 threads");
    given.threads = 1;
    set = set_with(&given);
    refused(ddpm_picture_set_add(NULL, picture, 1, sizeof picture), "got NULL as set");
    refused(ddpm_picture_set_add(set, NULL, 1, sizeof picture), "got NULL as pictures");
    refused(ddpm_picture_set_add(set, picture, 0, 0), "got 0 pictures");
    refused(ddpm_picture_set_add(set, picture, -1, sizeof picture), "got -1 pictures");
    refused(ddpm_picture_set_add(set, picture, 1, sizeof picture - 1), "got a buffer of 59");
    refused(ddpm_picture_set_add(set, picture, INT64_MAX, sizeof picture), "got a buffer of 60");
    refused(ddpm_picture_set_give(set, features, ROWS, WIDTH, COUNT), "has some already");
    assert_null(ddpm_picture_set_features(set, &width));
    assert_int_equal(width, 0);
    assert_ok(ddpm_picture_set_add(set, picture, 1, sizeof picture));
    assert_int_equal(ddpm_picture_set_count(set), 1);
    assert_non_null(ddpm_picture_set_features(set, NULL));
    ddpm_picture_set_destroy(&set);
    ddpm_picture_set_destroy(&set);
    ddpm_picture_set_destroy(&none);
    ddpm_picture_set_destroy(NULL);
    assert_int_equal(ddpm_picture_set_count(NULL), 0);
    assert_null(ddpm_picture_set_features(NULL, &width));
    assert_true(ddpm_features_count() > 0);
    assert_null(ddpm_features_at(SIZE_MAX).name);
}

static void networks(void **state)
{
    (void)state;
    struct ddpm_feature_network *network, *none = NULL;
    refused(ddpm_feature_network_open(NULL, &network), "got NULL as path");
    assert_null(network);
    refused(ddpm_feature_network_open("a.pth", NULL), "got NULL as out");
    assert_int_not_equal(ddpm_feature_network_open("no/such.pth", &network), DDPM_OK);
    assert_null(network);
    ddpm_feature_network_close(&none);
    ddpm_feature_network_close(NULL);

    struct ddpm_picture_set *set;
    struct ddpm_picture_set_options given = {
        .size = sizeof given, .height = 4, .width = 5, .channels = 3};
    given.features = "inception";
    refused(ddpm_picture_set_create(&given, &set), "without a network");
    given.network = (const struct ddpm_feature_network *)&given; /* is not read */
    given.features = "builtin";
    refused(ddpm_picture_set_create(&given, &set), "with a network");
    given.features = NULL;
    refused(ddpm_picture_set_create(&given, &set), "got a network and no features");
}

static void given_features(void **state)
{
    (void)state;
    const struct ddpm_picture_set_options given = {.size = sizeof given};
    struct ddpm_picture_set *set = set_with(&given);
    uint8_t picture[3] = {0};
    refused(ddpm_picture_set_give(NULL, features, ROWS, WIDTH, COUNT), "got NULL as set");
    refused(ddpm_picture_set_give(set, NULL, ROWS, WIDTH, COUNT), "got NULL as features");
    refused(ddpm_picture_set_give(set, features, 0, WIDTH, 0), "got features [0,2]");
    refused(ddpm_picture_set_give(set, features, ROWS, -1, COUNT), "got features [10,-1]");
    refused(ddpm_picture_set_give(set, features, ROWS, WIDTH, COUNT - 1), "got a buffer of 19");
    refused(ddpm_picture_set_give(set, features, INT64_MAX, INT64_MAX, COUNT), "got a buffer");
    refused(ddpm_picture_set_add(set, picture, 1, 3), "size of 0x0");
    assert_ok(ddpm_picture_set_give(set, features, ROWS, WIDTH, COUNT));
    refused(ddpm_picture_set_give(set, features, ROWS, WIDTH, COUNT), "has some already");
    ddpm_picture_set_destroy(&set);
}

static void statistics(void **state)
{
    (void)state;
    const struct ddpm_picture_set_options given = {.size = sizeof given};
    struct ddpm_picture_set *set = set_with(&given), *read;
    refused(ddpm_picture_set_write_statistics(NULL, "a.npz"), "got NULL as set");
    refused(ddpm_picture_set_write_statistics(set, NULL), "got NULL as path");
    refused(ddpm_picture_set_write_statistics(set, "a.npz"), "got features of 0 pictures");
    read = set;
    refused(ddpm_picture_set_read_statistics(NULL, &read), "got NULL as path");
    assert_null(read);
    refused(ddpm_picture_set_read_statistics("a.npz", NULL), "got NULL as out");
    assert_int_not_equal(ddpm_picture_set_read_statistics("no/such.npz", &read), DDPM_OK);
    assert_null(read);
    ddpm_picture_set_destroy(&set);
}

static ddpm_status evaluate_and_destroy(const struct ddpm_picture_set *set,
                                        const struct ddpm_evaluate_options *given)
{
    struct ddpm_evaluation *found;
    ddpm_status status = ddpm_evaluate(set, set, given, &found);
    ddpm_evaluation_destroy(&found);
    return status;
}

static void comparing(void **state)
{
    (void)state;
    const struct ddpm_picture_set_options plain = {.size = sizeof plain};
    const struct ddpm_picture_set_options sized = {
        .size = sizeof sized, .features = "builtin", .height = 1, .width = 1, .channels = 1};
    struct ddpm_evaluate_options given = {.size = sizeof given, .threads = 1};
    struct ddpm_picture_set *set = set_with(&plain), *few = set_with(&plain);
    struct ddpm_picture_set *wide = set_with(&plain), *pictures = set_with(&sized);
    struct ddpm_evaluation *found, *none = NULL;
    struct ddpm_evaluation *const something = (struct ddpm_evaluation *)&given; /* is not read */
    const uint8_t dots[ROWS] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    assert_ok(ddpm_picture_set_give(set, features, ROWS, WIDTH, COUNT));
    assert_ok(ddpm_picture_set_give(wide, features, ROWS, 1, ROWS));
    assert_ok(ddpm_picture_set_give(few, features, ROWS - 1, WIDTH, COUNT - WIDTH));
    assert_ok(ddpm_picture_set_add(pictures, dots, ROWS, sizeof dots));
    found = something;
    refused(ddpm_evaluate(NULL, set, &given, &found), "got NULL as generated");
    assert_null(found);
    found = something;
    refused(ddpm_evaluate(set, NULL, &given, &found), "got NULL as real");
    assert_null(found);
    found = something;
    refused(ddpm_evaluate(set, set, NULL, &found), "ddpm_evaluate_options");
    assert_null(found);
    refused(ddpm_evaluate(set, set, &given, NULL), "got NULL as out");
    TRY_SIZES(ddpm_evaluate_options, given, sizeof(size_t), DDPM_OK,
              evaluate_and_destroy(set, options));
    refused(ddpm_evaluate(few, set, &given, &found), "got 9 generated pictures, want at least");
    assert_null(found);
    refused(ddpm_evaluate(set, few, &given, &found), "got 9 real pictures, want at least 10");
    assert_error(ddpm_evaluate(set, wide, &given, &found), DDPM_ERROR_MISMATCH,
                 "width 2 for the generated pictures and 1");
    assert_error(ddpm_evaluate(set, pictures, &given, &found), DDPM_ERROR_MISMATCH, "width 2");
    given.threads = -2;
    refused(ddpm_evaluate(set, set, &given, &found), "-2 threads");
    ddpm_evaluation_destroy(&none);
    ddpm_evaluation_destroy(NULL);
    ddpm_picture_set_destroy(&set);
    ddpm_picture_set_destroy(&few);
    ddpm_picture_set_destroy(&wide);
    ddpm_picture_set_destroy(&pictures);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets),       cmocka_unit_test(networks),  cmocka_unit_test(given_features),
        cmocka_unit_test(statistics), cmocka_unit_test(comparing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

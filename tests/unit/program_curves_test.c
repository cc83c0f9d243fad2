/* Unit tests of the conclusions drawn from the validation curves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "curves.h"

/* Add measurements at steps 10, 20, … */
static struct ddpm_curves follow(const double (*losses)[2], int count)
{
    struct ddpm_curves curves = {0};
    for (int i = 0; i < count; ++i)
        ddpm_curves_add(&curves,
                        &(struct ddpm_measurement){10 * (i + 1), losses[i][0], losses[i][1]});
    return curves;
}

static void the_best_is_the_first_of_the_lowest(void **state)
{
    (void)state;
    struct ddpm_curves curves = {0};
    assert_true(ddpm_curves_add(&curves, &(struct ddpm_measurement){10, 0.5, 0.5}));
    assert_true(ddpm_curves_add(&curves, &(struct ddpm_measurement){20, 0.4, 0.5}));
    assert_false(ddpm_curves_add(&curves, &(struct ddpm_measurement){30, 0.4, 0.1}));
    assert_false(ddpm_curves_add(&curves, &(struct ddpm_measurement){40, 0.6, 0.1}));
    assert_int_equal(curves.best.step, 20);
    assert_int_equal(curves.since, 2);
    assert_int_equal(curves.last.step, 40);
    assert_true(ddpm_curves_add(&curves, &(struct ddpm_measurement){50, 0.3, 0.1}));
    assert_int_equal(curves.since, 0);
}

static void curves_part_where_only_training_gets_better(void **state)
{
    (void)state;
    static const double losses[][2] = {{0.9, 0.9},   {0.5, 0.49},  {0.51, 0.47}, {0.52, 0.45},
                                       {0.53, 0.43}, {0.54, 0.41}, {0.55, 0.39}, {0.56, 0.37}};
    assert_int_equal(follow(losses, 6).parted, 0); /* four after the best */
    assert_int_equal(follow(losses, 7).parted, 20);
    assert_int_equal(follow(losses, 8).parted, 20);
}

/* On patches neither patience nor overfitting counts, and the first measurement on whole pictures
 * may be worse than the best of them. */
static void measurements_among_patches_end_nothing(void **state)
{
    (void)state;
    struct ddpm_curves curves = {.patches = 70};
    for (int i = 1; i <= 7; ++i)
        ddpm_curves_add(&curves,
                        &(struct ddpm_measurement){10 * i, 0.5 + 0.01 * i, 0.5 - 0.02 * i});
    assert_int_equal(curves.best.step, 10);
    assert_int_equal(curves.since, 0);
    assert_int_equal(curves.parted, 0);
    assert_false(ddpm_curves_add(&curves, &(struct ddpm_measurement){80, 0.7, 0.7}));
    assert_int_equal(curves.since, 0);
    assert_false(ddpm_curves_add(&curves, &(struct ddpm_measurement){90, 0.6, 0.6}));
    assert_int_equal(curves.since, 0);
    for (int i = 1; i <= 5; ++i) {
        assert_int_equal(curves.parted, 0);
        ddpm_curves_add(&curves, &(struct ddpm_measurement){90 + 10 * i, 0.65, 0.5});
        assert_int_equal(curves.since, i);
    }
    assert_int_equal(curves.parted, 90);
    assert_int_equal(curves.best.step, 10);
    assert_true(ddpm_curves_add(&curves, &(struct ddpm_measurement){150, 0.4, 0.4}));
    assert_int_equal(curves.since, 0);
    assert_int_equal(curves.parted, 0);
}

static void flat_curves_do_not_part(void **state)
{
    (void)state;
    /* Both have levelled off; the gap grows by less than one percent of the loss. */
    static const double rest[][2] = {{0.5, 0.49},   {0.5, 0.4895},  {0.501, 0.489}, {0.5, 0.488},
                                     {0.5, 0.4879}, {0.501, 0.488}, {0.5, 0.4878}};
    assert_int_equal(follow(rest, 7).parted, 0);
    /* Both rise: a run that diverges is not overfitting. */
    static const double rising[][2] = {{0.5, 0.4}, {0.6, 0.45}, {0.7, 0.5}, {0.8, 0.5},
                                       {0.9, 0.5}, {1.0, 0.5},  {1.1, 0.5}};
    assert_int_equal(follow(rising, 7).parted, 0);
}

static void a_new_best_takes_it_back(void **state)
{
    (void)state;
    static const double losses[][2] = {{0.5, 0.5},  {0.6, 0.4},  {0.6, 0.4}, {0.6, 0.4},
                                       {0.6, 0.4},  {0.6, 0.4},  {0.4, 0.3}, {0.5, 0.29},
                                       {0.5, 0.28}, {0.5, 0.27}, {0.5, 0.2}, {0.5, 0.2}};
    assert_int_equal(follow(losses, 6).parted, 10);
    assert_int_equal(follow(losses, 7).parted, 0);
    assert_int_equal(follow(losses, 12).parted, 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_is_the_first_of_the_lowest),
        cmocka_unit_test(curves_part_where_only_training_gets_better),
        cmocka_unit_test(measurements_among_patches_end_nothing),
        cmocka_unit_test(flat_curves_do_not_part),
        cmocka_unit_test(a_new_best_takes_it_back),
    };
    return cmocka_run_group_tests_name("program: curves", tests, NULL, NULL);
}

/* Unit tests of the estimated time left of a training run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "outlook.h"

#define assert_seconds(got, want) assert_float_equal(got, want, 1e-9)

static void steps_alone(void **state)
{
    (void)state;
    const struct ddpm_outlook outlook = {.steps = 100};
    assert_seconds(ddpm_outlook_left(&outlook, 40, 0.5), 30);
    assert_seconds(ddpm_outlook_left(&outlook, 100, 0.5), 0);
}

static void steps_on_patches_are_cheaper(void **state)
{
    (void)state;
    struct ddpm_outlook outlook = {.steps = 100, .patch_steps = 60, .patch_cost = 0.25};
    assert_seconds(ddpm_outlook_left(&outlook, 1, 0.5), 59 * 0.5 + 40 * 2.0);
    assert_seconds(ddpm_outlook_left(&outlook, 60, 0.5), 40 * 2.0);
    assert_seconds(ddpm_outlook_left(&outlook, 61, 2.0), 39 * 2.0);
    assert_seconds(ddpm_outlook_left(&outlook, 100, 2.0), 0);
    /* guesses are in steps on whole pictures */
    outlook.sample_every = 50;
    outlook.grid_in_steps = 10;
    assert_seconds(ddpm_outlook_left(&outlook, 10, 0.5), 50 * 0.5 + 40 * 2.0 + 2 * 10 * 2.0);
}

static void grids_count_where_they_are_due(void **state)
{
    (void)state;
    struct ddpm_outlook outlook = {.steps = 100, .sample_every = 30, .grid_in_steps = 10};
    /* not drawn yet: 30, 60, 90 and the end, ten steps each */
    assert_seconds(ddpm_outlook_left(&outlook, 1, 1), 99 + 40);
    assert_seconds(ddpm_outlook_left(&outlook, 30, 1),
                   70 + 40); /* the one at 30 is still to come */
    assert_seconds(ddpm_outlook_left(&outlook, 31, 1), 69 + 30);
    ddpm_share_add(&outlook.grids, 30);
    ddpm_share_add(&outlook.grids, 20);
    assert_seconds(ddpm_outlook_left(&outlook, 31, 1), 69 + 75); /* as measured */
    assert_seconds(ddpm_outlook_left(&outlook, 100, 1), 25);     /* "left 00:00" was wrong here */
    outlook.sample_every = 50; /* the end is drawn anyway, so count it once */
    assert_seconds(ddpm_outlook_left(&outlook, 99, 1), 1 + 25);
    outlook.grid_in_steps = 0; /* too many channels for a PNG */
    assert_seconds(ddpm_outlook_left(&outlook, 99, 1), 1);
}

static void checkpoints_count_once_measured(void **state)
{
    (void)state;
    struct ddpm_outlook outlook = {.steps = 100, .save_every = 40};
    assert_seconds(ddpm_outlook_left(&outlook, 10, 1), 90);
    ddpm_share_add(&outlook.checkpoints, 2);
    assert_seconds(ddpm_outlook_left(&outlook, 41, 1), 59 + 4); /* 80 and the end */
    outlook.save_every = 0;                                     /* only the end */
    assert_seconds(ddpm_outlook_left(&outlook, 41, 1), 59 + 2);
}

static void a_grid_is_guessed_from_its_forward_passes(void **state)
{
    (void)state;
    assert_seconds(ddpm_grid_in_steps(300, 16, 32), 50);
}

static void measurements_count_where_they_are_due(void **state)
{
    (void)state;
    struct ddpm_outlook outlook = {.steps = 100, .validate_every = 40, .validation_in_steps = 5};
    assert_seconds(ddpm_outlook_left(&outlook, 1, 2), 2 * (99 + 3 * 5)); /* 40, 80 and the end */
    ddpm_share_add(&outlook.validations, 7);
    assert_seconds(ddpm_outlook_left(&outlook, 41, 2), 2 * 59 + 2 * 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_alone),
        cmocka_unit_test(steps_on_patches_are_cheaper),
        cmocka_unit_test(grids_count_where_they_are_due),
        cmocka_unit_test(checkpoints_count_once_measured),
        cmocka_unit_test(a_grid_is_guessed_from_its_forward_passes),
        cmocka_unit_test(measurements_count_where_they_are_due),
    };
    return cmocka_run_group_tests_name("program_outlook", tests, NULL, NULL);
}

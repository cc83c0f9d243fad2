/* How many weight sets and parts a graph can have, and how its parts run. */
#include "graph_support.h"

static void too_many_sets_are_refused(void **state)
{
    (void)state;
    struct ddpm_weight_set sets[DDPM_MAX_WEIGHT_SETS + 1];
    struct ddpm_graph *g;
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    struct ddpm_value *x = picture(g);
    for (int i = 0; i < DDPM_MAX_WEIGHT_SETS; ++i) {
        sets[i] = DDPM_EMPTY_WEIGHT_SET;
        ddpm_graph_use(g, &sets[i], 0);
        ddpm_graph_use(g, &sets[i / 2], 0); /* known already */
        ddpm_graph_use(g, &sets[i], 0);
        x = ddpm_conv2d(g, x, "c", CHANNELS, 1, 0);
    }
    assert_ok(g->status);
    sets[DDPM_MAX_WEIGHT_SETS] = DDPM_EMPTY_WEIGHT_SET;
    ddpm_graph_use(g, &sets[DDPM_MAX_WEIGHT_SETS], 0);
    assert_int_equal(g->status, DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "more than 8 weight sets"));
    assert_null(ddpm_conv2d(g, x, "c", CHANNELS, 1, 0));
    assert_int_equal(ddpm_graph_plan(g, NULL), DDPM_ERROR_ARGUMENT);
    ddpm_graph_destroy(&g);
    for (int i = 0; i <= DDPM_MAX_WEIGHT_SETS; ++i)
        ddpm_weight_set_clear(&sets[i]);

    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    assert_null(ddpm_conv2d(g, picture(g), "c", CHANNELS, 1, 0));
    assert_int_equal(g->status, DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "before its weight set"));
    ddpm_graph_destroy(&g);
}

/* y = Σ x over the maximum number of parts, each run more than once. */
static void parts_run_in_any_number(void **state)
{
    (void)state;
    struct ddpm_device *device = open_device("cpu");
    struct ddpm_graph *g;
    const float one[COUNT] = {1}, none[COUNT] = {0};
    float got[COUNT];
    int parts[DDPM_MAX_PARTS];
    const int columns[DDPM_COMBINED] = {0, 0};
    const float row[BATCH] = {1, 1};
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    struct ddpm_value *x = picture(g), *y = picture(g),
                      *rows = ddpm_graph_input(g, DDPM_F32, BATCH, 1, 1, 1);
    for (int i = 0; i < DDPM_MAX_PARTS; ++i) {
        parts[i] = ddpm_graph_begin_part(g, "sum");
        assert_int_equal(parts[i], i);
        struct ddpm_value *const both[DDPM_COMBINED] = {x, y};
        ddpm_combine(g, rows, columns, both, false, DDPM_F32, y);
    }
    assert_ok(ddpm_graph_plan(g, device));
    assert_ok(ddpm_graph_write(g, rows, row));
    assert_ok(ddpm_graph_write(g, x, one));
    assert_ok(ddpm_graph_write(g, y, none));
    for (int i = 0; i < DDPM_MAX_PARTS; ++i)
        for (int k = 0; k <= i % 3; ++k)
            assert_ok(ddpm_graph_run(g, parts[i]));
    assert_ok(ddpm_graph_read(g, y, got));
    int wanted = 0;
    for (int i = 0; i < DDPM_MAX_PARTS; ++i)
        wanted += 1 + i % 3;
    assert_int_equal((int)got[0], wanted);
    assert_int_equal(ddpm_graph_begin_part(g, "one too many"), 0);
    assert_int_equal(g->status, DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "more than 32 parts"));
    ddpm_graph_destroy(&g);
    ddpm_device_close(&device);
}

/* An empty part has nothing to run, and a graph without a first part has one called "forward". */
static void parts_may_be_empty(void **state)
{
    (void)state;
    struct ddpm_device *device = open_device("cpu");
    struct ddpm_graph *g;
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    assert_int_equal(ddpm_graph_begin_part(g, "nothing"), 0);
    assert_int_equal(ddpm_graph_begin_part(g, "something"), 1);
    ddpm_graph_keep(ddpm_gelu(g, picture(g)));
    assert_int_equal(ddpm_graph_begin_part(g, "nothing more"), 2);
    assert_ok(ddpm_graph_plan(g, device));
    for (int part = 0; part < 3; ++part) {
        assert_ok(ddpm_graph_run(g, part));
        assert_int_equal(g->parts[part].end - g->parts[part].begin, part == 1);
    }
    ddpm_graph_destroy(&g);
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    ddpm_graph_keep(ddpm_gelu(g, picture(g)));
    assert_string_equal(g->parts[0].name, "forward");
    assert_int_equal(ddpm_graph_begin_part(g, "second"), 1);
    ddpm_graph_destroy(&g);
    ddpm_device_close(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_sets_are_refused),
        cmocka_unit_test(parts_run_in_any_number),
        cmocka_unit_test(parts_may_be_empty),
    };
    return cmocka_run_group_tests_name("parts of graphs", tests, NULL, NULL);
}

/* Graphs with sums of pictures and weighted losses: what the builders accept, and what runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "graph/graph.h"
#include "graph/ops.h"

enum { IMAGES = 2, ELEMENTS = IMAGES * 4 };

struct fixture {
    struct ddpm_graph *graph;
    struct ddpm_device *device;
};

static void open_fixture(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(ddpm_graph_create(DDPM_F32, &f->graph), DDPM_OK);
    assert_int_equal(
        ddpm_device_open("cpu", &(struct ddpm_device_options){.threads = 1}, &f->device), DDPM_OK);
}

static void close_fixture(struct fixture *f)
{
    ddpm_graph_destroy(&f->graph);
    ddpm_device_close(&f->device);
}

static struct ddpm_value *image(struct fixture *f)
{
    return ddpm_graph_input(f->graph, DDPM_F32, IMAGES, 2, 2, 1);
}

static void a_sum_goes_where_it_is_told(void **unused)
{
    (void)unused;
    struct fixture f;
    open_fixture(&f);
    struct ddpm_value *table = ddpm_graph_input(f.graph, DDPM_F32, 3, 1, 1, 2),
                      *t = ddpm_graph_input(f.graph, DDPM_I32, IMAGES, 1, 1, 1),
                      *rows = ddpm_gather_rows(f.graph, table, t), *x = image(&f), *y = image(&f);
    struct ddpm_value *const both[DDPM_COMBINED] = {x, NULL, NULL, y};
    const int columns[DDPM_COMBINED] = {1, 9, -9, 0};
    struct ddpm_value *fresh = ddpm_combine(f.graph, rows, columns, both, true, DDPM_F32, NULL);
    ddpm_graph_keep(fresh);
    assert_ptr_not_equal(fresh, x);
    assert_ptr_equal(ddpm_combine(f.graph, rows, columns, both, false, DDPM_F32, x), x);
    assert_int_equal(ddpm_graph_plan(f.graph, f.device), DDPM_OK);

    const float coefficients[6] = {8, 9, 0.5f, 2, -1, 0}, ones[ELEMENTS] = {1, 1, 1, 1, 1, 1, 1, 1};
    const int32_t timesteps[IMAGES] = {1, 2};
    assert_int_equal(ddpm_graph_write(f.graph, table, coefficients), DDPM_OK);
    assert_int_equal(ddpm_graph_write(f.graph, t, timesteps), DDPM_OK);
    assert_int_equal(ddpm_graph_write(f.graph, x, ones), DDPM_OK);
    assert_int_equal(ddpm_graph_write(f.graph, y, ones), DDPM_OK);
    assert_int_equal(ddpm_graph_run(f.graph, 0), DDPM_OK);
    float clamped[ELEMENTS], sums[ELEMENTS];
    assert_int_equal(ddpm_graph_read(f.graph, fresh, clamped), DDPM_OK);
    assert_int_equal(ddpm_graph_read(f.graph, x, sums), DDPM_OK);
    for (int i = 0; i < ELEMENTS; ++i) {
        assert_true(clamped[i] == (i < 4 ? 1.0f : -1.0f));
        assert_true(sums[i] == (i < 4 ? 2.5f : -1.0f));
    }
    close_fixture(&f);
}

static void what_does_not_fit_is_refused(void **unused)
{
    (void)unused;
    for (int wrong = 0; wrong < 2; ++wrong) {
        struct fixture f;
        open_fixture(&f);
        struct ddpm_value *rows = ddpm_graph_input(f.graph, DDPM_F32, IMAGES, 1, 1, 2);
        struct ddpm_value *const inputs[DDPM_COMBINED] = {
            image(&f), wrong ? ddpm_graph_input(f.graph, DDPM_F32, IMAGES, 2, 3, 1) : image(&f)};
        const int columns[DDPM_COMBINED] = {0, wrong ? 1 : 2};
        assert_null(ddpm_combine(f.graph, rows, columns, inputs, false, DDPM_F32, NULL));
        assert_int_equal(f.graph->status, wrong ? DDPM_ERROR_MISMATCH : DDPM_ERROR_ARGUMENT);
        assert_string_equal(ddpm_error_message(), wrong
                                                      ? "combine: the shapes of two pictures differ"
                                                      : "combine: got column 2, want 0 to 1");
        close_fixture(&f);
    }
}

static void a_weight_scales_its_picture(void **unused)
{
    (void)unused;
    struct fixture f;
    open_fixture(&f);
    struct ddpm_value *x = image(&f), *target = image(&f),
                      *rows = ddpm_graph_input(f.graph, DDPM_F32, IMAGES, 1, 1, 3),
                      *weight = ddpm_graph_view(f.graph, rows, 1, 1);
    struct ddpm_value *loss = ddpm_loss_per_picture(f.graph, x, target, weight, DDPM_LOSS_L2);
    struct ddpm_value *gradient = ddpm_loss_gradient(f.graph, x, target, weight, DDPM_LOSS_L2, 4);
    ddpm_graph_keep(gradient);
    assert_int_equal(ddpm_graph_plan(f.graph, f.device), DDPM_OK);
    const float weights[6] = {9, 3, 9, 9, 0, 9}, twos[ELEMENTS] = {2, 2, 2, 2, 2, 2, 2, 2};
    const float zeros[ELEMENTS] = {0};
    assert_int_equal(ddpm_graph_write(f.graph, rows, weights), DDPM_OK);
    assert_int_equal(ddpm_graph_write(f.graph, x, twos), DDPM_OK);
    assert_int_equal(ddpm_graph_write(f.graph, target, zeros), DDPM_OK);
    assert_int_equal(ddpm_graph_run(f.graph, 0), DDPM_OK);
    float losses[IMAGES], slopes[ELEMENTS];
    assert_int_equal(ddpm_graph_read(f.graph, loss, losses), DDPM_OK);
    assert_int_equal(ddpm_graph_read(f.graph, gradient, slopes), DDPM_OK);
    assert_true(losses[0] == 12 && losses[1] == 0);
    for (int i = 0; i < ELEMENTS; ++i) /* 3 · 4/8 · 2·2 */
        assert_true(slopes[i] == (i < 4 ? 6.0f : 0.0f));
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_goes_where_it_is_told),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_weight_scales_its_picture),
    };
    return cmocka_run_group_tests_name("combine", tests, NULL, NULL);
}

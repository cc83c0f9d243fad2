/* The plan: no output overwrites values that are still needed; impossible sizes, and calls for
 * which the backend has no kernel, are errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/memory.h"
#include "core/random.h"
#include "graph/ops.h"

#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        if ((expression) != DDPM_OK)                                                               \
            fail_msg("%s: %s", #expression, ddpm_error_message());                                 \
    } while (0)

#define VALUES ((size_t)(4 * 4 * 3))

/* y = conv(a) + a with a = GELU(x): one fused convolution whose residual is its input. */
static void run_residual_of_itself(bool keep_input, float y[VALUES])
{
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
    struct ddpm_device_options options = {.threads = 1};
    struct ddpm_device *device;
    struct ddpm_graph *g;
    float x[VALUES];
    assert_ok(ddpm_device_open("ref", &options, &device));
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    ddpm_graph_use(g, &set, 0);
    struct ddpm_value *in = ddpm_graph_input(g, DDPM_F32, 1, 4, 4, 3);
    struct ddpm_value *a = ddpm_gelu(g, in);
    struct ddpm_value *out = ddpm_add(g, ddpm_conv2d(g, a, "c", 3, 3, 1), a);
    if (keep_input)
        ddpm_graph_keep(a);
    struct ddpm_value *result = ddpm_gelu(g, out);
    ddpm_graph_keep(result);
    ddpm_graph_fuse(g, ~0u);
    assert_int_equal(g->node_count, 3);
    assert_ok(ddpm_weight_set_allocate(&set, device, 0));
    assert_ok(ddpm_weight_set_initialize(&set, 1));
    assert_ok(ddpm_graph_plan(g, device));
    ddpm_fill_normal(x, (int64_t)VALUES, 1, DDPM_STREAM_BENCH, 0, 0);
    assert_ok(ddpm_graph_write(g, in, x));
    assert_ok(ddpm_graph_run(g, 0));
    assert_ok(ddpm_graph_read(g, result, y));
    ddpm_graph_destroy(&g);
    ddpm_weight_set_clear(&set);
    ddpm_device_close(&device);
}

static void an_input_read_twice_is_not_overwritten(void **state)
{
    (void)state;
    float kept[VALUES], planned[VALUES];
    run_residual_of_itself(true, kept);
    run_residual_of_itself(false, planned);
    assert_memory_equal(kept, planned, sizeof kept);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    struct ddpm_graph *g;
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    assert_null(ddpm_graph_input(g, DDPM_F32, 65536, 8192, 8192, (int64_t)1 << 26));
    assert_int_equal(g->status, DDPM_ERROR_MEMORY);
    ddpm_graph_destroy(&g);
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    assert_null(ddpm_graph_input(g, DDPM_F32, 1, INT64_MAX / 2, 8192, 3));
    assert_int_equal(g->status, DDPM_ERROR_MEMORY);
    ddpm_graph_destroy(&g);
}

/* The reference backend has a kernel that the CPU lacks, but it must not be used. */
static void a_call_without_a_kernel_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const devices[] = {"cpu", "ref"};
    for (int i = 0; i < 2; ++i) {
        struct ddpm_device_options options = {.threads = 1};
        struct ddpm_device *device;
        struct ddpm_graph *g;
        assert_ok(ddpm_device_open(devices[i], &options, &device));
        assert_ok(ddpm_graph_create(DDPM_F64, &g));
        ddpm_graph_enter(g, "head");
        ddpm_gelu(g, ddpm_graph_input(g, DDPM_F64, 2, 4, 4, 3));
        const ddpm_status status = ddpm_graph_plan(g, device);
        assert_int_equal(status, i ? DDPM_OK : DDPM_ERROR_UNSUPPORTED);
        if (!i)
            assert_string_equal(ddpm_error_message(), "head.gelu: the cpu backend has no "
                                                      "activation kernel for fp64 [2,4,4,3]");
        ddpm_graph_destroy(&g);
        ddpm_device_close(&device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_input_read_twice_is_not_overwritten),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(a_call_without_a_kernel_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}

/* Wrong arguments to functions that measure likelihoods, see library_edges_test.c; and the result
 * of a stopped measurement. */
#include "library_edges.h"

#include <ddpm/likelihood.h>

enum { PICTURES = 3 };

/* With one option changed, a measurement fails with `part` in the text. */
#define LIKELIHOOD_WITH(member, value, part)                                                       \
    do {                                                                                           \
        struct ddpm_likelihood_options changed = options_;                                         \
        changed.member = value;                                                                    \
        refused(ddpm_likelihood_create(network, &changed, &likelihood), part);                     \
        assert_null(likelihood);                                                                   \
        refused(ddpm_likelihood_measure(network, &changed, &plan), part);                          \
    } while (0)

static ddpm_status create_and_destroy(struct ddpm_network *network,
                                      const struct ddpm_likelihood_options *options)
{
    struct ddpm_likelihood *likelihood;
    ddpm_status status = ddpm_likelihood_create(network, options, &likelihood);
    ddpm_likelihood_destroy(&likelihood);
    return status;
}

static void plans(void **state)
{
    (void)state;
    struct ddpm_likelihood *likelihood;
    struct ddpm_memory_plan plan;
    struct ddpm_network *network = tiny_network("objective=v"), *flow;
    const struct ddpm_likelihood_options options_ = {.size = sizeof options_};
    refused(ddpm_likelihood_create(NULL, &options_, &likelihood), "want a network");
    refused(ddpm_likelihood_create(network, NULL, &likelihood), "ddpm_likelihood_options");
    refused(ddpm_likelihood_create(network, &options_, NULL), "got NULL as out");
    refused(ddpm_likelihood_measure(NULL, &options_, &plan), "got NULL as network");
    refused(ddpm_likelihood_measure(network, NULL, &plan), "ddpm_likelihood_options");
    refused(ddpm_likelihood_measure(network, &options_, NULL), "got NULL as out");
    LIKELIHOOD_WITH(method, (enum ddpm_likelihood_method)7, "got method 7");
    LIKELIHOOD_WITH(levels, 1, "got 1 levels");
    LIKELIHOOD_WITH(levels, -1, "got -1 levels");
    LIKELIHOOD_WITH(steps, -1, "got -1 steps");
    LIKELIHOOD_WITH(steps, INT64_MAX, "steps");
    LIKELIHOOD_WITH(probes, -1, "-1 probes");
    LIKELIHOOD_WITH(probes, 101, "101 probes, want at most 100000 and 100");
    LIKELIHOOD_WITH(batch, -1, "batch -1");
    LIKELIHOOD_WITH(batch, INT64_MAX, "batch 9223372036854775807");
    LIKELIHOOD_WITH(pictures, -1, "-1 pictures");
    LIKELIHOOD_WITH(height, -8, "-8x0");
    LIKELIHOOD_WITH(width, INT64_MAX, "sides up to 65536");
    LIKELIHOOD_WITH(width, 9, "9");
    LIKELIHOOD_WITH(weights, BAD_WEIGHTS, "got weights 7");
    LIKELIHOOD_WITH(clip, 2, "clip 2");
    TRY_SIZES(ddpm_likelihood_options, options_, sizeof(size_t), DDPM_OK,
              create_and_destroy(network, options));
    ddpm_likelihood_destroy(NULL);
    assert_null(ddpm_likelihood_result(NULL));
    assert_null(ddpm_likelihood_in_force(NULL));
    ddpm_network_destroy(&network);
    flow = tiny_network("objective=flow");
    struct ddpm_likelihood_options bound = options_;
    bound.method = DDPM_LIKELIHOOD_BOUND;
    refused(ddpm_likelihood_create(flow, &bound, &likelihood), "objective flow");
    ddpm_network_destroy(&flow);
}

static void pictures(void **state)
{
    (void)state;
    struct ddpm_likelihood *likelihood;
    struct ddpm_network *network = tiny_network("objective=v");
    const struct ddpm_likelihood_options options = {.size = sizeof options, .batch = 4};
    const uint8_t bytes[PICTURES * VALUES] = {0};
    assert_ok(ddpm_likelihood_create(network, &options, &likelihood));
    refused(ddpm_likelihood_add(NULL, bytes, 1, VALUES), "got NULL as likelihood");
    refused(ddpm_likelihood_add(likelihood, NULL, 1, VALUES), "got NULL as pictures");
    refused(ddpm_likelihood_add(likelihood, bytes, 0, 0), "got 0 pictures");
    refused(ddpm_likelihood_add(likelihood, bytes, -1, VALUES), "got -1 pictures");
    refused(ddpm_likelihood_add(likelihood, bytes, INT64_MAX, VALUES), "pictures");
    refused(ddpm_likelihood_add(likelihood, bytes, 1, VALUES - 1), "got a buffer of");
    const struct ddpm_likelihood_result *result = ddpm_likelihood_result(likelihood);
    assert_int_equal(result->pictures, 0);
    assert_true(result->total.bits == 0 && result->total.error == 0);
    assert_ok(ddpm_likelihood_add(likelihood, bytes, 1, VALUES));
    result = ddpm_likelihood_result(likelihood);
    assert_int_equal(result->pictures, 1);
    assert_true(result->total.bits > 0 && result->total.error == 0);
    assert_int_equal(ddpm_likelihood_in_force(likelihood)->batch, 4);
    assert_int_equal(result->evaluations, result->level_count);
    ddpm_likelihood_destroy(&likelihood);
    ddpm_likelihood_destroy(&likelihood);
    ddpm_network_destroy(&network);
}

/* With a declared network one can find out how much memory a measurement needs; the flow needs
 * more. */
static void memory(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("objective=v"), *declared;
    struct ddpm_likelihood_options options = {.size = sizeof options, .batch = 2};
    struct ddpm_likelihood *likelihood;
    struct ddpm_memory_plan bound, flow, larger;
    assert_ok(ddpm_network_declare(NULL, ddpm_network_config(network), &declared));
    refused(ddpm_likelihood_create(declared, &options, &likelihood), "without weights");
    assert_ok(ddpm_likelihood_measure(declared, &options, &bound));
    options.method = DDPM_LIKELIHOOD_FLOW;
    assert_ok(ddpm_likelihood_measure(declared, &options, &flow));
    options.batch = 4;
    assert_ok(ddpm_likelihood_measure(declared, &options, &larger));
    assert_true(flow.activations > bound.activations && flow.host > bound.host);
    assert_true(flow.flops_per_step > 1.5 * bound.flops_per_step);
    assert_true(larger.activations > flow.activations && larger.host == 2 * flow.host);
    ddpm_network_destroy(&declared);
    ddpm_network_destroy(&network);
}

/* Stops at the first evaluation beyond `most`. */
static int stop(void *user, int64_t done, int64_t total)
{
    const int64_t *most = user;
    assert_true(done > 0 && done <= total);
    return done > *most;
}

/* Finished pictures count, with the same numbers as without a stop. */
static void cut_short(void **state)
{
    (void)state;
    static const char *const objectives[] = {"objective=v", "objective=flow"};
    uint8_t bytes[PICTURES * VALUES];
    for (int i = 0; i < PICTURES * VALUES; ++i)
        bytes[i] = (uint8_t)(i * 37);
    for (int k = 0; k < 2; ++k) {
        struct ddpm_network *network = tiny_network(objectives[k]);
        struct ddpm_likelihood *whole, *part;
        struct ddpm_likelihood_options options = {
            .size = sizeof options, .batch = 1, .steps = 2, .seed = 5};
        assert_ok(ddpm_likelihood_create(network, &options, &whole));
        assert_ok(ddpm_likelihood_add(whole, bytes, PICTURES, sizeof bytes));
        int64_t most = 2 * ddpm_likelihood_result(whole)->evaluations;
        options.callback = stop;
        options.user = &most;
        assert_ok(ddpm_likelihood_create(network, &options, &part));
        assert_int_equal(ddpm_likelihood_add(part, bytes, PICTURES, sizeof bytes), DDPM_STOPPED);
        assert_int_equal(ddpm_likelihood_result(part)->pictures, 2);
        most = INT64_MAX;
        assert_ok(ddpm_likelihood_add(part, bytes + 2 * VALUES, 1, VALUES));
        const struct ddpm_likelihood_result *a = ddpm_likelihood_result(whole);
        const struct ddpm_likelihood_result *b = ddpm_likelihood_result(part);
        for (int i = 0; i < PICTURES; ++i)
            assert_true(a->of_pictures[i] == b->of_pictures[i]);
        assert_true(a->total.bits == b->total.bits && a->total.error == b->total.error);
        assert_true(a->total.error > 0);
        ddpm_likelihood_destroy(&whole);
        ddpm_likelihood_destroy(&part);
        ddpm_network_destroy(&network);
    }
}

/* With a weight that is not finite, the error names the picture it spoils; earlier ones stay. */
static void not_finite(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("objective=v");
    struct ddpm_likelihood *likelihood;
    const struct ddpm_likelihood_options options = {.size = sizeof options};
    const uint8_t bytes[VALUES] = {0};
    float weights[PARAMETER];
    for (int i = 0; i < PARAMETER; ++i)
        weights[i] = INFINITY;
    assert_ok(ddpm_likelihood_create(network, &options, &likelihood));
    assert_ok(ddpm_likelihood_add(likelihood, bytes, 1, sizeof bytes));
    assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_MODEL, NAME, weights, PARAMETER));
    assert_error(ddpm_likelihood_add(likelihood, bytes, 1, sizeof bytes), DDPM_ERROR_NOT_FINITE,
                 "picture 1: got a likelihood that is not finite");
    assert_int_equal(ddpm_likelihood_result(likelihood)->pictures, 1);
    ddpm_likelihood_destroy(&likelihood);
    ddpm_network_destroy(&network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans),     cmocka_unit_test(pictures),   cmocka_unit_test(memory),
        cmocka_unit_test(cut_short), cmocka_unit_test(not_finite),
    };
    return cmocka_run_group_tests_name("edges of likelihoods", tests, NULL, NULL);
}

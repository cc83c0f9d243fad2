/* Gradients summed in the order of shares, in one process; and the order in which a backward pass
 * finishes gradients. */
#include "library_support.h"

#include "core/processors.h"
#include "graph/buckets.h"
#include "training/inspect.h"

enum { STEPS = 3 };

struct run {
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
};

static struct run open_run(const char *pictures, const char *options)
{
    struct run run;
    run.config = tiny_config(options);
    assert_ok(ddpm_config_set(run.config, "data", pictures));
    assert_ok(ddpm_network_create(run.config, &run.network));
    assert_ok(ddpm_data_open(run.config, &run.data));
    assert_ok(ddpm_trainer_create(run.network, NULL, run.data, &run.trainer));
    return run;
}

static void close_run(struct run *run)
{
    ddpm_trainer_destroy(&run->trainer);
    ddpm_data_close(&run->data);
    ddpm_network_destroy(&run->network);
    ddpm_config_destroy(&run->config);
}

/* The losses of two runs are the same up to rounding. */
static void assert_near(const char *pictures, const char *a_options, const char *b_options)
{
    struct run a = open_run(pictures, a_options), b = open_run(pictures, b_options);
    for (int i = 0; i < STEPS; ++i) {
        struct ddpm_step_result x, y;
        assert_ok(ddpm_trainer_step(a.trainer, &x));
        assert_ok(ddpm_trainer_step(b.trainer, &y));
        assert_true(fabs(x.loss - y.loss) < 1e-6 * (i + 1));
        assert_true(fabs(x.grad_norm - y.grad_norm) < 1e-4 * x.grad_norm);
    }
    close_run(&a);
    close_run(&b);
}

static void shares_are_the_same_training(void **state)
{
    (void)state;
    char *folder = make_folder();
    const char *pictures = in_folder(folder, "p.npy");
    write_pictures(pictures, 9, 8);
    assert_near(pictures, "batch-size=4", "batch-size=4 reduce=exact shares=1");
    assert_near(pictures, "batch-size=4", "batch-size=4 reduce=exact shares=4");
    assert_near(pictures, "batch-size=6 accumulate=2 timestep-per-batch=on",
                "batch-size=6 accumulate=2 timestep-per-batch=on reduce=exact shares=3");
    assert_near(pictures, "batch-size=4 objective=flow",
                "batch-size=4 objective=flow reduce=exact shares=2");
    assert_near(pictures, "batch-size=4 accumulate=2 level-sampling=stratified",
                "batch-size=4 accumulate=2 level-sampling=stratified reduce=exact shares=2");
    assert_near(pictures, "batch-size=4 noise-candidates=3 rotate=on optimizer=muon ema=power",
                "batch-size=4 noise-candidates=3 rotate=on optimizer=muon ema=power reduce=exact "
                "shares=2");
    remove_folder(folder);
}

static void a_batch_that_cannot_be_cut_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *options, *text;
    } cases[] = {
        {"batch-size=6 reduce=exact", "got 6 pictures for 4 shares, want a multiple: the nearest "
                                      "are 4 and 8"},
        {"batch-size=2 reduce=exact", "got 2 pictures for 4 shares, want at least one for each"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        struct ddpm_network *network = tiny_network(cases[i].options);
        struct ddpm_trainer *trainer;
        assert_error(ddpm_trainer_create(network, NULL, NULL, &trainer), DDPM_ERROR_ARGUMENT,
                     cases[i].text);
        assert_null(trainer);
        ddpm_network_destroy(&network);
    }
}

static void shares_count_as_memory(void **state)
{
    (void)state;
    struct ddpm_network *one = tiny_network("batch-size=4 reduce=exact shares=1");
    struct ddpm_network *two = tiny_network("batch-size=4 reduce=exact shares=2");
    struct ddpm_memory_plan without, with;
    assert_ok(ddpm_trainer_measure(one, NULL, &without));
    assert_ok(ddpm_trainer_measure(two, NULL, &with));
    const uint64_t slab = (uint64_t)ddpm_network_weight_count(one) * sizeof(float);
    const uint64_t more = with.weights + with.host, less = without.weights + without.host;
    assert_true(more + slab / 4 >= less + 2 * slab); /* batches are smaller */
    assert_true(more <= less + 3 * slab);
    ddpm_network_destroy(&one);
    ddpm_network_destroy(&two);
}

static void buckets_cover_the_slab_in_the_order_of_the_pass(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    struct ddpm_trainer *trainer;
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    const struct ddpm_trainer_view view = ddpm_trainer_inspect(trainer);
    const size_t slab = (size_t)view.weights->parameters.slab_count;
    for (size_t least = 1; least <= 2 * slab; least *= 16) {
        struct ddpm_bucket *buckets;
        size_t count, covered = 0, largest = 0;
        assert_ok(ddpm_graph_cut_gradients(view.graph, view.backward, view.weights, least, &buckets,
                                           &count));
        char *seen = calloc(slab, 1);
        assert_non_null(seen);
        for (size_t i = 0; i < count; ++i) {
            assert_true(i == 0 || buckets[i].last >= buckets[i - 1].last);
            assert_true(buckets[i].last < view.graph->parts[view.backward].end);
            largest = buckets[i].count > largest ? buckets[i].count : largest;
            for (size_t k = 0; k < buckets[i].count; ++k, ++covered)
                assert_int_equal(seen[buckets[i].first + k]++, 0);
        }
        assert_int_equal(covered, slab);
        assert_int_equal(ddpm_graph_largest_bucket(view.weights, least), largest);
        assert_true(least > slab ? count == 1 : count > 1 || least > slab / 2);
        if (least == 1) /* the last layers' gradients come first */
            assert_true(buckets[0].first > slab / 2 && buckets[0].last < buckets[count - 1].last);
        free(seen);
        free(buckets);
    }
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
}

static void processors_can_be_limited(void **state)
{
    (void)state;
    const int all = ddpm_processor_count();
    ddpm_limit_processors(1);
    assert_int_equal(ddpm_processor_count(), 1);
    ddpm_limit_processors(all + 1);
    assert_int_equal(ddpm_processor_count(), all);
}

int main(void)
{
    if (!has_test_device())
        return EXIT_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_the_same_training),
        cmocka_unit_test(a_batch_that_cannot_be_cut_is_refused),
        cmocka_unit_test(shares_count_as_memory),
        cmocka_unit_test(buckets_cover_the_slab_in_the_order_of_the_pass),
        cmocka_unit_test(processors_can_be_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Memory: the process uses what the plan says, no two live values overlap, and nothing is allocated
 * after the first step or the first forward pass. */
#include "library_support.h"

#include "allocations.h"
#include "model/model.h"
#include "sanitized.h"
#include "training/inspect.h"

/* Resident bytes of this process. */
static double resident(void)
{
    long long pages = 0, ignored;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lld %lld", &ignored, &pages), 2);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void planned_memory_is_real_memory(void **state)
{
    (void)state;
#ifdef SANITIZED
    print_message("not with AddressSanitizer, whose shadow counts as memory\n");
    skip();
#endif
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    struct ddpm_network *network = tiny_network("threads=2");
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_ok(step_made_up(trainer, network, 0,
                           &result)); /* starts threads and loads pages of the program */
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);

    const double before = resident();
    network = tiny_network("threads=2 dim=32 dim-mults=1,2,4 image-size=32 batch-size=8");
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_ok(step_made_up(trainer, network, 0, &result));
    const double grown = resident() - before;
    struct ddpm_memory_plan plan = ddpm_trainer_memory(trainer);
    const double planned = (double)(plan.activations + plan.packed + plan.weights);
    print_message("planned %.1f MB, resident memory grew by %.1f MB\n", planned / 1e6, grown / 1e6);
    assert_true(plan.flops_per_step > 1e9);
    assert_true(fabs(grown - planned) < 0.1 * planned);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
}

/* Largest resident size since the last call with `reset`; 0: the system does not say. */
static double most_resident(bool reset)
{
    char line[256];
    long long kb = 0;
    FILE *file = fopen(reset ? "/proc/self/clear_refs" : "/proc/self/status", reset ? "w" : "r");
    if (!file)
        return 0;
    const bool cleared = reset && fputs("5", file) >= 0;
    while (!reset && fgets(line, sizeof line, file) && sscanf(line, "VmHWM: %lld", &kb) != 1)
        continue;
    fclose(file);
    return reset ? cleared : 1024 * (double)kb;
}

/* A checkpoint is read into the state itself. */
static void resuming_takes_no_more_than_training(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#endif
    char *folder = make_folder();
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    struct ddpm_network *network = tiny_network("threads=2 dim=64 dim-mults=1,2,4");
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_ok(step_made_up(trainer, network, 0, &result));
    assert_ok(ddpm_trainer_save(trainer, in_folder(folder, "run")));
    ddpm_trainer_destroy(&trainer);
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    const double slab = (double)ddpm_weight_set_bytes(&network->weights), before = resident();
    if (most_resident(true) > 0) {
        assert_ok(ddpm_trainer_resume(trainer, in_folder(folder, "run")));
        /* moments that are touched for the first time, and room for one tensor */
        const double grown = most_resident(false) - before;
        print_message("weights %.1f MB, resuming took %.1f MB\n", slab / 1e6, grown / 1e6);
        assert_true(grown < 3 * slab);
    }
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    remove_folder(folder);
}

static int keep_resident(void *user, const struct ddpm_sample_progress *progress)
{
    (void)progress;
    *(double *)user = resident();
    return 0;
}

static void sampling_takes_what_was_measured(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip();
#endif
    struct ddpm_network *network =
        tiny_network("threads=2 dim=32 dim-mults=1,2,4,8 image-size=32 timesteps=3");
    double after = 0;
    const struct ddpm_sample_options options = {
        .size = sizeof options, .count = 8, .clip = -1, .callback = keep_resident, .user = &after};
    const struct ddpm_sampler_options chain = {.size = sizeof chain, .pictures = 8, .clip = -1};
    struct ddpm_memory_plan plan;
    uint8_t *pictures = calloc(8, 3 * 32 * 32);
    assert_ok(ddpm_sampler_measure(network, &chain, &plan));
    const double planned = (double)(plan.activations + plan.packed), before = resident();
    assert_ok(sample_into(network, &options, pictures));
    print_message("planned %.1f MB, resident memory grew by %.1f MB\n", planned / 1e6,
                  (after - before) / 1e6);
    assert_true(plan.packed > 0 && plan.flops_per_step > 1e8);
    assert_true(plan.available == 0 || plan.available > plan.packed);
    assert_true(fabs(after - before - planned) < 0.1 * planned);
    free(pictures);
    ddpm_network_destroy(&network);
}

/* The memory for a forward pass is known for a network without weights, and matches what it then
 * uses. */
static void a_forward_pass_takes_what_was_measured(void **state)
{
    (void)state;
    float x[3 * 3 * 8 * 16] = {0}, y[3 * 3 * 8 * 16];
    const int64_t t[3] = {0, 12, 24};
    struct ddpm_memory_plan plan;
    struct ddpm_network *network;
    struct ddpm_config *config = tiny_config("network=AttentionUNet");
    assert_ok(ddpm_network_declare(NULL, config, &network));
    assert_ok(ddpm_forward_measure(network, 3, 8, 16, &plan));
    assert_error(ddpm_forward_measure(network, 3, 8, 15, &plan), DDPM_ERROR_ARGUMENT, "8x15");
    assert_ok(ddpm_network_allocate(network));
    assert_ok(forward_on(network, DDPM_WEIGHTS_EMA, x, t, 3, 8, 16, y));
    assert_int_equal(plan.activations, network->forward.graph->arena_bytes);
    assert_int_equal(plan.packed, network->forward.graph->packed_bytes);
    assert_true(plan.flops_per_step > 1e6 && plan.host > 0);
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&config);
}

static void a_second_forward_pass_allocates_nothing(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("network=AttentionUNet threads=2");
    float x[3 * 3 * 8 * 8], y[2][3 * 3 * 8 * 8];
    const int64_t t[3] = {0, 12, 24};
    ddpm_fill_normal(x, 3 * 3 * 8 * 8, 1, DDPM_STREAM_BENCH, 0, 0);
    assert_ok(forward_on(network, DDPM_WEIGHTS_MODEL, x, t, 3, 8, 8, y[0]));
    const long before = allocations_of_all();
    assert_ok(forward_on(network, DDPM_WEIGHTS_MODEL, x, t, 3, 8, 8, y[1]));
    assert_int_equal(allocations_of_all() - before, 0);
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    ddpm_network_destroy(&network);
}

static void given_steps_allocate_nothing(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("accumulate=2 threads=2");
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    struct given given = make_given(network, 0);
    long before = 0;
    for (int step = 0; step < 4; ++step) {
        assert_ok(step_on(trainer, &given, &result));
        if (step == 0)
            before = allocations_of_all();
    }
    assert_int_equal(allocations_of_all() - before, 0);
    free_given(&given);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
}

static void steps_from_data_allocate_nothing(void **state)
{
    (void)state;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 6, 8);
    struct ddpm_config *config = tiny_config("threads=2");
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, "p.npy")));
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    assert_ok(ddpm_network_create(config, &network));
    assert_ok(ddpm_data_open(config, &data));
    assert_ok(ddpm_trainer_create(network, NULL, data, &trainer));
    assert_ok(ddpm_trainer_step(trainer, &result));
    const long before = allocations_of_this_thread();
    for (int step = 0; step < 8; ++step)
        assert_ok(ddpm_trainer_step(trainer, &result));
    assert_int_equal(allocations_of_this_thread() - before, 0);
    ddpm_trainer_destroy(&trainer);
    ddpm_data_close(&data);
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&config);
    remove_folder(folder);
}

static void measuring_allocates_nothing(void **state)
{
    (void)state;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 20, 8);
    struct ddpm_config *config = tiny_config("threads=2 validation=0.5");
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, "p.npy")));
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
    struct ddpm_validation_result result;
    assert_ok(ddpm_network_create(config, &network));
    assert_ok(ddpm_data_open(config, &data));
    assert_ok(ddpm_data_split(data, config, NULL));
    assert_ok(ddpm_trainer_create(network, config, data, &trainer));
    assert_ok(ddpm_trainer_validate(trainer, &result));
    const long before = allocations_of_all();
    assert_ok(ddpm_trainer_validate(trainer, &result));
    assert_int_equal(allocations_of_all() - before, 0);
    ddpm_trainer_destroy(&trainer);
    ddpm_data_close(&data);
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&config);
    remove_folder(folder);
}

/* The plan's promise, recomputed from the nodes alone: which bytes are needed from which node to
 * which. */
struct stretch {
    const char *begin, *end;
    int first, last;
    const struct ddpm_value *value; /* NULL: scratch or packed weights of node `first` */
};

static const struct ddpm_value *base_of(const struct ddpm_value *value)
{
    while (value->view_of)
        value = value->view_of;
    return value;
}

static void touch(struct stretch *stretches, size_t *count, const struct ddpm_value *value,
                  int node)
{
    if (!value)
        return;
    value = base_of(value);
    if (value->kind != DDPM_VALUE_TEMPORARY && value->kind != DDPM_VALUE_KEPT)
        return;
    size_t i = 0;
    while (i < *count && stretches[i].value != value)
        ++i;
    if (i == *count) {
        const char *begin = value->tensor.data;
        stretches[(*count)++] =
            (struct stretch){begin, begin + ddpm_tensor_bytes(&value->tensor), node, node, value};
    }
    stretches[i].last = node;
}

/* May the later one start where the earlier one ends? Yes, if an operation writes its output over
 * its input. */
static bool is_in_place(const struct ddpm_graph *graph, const struct stretch *a,
                        const struct stretch *b)
{
    const struct stretch *dying = a->first < b->first ? a : b, *born = dying == a ? b : a;
    if (!dying->value || !born->value || dying->last != born->first || dying->begin != born->begin)
        return false;
    const struct ddpm_node *node = graph->nodes[born->first];
    if (!node->out[0] || base_of(node->out[0]) != born->value)
        return false;
    for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
        if (node->in[k] && base_of(node->in[k]) == dying->value &&
            ddpm_op_info[node->op].in_place >> k & 1u)
            return true;
    return false;
}

static void check_plan(const struct ddpm_graph *graph)
{
    struct stretch *stretches =
        calloc(graph->value_count + 2 * graph->node_count, sizeof *stretches);
    size_t count = 0, pairs = 0;
    for (size_t i = 0; i < graph->node_count; ++i) {
        for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
            touch(stretches, &count, graph->nodes[i]->in[k], (int)i);
        for (int k = 0; k < DDPM_MAX_OUTPUTS; ++k)
            touch(stretches, &count, graph->nodes[i]->out[k], (int)i);
    }
    for (size_t i = 0; i < count; ++i)
        if (stretches[i].value->kind == DDPM_VALUE_KEPT) {
            stretches[i].first = 0;
            stretches[i].last = (int)graph->node_count;
        }
    for (size_t i = 0; i < graph->node_count; ++i) {
        const struct ddpm_call *call = &graph->calls[i];
        const char *scratch = call->scratch, *packed = call->packed;
        if (call->scratch_bytes)
            stretches[count++] =
                (struct stretch){scratch, scratch + call->scratch_bytes, (int)i, (int)i, NULL};
        if (graph->repack && call->packed_bytes)
            stretches[count++] =
                (struct stretch){packed, packed + call->packed_bytes, (int)i, (int)i, NULL};
    }
    const char *arena = graph->arena;
    for (size_t i = 0; i < count; ++i) {
        assert_true(stretches[i].begin >= arena && stretches[i].end <= arena + graph->arena_bytes);
        for (size_t k = 0; k < i; ++k) {
            const struct stretch *a = &stretches[i], *b = &stretches[k];
            const bool together = a->first <= b->last && b->first <= a->last;
            if (!together || a->begin >= b->end || b->begin >= a->end)
                continue;
            ++pairs;
            if (!is_in_place(graph, a, b))
                fail_msg("bytes shared at node %s", graph->nodes[a->first]->label);
        }
    }
    print_message("%zu values and scratches in %.1f MB, %zu written over in place\n", count,
                  (double)graph->arena_bytes / 1e6, pairs);
    free(stretches);
}

static void no_two_live_values_overlap(void **state)
{
    (void)state;
    static const char *const options[] = {"network=OneResUNet dim-mults=1",
                                          "network=TwoResUNet dim-mults=1,2,4 image-size=32",
                                          "network=AttentionUNet dim-mults=1,2,2,3 image-size=16",
                                          "norm=off mult=1 init-dim=12",
                                          "memory=low network=TwoResUNet",
                                          "accumulate=2 network=TwoResUNet dim=16"};
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        struct ddpm_network *network = tiny_network(options[i]);
        struct ddpm_trainer *trainer;
        assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
        check_plan(ddpm_trainer_inspect(trainer).graph);
        ddpm_trainer_destroy(&trainer);
        ddpm_network_destroy(&network);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_memory_is_real_memory),
        cmocka_unit_test(resuming_takes_no_more_than_training),
        cmocka_unit_test(sampling_takes_what_was_measured),
        cmocka_unit_test(a_forward_pass_takes_what_was_measured),
        cmocka_unit_test(a_second_forward_pass_allocates_nothing),
        cmocka_unit_test(given_steps_allocate_nothing),
        cmocka_unit_test(steps_from_data_allocate_nothing),
        cmocka_unit_test(measuring_allocates_nothing),
        cmocka_unit_test(no_two_live_values_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

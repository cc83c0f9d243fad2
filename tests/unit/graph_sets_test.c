/* A student and its frozen teacher in one graph, and gradients through parts that are not
 * trained. */
#include "graph_support.h"

/* A kernel that counts how often it packs, one for each call of a graph. */
struct counted {
    struct ddpm_kernel row;
    const struct ddpm_kernel *inner;
    int packed;
};

static struct counted *counting; /* by call */
static const struct ddpm_graph *counted_graph;

static ddpm_status count_pack(const struct ddpm_call *call)
{
    struct counted *counted = &counting[call - counted_graph->calls];
    ++counted->packed;
    return counted->inner->pack(call);
}

static void start_counting(struct ddpm_graph *g)
{
    counting = calloc(g->node_count, sizeof *counting);
    counted_graph = g;
    for (size_t i = 0; i < g->node_count; ++i) {
        counting[i].inner = g->calls[i].kernel;
        counting[i].row = *g->calls[i].kernel;
        if (counting[i].row.pack)
            counting[i].row.pack = count_pack;
        g->calls[i].kernel = &counting[i].row;
    }
}

static void stop_counting(struct ddpm_graph *g)
{
    for (size_t i = 0; i < g->node_count; ++i)
        g->calls[i].kernel = counting[i].inner;
    free(counting);
    counting = NULL;
}

/* The smallest and largest number of times that a call which packs weights of `set` did so; fails
 * if there is no such call. */
static void packed_of(const struct ddpm_graph *g, const struct ddpm_weight_set *set, int *least,
                      int *most)
{
    *least = 1 << 30;
    *most = -1;
    for (size_t i = 0; i < g->node_count; ++i) {
        const int use = g->nodes[i]->use;
        if (!g->calls[i].packed_bytes || use < 0 || g->uses[use].set != set)
            continue;
        *least = counting[i].packed < *least ? counting[i].packed : *least;
        *most = counting[i].packed > *most ? counting[i].packed : *most;
    }
    assert_true(*most >= 0);
}

/* A student whose target is the teacher's output for the same input, or is given. */
struct pair {
    struct ddpm_weight_set *student, *teacher; /* no teacher: the target is an input */
    struct ddpm_graph *graph;
    struct ddpm_value *x, *time, *target, *loss;
    int backward;
};

static void build_pair(struct pair *pair, struct ddpm_device *device, bool repack)
{
    assert_ok(ddpm_graph_create(DDPM_F32, &pair->graph));
    struct ddpm_graph *g = pair->graph;
    g->repack = repack;
    pair->x = picture(g);
    pair->time = ddpm_graph_input(g, DDPM_F32, BATCH, 1, 1, 4);
    if (pair->teacher) {
        ddpm_graph_use(g, pair->teacher, 0);
        pair->target = network(g, pair->x, pair->time);
        ddpm_graph_keep(pair->target);
    } else {
        pair->target = picture(g);
    }
    ddpm_graph_use(g, pair->student, 0);
    struct ddpm_value *answer = network(g, pair->x, pair->time);
    pair->loss = ddpm_loss_per_picture(g, answer, pair->target, NULL, DDPM_LOSS_L2);
    ddpm_graph_fuse(g, ~0u);
    pair->backward = ddpm_graph_begin_part(g, "backward");
    const struct ddpm_seed seed = {
        answer, ddpm_loss_gradient(g, answer, pair->target, NULL, DDPM_LOSS_L2, 1)};
    assert_ok(ddpm_graph_differentiate(g, &seed, 1, NULL));
    if (!pair->student->device) {
        allocate(pair->student, device, 1, 1);
        assert_ok(ddpm_weight_set_acquire_gradients(pair->student));
    }
    if (pair->teacher && !pair->teacher->device)
        allocate(pair->teacher, device, 0, 2);
    assert_ok(ddpm_graph_plan(g, device));
    write_random(g, pair->x, 1);
    write_random(g, pair->time, 2);
}

/* Forward, backward, and the gradients of the student; free() them. */
static float *run_pair(struct pair *pair)
{
    const struct ddpm_weight_set *set = pair->student;
    float *gradients = malloc(ddpm_weight_set_bytes(set));
    memset(set->gradients, 0, ddpm_weight_set_bytes(set));
    assert_ok(ddpm_graph_run(pair->graph, 0));
    assert_ok(ddpm_graph_run(pair->graph, pair->backward));
    memcpy(gradients, set->gradients, ddpm_weight_set_bytes(set));
    return gradients;
}

/* The student's gradients equal those of a graph with only the student and a given target. */
static void check_against_student_alone(struct pair *pair, struct ddpm_device *device)
{
    float target[COUNT];
    struct pair alone = {.student = pair->student};
    build_pair(&alone, device, pair->graph->repack);
    float *with = run_pair(pair);
    assert_ok(ddpm_graph_read(pair->graph, pair->target, target));
    assert_ok(ddpm_graph_write(alone.graph, alone.target, target));
    float *without = run_pair(&alone);
    double sum = 0;
    for (int64_t i = 0; i < pair->student->parameters.slab_count; ++i)
        sum += fabs((double)with[i]);
    assert_true(isfinite(sum) && sum > 0.01);
    assert_memory_equal(with, without, ddpm_weight_set_bytes(pair->student));
    free(with);
    free(without);
    ddpm_graph_destroy(&alone.graph);
}

/* Like an optimizer's step: change the set's values by the gradients and mark them as changed. */
static void step(struct ddpm_weight_set *set, const float *gradients)
{
    float *values = set->slabs[0];
    for (int64_t i = 0; i < set->parameters.slab_count; ++i)
        values[i] -= 0.1f * gradients[i];
    ddpm_weight_set_updated(set);
}

static void check_teacher(bool repack)
{
    struct ddpm_device *device = open_device("cpu");
    struct ddpm_weight_set student = DDPM_EMPTY_WEIGHT_SET, teacher = DDPM_EMPTY_WEIGHT_SET;
    struct pair pair = {.student = &student, .teacher = &teacher};
    int least, most;
    teacher.frozen = true;
    build_pair(&pair, device, repack);
    check_against_student_alone(&pair, device);
    assert_null(teacher.gradients);
    assert_int_equal(teacher.optimizers, 0);

    float *before = malloc(ddpm_weight_set_bytes(&teacher));
    memcpy(before, teacher.slabs[0], ddpm_weight_set_bytes(&teacher));
    start_counting(pair.graph);
    for (int i = 0; i < 3; ++i) {
        float *gradients = run_pair(&pair);
        step(&student, gradients);
        free(gradients);
    }
    assert_memory_equal(before, teacher.slabs[0], ddpm_weight_set_bytes(&teacher));
    packed_of(pair.graph, &teacher, &least, &most);
    assert_int_equal(most, 0); /* packed by earlier runs */
    packed_of(pair.graph, &student, &least, &most);
    /* In the first of the three runs the student is packed already, unless it repacks. */
    assert_int_equal(least, repack ? 3 : 2);
    assert_int_equal(most, repack ? 3 : 2);
    check_against_student_alone(&pair, device);

    ((float *)teacher.slabs[0])[0] += 1;
    ddpm_weight_set_changed(&teacher);
    free(run_pair(&pair));
    free(run_pair(&pair));
    packed_of(pair.graph, &teacher, &least, &most);
    assert_int_equal(least, 1);
    assert_int_equal(most, 1);
    check_against_student_alone(&pair, device);
    free(before);
    stop_counting(pair.graph);
    ddpm_graph_destroy(&pair.graph);
    ddpm_weight_set_clear(&student);
    ddpm_weight_set_clear(&teacher);
    ddpm_device_close(&device);
}

static void a_student_learns_from_a_frozen_teacher(void **state)
{
    (void)state;
    check_teacher(false);
    check_teacher(true);
}

/* Gradients of `set` when its output passes through `judge`, which reads `slab`; free() them. */
static float *gradients_behind(struct ddpm_device *device, struct ddpm_weight_set *set,
                               struct ddpm_weight_set *judge, int slab)
{
    struct ddpm_graph *g;
    float *gradients = malloc(ddpm_weight_set_bytes(set));
    assert_ok(ddpm_graph_create(DDPM_F32, &g));
    struct ddpm_value *x = picture(g), *time = ddpm_graph_input(g, DDPM_F32, BATCH, 1, 1, 4);
    ddpm_graph_use(g, set, 0);
    struct ddpm_value *answer = network(g, x, time);
    ddpm_graph_use(g, judge, slab);
    struct ddpm_value *verdict = network(g, answer, time), *seed = picture(g);
    ddpm_graph_fuse(g, ~0u);
    ddpm_graph_begin_part(g, "backward");
    assert_ok(ddpm_graph_differentiate(g, &(struct ddpm_seed){verdict, seed}, 1, NULL));
    assert_ok(ddpm_graph_plan(g, device));
    write_random(g, x, 1);
    write_random(g, time, 2);
    write_random(g, seed, 3);
    memset(set->gradients, 0, ddpm_weight_set_bytes(set));
    assert_ok(ddpm_graph_run(g, 0));
    assert_ok(ddpm_graph_run(g, 1));
    memcpy(gradients, set->gradients, ddpm_weight_set_bytes(set));
    ddpm_graph_destroy(&g);
    return gradients;
}

/* A moving average that a gradient flows through gets none itself: the result is the same as with a
 * frozen set of its values. */
static void a_moving_average_is_not_differentiated(void **state)
{
    (void)state;
    struct ddpm_device *device = open_device("cpu");
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET, judge = DDPM_EMPTY_WEIGHT_SET;
    struct pair pair = {.student = &set, .teacher = &judge};
    judge.frozen = true;
    build_pair(&pair, device, false);
    memcpy(set.slabs[1], judge.slabs[0], ddpm_weight_set_bytes(&set));
    ddpm_weight_set_changed(&set);
    float *got = gradients_behind(device, &set, &set, 1);
    float *wanted = gradients_behind(device, &set, &judge, 0);
    assert_memory_equal(got, wanted, ddpm_weight_set_bytes(&set));
    free(got);
    free(wanted);
    ddpm_graph_destroy(&pair.graph);
    ddpm_weight_set_clear(&set);
    ddpm_weight_set_clear(&judge);
    ddpm_device_close(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_student_learns_from_a_frozen_teacher),
        cmocka_unit_test(a_moving_average_is_not_differentiated),
    };
    return cmocka_run_group_tests_name("graphs and weight sets", tests, NULL, NULL);
}

/* Packed weights in memory that is lent to graphs of several processes, here of one. */
#include "graph_support.h"

#include "core/memory.h"

enum { PARTS = 3, MOST_NODES = 256 };

struct net {
    struct ddpm_graph *graph;
    struct ddpm_value *x, *time, *y;
};

static void build(struct net *net, struct ddpm_weight_set *set)
{
    assert_ok(ddpm_graph_create(DDPM_F32, &net->graph));
    struct ddpm_graph *g = net->graph;
    ddpm_graph_use(g, set, 0);
    net->x = picture(g);
    net->time = ddpm_graph_input(g, DDPM_F32, BATCH, 1, 1, 4);
    net->y = network(g, net->x, net->time);
    ddpm_graph_keep(net->y);
    assert_ok(g->status);
}

static void run(struct net *net, float *y)
{
    write_random(net->graph, net->x, 1);
    write_random(net->graph, net->time, 2);
    assert_ok(ddpm_graph_run(net->graph, 0));
    assert_ok(ddpm_graph_read(net->graph, net->y, y));
}

/* Every call that packs has a part, and no other call does. Parts differ by no more than the
 * largest call. */
static void check_division(const struct ddpm_graph *g, const int *part_of)
{
    size_t bytes[PARTS] = {0}, largest = 0;
    for (size_t i = 0; i < g->node_count; ++i) {
        const size_t packed = g->calls[i].packed_bytes;
        assert_int_equal(part_of[i] >= 0, packed > 0);
        assert_true(part_of[i] < PARTS);
        if (packed > 0)
            bytes[part_of[i]] += packed;
        largest = packed > largest ? packed : largest;
    }
    assert_true(largest > 0);
    for (int a = 0; a < PARTS; ++a)
        for (int b = 0; b < PARTS; ++b)
            assert_true(bytes[a] <= bytes[b] + largest);
}

/* The first byte that is not 0, or NULL. */
static const char *find_set(const char *memory, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i)
        if (memory[i] != 0)
            return memory + i;
    return NULL;
}

static void lent_weights_are_packed_part_by_part(void **state)
{
    (void)state;
    struct ddpm_device *device = open_device("cpu");
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
    struct net own, first, second; /* the last two share their packed weights */
    float wanted[COUNT], got[COUNT];
    int part_of[MOST_NODES];
    void *memory;
    build(&own, &set);
    allocate(&set, device, 0, 1);
    assert_ok(ddpm_graph_plan(own.graph, device));
    build(&first, &set);
    build(&second, &set);
    assert_ok(ddpm_graph_lay_out(first.graph, device));
    assert_ok(ddpm_graph_lay_out(second.graph, device));
    assert_true(first.graph->node_count <= MOST_NODES);
    assert_ok(ddpm_new_aligned(&memory, first.graph->packed_bytes, "packed weights"));
    ddpm_graph_lend_packed(first.graph, memory);
    ddpm_graph_lend_packed(second.graph, memory);
    assert_ok(ddpm_graph_allocate(first.graph));
    assert_ok(ddpm_graph_allocate(second.graph));
    ddpm_graph_divide_packing(first.graph, PARTS, part_of);
    check_division(first.graph, part_of);

    for (int version = 0; version < 2; ++version) {
        run(&own, wanted);
        for (int part = 0; part < PARTS; ++part) {
            /* Each rank has a version of its own: here the first graph packs the first part. */
            struct net *packer = part == 0 ? &first : &second;
            packer->graph->uses[0].packed_version = 0;
            assert_ok(ddpm_graph_pack_some(packer->graph, part_of, part));
        }
        run(&first, got);
        assert_memory_equal(got, wanted, sizeof got);
        run(&second, got);
        assert_memory_equal(got, wanted, sizeof got);
        for (int64_t i = 0; i < set.parameters.slab_count; ++i)
            ((float *)set.slabs[0])[i] *= 1.5f;
        ddpm_weight_set_changed(&set);
    }

    /* Running packs nothing, though the weights have changed, and packing does nothing the second
     * time. */
    memset(memory, 0, first.graph->packed_bytes);
    run(&first, got);
    assert_null(find_set(memory, first.graph->packed_bytes));
    assert_ok(ddpm_graph_pack_some(first.graph, part_of, 0));
    assert_non_null(find_set(memory, first.graph->packed_bytes));
    memset(memory, 0, first.graph->packed_bytes);
    assert_ok(ddpm_graph_pack_some(first.graph, part_of, 0));
    assert_null(find_set(memory, first.graph->packed_bytes));

    ddpm_graph_destroy(&own.graph);
    ddpm_graph_destroy(&first.graph);
    ddpm_graph_destroy(&second.graph);
    ddpm_free_aligned(memory);
    ddpm_weight_set_clear(&set);
    ddpm_device_close(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lent_weights_are_packed_part_by_part)};
    return cmocka_run_group_tests_name("packed weights that are lent", tests, NULL, NULL);
}

/* Golden: outputs and gradients of all networks.
 *
 * bf16: every activation is rounded to eight bits (2^-9 at most, 0.0017 rms), and so are weights
 * and transformed tiles. In a network with some forty convolutions and norms this adds up to about
 * one percent of the output. The gradients of single parameters may nearly cancel (those of the
 * gates' biases do), so in bf16 the error of all parameters together is compared with all their
 * gradients. */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>

#include "core/memory.h"
#include "graph/graph.h"
#include "nets/nets.h"

#define OUTPUT_TOLERANCE golden_tolerance(1e-5, 2e-2)
#define GRADIENT_TOLERANCE golden_tolerance(1e-4, 3e-2)

struct pass {
    enum ddpm_dtype dtype;
    struct ddpm_weight_set set;
    struct ddpm_device *device;
    struct ddpm_graph *graph;
    struct ddpm_value *x, *t, *y, *target, *loss;
    float *gradients; /* host slab */
};

static void make_weights(struct pass *pass)
{
    struct ddpm_weight_set *set = &pass->set;
    const size_t bytes = ddpm_weight_set_bytes(set);
    float *weights;
    assert_ok(ddpm_weight_set_allocate(set, pass->device, 0));
    assert_ok(ddpm_weight_set_acquire_gradients(set));
    assert_ok(ddpm_new_aligned((void **)&weights, bytes, "weights"));
    assert_ok(ddpm_new_aligned((void **)&pass->gradients, bytes, "gradients"));
    for (size_t i = 0; i < set->parameters.count; ++i) {
        float *dense = golden_parameter(&set->parameters.items[i]);
        ddpm_parameter_to_slab(&set->parameters.items[i], dense, weights);
        free(dense);
    }
    assert_ok(pass->device->backend->upload(pass->device, set->slabs[0], weights, bytes));
    ddpm_weight_set_changed(set);
    ddpm_free_aligned(weights);
}

/* How a graph is made, besides its fusion rules. */
enum { RECOMPUTED = 1, SHARED = 2 };

static void build(struct pass *pass, const struct ddpm_config *config, unsigned rules, int how)
{
    const int64_t b = config->training.batch_size;
    const int64_t h = config->diffusion.image_height, w = config->diffusion.image_width;
    struct ddpm_device_options options = {.threads = 2};
    pass->dtype = config->run.precision == DDPM_PRECISION_BF16 ? DDPM_BF16 : DDPM_F32;
    pass->set = DDPM_EMPTY_WEIGHT_SET;
    assert_ok(ddpm_net_declare(&config->network, &pass->set));
    assert_ok(ddpm_device_open(config->run.device, &options, &pass->device));
    make_weights(pass);
    assert_ok(ddpm_graph_create(pass->dtype, &pass->graph));
    struct ddpm_graph *g = pass->graph;
    ddpm_graph_use(g, &pass->set, 0);
    pass->x = ddpm_graph_input(g, DDPM_F32, b, h, w, config->network.channels);
    pass->t = ddpm_graph_input(g, DDPM_F32, b, 1, 1, 1);
    pass->target = ddpm_graph_input(g, DDPM_F32, b, h, w, config->network.out_dim);
    const struct ddpm_net_inputs inputs = {.x = ddpm_convert(g, pass->x, g->dtype),
                                           .time = pass->t};
    pass->y = ddpm_net_build(g, &config->network, &inputs);
    ddpm_graph_keep(pass->y);
    pass->loss = ddpm_loss_per_picture(g, pass->y, pass->target, NULL, DDPM_LOSS_L2);
    g->share = how & SHARED;
    ddpm_graph_fuse(g, rules);
    g->recompute = how & RECOMPUTED;
    ddpm_graph_begin_part(g, "backward");
    const struct ddpm_seed seed = {
        pass->y, ddpm_loss_gradient(g, pass->y, pass->target, NULL, DDPM_LOSS_L2, 1)};
    assert_ok(ddpm_graph_differentiate(g, &seed, 1, NULL));
    assert_ok(ddpm_graph_plan(g, pass->device));
}

/* Convert [B,C,H,W] to [B,H,W,C] or back. */
static float *transposed(const struct ddpm_tensor *shape, const float *from, bool to_planar)
{
    int64_t area = shape->h * shape->w;
    float *out = malloc((size_t)ddpm_tensor_count(shape) * sizeof *out);
    for (int64_t b = 0; b < shape->n; ++b)
        for (int64_t p = 0; p < area; ++p)
            for (int64_t c = 0; c < shape->c; ++c) {
                int64_t nhwc = (b * area + p) * shape->c + c;
                int64_t nchw = (b * shape->c + c) * area + p;
                out[to_planar ? nchw : nhwc] = from[to_planar ? nhwc : nchw];
            }
    return out;
}

static void write_formula(struct pass *pass, struct ddpm_value *value, const char *name,
                          double scale)
{
    float *planar = golden_formula(name, ddpm_tensor_count(&value->tensor), scale);
    float *nhwc = transposed(&value->tensor, planar, false);
    assert_ok(ddpm_graph_write(pass->graph, value, nhwc));
    free(planar);
    free(nhwc);
}

static double output_error(struct pass *pass, const struct golden *golden)
{
    int64_t count = ddpm_tensor_count(&pass->y->tensor);
    float *nhwc = malloc((size_t)count * sizeof *nhwc),
          *read = malloc((size_t)count * sizeof *read);
    assert_ok(ddpm_graph_read(pass->graph, pass->y, read));
    for (int64_t i = 0; i < count; ++i)
        nhwc[i] = (float)ddpm_load(read, pass->y->tensor.dtype, i);
    free(read);
    float *planar = transposed(&pass->y->tensor, nhwc, true);
    float *wanted = golden_values(golden, "y", NULL);
    double error = golden_error(planar, wanted, count);
    free(nhwc);
    free(planar);
    free(wanted);
    return error;
}

/* fp32: the worst parameter's error. bf16: the error of all parameters together. *where: the
 * worst. */
static double gradient_error(struct pass *pass, const struct golden *golden, const char **where)
{
    size_t bytes = ddpm_weight_set_bytes(&pass->set);
    double worst = 0, errors = 0, squares = 0;
    assert_ok(
        pass->device->backend->download(pass->device, pass->gradients, pass->set.gradients, bytes));
    for (size_t i = 0; i < pass->set.parameters.count; ++i) {
        const struct ddpm_parameter *p = &pass->set.parameters.items[i];
        int64_t count = ddpm_parameter_count(p);
        float *dense = malloc((size_t)count * sizeof *dense);
        ddpm_parameter_from_slab(p, pass->gradients, dense);
        double error = golden_sampled_error(golden, "grad", p->name, dense, count);
        double norm = golden_norm(golden, "grad", p->name);
        errors += error * error * norm * norm;
        squares += norm * norm;
        if (error > worst) {
            worst = error;
            *where = p->name;
        }
        free(dense);
    }
    return pass->dtype == DDPM_BF16 ? sqrt(errors / squares) : worst;
}

static void clear(struct pass *pass)
{
    ddpm_graph_destroy(&pass->graph);
    ddpm_weight_set_clear(&pass->set);
    ddpm_device_close(&pass->device);
    ddpm_free_aligned(pass->gradients);
}

static size_t run_case(const char *name, unsigned rules, int how)
{
    struct golden golden = golden_open(name);
    struct ddpm_config config;
    struct pass pass = {0};
    golden_config(&golden, &config, NULL);
    build(&pass, &config, rules, how);
    write_formula(&pass, pass.x, "x", 1);
    write_formula(&pass, pass.target, "eps", 1.7);
    int64_t *t = golden_integers(&golden, "t", NULL);
    float t32[16];
    for (int64_t b = 0; b < config.training.batch_size; ++b)
        t32[b] = (float)t[b];
    assert_ok(ddpm_graph_write(pass.graph, pass.t, t32));
    assert_ok(ddpm_graph_run(pass.graph, 0));
    assert_ok(ddpm_graph_run(pass.graph, 1));

    const char *where = "";
    double output = output_error(&pass, &golden);
    double gradient = gradient_error(&pass, &golden, &where);
    printf("%-18s rules %x%s%s: output %.1e, gradient %.1e (worst %s)\n", name,
           rules & ((1u << ddpm_fusion_rule_count) - 1), how & RECOMPUTED ? ", recomputed" : "",
           how & SHARED ? ", shared" : "", output, gradient, where);
    assert_true(output <= OUTPUT_TOLERANCE);
    assert_true(gradient <= GRADIENT_TOLERANCE);
    size_t arena_bytes = pass.graph->arena_bytes;
    free(t);
    clear(&pass);
    golden_close(&golden);
    return arena_bytes;
}

static const char *const cases[] = {
    "case_one_8_1",      "case_one_12_2",     "case_one_8_3",     "case_one_12_4",
    "case_two_12_1",     "case_two_8_2",      "case_two_12_3",    "case_two_8_4",
    "case_att_8_1",      "case_att_12_2",     "case_att_8_3",     "case_att_12_4",
    "case_two_8_widths", "case_two_8_nonorm", "case_one_8_mult",  "case_att_12_widths",
    "case_two_8_look",   "case_two_32_look",  "case_att_8_where",
};

static void networks_agree_with_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
        run_case(cases[i], ~0u, 0);
}

/* Each fusion rule on its own, and none: the same numbers. */
static void fusion_changes_nothing(void **state)
{
    (void)state;
    run_case("case_att_12_2", 0, 0);
    for (size_t rule = 0; rule < ddpm_fusion_rule_count; ++rule)
        run_case("case_att_12_2", 1u << rule, 0);
}

/* --memory low: the same numbers from less memory. */
static void recomputing_changes_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"case_att_12_4", "case_two_8_4", "case_one_8_3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        size_t kept = run_case(names[i], ~0u, 0), recomputed = run_case(names[i], ~0u, RECOMPUTED);
        assert_true(recomputed < kept);
        printf("%s: %zu bytes instead of %zu\n", names[i], recomputed, kept);
    }
}

/* As on a GPU: one GELU of the time for all blocks. */
static void sharing_changes_nothing(void **state)
{
    (void)state;
    run_case("case_att_12_2", ~0u, SHARED);
    run_case("case_two_8_4", 0, SHARED);
    run_case("case_two_8_4", ~0u, SHARED | RECOMPUTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_agree_with_pytorch),
        cmocka_unit_test(fusion_changes_nothing),
        cmocka_unit_test(recomputing_changes_nothing),
        cmocka_unit_test(sharing_changes_nothing),
    };
    return cmocka_run_group_tests_name("golden networks", tests, NULL, NULL);
}

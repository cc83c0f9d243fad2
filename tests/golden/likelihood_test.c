/* Golden: bits per dimension of pictures by the variational bound, each timestep's share and each
 * picture's sum, and by the probability flow, with the product of a direction and the network's
 * Jacobian (PyTorch, by the papers' formulas). */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/random.h"
#include "model/likelihood_state.h"

#define TOLERANCE golden_tolerance(1e-5, 1e-2)
#define PULL_TOLERANCE golden_tolerance(1e-5, 3e-2)

static int64_t integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void set(struct ddpm_config *config, const json_t *row, const char *key, const char *option)
{
    assert_ok(ddpm_config_set(config, option, json_string_value(json_object_get(row, key))));
}

static struct ddpm_network *make_network(const struct golden *golden, const json_t *row,
                                         int64_t *batch)
{
    struct golden one = {golden->file, (json_t *)row};
    struct ddpm_config config;
    struct ddpm_network *network;
    golden_config(&one, &config, batch);
    set(&config, row, "objective", "objective");
    set(&config, row, "schedule", "schedule");
    config.diffusion.timesteps = integer(row, "timesteps");
    config.diffusion.sigma_data =
        json_number_value(json_object_get(json_object_get(golden->json, "run"), "sigma_data"));
    config.network.learned_variance = json_is_true(json_object_get(row, "learned"));
    assert_ok(ddpm_network_create(&config, &network));
    for (size_t i = 0; i < network->weights.parameters.count; ++i) {
        const struct ddpm_parameter *p = &network->weights.parameters.items[i];
        float *values = golden_parameter(p);
        for (int which = DDPM_WEIGHTS_MODEL; which <= DDPM_WEIGHTS_EMA; ++which)
            assert_ok(ddpm_network_set(network, (enum ddpm_weights)which, p->name, values,
                                       (size_t)ddpm_parameter_count(p)));
        free(values);
    }
    return network;
}

/* Element (b, y, x, c) of planes [B,C,H,W], at position i of [B,H,W,C]. */
static int64_t planar(const struct ddpm_tensor *shape, int64_t i)
{
    const int64_t area = shape->h * shape->w, c = i % shape->c, pixel = i / shape->c;
    return (pixel / area * shape->c + c) * area + pixel % area;
}

static uint8_t *make_pictures(const struct ddpm_tensor *shape)
{
    const int64_t count = ddpm_tensor_count(shape);
    float *values = golden_formula("bytes", count, 1);
    uint8_t *pictures = malloc((size_t)count);
    assert_non_null(pictures);
    for (int64_t i = 0; i < count; ++i)
        pictures[i] = (uint8_t)floor(((double)values[planar(shape, i)] + 1) * 128);
    free(values);
    return pictures;
}

static struct ddpm_likelihood *plan(const struct golden *golden, const json_t *row,
                                    struct ddpm_network *network, enum ddpm_weights weights,
                                    int64_t batch)
{
    const bool flow = strcmp(json_string_value(json_object_get(row, "method")), "flow") == 0;
    const struct ddpm_likelihood_options options = {
        .size = sizeof options,
        .method = flow ? DDPM_LIKELIHOOD_FLOW : DDPM_LIKELIHOOD_BOUND,
        .levels = integer(row, "levels"),
        .steps = integer(row, "steps"),
        .probes = integer(row, "probes"),
        .clip = json_is_true(json_object_get(row, "clip")),
        .batch = batch,
        .weights = weights,
        .seed = (uint64_t)integer(json_object_get(golden->json, "run"), "seed"),
    };
    struct ddpm_likelihood *likelihood;
    assert_ok(ddpm_likelihood_create(network, &options, &likelihood));
    return likelihood;
}

/* The worst relative error, for numbers that are not near 0. */
static double worst(const double *got, const float *wanted, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; ++i)
        most = fmax(most, fabs(got[i] - (double)wanted[i]) / fmax(1, fabs((double)wanted[i])));
    return most;
}

static double compare_pictures(const struct golden *golden, const char *name,
                               const struct ddpm_likelihood_result *result)
{
    char key[64];
    int64_t count;
    snprintf(key, sizeof key, "%s.pictures", name);
    float *wanted = golden_values(golden, key, &count);
    assert_int_equal(result->pictures, count);
    const double error = worst(result->of_pictures, wanted, count);
    free(wanted);
    return error;
}

static double compare_levels(const struct golden *golden, const char *name,
                             const struct ddpm_likelihood_result *result)
{
    char key[64];
    int64_t count;
    double bands = 0, sum = result->prior.bits;
    if (result->method == DDPM_LIKELIHOOD_FLOW)
        return 0;
    snprintf(key, sizeof key, "%s.levels", name);
    float *wanted = golden_values(golden, key, &count);
    double *got = calloc((size_t)count, sizeof *got);
    assert_non_null(got);
    assert_int_equal(result->level_count, count);
    for (int64_t k = 0; k < count; ++k)
        sum += got[k] = result->levels[k].mean.bits;
    for (size_t k = 0; k < result->band_count; ++k)
        bands += result->bands[k].mean.bits;
    assert_true(fabs(sum - result->total.bits) < 1e-9 * sum);
    assert_true(fabs(bands + result->prior.bits - sum) < 1e-9 * sum);
    const double error = worst(got, wanted, count);
    free(got);
    free(wanted);
    return error;
}

/* Once as two pictures of a batch, once one after the other with the EMA weights. */
static void run_row(const struct golden *golden, const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    int64_t batch;
    struct ddpm_network *network = make_network(golden, row, &batch);
    const struct ddpm_config *config = ddpm_network_config(network);
    const struct ddpm_tensor shape =
        ddpm_tensor_make(DDPM_F32, batch, config->diffusion.image_height,
                         config->diffusion.image_width, config->network.channels);
    const size_t bytes = (size_t)ddpm_tensor_count(&shape), one = bytes / (size_t)batch;
    uint8_t *pictures = make_pictures(&shape);
    struct ddpm_likelihood *likelihood = plan(golden, row, network, DDPM_WEIGHTS_MODEL, 8);
    assert_ok(ddpm_likelihood_add(likelihood, pictures, batch, bytes));
    const struct ddpm_likelihood_result *result = ddpm_likelihood_result(likelihood);
    const double of_pictures = compare_pictures(golden, name, result);
    const double of_levels = compare_levels(golden, name, result);
    printf("%-13s %.4f bits, pictures off by %.1e, levels by %.1e\n", name, result->total.bits,
           of_pictures, of_levels);
    assert_true(of_pictures <= TOLERANCE && of_levels <= TOLERANCE);
    struct ddpm_likelihood *again = plan(golden, row, network, DDPM_WEIGHTS_EMA, 1);
    for (int64_t k = 0; k < batch; ++k)
        assert_ok(ddpm_likelihood_add(again, pictures + (size_t)k * one, 1, one));
    for (int64_t k = 0; k < batch; ++k)
        assert_true(ddpm_likelihood_result(again)->of_pictures[k] == result->of_pictures[k]);
    ddpm_likelihood_destroy(&again);
    ddpm_likelihood_destroy(&likelihood);
    ddpm_network_destroy(&network);
    free(pictures);
}

static void likelihoods_agree_with_pytorch(void **state)
{
    (void)state;
    struct golden golden = golden_open("likelihood");
    size_t index;
    json_t *row;
    json_array_foreach(json_object_get(golden.json, "rows"), index, row) run_row(&golden, row);
    assert_int_equal(index, 10);
    golden_close(&golden);
}

/* The network's input x, and the signs of the first direction that the flow draws. */
static void fill(struct ddpm_likelihood *l, double time)
{
    const struct ddpm_tensor *shape = &l->x->tensor;
    const int64_t count = ddpm_tensor_count(shape);
    float *x = golden_formula("x", count, 1);
    for (int64_t i = 0; i < count; ++i) {
        const int64_t of = i % l->values;
        const struct ddpm_random4 random =
            ddpm_philox(l->options.seed, (uint32_t)(of / 4), (uint32_t)(i / l->values),
                        DDPM_LIKELIHOOD_PROBE, DDPM_STREAM_LIKELIHOOD);
        l->probes[i] = random.v[of % 4] >> 31 ? 1.0f : -1.0f;
        l->host_x[i] = x[planar(shape, i)];
    }
    for (int64_t b = 0; b < shape->n; ++b)
        l->host_times[b] = (float)time;
    free(x);
}

/* vᵀ·output(x + step·v) of every picture. */
static void along_probe(struct ddpm_likelihood *l, double step, double time, double *out)
{
    const int64_t channels = l->x->tensor.c, answered = l->answer->tensor.c;
    fill(l, time);
    for (int64_t i = 0; i < l->options.batch * l->values; ++i)
        l->host_x[i] = (float)((double)l->host_x[i] + step * (double)l->probes[i]);
    assert_ok(ddpm_likelihood_answer(l));
    for (int64_t b = 0; b < l->options.batch; ++b) {
        out[b] = 0;
        for (int64_t i = b * l->values; i < (b + 1) * l->values; ++i)
            out[b] += (double)l->probes[i] *
                      (double)l->host_answer[i / channels * answered + i % channels];
    }
}

/* Compare vᵀJ with PyTorch's, and vᵀJv with differences of the network's own outputs. */
static void pull_row(const struct golden *golden, const json_t *row)
{
    char key[64];
    double before[8], after[8], slope = 0, size = 0;
    int64_t batch, count;
    const double time =
        json_number_value(json_object_get(json_object_get(golden->json, "run"), "pulled_at"));
    struct ddpm_network *network = make_network(golden, row, &batch);
    struct ddpm_likelihood *l = plan(golden, row, network, DDPM_WEIGHTS_MODEL, batch);
    snprintf(key, sizeof key, "%s.pulled", json_string_value(json_object_get(row, "name")));
    float *wanted = golden_values(golden, key, &count);
    float *ordered = malloc((size_t)count * sizeof *ordered);
    assert_non_null(ordered);
    assert_int_equal(count, batch * l->values);
    const double step = 1.0 / 256;
    along_probe(l, -step, time, before);
    along_probe(l, step, time, after);
    fill(l, time);
    assert_ok(ddpm_likelihood_answer(l));
    assert_ok(ddpm_likelihood_pull(l, l->probes));
    for (int64_t i = 0; i < count; ++i)
        ordered[i] = wanted[planar(&l->x->tensor, i)];
    const double error = golden_error(l->host_pulled, ordered, count);
    for (int64_t b = 0; b < batch; ++b) {
        double product = 0;
        for (int64_t i = b * l->values; i < (b + 1) * l->values; ++i)
            product += (double)l->probes[i] * (double)l->host_pulled[i];
        slope = fmax(slope, fabs((after[b] - before[b]) / (2 * step) - product));
        size = fmax(size, fabs(product));
    }
    printf("%-20s off by %.1e; vᵀJv %.4g, off the difference by %.1e\n", key, error, size, slope);
    assert_true(error <= PULL_TOLERANCE);
    assert_true(slope <=
                golden_tolerance(2e-3, INFINITY) * size); /* bf16 cannot resolve small steps */
    free(ordered);
    free(wanted);
    ddpm_likelihood_destroy(&l);
    ddpm_network_destroy(&network);
}

static void products_with_the_jacobian(void **state)
{
    (void)state;
    struct golden golden = golden_open("likelihood");
    size_t index, flows = 0;
    json_t *row;
    json_array_foreach(json_object_get(golden.json, "rows"), index, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "method")), "flow") != 0)
            continue;
        pull_row(&golden, row);
        ++flows;
    }
    assert_int_equal(flows, 4);
    golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(likelihoods_agree_with_pytorch),
        cmocka_unit_test(products_with_the_jacobian),
    };
    return cmocka_run_group_tests_name("golden likelihood", tests, NULL, NULL);
}

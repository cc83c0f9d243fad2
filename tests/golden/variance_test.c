/* Golden: the hybrid loss of a learned variance, its gradients and the training with them (PyTorch,
 * by the paper's formulas), and ancestral chains with it (diffusers), on every timestep and
 * respaced. */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <ddpm/sampler.h>
#include <ddpm/trainer.h>

#include "model/model.h"

/* The bounds of training_test.c. bf16: the gradients of some biases cancel almost completely, and
 * are off by 15 % of the rest. */
#define LOSS_TOLERANCE golden_tolerance(1e-4, 1e-2)
#define GRADIENT_TOLERANCE golden_tolerance(1e-4, 3e-1)
#define WEIGHT_TOLERANCE golden_tolerance(1e-4, 1e-1)
#define NORM_TOLERANCE golden_tolerance(1e-4, 1.5e-1)
#define CHAIN_TOLERANCE golden_tolerance(1e-5, 3e-2)

static int64_t integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* The network of a file, with the formula's weights; those of its variance divided by `divisor`. */
static struct ddpm_network *make_network(const struct ddpm_config *config, float divisor)
{
    struct ddpm_network *network;
    assert_ok(ddpm_network_create(config, &network));
    for (size_t i = 0; i < network->weights.parameters.count; ++i) {
        const struct ddpm_parameter *p = &network->weights.parameters.items[i];
        const int64_t count = ddpm_parameter_count(p);
        float *values = golden_parameter(p);
        if (strncmp(p->name, "final_conv.", strlen("final_conv.")) == 0)
            for (int64_t k = count / 2; k < count; ++k)
                values[k] /= divisor;
        for (int which = DDPM_WEIGHTS_MODEL; which <= DDPM_WEIGHTS_EMA; ++which)
            assert_ok(ddpm_network_set(network, (enum ddpm_weights)which, p->name, values,
                                       (size_t)count));
        free(values);
    }
    return network;
}

/* The worst error of all parameters' values, which `read` fetches. */
typedef ddpm_status reader(const void *from, const char *name, float *values, size_t count);

static ddpm_status read_weight(const void *network, const char *name, float *values, size_t count)
{
    return ddpm_network_get(network, DDPM_WEIGHTS_MODEL, name, values, count);
}

static ddpm_status read_average(const void *network, const char *name, float *values, size_t count)
{
    return ddpm_network_get(network, DDPM_WEIGHTS_EMA, name, values, count);
}

static ddpm_status read_gradient(const void *trainer, const char *name, float *values, size_t count)
{
    return ddpm_trainer_gradient(trainer, name, values, count);
}

static double worst(const struct golden *golden, const struct ddpm_network *network,
                    const char *kind, reader *read, const void *from)
{
    double most = 0;
    for (size_t i = 0; i < network->weights.parameters.count; ++i) {
        const struct ddpm_parameter *p = &network->weights.parameters.items[i];
        const int64_t count = ddpm_parameter_count(p);
        float *values = malloc((size_t)count * sizeof *values);
        assert_non_null(values);
        assert_ok(read(from, p->name, values, (size_t)count));
        most = fmax(most, golden_sampled_error(golden, kind, p->name, values, count));
        free(values);
    }
    return most;
}

static void read_run(const json_t *run, struct ddpm_config *config)
{
    config->training.steps = integer(run, "steps");
    config->training.lr = json_number_value(json_object_get(run, "lr"));
    config->training.accumulate = integer(run, "accumulate");
    config->training.ema_every = integer(run, "ema_every");
    config->training.ema_after = integer(run, "ema_after");
    config->diffusion.timesteps = integer(run, "timesteps");
    config->diffusion.schedule = DDPM_SCHEDULE_LINEAR;
    if (strcmp(json_string_value(json_object_get(run, "schedule")), "cosine") == 0)
        config->diffusion.schedule = DDPM_SCHEDULE_COSINE;
    if (strcmp(json_string_value(json_object_get(run, "loss_weight")), "min-snr") == 0)
        config->diffusion.loss_weight = DDPM_WEIGHT_MIN_SNR;
    config->network.learned_variance = true;
}

/* The micro-batches of one step, one after another; pictures have some values at the extremes. */
static float *step_formula(const char *prefix, double scale, double end, int64_t first,
                           int64_t parts, int64_t count)
{
    float *all = malloc((size_t)(parts * count) * sizeof *all);
    assert_non_null(all);
    for (int64_t m = 0; m < parts; ++m) {
        char name[32];
        snprintf(name, sizeof name, "%s.%lld", prefix, (long long)(first + m));
        float *part = golden_formula(name, count, scale);
        for (int64_t i = 0; i < count; ++i)
            all[m * count + i] = (float)fmax(-end, fmin(end, (double)part[i]));
        free(part);
    }
    return all;
}

static void run_step(struct ddpm_trainer *trainer, const struct ddpm_config *config,
                     const int64_t *t, int64_t step, struct ddpm_step_result *result)
{
    const int64_t accumulate = config->training.accumulate, batch = config->training.batch_size;
    const int64_t count = batch * config->network.channels * config->diffusion.image_height *
                          config->diffusion.image_width;
    float *x0 = step_formula("x0", 1.1, 1, step * accumulate, accumulate, count);
    float *noise = step_formula("eps", 1.7, 2, step * accumulate, accumulate, count);
    const struct ddpm_step_input input = {
        .size = sizeof input,
        .pictures = x0,
        .picture_count = (size_t)(accumulate * count),
        .timesteps = t + step * accumulate * batch,
        .timestep_count = (size_t)(accumulate * batch),
        .noise = noise,
        .noise_count = (size_t)(accumulate * count),
    };
    assert_ok(ddpm_trainer_step_given(trainer, &input, result));
    free(x0);
    free(noise);
}

static void run_training(const char *name)
{
    struct golden golden = golden_open(name);
    struct ddpm_config config;
    struct ddpm_trainer *trainer;
    golden_config(&golden, &config, NULL);
    read_run(json_object_get(golden.json, "run"), &config);
    assert_ok(ddpm_config_check(&config));
    struct ddpm_network *network = make_network(&config, 1);
    assert_ok(ddpm_trainer_create(network, &config, NULL, &trainer));
    int64_t *t = golden_integers(&golden, "t", NULL);
    float *losses = golden_values(&golden, "losses", NULL);
    float *norms = golden_values(&golden, "grad_norms", NULL);
    double loss = 0, norm = 0, gradient = 0;
    for (int64_t step = 0; step < config.training.steps; ++step) {
        struct ddpm_step_result result;
        run_step(trainer, &config, t, step, &result);
        if (step == 0)
            gradient = worst(&golden, network, "grad", read_gradient, trainer);
        loss = fmax(loss, fabs(result.loss / (double)losses[step] - 1));
        norm = fmax(norm, fabs(result.grad_norm / (double)norms[step] - 1));
    }
    const double weight = worst(&golden, network, "weight", read_weight, network);
    const double average = worst(&golden, network, "ema", read_average, network);
    printf("%-14s loss %.1e, gradients %.1e, gradient norm %.1e, weights %.1e, EMA %.1e\n", name,
           loss, gradient, norm, weight, average);
    assert_true(loss <= LOSS_TOLERANCE);
    assert_true(gradient <= GRADIENT_TOLERANCE);
    assert_true(norm <= NORM_TOLERANCE);
    assert_true(weight <= WEIGHT_TOLERANCE);
    assert_true(average <= WEIGHT_TOLERANCE);
    free(t);
    free(losses);
    free(norms);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    golden_close(&golden);
}

static void training_agrees_with_pytorch(void **state)
{
    (void)state;
    run_training("variance_two");
    run_training("variance_att"); /* accumulated; with a weight of the simple loss, T/1000 of the
                                     variational term */
}

struct chain_check {
    const struct golden *golden;
    const char *name;
    int64_t steps;
    double worst;
    int compared;
};

static int compare_step(void *user, const struct ddpm_sample_progress *progress)
{
    struct chain_check *check = user;
    char key[48];
    snprintf(key, sizeof key, "%s.%lld", check->name,
             (long long)(check->steps - progress->timestep));
    if (!ddpm_safetensors_find(check->golden->file, key))
        return 0;
    int64_t count;
    float *wanted = golden_values(check->golden, key, &count);
    check->worst = fmax(check->worst, golden_error(progress->x, wanted, count));
    ++check->compared;
    free(wanted);
    return 0;
}

static void run_chain(const struct golden *golden, struct ddpm_network *network, const json_t *row,
                      int64_t batch)
{
    struct ddpm_picture_format format;
    struct chain_check check = {.golden = golden,
                                .name = json_string_value(json_object_get(row, "name")),
                                .steps = integer(row, "steps")};
    const struct ddpm_sample_options options = {
        .size = sizeof options,
        .count = batch,
        .seed = (uint64_t)integer(json_object_get(golden->json, "run"), "seed"),
        .weights = DDPM_WEIGHTS_EMA,
        .sampler = "ancestral",
        .spacing = "linspace",
        .steps = check.steps,
        .clip = json_is_true(json_object_get(row, "clip")),
        .every = 1,
        .callback = compare_step,
        .user = &check};
    assert_ok(ddpm_network_picture_format(network, &format));
    const size_t bytes = (size_t)batch * (size_t)format.bytes;
    uint8_t *pictures = malloc(bytes);
    assert_non_null(pictures);
    assert_ok(ddpm_sample(network, &options, pictures, bytes));
    printf("%-10s %d steps compared, worst %.1e\n", check.name, check.compared, check.worst);
    assert_true(check.compared >= 3);
    assert_true(check.worst <= CHAIN_TOLERANCE);
    free(pictures);
}

static void chains_agree_with_diffusers(void **state)
{
    (void)state;
    struct golden golden = golden_open("variance_chains");
    struct ddpm_config config;
    size_t index;
    json_t *row;
    int64_t batch;
    golden_config(&golden, &config, &batch);
    config.diffusion.timesteps = integer(json_object_get(golden.json, "run"), "timesteps");
    config.network.learned_variance = true;
    struct ddpm_network *network = make_network(&config, 16);
    json_array_foreach(json_object_get(golden.json, "chains"), index, row)
        run_chain(&golden, network, row, batch);
    assert_int_equal(index, 4);
    ddpm_network_destroy(&network);
    golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_agrees_with_pytorch),
        cmocka_unit_test(chains_agree_with_diffusers),
    };
    return cmocka_run_group_tests_name("golden variance", tests, NULL, NULL);
}

/* Golden: the optimizers and moving averages of recipes over twenty given steps; and the lengths of
 * averages. */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <ddpm/trainer.h>

#include "config/option.h"
#include "model/model.h"
#include "training/ema.h"
#include "training/trainer_state.h"

/* bf16: see training_test.c. */
#define LOSS_TOLERANCE golden_tolerance(1e-4, 1e-2)
#define TOLERANCE golden_tolerance(1e-4, 1e-1)
#define NORM_TOLERANCE golden_tolerance(1e-4, 1.5e-1)

static void fill_network(struct ddpm_network *network)
{
    for (size_t i = 0; i < network->weights.parameters.count; ++i) {
        const struct ddpm_parameter *p = &network->weights.parameters.items[i];
        float *values = golden_parameter(p);
        const size_t count = (size_t)ddpm_parameter_count(p);
        assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_MODEL, p->name, values, count));
        free(values);
    }
}

static void set(struct ddpm_config *config, const json_t *run, const char *key, const char *option)
{
    const json_t *value = json_object_get(run, key);
    char text[64];
    assert_non_null(value);
    if (json_is_string(value))
        snprintf(text, sizeof text, "%s", json_string_value(value));
    else
        snprintf(text, sizeof text, "%.17g", json_number_value(value));
    assert_ok(ddpm_config_set(config, option, text));
}

static void read_run(const json_t *run, struct ddpm_config *config)
{
    static const char *const options[][2] = {
        {"optimizer", "optimizer"},
        {"steps", "steps"},
        {"lr", "lr"},
        {"warmup", "warmup"},
        {"beta1", "beta1"},
        {"beta2", "beta2"},
        {"decay", "decay"},
        {"weight_decay", "weight-decay"},
        {"ema_every", "ema-every"},
        {"clip_norm", "max-grad-norm"},
        {"ema_length", "ema-length"},
        {"ema_second", "ema-second"},
        {"lr_schedule", "lr-schedule"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i)
        set(config, run, options[i][0], options[i][1]);
    config->training.ema = DDPM_EMA_POWER;
    assert_ok(ddpm_config_check(config));
}

static void run_step(struct ddpm_trainer *trainer, const struct ddpm_config *config,
                     const int64_t *t, int64_t step, struct ddpm_step_result *result)
{
    const int64_t batch = config->training.batch_size;
    const int64_t count = batch * config->network.channels * config->diffusion.image_height *
                          config->diffusion.image_width;
    char name[32];
    snprintf(name, sizeof name, "x0.%lld", (long long)step);
    float *x0 = golden_formula(name, count, 1);
    snprintf(name, sizeof name, "eps.%lld", (long long)step);
    float *noise = golden_formula(name, count, 1.7);
    const struct ddpm_step_input input = {
        .size = sizeof input,
        .pictures = x0,
        .picture_count = (size_t)count,
        .timesteps = t + step * batch,
        .timestep_count = (size_t)batch,
        .noise = noise,
        .noise_count = (size_t)count,
    };
    assert_ok(ddpm_trainer_step_given(trainer, &input, result));
    free(x0);
    free(noise);
}

static double worst(const struct golden *golden, const struct ddpm_weight_set *set,
                    const char *kind, const void *slab)
{
    double most = 0;
    for (size_t i = 0; i < set->parameters.count; ++i) {
        const struct ddpm_parameter *p = &set->parameters.items[i];
        const int64_t count = ddpm_parameter_count(p);
        float *values = malloc((size_t)count * sizeof *values);
        assert_non_null(values);
        assert_ok(ddpm_weight_set_read(set, slab, p->name, values, (size_t)count));
        most = fmax(most, golden_sampled_error(golden, kind, p->name, values, count));
        free(values);
    }
    return most;
}

static void run_training(const char *name)
{
    struct golden golden = golden_open(name);
    struct ddpm_config config;
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
    golden_config(&golden, &config, NULL);
    read_run(json_object_get(golden.json, "run"), &config);
    assert_ok(ddpm_network_create(&config, &network));
    fill_network(network);
    assert_ok(ddpm_trainer_create(network, &config, NULL, &trainer));
    int64_t *t = golden_integers(&golden, "t", NULL);
    float *losses = golden_values(&golden, "losses", NULL);
    float *norms = golden_values(&golden, "grad_norms", NULL);
    double loss = 0, norm = 0;
    for (int64_t step = 0; step < config.training.steps; ++step) {
        struct ddpm_step_result result;
        run_step(trainer, &config, t, step, &result);
        loss = fmax(loss, fabs(result.loss / (double)losses[step] - 1));
        norm = fmax(norm, fabs(result.grad_norm / (double)norms[step] - 1));
    }
    const struct ddpm_weight_set *set = &network->weights;
    const double weight = worst(&golden, set, "weight", set->slabs[0]);
    const double average = worst(&golden, set, "ema", set->slabs[1]);
    const double second = worst(&golden, set, "second", trainer->players[0].optimizer.second_ema);
    printf("%-16s loss %.1e, gradient norm %.1e, weights %.1e, EMA %.1e and %.1e\n", name, loss,
           norm, weight, average, second);
    assert_true(loss <= LOSS_TOLERANCE);
    assert_true(norm <= NORM_TOLERANCE);
    assert_true(weight <= TOLERANCE);
    assert_true(average <= TOLERANCE);
    assert_true(second <= TOLERANCE);
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
    run_training("recipes_adamw");
    run_training("recipes_muon");
    run_training("recipes_muon_att");
}

/* The exponents that the EDM2 paper gives for its two profiles, and the true length of an average:
 * the standard deviation of its times, as a fraction of the last one. */
static void averages_are_as_long_as_they_say(void **state)
{
    (void)state;
    assert_true(fabs(ddpm_ema_exponent(0.05) - 16.97) < 0.005);
    assert_true(fabs(ddpm_ema_exponent(0.1) - 6.94) < 0.005);
    static const double lengths[] = {0.001, 0.01, 0.05, 0.1, 0.2, 0.28};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; ++i)
        for (int64_t every = 1; every <= 10; every += 9) {
            const struct ddpm_training_config config = {
                .ema = DDPM_EMA_POWER, .ema_length = lengths[i], .ema_every = every};
            const int64_t last = 100000;
            double mean = 0, square = 0; /* of the times */
            for (int64_t done = 0; done <= last; ++done) {
                const double d = ddpm_ema_decay(&config, done), t = (double)(done + 1);
                mean = d * mean + (1 - d) * t;
                square = d * square + (1 - d) * t * t;
            }
            const double length = sqrt(square - mean * mean) / (double)last;
            assert_true(fabs(length / lengths[i] - 1) < 0.01);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_agrees_with_pytorch),
        cmocka_unit_test(averages_are_as_long_as_they_say),
    };
    return cmocka_run_group_tests_name("golden recipes", tests, NULL, NULL);
}

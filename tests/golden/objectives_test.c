/* Golden: gradients and twenty AdamW steps of every objective with every loss weight, including
 * learned ones, and of distilling with every objective; the loss weights compared with
 * denoising-diffusion-pytorch. */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <ddpm/trainer.h>

#include "diffusion/objective.h"
#include "diffusion/schedule.h"
#include "model/model.h"

/* The bounds of training_test.c, and for the gradient of the first step those of
 * networks_test.c. */
#define LOSS_TOLERANCE golden_tolerance(1e-4, 1e-2)
#define NORM_TOLERANCE golden_tolerance(1e-4, 1.5e-1)
#define WEIGHT_TOLERANCE golden_tolerance(1e-4, 1e-1)
#define GRADIENT_TOLERANCE golden_tolerance(1e-4, 3e-2)
#define TABLE_TOLERANCE 1e-6

/* One run of the file, and its open parts. */
struct run {
    const struct golden *golden;
    const char *name;
    struct ddpm_config config;
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
    int64_t steps;
    double loss, norm, gradient, weight; /* worst errors */
};

/* A tensor of the run; free() it. */
static float *run_values(const struct run *run, const char *what, int64_t *count)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", run->name, what);
    return golden_values(run->golden, name, count);
}

/* The levels of all steps in fp64; free() them. */
static double *run_levels(const struct run *run)
{
    char name[128];
    snprintf(name, sizeof name, "%s.levels", run->name);
    const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_find(run->golden->file, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, DDPM_SAFETENSORS_F64);
    double *levels = malloc(tensor->bytes);
    memcpy(levels, tensor->data, tensor->bytes);
    return levels;
}

/* A name's index in one of the file's lists of names, or the list's length. */
static size_t find_name(const struct run *run, const char *list, const char *name)
{
    const json_t *names = json_object_get(run->golden->json, list);
    size_t i = 0;
    while (i < json_array_size(names) &&
           strcmp(json_string_value(json_array_get(names, i)), name) != 0)
        ++i;
    return i;
}

/* The error of a parameter's norm and probe, relative to the norm, which is *size. */
static double summary_error(const struct run *run, const char *what, const char *name,
                            const float *values, int64_t count, double *size)
{
    char kind[96];
    int64_t numbers;
    const size_t index = find_name(run, "parameters", name);
    snprintf(kind, sizeof kind, "%s_summary", what);
    float *summary = run_values(run, kind, &numbers);
    assert_int_equal(numbers, 2 * run->network->weights.parameters.count);
    assert_true(2 * index < (size_t)numbers);
    const double probe = (double)summary[2 * index + 1];
    *size = (double)summary[2 * index];
    snprintf(kind, sizeof kind, "probe:%s", name);
    float *probes = golden_formula(kind, count, 1);
    double norm = 0, projection = 0;
    for (int64_t i = 0; i < count; ++i) {
        norm += (double)values[i] * (double)values[i];
        projection += (double)values[i] * (double)probes[i];
    }
    free(probes);
    free(summary);
    return fmax(fabs(sqrt(norm) - *size), fabs(projection - probe)) / fmax(*size, 1e-12);
}

/* For one parameter: its norm and probe, and for a few also some elements. */
static double parameter_error(const struct run *run, const char *what,
                              const struct ddpm_parameter *p, double *norm)
{
    const size_t chosen = json_array_size(json_object_get(run->golden->json, "chosen"));
    const int64_t count = ddpm_parameter_count(p);
    float *values = malloc((size_t)count * sizeof *values);
    if (strcmp(what, "gradient") == 0)
        assert_ok(ddpm_trainer_gradient(run->trainer, p->name, values, (size_t)count));
    else
        assert_ok(
            ddpm_network_get(run->network, DDPM_WEIGHTS_MODEL, p->name, values, (size_t)count));
    double error = summary_error(run, what, p->name, values, count, norm);
    if (find_name(run, "chosen", p->name) < chosen) {
        char kind[96];
        snprintf(kind, sizeof kind, "%s.%s", run->name, what);
        error = fmax(error, golden_sampled_error(run->golden, kind, p->name, values, count));
    }
    free(values);
    return error;
}

/* The worst parameter's error; for gradients in bf16 that of all together, as in
 * networks_test.c. */
static double error_of(const struct run *run, const char *what)
{
    const bool together = strcmp(what, "gradient") == 0 && run->network->dtype == DDPM_BF16;
    double worst = 0, errors = 0, squares = 0;
    for (size_t i = 0; i < run->network->weights.parameters.count; ++i) {
        double norm;
        const double error =
            parameter_error(run, what, &run->network->weights.parameters.items[i], &norm);
        worst = fmax(worst, error);
        errors += error * error * norm * norm;
        squares += norm * norm;
    }
    return together ? sqrt(errors / squares) : worst;
}

static void open_run(struct run *run, const json_t *row)
{
    const json_t *training = json_object_get(run->golden->json, "training");
    const json_t *options = json_object_get(row, "options");
    struct ddpm_config *config = &run->config;
    golden_config(run->golden, config, NULL);
    run->name = json_string_value(json_object_get(row, "name"));
    assert_ok(
        ddpm_config_set(config, "objective", json_string_value(json_object_get(row, "objective"))));
    assert_ok(
        ddpm_config_set(config, "loss-weight", json_string_value(json_object_get(row, "weight"))));
    assert_ok(ddpm_config_set(config, "schedule",
                              json_string_value(json_object_get(training, "schedule"))));
    run->steps = json_integer_value(json_object_get(training, "steps"));
    const json_t *planned = json_object_get(training, "run_steps"); /* what distilling depends on */
    config->training.steps = planned ? json_integer_value(planned) : run->steps;
    config->diffusion.drawing_steps = json_integer_value(json_object_get(options, "drawing_steps"));
    config->training.lr = json_number_value(json_object_get(training, "lr"));
    config->training.max_grad_norm = 0;
    config->training.seed = (uint64_t)json_integer_value(json_object_get(training, "seed"));
    config->diffusion.timesteps = json_integer_value(json_object_get(training, "timesteps"));
    config->diffusion.min_snr_gamma = json_number_value(json_object_get(training, "min_snr_gamma"));
    config->diffusion.sigma_data = json_number_value(json_object_get(training, "sigma_data"));
    config->diffusion.zero_terminal_snr =
        json_is_true(json_object_get(options, "zero_terminal_snr"));
    if (json_object_get(options, "shift"))
        config->diffusion.shift = json_number_value(json_object_get(options, "shift"));
    assert_ok(ddpm_config_check(config));
    assert_ok(ddpm_network_create(config, &run->network));
    for (size_t i = 0; i < run->network->weights.parameters.count; ++i) {
        const struct ddpm_parameter *p = &run->network->weights.parameters.items[i];
        float *values = golden_parameter(p);
        assert_ok(ddpm_network_set(run->network, DDPM_WEIGHTS_MODEL, p->name, values,
                                   (size_t)ddpm_parameter_count(p)));
        free(values);
    }
    assert_ok(ddpm_trainer_create(run->network, config, NULL, &run->trainer));
}

/* One step at these levels. */
static void step(struct run *run, int64_t number, const double *levels,
                 struct ddpm_step_result *result)
{
    const int64_t batch = run->config.training.batch_size;
    const int64_t count = batch * run->config.network.channels *
                          run->config.diffusion.image_height * run->config.diffusion.image_width;
    int64_t timesteps[8] = {0};
    char name[32];
    assert_true(batch <= (int64_t)(sizeof timesteps / sizeof *timesteps));
    const bool scheduled =
        ddpm_objectives[run->config.diffusion.objective].path == DDPM_PATH_SCHEDULE &&
        !run->config.diffusion.drawing_steps;
    for (int64_t b = 0; b < batch && scheduled; ++b)
        timesteps[b] = (int64_t)levels[b];
    snprintf(name, sizeof name, "x0.%lld", (long long)number);
    float *x0 = golden_formula(name, count, 1);
    snprintf(name, sizeof name, "eps.%lld", (long long)number);
    float *noise = golden_formula(name, count, 1.7);
    const struct ddpm_step_input input = {
        .size = sizeof input,
        .pictures = x0,
        .picture_count = (size_t)count,
        .timesteps = scheduled ? timesteps : NULL,
        .timestep_count = scheduled ? (size_t)batch : 0,
        .noise = noise,
        .noise_count = (size_t)count,
        .sigmas = scheduled ? NULL : levels,
        .sigma_count = scheduled ? 0 : (size_t)batch,
    };
    assert_ok(ddpm_trainer_step_given(run->trainer, &input, result));
    free(x0);
    free(noise);
}

/* The reference kernels take minutes for all steps of all runs, so they only do three.
 * golden_training_ref checks what the kernels do with a gradient. */
static bool cut_short(void)
{
    const char *device = getenv("DDPM_TEST_DEVICE");
    return device && strcmp(device, "ref") == 0;
}

static void run_steps(struct run *run)
{
    const int64_t batch = run->config.training.batch_size;
    const int64_t steps = cut_short() ? 3 : run->steps;
    float *losses = run_values(run, "losses", NULL), *norms = run_values(run, "grad_norms", NULL);
    double *levels = run_levels(run);
    for (int64_t i = 0; i < steps; ++i) {
        struct ddpm_step_result result;
        step(run, i, levels + i * batch, &result);
        run->loss = fmax(run->loss, fabs(result.loss / (double)losses[i] - 1));
        run->norm = fmax(run->norm, fabs(result.grad_norm / (double)norms[i] - 1));
        if (i == 0)
            run->gradient = error_of(run, "gradient");
    }
    if (!cut_short())
        run->weight = error_of(run, "weight");
    free(losses);
    free(norms);
    free(levels);
}

static void check_runs(const char *file, size_t count)
{
    struct golden golden = golden_open(file);
    const json_t *rows = json_object_get(golden.json, "runs");
    int failed = 0;
    assert_int_equal(json_array_size(rows), count);
    for (size_t i = 0; i < json_array_size(rows); ++i) {
        struct run run = {.golden = &golden};
        open_run(&run, json_array_get(rows, i));
        run_steps(&run);
        const bool good = run.loss <= LOSS_TOLERANCE && run.norm <= NORM_TOLERANCE &&
                          run.gradient <= GRADIENT_TOLERANCE && run.weight <= WEIGHT_TOLERANCE;
        printf("%-18s loss %.1e, gradient norm %.1e, first gradient %.1e, weights %.1e%s\n",
               run.name, run.loss, run.norm, run.gradient, run.weight, good ? "" : "  FAILED");
        failed += !good;
        ddpm_trainer_destroy(&run.trainer);
        ddpm_network_destroy(&run.network);
    }
    assert_int_equal(failed, 0);
    golden_close(&golden);
}

static void training_agrees_with_the_papers(void **state)
{
    (void)state;
    check_runs("objectives", 19);
}

static void distilling_agrees_with_the_paper(void **state)
{
    (void)state;
    check_runs("consistency", 5);
}

static void learned_weights_agree_with_pytorch(void **state)
{
    (void)state;
    check_runs("uncertainty", 5);
}

/* flow.shift is trained at the t that the program draws, which equal the script's. */
static void shifted_times_are_drawn(void **state)
{
    (void)state;
    struct golden golden = golden_open("objectives");
    struct run run = {.golden = &golden, .name = "flow.shift"};
    struct ddpm_path path;
    golden_config(&golden, &run.config, NULL);
    run.config.diffusion.objective = DDPM_OBJECTIVE_FLOW;
    run.config.diffusion.shift = 2;
    const json_t *training = json_object_get(golden.json, "training");
    const uint64_t seed = (uint64_t)json_integer_value(json_object_get(training, "seed"));
    assert_ok(ddpm_path_create(&run.config.diffusion, &path));
    double *levels = run_levels(&run);
    for (uint32_t i = 0; i < 20; ++i)
        for (uint32_t b = 0; b < 4; ++b) {
            const struct ddpm_level level =
                ddpm_training_level(&run.config.diffusion, &path, seed, i, b);
            assert_true(fabs(level.sigma / levels[4 * i + b] - 1) < 1e-12);
        }
    free(levels);
    ddpm_path_clear(&path);
    golden_close(&golden);
}

/* min-SNR over all timesteps of a schedule: weight·loss equals that package's. */
static void weights_are_those_of_denoising_diffusion_pytorch(void **state)
{
    (void)state;
    static const char *const schedules[] = {"linear", "cosine"};
    static const enum ddpm_objective_kind objectives[] = {DDPM_OBJECTIVE_NOISE, DDPM_OBJECTIVE_X0,
                                                          DDPM_OBJECTIVE_V};
    struct golden golden = golden_open("objectives");
    for (size_t s = 0; s < 2; ++s)
        for (size_t o = 0; o < 3; ++o) {
            struct ddpm_config config;
            struct ddpm_path path;
            char name[40];
            int64_t count;
            golden_config(&golden, &config, NULL);
            assert_ok(ddpm_config_set(&config, "schedule", schedules[s]));
            assert_ok(ddpm_config_set(&config, "loss-weight", "min-snr"));
            config.diffusion.objective = (int)objectives[o];
            assert_ok(ddpm_path_create(&config.diffusion, &path));
            snprintf(name, sizeof name, "weights.%s.%s", schedules[s],
                     ddpm_objectives[objectives[o]].name);
            float *wanted = golden_values(&golden, name, &count);
            assert_int_equal(count, path.timesteps);
            for (int64_t t = 0; t < count; ++t) {
                const struct ddpm_level level = ddpm_path_level(&path, (double)t);
                struct ddpm_objective_row row;
                ddpm_objective_fill(&config.diffusion, &level, &row);
                const double error = fabs(row.weight / (double)wanted[t] - 1);
                if (!(error <= TABLE_TOLERANCE))
                    fail_msg("%s at t = %lld: got %.9g, want %.9g", name, (long long)t, row.weight,
                             (double)wanted[t]);
            }
            free(wanted);
            ddpm_path_clear(&path);
        }
    golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_agrees_with_the_papers),
        cmocka_unit_test(distilling_agrees_with_the_paper),
        cmocka_unit_test(learned_weights_agree_with_pytorch),
        cmocka_unit_test(shifted_times_are_drawn),
        cmocka_unit_test(weights_are_those_of_denoising_diffusion_pytorch),
    };
    return cmocka_run_group_tests_name("golden objectives", tests, NULL, NULL);
}

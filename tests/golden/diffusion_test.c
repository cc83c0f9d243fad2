/* Golden: schedule tables, the reverse chain, and the distribution of the initial weights. */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <ddpm/sampler.h>

#include "diffusion/objective.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "model/model.h"
#include "nets/nets.h"

static struct ddpm_diffusion_config table_config(const json_t *table)
{
    struct ddpm_diffusion_config config = {
        .cosine_s = 0.008, .sigmoid_start = -3, .sigmoid_end = 3, .sigmoid_tau = 1};
    const char *schedule = json_string_value(json_object_get(table, "schedule"));
    config.timesteps = json_integer_value(json_object_get(table, "timesteps"));
    while (strcmp(ddpm_schedules[config.schedule].name, schedule) != 0)
        ++config.schedule;
    const struct {
        const char *key;
        double *value;
    } arguments[] = {{"s", &config.cosine_s},
                     {"start", &config.sigmoid_start},
                     {"end", &config.sigmoid_end},
                     {"tau", &config.sigmoid_tau}};
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; ++i) {
        const json_t *value = json_object_get(json_object_get(table, "kwargs"), arguments[i].key);
        if (value)
            *arguments[i].value = json_number_value(value);
    }
    return config;
}

/* PyTorch's tables as the program uses them: in the path, in the rows for training, and in the
 * turns of the ancestral chain with and without clipping. */
enum table {
    BETAS,
    ALPHAS_CUMPROD,
    ALPHAS_CUMPROD_PREV,
    SQRT_RECIP_ALPHAS,
    SQRT_ALPHAS_CUMPROD,
    SQRT_ONE_MINUS_ALPHAS_CUMPROD,
    POSTERIOR_VARIANCE,
    POSTERIOR_MEAN_X0,
    POSTERIOR_MEAN_XT,
    TABLE_COUNT
};
static const char *const table_names[TABLE_COUNT] = {
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_recip_alphas",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "posterior_variance",
    "posterior_mean_x0",
    "posterior_mean_xt",
};

struct tables {
    struct ddpm_path path;
    float *rows;
    struct ddpm_turns turns[2]; /* plain, clipped */
};

static void make_tables(const struct ddpm_diffusion_config *config, struct tables *t)
{
    const struct ddpm_sampler_kind *ancestral;
    const size_t count = (size_t)config->timesteps + 1;
    struct ddpm_level *levels = calloc(count, sizeof *levels);
    assert_ok(ddpm_path_create(config, &t->path));
    assert_ok(ddpm_training_rows(config, &t->path, &t->rows));
    assert_ok(ddpm_sampler_find("ancestral", &ancestral));
    assert_ok(ddpm_levels_space(&t->path, &ddpm_spacings[0], config->timesteps, true, levels));
    for (int clip = 0; clip < 2; ++clip) {
        const struct ddpm_sampler_request request = {.levels = levels,
                                                     .count = count,
                                                     .path = &t->path,
                                                     .clip = clip != 0,
                                                     .predicts_noise = true};
        t->turns[clip] = (struct ddpm_turns){0};
        assert_ok(ddpm_sampler_turns(ancestral, &request, &t->turns[clip]));
        assert_int_equal(t->turns[clip].count, config->timesteps);
    }
    free(levels);
}

static void clear_tables(struct tables *t)
{
    ddpm_turns_clear(&t->turns[0]);
    ddpm_turns_clear(&t->turns[1]);
    free(t->rows);
    ddpm_path_clear(&t->path);
}

static double entry(const struct tables *t, enum table table, int64_t at)
{
    const float *row = t->rows + at * DDPM_TRAINING_COLUMNS;
    const int64_t turn = t->path.timesteps - 1 - at;
    const struct ddpm_turn *plain = &t->turns[0].items[turn], *clipped = &t->turns[1].items[turn];
    switch (table) {
    case BETAS:
        return t->path.betas[at];
    case ALPHAS_CUMPROD:
        return t->path.alpha_bars[at];
    case ALPHAS_CUMPROD_PREV:
        return at ? t->path.alpha_bars[at - 1] : 1;
    case SQRT_RECIP_ALPHAS:
        return plain->x;
    case SQRT_ALPHAS_CUMPROD:
        return (double)row[DDPM_TRAINING_X0];
    case SQRT_ONE_MINUS_ALPHAS_CUMPROD:
        return (double)row[DDPM_TRAINING_NOISE];
    case POSTERIOR_VARIANCE:
        return clipped->noise * clipped->noise;
    case POSTERIOR_MEAN_X0:
        return clipped->x0;
    case POSTERIOR_MEAN_XT:
    default:
        return clipped->x;
    }
}

static double worst_relative(const struct tables *t, enum table table, const float *wanted)
{
    double worst = 0;
    for (int64_t i = 0; i < t->path.timesteps; ++i) {
        double size = fmax(fabs((double)wanted[i]), 1e-30);
        worst = fmax(worst, fabs(entry(t, table, i) - (double)wanted[i]) / size);
    }
    return worst;
}

static void tables_agree_with_pytorch(void **state)
{
    (void)state;
    struct golden golden = golden_open("schedules");
    const json_t *list = json_object_get(golden.json, "tables");
    for (size_t i = 0; i < json_array_size(list); ++i) {
        const json_t *item = json_array_get(list, i);
        struct ddpm_diffusion_config config = table_config(item);
        struct tables t;
        make_tables(&config, &t);
        for (int table = 0; table < TABLE_COUNT; ++table) {
            char key[96];
            snprintf(key, sizeof key, "%s.%s", json_string_value(json_object_get(item, "name")),
                     table_names[table]);
            float *wanted = golden_values(&golden, key, NULL);
            double worst = worst_relative(&t, (enum table)table, wanted);
            if (worst > 1e-6)
                fail_msg("%s: relative error %g", key, worst);
            free(wanted);
        }
        clear_tables(&t);
    }
    golden_close(&golden);
}

static void bad_tables_are_refused(void **state)
{
    (void)state;
    struct ddpm_path path;
    struct ddpm_diffusion_config config = {.timesteps = 1000,
                                           .schedule = DDPM_SCHEDULE_SIGMOID,
                                           .sigmoid_start = 3,
                                           .sigmoid_end = 3,
                                           .sigmoid_tau = 1};
    assert_int_equal(ddpm_path_create(&config, &path), DDPM_ERROR_ARGUMENT);
    config = (struct ddpm_diffusion_config){.timesteps = 10, .schedule = DDPM_SCHEDULE_LINEAR};
    assert_int_equal(ddpm_path_create(&config, &path), DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "beta"));
}

struct chain_check {
    const struct golden *golden;
    double worst;
    int compared;
};

static int compare_step(void *user, const struct ddpm_sample_progress *progress)
{
    struct chain_check *check = user;
    char key[32];
    snprintf(key, sizeof key, "x.%lld", (long long)progress->timestep);
    if (!ddpm_safetensors_find(check->golden->file, key))
        return 0;
    int64_t count;
    float *wanted = golden_values(check->golden, key, &count);
    check->worst = fmax(check->worst, golden_error(progress->x, wanted, count));
    ++check->compared;
    free(wanted);
    return 0;
}

static void run_chain(const char *name)
{
    struct golden golden = golden_open(name);
    const json_t *run = json_object_get(golden.json, "run");
    struct ddpm_config config;
    struct ddpm_network *network;
    int64_t batch;
    golden_config(&golden, &config, &batch);
    config.diffusion.timesteps = json_integer_value(json_object_get(run, "timesteps"));
    config.diffusion.schedule = 0;
    while (strcmp(ddpm_schedules[config.diffusion.schedule].name,
                  json_string_value(json_object_get(run, "schedule"))) != 0)
        ++config.diffusion.schedule;
    assert_ok(ddpm_network_create(&config, &network));
    for (size_t i = 0; i < network->weights.parameters.count; ++i) {
        const struct ddpm_parameter *p = &network->weights.parameters.items[i];
        float *values = golden_parameter(p);
        assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_EMA, p->name, values,
                                   (size_t)ddpm_parameter_count(p)));
        free(values);
    }
    struct chain_check check = {.golden = &golden};
    struct ddpm_sample_options options = {
        .size = sizeof options,
        .count = batch,
        .batch = batch,
        .seed = (uint64_t)json_integer_value(json_object_get(run, "seed")),
        .weights = DDPM_WEIGHTS_EMA,
        .sampler = "ancestral",
        .clip = json_is_true(json_object_get(run, "clip")),
        .every = 1,
        .callback = compare_step,
        .user = &check};
    const size_t bytes = (size_t)(batch * config.network.channels * config.diffusion.image_height *
                                  config.diffusion.image_width);
    uint8_t *pictures = malloc(bytes);
    assert_ok(ddpm_sample(network, &options, pictures, bytes));
    printf("%-14s %d steps compared, worst %.1e\n", name, check.compared, check.worst);
    assert_true(check.compared >= 4);
    /* 1e-3 is the promised bound; a change of 1 % in one layer moves a chain by only 1e-4. */
    assert_true(check.worst <= 1e-5);
    free(pictures);
    ddpm_network_destroy(&network);
    golden_close(&golden);
}

static void chains_agree_with_pytorch(void **state)
{
    (void)state;
    run_chain("chain_clip");
    run_chain("chain_noclip");
    run_chain("chain_cosine");
}

static void check_distribution(const struct ddpm_parameter *p, const json_t *wanted,
                               const float *slab)
{
    const float *values = slab + p->offset;
    const int64_t count = ddpm_parameter_count(p);
    const json_t *bound_json = json_object_get(wanted, "bound");
    double sum = 0, squares = 0, largest = 0;
    for (int64_t i = 0; i < count; ++i) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
        largest = fmax(largest, fabs((double)values[i]));
    }
    double mean = sum / (double)count,
           wanted_mean = json_number_value(json_object_get(wanted, "mean"));
    if (json_number_value(bound_json) == 0) { /* a constant */
        assert_true(mean == wanted_mean);
        assert_true(squares == (double)count * wanted_mean * wanted_mean);
        return;
    }
    double bound = json_number_value(bound_json);
    double deviation = json_number_value(json_object_get(wanted, "std"));
    if (largest > bound * (1 + 1e-6))
        fail_msg("%s: %g is out of ±%g", p->name, largest, bound);
    /* Five standard errors of the mean and of the second moment of a uniform distribution. */
    assert_true(fabs(mean) <= 5 * deviation / sqrt((double)count));
    double second = squares / (double)count;
    assert_true(fabs(second - deviation * deviation) <=
                5 * deviation * deviation * sqrt(0.8 / (double)count));
}

static void initial_weights_are_pytorchs(void **state)
{
    (void)state;
    json_error_t error;
    json_t *json = json_load_file(GOLDEN_DATA "init.json", 0, &error);
    assert_non_null(json);
    struct ddpm_network_config config = {.network = DDPM_NETWORK_TWO_RES_UNET,
                                         .dim = 16,
                                         .dim_mults = {1, 2, 4, 8},
                                         .levels = 4,
                                         .channels = 3,
                                         .theta = 10000,
                                         .mult = 2,
                                         .norm = true};
    struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
    assert_ok(ddpm_net_declare(&config, &set));
    const struct ddpm_parameters parameters = set.parameters;
    float *slab = calloc((size_t)parameters.slab_count, sizeof *slab);
    ddpm_parameters_initialize(&parameters, 3, slab);
    const json_t *list = json_object_get(json, "parameters");
    assert_int_equal(json_object_size(list), parameters.count);
    for (size_t i = 0; i < parameters.count; ++i) {
        const struct ddpm_parameter *p = &parameters.items[i];
        const json_t *wanted = json_object_get(list, p->name);
        assert_non_null(wanted);
        const json_t *shape = json_object_get(wanted, "shape");
        assert_int_equal(json_array_size(shape), p->rank);
        for (int k = 0; k < p->rank; ++k)
            assert_int_equal(json_integer_value(json_array_get(shape, (size_t)k)), p->shape[k]);
        check_distribution(p, wanted, slab);
    }
    free(slab);
    ddpm_weight_set_clear(&set);
    json_decref(json);
}

static void parameter_counts_are_the_articles(void **state)
{
    (void)state;
    const struct {
        int network;
        int64_t dim, count;
    } wanted[] = {
        {DDPM_NETWORK_ONE_RES_UNET, 32, 14782691},   {DDPM_NETWORK_TWO_RES_UNET, 32, 15753155},
        {DDPM_NETWORK_ATTENTION_UNET, 32, 15885671}, {DDPM_NETWORK_ONE_RES_UNET, 64, 58845635},
        {DDPM_NETWORK_TWO_RES_UNET, 64, 62699395},   {DDPM_NETWORK_ATTENTION_UNET, 64, 63226567}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; ++i) {
        struct ddpm_network_config config = {.network = wanted[i].network,
                                             .dim = wanted[i].dim,
                                             .dim_mults = {1, 2, 4, 8},
                                             .levels = 4,
                                             .channels = 3,
                                             .theta = 10000,
                                             .mult = 2,
                                             .norm = true};
        struct ddpm_weight_set set = DDPM_EMPTY_WEIGHT_SET;
        assert_ok(ddpm_net_declare(&config, &set));
        assert_int_equal(ddpm_parameters_total(&set.parameters), wanted[i].count);
        ddpm_weight_set_clear(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_agree_with_pytorch),
        cmocka_unit_test(bad_tables_are_refused),
        cmocka_unit_test(chains_agree_with_pytorch),
        cmocka_unit_test(initial_weights_are_pytorchs),
        cmocka_unit_test(parameter_counts_are_the_articles),
    };
    return cmocka_run_group_tests_name("golden diffusion", tests, NULL, NULL);
}

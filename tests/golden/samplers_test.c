/* Chains of few steps compared with diffusers' schedulers and the papers: once with the turns run
 * on the host, which shows where a chain deviates, and once with the library's sampler. */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <ddpm/network.h>
#include <ddpm/sampler.h>

#include "core/random.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "model/model.h"

/* 1e-4 is promised, 3e-6 measured; changing one weight in a thousand moves any chain by 2e-4 or
 * more. */
#define TOLERANCE 1e-5

/* One chain of the file, while it runs. */
struct drawing {
    struct ddpm_network *network;
    const struct golden *golden;
    const json_t *row;
    uint64_t seed;
    bool clip;
    int64_t batch, channels, height, width, count; /* count: elements of all pictures */
    float *x, *x0, *out, *z, *next, *kept[DDPM_SAMPLER_SLOTS];
    double worst;
    int compared;
};

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static const char *text(const struct drawing *d, const char *key)
{
    const char *value = json_string_value(json_object_get(d->row, key));
    assert_non_null(value);
    return value;
}

/* Normals for every picture, in the order H, W, C, as on a device. */
static void draw_normal(const struct drawing *d, enum ddpm_stream stream, uint32_t step, float *out)
{
    const int64_t area = d->height * d->width, picture = area * d->channels;
    float *draws = malloc((size_t)picture * sizeof *draws);
    assert_non_null(draws);
    for (int64_t b = 0; b < d->batch; ++b) {
        ddpm_fill_normal(draws, picture, d->seed, stream, step, (uint32_t)b);
        for (int64_t p = 0; p < area; ++p)
            for (int64_t c = 0; c < d->channels; ++c)
                out[(b * d->channels + c) * area + p] = draws[p * d->channels + c];
    }
    free(draws);
}

/* out = ε̂ and x̂_0 = (x - σ·ε̂)/α. */
static void evaluate(struct drawing *d, const struct ddpm_level *at)
{
    float times[8];
    const size_t count = (size_t)d->count;
    assert_true(d->batch <= 8);
    for (int64_t b = 0; b < d->batch; ++b)
        times[b] = (float)at->time;
    const struct ddpm_forward_input input = {.size = sizeof input,
                                             .x = d->x,
                                             .x_count = count,
                                             .times = times,
                                             .time_count = (size_t)d->batch,
                                             .batch = d->batch,
                                             .height = d->height,
                                             .width = d->width};
    assert_ok(ddpm_network_forward(d->network, DDPM_WEIGHTS_EMA, &input, d->out, count));
    const float x_weight = (float)(1 / at->alpha), out_weight = (float)(-at->sigma / at->alpha);
    for (int64_t i = 0; i < d->count; ++i) {
        float x0 = x_weight * d->x[i] + out_weight * d->out[i];
        d->x0[i] = d->clip ? fminf(fmaxf(x0, -1), 1) : x0;
    }
}

/* Add weight·from, unless the weight is 0. */
static void add(struct drawing *d, double weight, const float *from)
{
    if (weight == 0)
        return;
    for (int64_t i = 0; i < d->count; ++i)
        d->next[i] += (float)weight * from[i];
}

static void run_turn(struct drawing *d, const struct ddpm_turn *turn, uint32_t left)
{
    const size_t bytes = (size_t)d->count * sizeof(float);
    if (turn->evaluate)
        evaluate(d, &turn->at);
    if (turn->noise != 0)
        draw_normal(d, DDPM_STREAM_SAMPLE_STEP, left, d->z);
    memset(d->next, 0, bytes);
    add(d, turn->x0, d->x0);
    add(d, turn->x, d->x);
    add(d, turn->out, d->out);
    for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
        add(d, turn->kept[j], d->kept[j]);
    add(d, turn->noise, d->z);
    if (turn->keep_x0 >= 0)
        memcpy(d->kept[turn->keep_x0], d->x0, bytes);
    memcpy(d->x, d->next, bytes);
}

/* x after `steps` steps, if the file has it. */
static void compare(struct drawing *d, size_t steps)
{
    char key[80];
    snprintf(key, sizeof key, "%s.%zu", text(d, "name"), steps);
    if (!ddpm_safetensors_find(d->golden->file, key))
        return;
    int64_t count;
    float *wanted = golden_values(d->golden, key, &count);
    assert_int_equal(count, d->count);
    const double error = golden_error(d->x, wanted, count);
    if (error > d->worst)
        d->worst = error;
    ++d->compared;
    free(wanted);
}

/* The levels at the file's times, which must be those of our spacing. */
static struct ddpm_level *make_levels(const struct drawing *d, const struct ddpm_path *path,
                                      bool whole, size_t *count)
{
    const json_t *times = json_object_get(d->row, "times");
    const struct ddpm_spacing *spacing;
    const size_t steps = json_array_size(times);
    struct ddpm_level *levels = calloc(steps + 1, sizeof *levels);
    assert_non_null(levels);
    assert_ok(ddpm_spacing_find(text(d, "spacing"), &spacing));
    assert_ok(ddpm_levels_space(path, spacing, (int64_t)steps, whole, levels));
    for (size_t i = 0; i < steps; ++i) {
        const double t = json_number_value(json_array_get(times, i));
        assert_true(fabs(levels[i].time - t) < 1e-8);
        levels[i] = ddpm_path_level(path, t);
    }
    *count = steps + 1;
    return levels;
}

static struct ddpm_turns make_turns(const struct drawing *d, const struct ddpm_path *path)
{
    const struct ddpm_sampler_kind *kind;
    struct ddpm_turns turns = {0};
    size_t count;
    assert_ok(ddpm_sampler_find(text(d, "sampler"), &kind));
    struct ddpm_level *levels = make_levels(d, path, kind->discrete, &count);
    const struct ddpm_sampler_request request = {.levels = levels,
                                                 .count = count,
                                                 .path = path,
                                                 .clip = d->clip,
                                                 .predicts_noise = true,
                                                 .eta = number(d->row, "eta"),
                                                 .order = (int)number(d->row, "order"),
                                                 .churn = number(d->row, "churn"),
                                                 .churn_min = number(d->row, "churn_min"),
                                                 .churn_max = number(d->row, "churn_max"),
                                                 .churn_noise = number(d->row, "churn_noise")};
    assert_ok(ddpm_sampler_turns(kind, &request, &turns));
    free(levels);
    return turns;
}

static void run_chain(struct drawing *d, const struct ddpm_path *path)
{
    struct ddpm_turns turns = make_turns(d, path);
    d->worst = d->compared = 0;
    draw_normal(d, DDPM_STREAM_SAMPLE_INIT, 0, d->x);
    for (size_t i = 0; i < turns.count; ++i) {
        run_turn(d, &turns.items[i], ddpm_turns_left(&turns, i));
        if (i + 1 == turns.count || turns.items[i + 1].step > turns.items[i].step)
            compare(d, turns.items[i].step + 1);
    }
    printf("%-24s %zu turns, %d pictures compared, worst %.1e\n", text(d, "name"), turns.count,
           d->compared, d->worst);
    assert_int_equal(d->compared, 3);
    if (!(d->worst <= TOLERANCE))
        fail_msg("%s: off by %.1e", text(d, "name"), d->worst);
    ddpm_turns_clear(&turns);
}

/* The network of the file, with the formula's weights. */
static struct ddpm_network *make_network(const struct ddpm_config *config)
{
    struct ddpm_network *network;
    assert_ok(ddpm_network_create(config, &network));
    for (size_t i = 0; i < network->weights.parameters.count; ++i) {
        const struct ddpm_parameter *p = &network->weights.parameters.items[i];
        float *values = golden_parameter(p);
        assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_EMA, p->name, values,
                                   (size_t)ddpm_parameter_count(p)));
        free(values);
    }
    return network;
}

/* The same chain with the library's sampler. */
static void run_sampler(struct drawing *d)
{
    struct ddpm_sampler *sampler;
    const int64_t steps = (int64_t)json_array_size(json_object_get(d->row, "times"));
    const struct ddpm_sampler_options options = {.size = sizeof options,
                                                 .sampler = text(d, "sampler"),
                                                 .spacing = text(d, "spacing"),
                                                 .steps = steps,
                                                 .weights = DDPM_WEIGHTS_EMA,
                                                 .clip = d->clip,
                                                 .eta = number(d->row, "eta"),
                                                 .order = (int)number(d->row, "order"),
                                                 .churn = number(d->row, "churn"),
                                                 .churn_min = number(d->row, "churn_min"),
                                                 .churn_max = number(d->row, "churn_max"),
                                                 .churn_noise = number(d->row, "churn_noise")};
    const struct ddpm_draw draw = {.size = sizeof draw, .count = d->batch, .seed = d->seed};
    assert_ok(ddpm_sampler_create(d->network, &options, &sampler));
    assert_ok(ddpm_sampler_draw_array(sampler, &draw, d->x, (size_t)d->count));
    d->worst = d->compared = 0;
    compare(d, (size_t)steps);
    printf("  %s: off by %.1e\n", ddpm_sampler_description(sampler), d->worst);
    assert_true(d->compared == 1 && d->worst <= TOLERANCE);
    ddpm_sampler_destroy(&sampler);
}

static void chains_agree_with_diffusers_and_the_papers(void **state)
{
    (void)state;
    struct golden golden = golden_open("samplers");
    const json_t *run = json_object_get(golden.json, "run");
    struct ddpm_config config;
    struct drawing d = {.golden = &golden, .seed = (uint64_t)number(run, "seed")};
    golden_config(&golden, &config, &d.batch);
    config.diffusion.timesteps = (int64_t)number(run, "timesteps");
    config.diffusion.schedule = DDPM_SCHEDULE_LINEAR;
    d.channels = config.network.channels;
    d.height = config.diffusion.image_height;
    d.width = config.diffusion.image_width;
    d.count = d.batch * d.channels * d.height * d.width;
    d.network = make_network(&config);
    struct ddpm_path path;
    assert_ok(ddpm_path_create(&config.diffusion, &path));
    float **buffers[] = {&d.x, &d.x0, &d.out, &d.z, &d.next, &d.kept[0], &d.kept[1], &d.kept[2]};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; ++i) {
        *buffers[i] = calloc((size_t)d.count, sizeof(float));
        assert_non_null(*buffers[i]);
    }
    size_t index, chains = 0;
    json_t *row;
    json_array_foreach(json_object_get(golden.json, "chains"), index, row)
    {
        d.row = row;
        d.clip = json_is_true(json_object_get(row, "clip"));
        run_chain(&d, &path);
        ++chains;
        run_sampler(&d);
    }
    assert_int_equal(chains, 72);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; ++i)
        free(*buffers[i]);
    ddpm_path_clear(&path);
    ddpm_network_destroy(&d.network);
    golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_agree_with_diffusers_and_the_papers)};
    return cmocka_run_group_tests_name("golden samplers", tests, NULL, NULL);
}

/* The result of a chain does not depend on what the network predicts: with a perfect network, every
 * objective draws the same pictures with every sampler. On one number with an exact denoiser
 * (diffusion_support.h). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/random.h"
#include "diffusion/objective.h"
#include "unit/diffusion_support.h"

#define TOLERANCE 1e-5 /* outputs and coefficients are floats */
enum { MOST_STEPS = 40 };

/* A sampler and its options. */
struct drawn_by {
    const char *name;
    double eta, churn;
    int order;
};
static const struct drawn_by samplers[] = {
    {.name = "ancestral"},         {.name = "ddim"},
    {.name = "ddim", .eta = 1},    {.name = "heun"},
    {.name = "heun", .churn = 8},  {.name = "dpmpp"},
    {.name = "dpmpp-sde"},         {.name = "unipc", .order = 2},
    {.name = "unipc", .order = 3}, {.name = "consistency"},
};
enum { SAMPLERS = sizeof samplers / sizeof *samplers };

static struct ddpm_diffusion_config model_of(enum ddpm_objective_kind objective, int schedule)
{
    struct ddpm_diffusion_config config = schedule_config(schedule, 1000);
    config.objective = (int)objective;
    config.shift = 1;
    config.sigma_data = DATA_DEVIATION;
    config.sigma_min = 1e-4;
    config.sigma_max = 1e6;
    return config;
}

/* The numbers as floats, as the library passes them to a device. */
static double rounded(double x, bool in_floats)
{
    return in_floats ? (double)(float)x : x;
}

/* The network's output for which x̂_0 is exact, and the x̂_0 that the library computes from it. */
static double answer(const struct ddpm_diffusion_config *model, const struct ddpm_level *at,
                     double x, bool in_floats, double *x0)
{
    const struct affine exact = exact_denoiser(at);
    struct ddpm_objective_row row;
    ddpm_objective_fill(model, at, &row);
    assert_true(row.c_noise == at->time && row.weight == 1);
    const double out =
        rounded((exact.slope * x + exact.offset - row.x0_x * x) / row.x0_out, in_floats);
    *x0 = rounded(row.x0_x, in_floats) * x + rounded(row.x0_out, in_floats) * out;
    return out;
}

static double fresh_noise(uint32_t left)
{
    float values[4];
    ddpm_normal4(ddpm_philox(5, 0, 0, left, DDPM_STREAM_SAMPLE_STEP), values);
    return (double)values[0];
}

/* The picture that the turns draw from x. */
static double draw(const struct ddpm_diffusion_config *model, const struct ddpm_turns *turns,
                   double x, bool in_floats)
{
    double kept[DDPM_SAMPLER_SLOTS] = {0};
    for (size_t i = 0; i < turns->count; ++i) {
        const struct ddpm_turn *turn = &turns->items[i];
        double x0 = 0, out = 0;
        if (turn->evaluate)
            out = answer(model, &turn->at, x, in_floats, &x0);
        x = rounded(turn->x0, in_floats) * x0 + rounded(turn->x, in_floats) * x +
            rounded(turn->out, in_floats) * out;
        for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
            x += rounded(turn->kept[j], in_floats) * kept[j];
        x += rounded(turn->noise, in_floats) * fresh_noise(ddpm_turns_left(turns, i));
        if (turn->keep_x0 >= 0)
            kept[turn->keep_x0] = x0;
    }
    return x;
}

static struct ddpm_turns turns_of(const struct drawn_by *by, const struct ddpm_path *path,
                                  const struct ddpm_diffusion_config *model,
                                  const struct ddpm_level *levels, size_t steps, bool clip)
{
    const struct ddpm_sampler_request request = {
        .levels = levels,
        .count = steps + 1,
        .path = path,
        .clip = clip,
        .predicts_noise = ddpm_objectives[model->objective].learns_noise,
        .eta = by->eta,
        .order = by->order,
        .churn = by->churn,
        .churn_min = 0.05,
        .churn_max = by->churn > 0 ? 50 : 0,
        .churn_noise = 1.003,
    };
    struct ddpm_sampler_request plain = request;
    if (by->churn == 0)
        plain.churn_min = plain.churn_noise = 0;
    return make_turns(by->name, &plain);
}

/* The levels of `given` on another path, with the same sigma/alpha. */
static void move_levels(const struct ddpm_path *path, const struct ddpm_level *given, size_t steps,
                        struct ddpm_level *levels)
{
    for (size_t i = 0; i < steps; ++i) {
        const double ratio = ddpm_level_ratio(&given[i]);
        levels[i] = ddpm_path_level_at(path, ratio);
        assert_true(fabs(ddpm_level_ratio(&levels[i]) / ratio - 1) < 1e-9);
    }
    levels[steps] = DDPM_LEVEL_CLEAN;
}

/* How far a model's picture is from `wanted`, at the same x/alpha. */
static double error_of(const struct drawn_by *by, enum ddpm_objective_kind objective, int schedule,
                       const struct ddpm_level *given, size_t steps, double scaled, double wanted)
{
    const struct ddpm_diffusion_config model = model_of(objective, schedule);
    const bool scheduled = ddpm_objectives[objective].path == DDPM_PATH_SCHEDULE;
    struct ddpm_level levels[MOST_STEPS + 1];
    struct ddpm_path path;
    double worst = 0;
    assert_ok(ddpm_path_create(&model, &path));
    memcpy(levels, given, (steps + 1) * sizeof *levels);
    if (!scheduled)
        move_levels(&path, given, steps, levels);
    for (int clip = 0; clip < 2; ++clip) { /* some samplers then use a different form */
        struct ddpm_turns turns = turns_of(by, &path, &model, levels, steps, clip);
        const double got = draw(&model, &turns, scaled * levels[0].alpha, true);
        worst = fmax(worst, fabs(got - wanted));
        ddpm_turns_clear(&turns);
    }
    ddpm_path_clear(&path);
    return worst;
}

/* trailing starts at T-1, almost pure noise. There x̂_0 = (x - sigma·ε̂)/alpha multiplies the
 * rounding error of ε̂ by 1/alpha, so objective noise cannot determine the picture. Cosine ends at
 * alpha = 5e-5, where even the weights of Heun's method are too large for floats. */
static bool is_asked(enum ddpm_objective_kind objective, int schedule,
                     enum ddpm_spacing_kind spacing, bool whole)
{
    if (spacing == DDPM_SPACING_TRAILING &&
        (objective == DDPM_OBJECTIVE_NOISE || schedule == DDPM_SCHEDULE_COSINE))
        return false;
    return !whole || ddpm_objectives[objective].path == DDPM_PATH_SCHEDULE;
}

/* Compare all objectives, with one sampler, to x_0 in fp64. */
static double check_sampler(const struct drawn_by *by, int schedule, enum ddpm_spacing_kind spacing,
                            size_t steps)
{
    const struct ddpm_diffusion_config model = model_of(DDPM_OBJECTIVE_X0, schedule);
    const bool whole = strcmp(by->name, "ancestral") == 0;
    struct ddpm_level levels[MOST_STEPS + 1];
    struct ddpm_path path;
    double worst = 0;
    assert_ok(ddpm_path_create(&model, &path));
    assert_ok(ddpm_levels_space(&path, &ddpm_spacings[spacing], (int64_t)steps, whole, levels));
    struct ddpm_turns turns = turns_of(by, &path, &model, levels, steps, false);
    if (by->churn > 0 && steps >= 5)
        assert_true(turns.count > ddpm_turns_evaluations(&turns)); /* some are churn's */
    for (int k = -1; k < 2; ++k) {
        const double scaled = DATA_MEAN + 1.1 * k * ddpm_level_ratio(&levels[0]);
        const double wanted = draw(&model, &turns, scaled * levels[0].alpha, false);
        for (int objective = 0; objective < DDPM_OBJECTIVE_COUNT; ++objective) {
            if (!is_asked((enum ddpm_objective_kind)objective, schedule, spacing, whole))
                continue;
            const double error = error_of(by, (enum ddpm_objective_kind)objective, schedule, levels,
                                          steps, scaled, wanted) /
                                 fmax(1, fabs(wanted));
            if (!(error <= TOLERANCE))
                fail_msg("%s, eta %g, churn %g, order %d, %zu steps, %s, %s: %s is off by %g",
                         by->name, by->eta, by->churn, by->order, steps,
                         ddpm_schedules[schedule].name, ddpm_spacings[spacing].name,
                         ddpm_objectives[objective].name, error);
            worst = fmax(worst, error);
        }
    }
    ddpm_turns_clear(&turns);
    ddpm_path_clear(&path);
    return worst;
}

static void every_objective_draws_the_same_pictures(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 2, 5, 20, 37};
    for (size_t i = 0; i < SAMPLERS; ++i) {
        double worst = 0;
        for (int schedule = 0; schedule < DDPM_SCHEDULE_COUNT; ++schedule)
            for (size_t k = 0; k < sizeof steps / sizeof *steps; ++k)
                for (int kind = 0; kind < (int)ddpm_spacing_count; ++kind)
                    if (kind == DDPM_SPACING_LEADING || kind == DDPM_SPACING_TRAILING)
                        worst = fmax(worst, check_sampler(&samplers[i], schedule,
                                                          (enum ddpm_spacing_kind)kind, steps[k]));
        printf("%-9s eta %g, churn %g, order %d: %.1e\n", samplers[i].name, samplers[i].eta,
               samplers[i].churn, samplers[i].order, worst);
    }
}

static void no_sampler_is_left_out(void **state)
{
    (void)state;
    for (size_t k = 0; k < ddpm_samplers_count; ++k) {
        bool found = false;
        for (size_t i = 0; i < SAMPLERS; ++i)
            found |= strcmp(samplers[i].name, ddpm_samplers[k].name) == 0;
        if (!found)
            fail_msg("%s is missing in samplers[]", ddpm_samplers[k].name);
    }
}

/* x = alpha·x_0 + sigma·ε and the target both follow from the rows. */
static void a_target_is_the_answer_that_gives_the_picture(void **state)
{
    (void)state;
    const double x0 = 0.7, noise = -1.3;
    for (int objective = 0; objective < DDPM_OBJECTIVE_COUNT; ++objective) {
        const struct ddpm_diffusion_config model =
            model_of((enum ddpm_objective_kind)objective, DDPM_SCHEDULE_COSINE);
        struct ddpm_path path;
        assert_ok(ddpm_path_create(&model, &path));
        for (int i = 1; i < 40; ++i) {
            const struct ddpm_level level = ddpm_path_level(&path, 24.6 * i);
            struct ddpm_objective_row row;
            ddpm_objective_fill(&model, &level, &row);
            const double x = level.alpha * x0 + level.sigma * noise;
            const double target = row.target_x0 * x0 + row.target_noise * noise;
            assert_true(fabs(row.x0_x * x + row.x0_out * target - x0) < 1e-9);
        }
        ddpm_path_clear(&path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_objective_draws_the_same_pictures),
        cmocka_unit_test(no_sampler_is_left_out),
        cmocka_unit_test(a_target_is_the_answer_that_gives_the_picture),
    };
    return cmocka_run_group_tests_name("diffusion objectives", tests, NULL, NULL);
}

/* The likelihood by the probability flow for numbers drawn from N(MEAN, DEVIATION²), with exact
 * denoiser and divergence: density and entropy are known. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diffusion/probability_flow.h"
#include "unit/diffusion_support.h"

enum { NODES = 3, VALUES = 2, STEPS = 32 };
static const double nodes[NODES] = {-1.7320508075688772, 0, 1.7320508075688772};
static const double weights[NODES] = {1.0 / 6, 2.0 / 3, 1.0 / 6};
static const double ln_two = 0.69314718055994530942, two_pi = 6.28318530717958647692;

static ddpm_status denoise(void *user, const struct ddpm_level *level, const double *x, double *x0,
                           double *traces)
{
    const struct affine exact = exact_denoiser(level);
    int64_t *evaluations = user;
    ++*evaluations;
    for (int i = 0; i < NODES * VALUES; ++i)
        x0[i] = exact.slope * x[i] + exact.offset;
    for (int k = 0; k < NODES; ++k)
        traces[k] = VALUES * exact.slope;
    return DDPM_OK;
}

/* The expected -log2 p of a value: -ln p is quadratic in x, so three nodes are exact. Also returns
 * the largest error at a node. */
static double expected_bits(const struct ddpm_path *path, int64_t steps, double *worst)
{
    double x[NODES][VALUES], log_density[NODES], bits = 0;
    int64_t evaluations = 0;
    const struct ddpm_flow flow = {.path = path,
                                   .pictures = NODES,
                                   .values = VALUES,
                                   .steps = steps,
                                   .denoise = denoise,
                                   .user = &evaluations};
    for (int k = 0; k < NODES; ++k)
        for (int i = 0; i < VALUES; ++i)
            x[k][i] = DATA_MEAN + DATA_DEVIATION * nodes[k];
    assert_ok(ddpm_flow_likelihood(&flow, &x[0][0], log_density));
    assert_int_equal(evaluations, DDPM_FLOW_EVALUATIONS * steps);
    *worst = 0;
    for (int k = 0; k < NODES; ++k) {
        const double wanted =
            -nodes[k] * nodes[k] / 2 - log(two_pi * DATA_DEVIATION * DATA_DEVIATION) / 2;
        const double got = log_density[k] / VALUES;
        *worst = fmax(*worst, fabs(got - wanted) / ln_two);
        bits -= weights[k] * got / ln_two;
    }
    return bits;
}

static void check(const char *name, const struct ddpm_path *path)
{
    const double entropy = log(two_pi * exp(1) * DATA_DEVIATION * DATA_DEVIATION) / 2 / ln_two;
    double worst, coarse;
    const double bits = expected_bits(path, STEPS, &worst);
    (void)expected_bits(path, STEPS / 4, &coarse);
    printf("%-14s %.5f bits, entropy %.5f; a number's worst error %.1e, with 8 steps %.1e\n", name,
           bits, entropy, worst, coarse);
    assert_true(fabs(bits - entropy) < 0.01);
    assert_true(worst < 0.02);
}

static void continuous_paths(void **state)
{
    (void)state;
    struct ddpm_path path = {.kind = DDPM_PATH_FLOW, .timesteps = 1000, .shift = 1};
    check("flow", &path);
    path.shift = 3;
    check("flow, shift 3", &path);
    path = (struct ddpm_path){
        .kind = DDPM_PATH_EDM, .timesteps = 1000, .shift = 1, .sigma_min = 0.002, .sigma_max = 80};
    check("edm", &path);
}

static void schedules(void **state)
{
    (void)state;
    for (int schedule = 0; schedule < DDPM_SCHEDULE_COUNT; ++schedule) {
        const struct ddpm_diffusion_config config = schedule_config(schedule, 1000);
        struct ddpm_path path = make_path(&config);
        check(ddpm_schedules[schedule].name, &path);
        clear_path(&path);
    }
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, 1000);
    struct ddpm_path path;
    config.objective = DDPM_OBJECTIVE_V;
    config.shift = 1;
    config.zero_terminal_snr = true;
    assert_ok(ddpm_path_create(&config, &path));
    check("zero terminal", &path);
    ddpm_path_clear(&path);
}

static ddpm_status refuse(void *user, const struct ddpm_level *level, const double *x, double *x0,
                          double *traces)
{
    (void)user, (void)level, (void)x, (void)x0, (void)traces;
    return ddpm_raise(DDPM_STOPPED, "enough");
}

static void a_failure_is_handed_on(void **state)
{
    (void)state;
    const struct ddpm_path path = {.kind = DDPM_PATH_FLOW, .timesteps = 1000, .shift = 1};
    const struct ddpm_flow flow = {
        .path = &path, .pictures = 1, .values = 1, .steps = 2, .denoise = refuse};
    double x = 0, log_density;
    assert_int_equal(ddpm_flow_likelihood(&flow, &x, &log_density), DDPM_STOPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(continuous_paths),
        cmocka_unit_test(schedules),
        cmocka_unit_test(a_failure_is_handed_on),
    };
    return cmocka_run_group_tests_name("probability flow", tests, NULL, NULL);
}

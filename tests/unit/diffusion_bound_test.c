/* The variational bound for numbers drawn from N(MEAN, DEVIATION²), with an exact denoiser: every
 * term has a closed form. Expectations over x_0 and ε are sums over three nodes each, exact for the
 * terms that are quadratic. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diffusion/bound.h"
#include "unit/diffusion_support.h"

enum { NODES = 3, TIMESTEPS = 1000, BINS = 256 };
static const double nodes[NODES] = {-1.7320508075688772, 0, 1.7320508075688772};
static const double weights[NODES] = {1.0 / 6, 2.0 / 3, 1.0 / 6};
static const double ln_two = 0.69314718055994530942;

/* The variance of x_0 given x_t. */
static double variance_left(const struct ddpm_level *level)
{
    const double variance = DATA_DEVIATION * DATA_DEVIATION, noise = level->sigma * level->sigma;
    return variance * noise / (level->alpha * level->alpha * variance + noise);
}

static double predicted(const struct ddpm_level *level, double x0, double noise)
{
    const struct affine exact = exact_denoiser(level);
    return exact.slope * (level->alpha * x0 + level->sigma * noise) + exact.offset;
}

/* The expected term at t, in nats. */
static double expected_term(const struct ddpm_bound_term *term, double log_variance)
{
    double nats = 0;
    for (int i = 0; i < NODES; ++i)
        for (int k = 0; k < NODES; ++k) {
            const double x0 = DATA_MEAN + DATA_DEVIATION * nodes[i];
            nats += weights[i] * weights[k] *
                    ddpm_bound_nats(term, x0, predicted(&term->level, x0, nodes[k]), log_variance);
        }
    return nats;
}

static double expected_prior(const struct ddpm_path *path)
{
    double nats = 0;
    for (int i = 0; i < NODES; ++i)
        nats += weights[i] * ddpm_bound_prior(path, DATA_MEAN + DATA_DEVIATION * nodes[i]);
    return nats;
}

/* All terms except the decoder: with the posterior's variance, and with the correct one, that of
 * x_{t-1} given x_t. */
static void check_terms(int schedule)
{
    const struct ddpm_diffusion_config config = schedule_config(schedule, TIMESTEPS);
    struct ddpm_path path = make_path(&config);
    const double bar = path.alpha_bars[TIMESTEPS - 1];
    double fixed = expected_prior(&path), right = fixed;
    const double second = DATA_MEAN * DATA_MEAN + DATA_DEVIATION * DATA_DEVIATION;
    double wanted_fixed = (bar * second - bar - log1p(-bar)) / 2, wanted_right = wanted_fixed;
    for (int64_t t = 1; t < TIMESTEPS; ++t) {
        const struct ddpm_bound_term term = ddpm_bound_term(&path, t);
        const double posterior =
            path.betas[t] * (1 - path.alpha_bars[t - 1]) / (1 - path.alpha_bars[t]);
        const double mean = path.betas[t] * sqrt(path.alpha_bars[t - 1]) / (1 - path.alpha_bars[t]);
        const double error = mean * mean * variance_left(&term.level);
        assert_true(fabs(term.variance.lowest - log(posterior)) < 1e-9);
        fixed += expected_term(&term, term.variance.lowest);
        wanted_fixed += error / (2 * posterior);
        right += expected_term(&term, log(posterior + error));
        wanted_right += log1p(error / posterior) / 2;
    }
    printf("%-8s fixed %.6f bits, off by %.1e; right %.6f, off by %.1e\n",
           ddpm_schedules[schedule].name, fixed / ln_two, (fixed - wanted_fixed) / ln_two,
           right / ln_two, (right - wanted_right) / ln_two);
    assert_true(fabs(fixed - wanted_fixed) / ln_two < 1e-9);
    assert_true(fabs(right - wanted_right) / ln_two < 1e-9);
    assert_true(right < fixed);
    clear_path(&path);
}

static void terms_are_those_of_the_gaussian(void **state)
{
    (void)state;
    for (int schedule = 0; schedule < DDPM_SCHEDULE_COUNT; ++schedule)
        check_terms(schedule);
}

static double byte_value(int byte)
{
    return byte / 127.5 - 1;
}

/* -ln of the Gaussian's mass in a byte's bin. */
static double coder_nats(int byte)
{
    const double scale = 1 / (DATA_DEVIATION * sqrt(2));
    const double low = (byte_value(byte) - 1.0 / 255 - DATA_MEAN) * scale;
    const double high = (byte_value(byte) + 1.0 / 255 - DATA_MEAN) * scale;
    return -log((erf(high) - erf(low)) / 2);
}

/* The full bound of a byte, with its expectation over ε on a fine grid. */
static double bound_nats(const struct ddpm_path *path, int byte)
{
    const double x0 = byte_value(byte);
    double nats = ddpm_bound_prior(path, x0);
    for (int64_t t = 0; t < TIMESTEPS; ++t) {
        const struct ddpm_bound_term term = ddpm_bound_term(path, t);
        for (int k = -40; k <= 40; ++k) {
            const double noise = k / 8.0;
            const double weight = exp(-noise * noise / 2) / sqrt(2 * 3.14159265358979) / 8;
            nats += weight * ddpm_bound_nats(&term, x0, predicted(&term.level, x0, noise),
                                             term.variance.highest);
        }
    }
    return nats;
}

/* The chain codes every byte in nearly as many bits as the Gaussian itself. The open bins at the
 * ends are skipped. */
static void the_bound_is_what_a_coder_needs(void **state)
{
    (void)state;
    const struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, TIMESTEPS);
    struct ddpm_path path = make_path(&config);
    double least = INFINITY, most = -INFINITY;
    for (int byte = 8; byte < BINS; byte += 16) {
        const double above = (bound_nats(&path, byte) - coder_nats(byte)) / ln_two;
        least = fmin(least, above);
        most = fmax(most, above);
    }
    printf("above what a coder needs: %.4f to %.4f bits\n", least, most);
    assert_true(least > -0.02);
    assert_true(most < 0.02);
    clear_path(&path);
}

/* The probabilities of the 256 values sum to 1, however far off the prediction is. */
static void the_decoder_is_a_distribution(void **state)
{
    (void)state;
    static const double places[] = {0, 0.3, -0.9999, 1, 1.2, -1.5, 3};
    static const double log_variances[] = {-20, -9.5, -4, 0, 3};
    const struct ddpm_bound_term term = {.decoder = true};
    for (size_t i = 0; i < sizeof places / sizeof *places; ++i)
        for (size_t k = 0; k < sizeof log_variances / sizeof *log_variances; ++k) {
            double sum = 0;
            for (int byte = 0; byte < BINS; ++byte)
                sum += exp(-ddpm_bound_nats(&term, byte_value(byte), places[i], log_variances[k]));
            if (fabs(sum - 1) > 1e-9)
                fail_msg("prediction %g, ln variance %g: the chances add up to %.12f", places[i],
                         log_variances[k], sum);
        }
}

/* Far from the prediction, where erfc is 0, -ln P grows with the square of the distance. */
static void the_decoder_has_no_floor(void **state)
{
    (void)state;
    const struct ddpm_bound_term term = {.decoder = true};
    double before = 0;
    for (int k = 1; k <= 400; ++k) {
        const double nats = ddpm_bound_nats(&term, -0.5, -0.5 + k / 200.0, -9);
        const double scale = exp(4.5), distance = scale * (k / 200.0 - 1.0 / 255);
        assert_true(isfinite(nats) && nats > before);
        if (distance > 10)
            assert_true(
                fabs(nats - distance * distance / 2 - log(distance * sqrt(2 * 3.14159265))) < 0.02);
        before = nats;
    }
    /* to both sides, and into the open bins */
    assert_true(fabs(ddpm_bound_nats(&term, 0, 1.5, -9) - ddpm_bound_nats(&term, 0, -1.5, -9)) <
                1e-9);
    assert_true(isfinite(ddpm_bound_nats(&term, 1, -40, -12)));
    assert_true(isfinite(ddpm_bound_nats(&term, -1, 40, -12)));
}

static void strata_cover_the_timesteps(void **state)
{
    (void)state;
    static const int64_t timesteps[] = {1, 2, 3, 10, 50, 51, 1000, 4000};
    static const int64_t wanted[] = {2, 3, 10, 50, 51, 999, 1000, 5000};
    struct ddpm_bound_stratum strata[5000];
    for (size_t i = 0; i < 8; ++i)
        for (size_t k = 0; k < 8; ++k) {
            const int64_t count = ddpm_bound_strata(timesteps[i], wanted[k], strata);
            assert_int_equal(count, wanted[k] < timesteps[i] ? wanted[k] : timesteps[i]);
            assert_true(strata[0].first == 0 && strata[0].last == 0);
            assert_int_equal(strata[count - 1].last, timesteps[i] - 1);
            for (int64_t s = 1; s < count; ++s) {
                assert_int_equal(strata[s].first, strata[s - 1].last + 1);
                assert_true(strata[s].last >= strata[s].first);
            }
        }
}

/* A term times its stratum's width is correct on average. */
static void strata_have_no_bias(void **state)
{
    (void)state;
    enum { PICTURES = 20000 };
    struct ddpm_bound_stratum strata[20];
    const int64_t count = ddpm_bound_strata(TIMESTEPS, 20, strata);
    double wanted = 0, mean = 0, squares = 0;
    for (int64_t t = 0; t < TIMESTEPS; ++t)
        wanted += 1 / (1.0 + (double)t);
    for (uint32_t picture = 0; picture < PICTURES; ++picture) {
        double sum = 0;
        for (int64_t s = 0; s < count; ++s) {
            const int64_t t = ddpm_bound_timestep(&strata[s], s, 7, picture);
            assert_true(t >= strata[s].first && t <= strata[s].last);
            sum += (double)(strata[s].last - strata[s].first + 1) / (1 + (double)t);
        }
        mean += sum / PICTURES;
        squares += sum * sum / PICTURES;
    }
    const double error = sqrt((squares - mean * mean) / PICTURES);
    printf("wanted %.5f, got %.5f ± %.5f\n", wanted, mean, error);
    assert_true(fabs(mean - wanted) < 4 * error);
    assert_true(error < 0.01);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_those_of_the_gaussian),
        cmocka_unit_test(the_bound_is_what_a_coder_needs),
        cmocka_unit_test(the_decoder_is_a_distribution),
        cmocka_unit_test(the_decoder_has_no_floor),
        cmocka_unit_test(strata_cover_the_timesteps),
        cmocka_unit_test(strata_have_no_bias),
    };
    return cmocka_run_group_tests_name("bound", tests, NULL, NULL);
}

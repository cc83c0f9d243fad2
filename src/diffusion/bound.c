/* Terms of the variational bound. */
#include "diffusion/bound.h"

#include <math.h>

#include "core/random.h"

static const double ln_two_pi = 1.8378770664093454836, root_half = 0.70710678118654752440;

struct ddpm_bound_term ddpm_bound_term(const struct ddpm_path *path, int64_t t)
{
    const double beta = path->betas[t], bar = path->alpha_bars[t];
    const double bar_before = t > 0 ? path->alpha_bars[t - 1] : 1;
    const int64_t low = t == 0 && path->timesteps > 1 ? 1 : t;
    struct ddpm_bound_term term = {
        .level = ddpm_path_level(path, (double)t),
        .decoder = t == 0,
        .mean = t == 0 ? 1 : beta * sqrt(bar_before) / (1 - bar),
        .variance = {.lowest = log(beta), .highest = log(beta)},
    };
    if (low > 0)
        term.variance.lowest = ddpm_variance_between(path->betas[low], path->alpha_bars[low],
                                                     path->alpha_bars[low - 1])
                                   .lowest;
    return term;
}

/* ln of the probability that a standard normal exceeds z. */
static double log_above(double z)
{
    if (z < 30) /* erfc would underflow beyond 37 */
        return log(erfc(z * root_half) / 2);
    const double inverse = 1 / (z * z);
    return -(z * z + ln_two_pi) / 2 - log(z) + log1p(-inverse * (1 - 3 * inverse));
}

/* ln of the probability that it lies between. */
static double log_between(double low, double high)
{
    if (high < 0)
        return log_between(-high, -low);
    if (low <= 0)
        return log1p(-(erfc(high * root_half) + erfc(-low * root_half)) / 2);
    const double above = log_above(low);
    return above + log(-expm1(log_above(high) - above));
}

static double decoder_nats(double x0, double predicted, double log_variance)
{
    const double scale = exp(-log_variance / 2), middle = x0 - predicted;
    const double low = scale * (middle - 1.0 / 255), high = scale * (middle + 1.0 / 255);
    if (x0 < -0.999)
        return -log_above(-high);
    return x0 > 0.999 ? -log_above(low) : -log_between(low, high);
}

double ddpm_bound_nats(const struct ddpm_bound_term *term, double x0, double predicted,
                       double log_variance)
{
    if (term->decoder)
        return decoder_nats(x0, predicted, log_variance);
    const double difference = term->mean * (x0 - predicted);
    const double wider = log_variance - term->variance.lowest;
    return (wider + expm1(-wider) + difference * difference * exp(-log_variance)) / 2;
}

double ddpm_bound_prior(const struct ddpm_path *path, double x0)
{
    const double bar = path->alpha_bars[path->timesteps - 1];
    return (bar * x0 * x0 - bar - log1p(-bar)) / 2;
}

int64_t ddpm_bound_strata(int64_t timesteps, int64_t wanted, struct ddpm_bound_stratum *strata)
{
    const int64_t count = wanted < timesteps ? wanted : timesteps, others = count - 1;
    int64_t next = 1;
    strata[0] = (struct ddpm_bound_stratum){0, 0};
    for (int64_t k = 1; k <= others; ++k) {
        const double part = (double)k / (double)others;
        int64_t end = 1 + (int64_t)(part * part * (double)(timesteps - 1));
        const int64_t most = timesteps - (others - k); /* all later ones need a timestep */
        end = end <= next ? next + 1 : end;
        end = end > most || k == others ? most : end;
        strata[k] = (struct ddpm_bound_stratum){next, end - 1};
        next = end;
    }
    return count;
}

int64_t ddpm_bound_timestep(const struct ddpm_bound_stratum *stratum, int64_t number, uint64_t seed,
                            uint32_t picture)
{
    const uint32_t step = DDPM_LIKELIHOOD_LEVEL | (uint32_t)number;
    const struct ddpm_random4 random = ddpm_philox(seed, 0, picture, step, DDPM_STREAM_LIKELIHOOD);
    const uint32_t width = (uint32_t)(stratum->last - stratum->first + 1);
    return stratum->first + (int64_t)ddpm_below(random.v[0], width);
}

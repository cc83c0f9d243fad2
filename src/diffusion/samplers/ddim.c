/* DDIM (Song et al. 2021, equation 12), for any alpha and sigma:
 *
 *     x' = α'·x̂_0 + √(σ'² - s²)·ε̂ + s·z      ε̂ = (x - α·x̂_0)/σ
 *     s  = η·σ'·√(1 - (r'/r)²)                r = σ/α
 *
 * where alpha² + sigma² = 1, s is the paper's σ(η). With η = 0 it is Euler's method in r. */
#include <math.h>

#include "diffusion/samplers/samplers.h"

ddpm_status ddpm_fill_ddim(const struct ddpm_sampler_request *request, struct ddpm_turns *turns)
{
    for (size_t i = 0; i < ddpm_request_steps(request); ++i) {
        const struct ddpm_level *from = &request->levels[i], *to = from + 1;
        const double shrink = ddpm_level_ratio(to) / ddpm_level_ratio(from);
        const double fresh = request->eta * sqrt((1 - shrink) * (1 + shrink));
        const double old = to->sigma * sqrt((1 - fresh) * (1 + fresh)) / from->sigma;
        struct ddpm_turn *turn;
        DDPM_TRY(ddpm_turns_add(turns, i, from, &turn));
        turn->x0 = to->alpha - from->alpha * old;
        turn->x = old;
        turn->noise = to->sigma * fresh;
    }
    return DDPM_OK;
}

/* Heun's method and churn (Karras et al. 2022, algorithms 1 and 2).
 *
 * The paper's x is x/α here, and its σ is r = σ/α. A step goes to x̃ by Euler's method, then
 *
 *     x' = x + (r' - r)·(d + d')/2      d = (x - x̂_0)/r,  d' = (x̃ - x̂_0')/r'      in the paper's x
 *
 * x̃ lies on the line through x and x̂_0, so d = (x̃ - x̂_0)/r' too, and what must be added to x̃ is
 * (r/r' - 1)/2·(x̂_0' - x̂_0): only x̂_0 of the first turn is kept. */
#include <math.h>

#include "diffusion/samplers/samplers.h"

/* Add noise up to the level that churn asks for, and move *from there. */
static ddpm_status churn(const struct ddpm_sampler_request *request, size_t step,
                         struct ddpm_level *from, struct ddpm_turns *turns)
{
    const double ratio = ddpm_level_ratio(from);
    const double highest = request->churn_max > 0 ? request->churn_max : INFINITY;
    if (request->churn == 0 || ratio < request->churn_min || ratio > highest || isinf(ratio))
        return DDPM_OK;
    const double more = fmin(request->churn / (double)ddpm_request_steps(request), sqrt(2) - 1);
    const struct ddpm_level up = ddpm_path_level_at(request->path, ratio * (1 + more));
    const double reached = ddpm_level_ratio(&up);
    if (!(reached > ratio)) /* the path ends here */
        return DDPM_OK;
    struct ddpm_turn *turn;
    DDPM_TRY(ddpm_turns_add(turns, step, from, &turn));
    turn->evaluate = false;
    turn->x = up.alpha / from->alpha;
    turn->noise = up.alpha * sqrt((reached - ratio) * (reached + ratio)) *
                  (request->churn_noise > 0 ? request->churn_noise : 1);
    *from = up;
    return DDPM_OK;
}

ddpm_status ddpm_fill_heun(const struct ddpm_sampler_request *request, struct ddpm_turns *turns)
{
    for (size_t i = 0; i < ddpm_request_steps(request); ++i) {
        struct ddpm_level from = request->levels[i];
        const struct ddpm_level *to = &request->levels[i + 1];
        struct ddpm_turn *turn;
        DDPM_TRY(churn(request, i, &from, turns));
        DDPM_TRY(ddpm_turns_add(turns, i, &from, &turn));
        turn->x = to->sigma / from.sigma;
        turn->x0 = to->alpha - from.alpha * turn->x;
        if (to->sigma == 0 || from.alpha == 0)
            continue; /* just Euler's method */
        turn->keep_x0 = 0;
        DDPM_TRY(ddpm_turns_add(turns, i, to, &turn));
        turn->x = 1;
        turn->x0 = to->alpha * (ddpm_level_ratio(&from) / ddpm_level_ratio(to) - 1) / 2;
        turn->kept[0] = -turn->x0;
    }
    return DDPM_OK;
}

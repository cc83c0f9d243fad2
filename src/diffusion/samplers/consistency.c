/* Multistep sampling of a consistency model (Song et al. 2023, algorithm 1): the network's x̂_0 is a
 * picture at every level, so a step takes that and adds the noise of the next level:
 *
 *     x' = α'·x̂_0 + σ'·z */
#include "diffusion/samplers/samplers.h"

ddpm_status ddpm_fill_consistency(const struct ddpm_sampler_request *request,
                                  struct ddpm_turns *turns)
{
    for (size_t i = 0; i < ddpm_request_steps(request); ++i) {
        const struct ddpm_level *from = &request->levels[i], *to = from + 1;
        struct ddpm_turn *turn;
        DDPM_TRY(ddpm_turns_add(turns, i, from, &turn));
        turn->x0 = to->alpha;
        turn->noise = to->sigma;
    }
    return DDPM_OK;
}

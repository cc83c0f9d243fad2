/* The samplers' own functions, one per file, and what they share. */
#ifndef DDPM_DIFFUSION_SAMPLERS_SAMPLERS_H
#define DDPM_DIFFUSION_SAMPLERS_SAMPLERS_H

#include "diffusion/sampler.h"

typedef ddpm_status ddpm_sampler_fill(const struct ddpm_sampler_request *request,
                                      struct ddpm_turns *turns);

#define SAMPLER(id, name, alias, help, fill, ...) ddpm_sampler_fill fill;
#include "config/samplers.inc"
#undef SAMPLER

/* Append ddim from the last level to the first. */
ddpm_sampler_fill ddpm_fill_inversion;

/* Append a turn that runs the network at `at` and keeps nothing, with all weights 0. The pointer is
 * valid until the next call. */
ddpm_status ddpm_turns_add(struct ddpm_turns *turns, size_t step, const struct ddpm_level *at,
                           struct ddpm_turn **out);

/* Number of steps of a request. */
static inline size_t ddpm_request_steps(const struct ddpm_sampler_request *request)
{
    return request->count - 1;
}

/* λ' - λ of a step: positive; infinite when stepping to the clean picture or from alpha = 0. */
double ddpm_step_length(const struct ddpm_level *from, const struct ddpm_level *to);

#endif

/* Moving averages whose length is a part of the run so far (Karras et al. 2024, "Analyzing and
 * improving the training dynamics of diffusion models", section 3.1).
 *
 * After step t the weights of step s count in proportion to s^γ. The deviation of that profile, as
 * a part of t, is the average's length: σ_rel² = (γ+1)/((γ+2)²·(γ+3)). */
#ifndef DDPM_TRAINING_EMA_H
#define DDPM_TRAINING_EMA_H

#include <stdint.h>

/* γ of a length in (0, 1/√12), which is the length at γ = 0. */
double ddpm_ema_exponent(double length);

/* The decay of the update after step t = 1, 2, …, the last one having been `every` steps before:
 * (1 - every/t)^(γ+1). 0, a copy, where there was none. */
double ddpm_power_decay(double length, int64_t t, int64_t every);

#endif

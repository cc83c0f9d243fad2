/* Moving averages whose length is a fraction of the run so far (Karras et al. 2024, "Analyzing and
 * improving the training dynamics of diffusion models", section 3.1).
 *
 * After step t, the weights of step s count in proportion to s^γ. The length of the average is the
 * standard deviation of that profile, as a fraction of t: σ_rel² = (γ+1)/((γ+2)²·(γ+3)). */
#ifndef DDPM_TRAINING_EMA_H
#define DDPM_TRAINING_EMA_H

#include <stdint.h>

/* γ for a length in (0, 1/√12); at the upper end γ = 0. */
double ddpm_ema_exponent(double length);

/* The decay of the update after step t = 1, 2, …, if the last update was `every` steps earlier:
 * (1 - every/t)^(γ+1). It is 0, a plain copy, if there was none. */
double ddpm_power_decay(double length, int64_t t, int64_t every);

#endif

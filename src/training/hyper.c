/* Learning rate and EMA decay as functions of the step. */
#include <math.h>

#include "training/trainer_state.h"

double ddpm_learning_rate(const struct ddpm_training_config *config, int64_t done)
{
    const double pi = 3.14159265358979323846;
    if (done < config->warmup)
        return config->lr * (double)(done + 1) / (double)config->warmup;
    if (config->lr_schedule == DDPM_LR_CONSTANT || config->steps <= config->warmup)
        return config->lr;
    double progress = (double)(done - config->warmup) / (double)(config->steps - config->warmup);
    return config->lr * 0.5 * (1 + cos(pi * (progress < 1 ? progress : 1)));
}

double ddpm_ema_decay(const struct ddpm_training_config *config, int64_t done)
{
    if (done % config->ema_every != 0)
        return 1; /* leave it */
    if (done <= config->ema_after)
        return 0; /* copy */
    double n = (double)(done - config->ema_after);
    double decay = 1 - pow(1 + n, -2.0 / 3.0);
    return decay < config->ema_decay ? decay : config->ema_decay;
}

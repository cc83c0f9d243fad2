/* Noise schedules and the tables derived from them. Everything is computed in fp64 and stored in
 * fp32. */
#ifndef DDPM_DIFFUSION_SCHEDULE_H
#define DDPM_DIFFUSION_SCHEDULE_H

#include "config/config.h"
#include "core/error.h"

/* A family of schedules: fills betas[0..T-1], not yet checked. */
struct ddpm_schedule {
    const char *name; /* "linear" */
    const char *help;
    void (*betas)(const struct ddpm_diffusion_config *config, double *betas);
};

extern const struct ddpm_schedule ddpm_schedules[]; /* by enum ddpm_schedule_kind */
extern const size_t ddpm_schedule_count;

/* Tables by t = 0 … T-1; all pointers go into one block. */
struct ddpm_diffusion_tables {
    int64_t timesteps;
    float *betas, *alphas_cumprod, *alphas_cumprod_prev, *sqrt_recip_alphas, *sqrt_alphas_cumprod,
        *sqrt_one_minus_alphas_cumprod, *posterior_variance;
    float *q_sample; /* [T,2], for DDPM_OP_Q_SAMPLE */
    float *reverse;  /* [T,DDPM_REVERSE_COLUMNS], for DDPM_OP_REVERSE_STEP */
    void *block;
};

/* Compute and check: every beta and every cumulative product in (0,1), every table finite;
 * otherwise DDPM_ERROR_ARGUMENT naming the table and the first t that is not. Free with
 * ddpm_diffusion_tables_clear(). */
ddpm_status ddpm_diffusion_tables_create(const struct ddpm_diffusion_config *config,
                                         struct ddpm_diffusion_tables *out);
void ddpm_diffusion_tables_clear(struct ddpm_diffusion_tables *tables);

#endif

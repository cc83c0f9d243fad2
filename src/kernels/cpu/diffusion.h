/* Rows of the operations around the network; the same for every level. */
#ifndef DDPM_KERNELS_CPU_DIFFUSION_H
#define DDPM_KERNELS_CPU_DIFFUSION_H

#include "kernels/kernels.h"

extern const struct ddpm_kernel ddpm_cpu_timestep_embedding, ddpm_cpu_normalize_pictures,
    ddpm_cpu_draw_timesteps, ddpm_cpu_draw_normal, ddpm_cpu_q_sample, ddpm_cpu_gather_rows,
    ddpm_cpu_combine, ddpm_cpu_loss, ddpm_cpu_loss_backward, ddpm_cpu_reverse_step;

#endif

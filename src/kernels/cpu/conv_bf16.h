/* The rows of conv_bf16.c. */
#ifndef DDPM_KERNELS_CPU_CONV_BF16_H
#define DDPM_KERNELS_CPU_CONV_BF16_H

#include "kernels/kernels.h"

extern const struct ddpm_kernel ddpm_cpu_conv2d_bf16, ddpm_cpu_conv2d_backward_data_bf16,
    ddpm_cpu_conv2d_backward_weight_bf16;

#endif

/* The rows of the CUDA backend; each is defined in the file named above it. */
#ifndef DDPM_KERNELS_CUDA_ROWS_CUH
#define DDPM_KERNELS_CUDA_ROWS_CUH

#include "kernels/cuda/cuda.cuh"

/* conv_forward.cu */
extern const struct ddpm_kernel ddpm_cuda_conv2d_mma;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_mma;
/* conv_weight.cu */
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_mma;
/* conv_simt.cu */
extern const struct ddpm_kernel ddpm_cuda_conv2d_simt;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_simt;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_simt;
/* depthwise.cu */
extern const struct ddpm_kernel ddpm_cuda_depthwise7;
extern const struct ddpm_kernel ddpm_cuda_depthwise7_backward_data;
extern const struct ddpm_kernel ddpm_cuda_depthwise;
extern const struct ddpm_kernel ddpm_cuda_depthwise_backward_data;
/* depthwise_weight.cu */
extern const struct ddpm_kernel ddpm_cuda_depthwise7_backward_weight;
extern const struct ddpm_kernel ddpm_cuda_depthwise_backward_weight;
/* group_norm.cu */
extern const struct ddpm_kernel ddpm_cuda_group_norm;
/* group_norm_backward.cu */
extern const struct ddpm_kernel ddpm_cuda_group_norm_backward;
/* elementwise.cu */
extern const struct ddpm_kernel ddpm_cuda_activation;
extern const struct ddpm_kernel ddpm_cuda_activation_backward;
extern const struct ddpm_kernel ddpm_cuda_add;
extern const struct ddpm_kernel ddpm_cuda_add_channels;
extern const struct ddpm_kernel ddpm_cuda_sum_pixels;
extern const struct ddpm_kernel ddpm_cuda_convert;
extern const struct ddpm_kernel ddpm_cuda_timestep_embedding;
/* resample.cu */
extern const struct ddpm_kernel ddpm_cuda_concat;
extern const struct ddpm_kernel ddpm_cuda_upsample;
extern const struct ddpm_kernel ddpm_cuda_upsample_backward;
extern const struct ddpm_kernel ddpm_cuda_scale_pixels;
extern const struct ddpm_kernel ddpm_cuda_scale_pixels_backward;
/* diffusion.cu */
extern const struct ddpm_kernel ddpm_cuda_normalize_pictures;
extern const struct ddpm_kernel ddpm_cuda_draw_timesteps;
extern const struct ddpm_kernel ddpm_cuda_draw_normal;
extern const struct ddpm_kernel ddpm_cuda_q_sample;
extern const struct ddpm_kernel ddpm_cuda_reverse_step;
/* combine.cu */
extern const struct ddpm_kernel ddpm_cuda_gather_rows;
extern const struct ddpm_kernel ddpm_cuda_combine;
/* loss.cu */
extern const struct ddpm_kernel ddpm_cuda_loss;
extern const struct ddpm_kernel ddpm_cuda_loss_backward;
/* optimizer.cu */
extern const struct ddpm_kernel ddpm_cuda_gradient_norm;
extern const struct ddpm_kernel ddpm_cuda_adamw;

#endif

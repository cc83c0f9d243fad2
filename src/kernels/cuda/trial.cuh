/* A trial of a convolution's kernels: the call's own shapes with random values in memory of their
 * own. Our own kernel runs first, and the others must compute what it does. */
#ifndef DDPM_KERNELS_CUDA_TRIAL_CUH
#define DDPM_KERNELS_CUDA_TRIAL_CUH

#include "kernels/cuda/cuda.cuh"

struct ddpm_cudnn_plan;

struct ddpm_cuda_trial {
    struct ddpm_call call; /* with addresses */
    char *memory;
    void *reference; /* output 0 of our own kernel */
    double *norms;
    cudaEvent_t begin, end;
};

/* Allocate every tensor of the call, and fill the inputs with values. Close it also after a
 * failure. */
ddpm_status ddpm_cuda_trial_open(struct ddpm_cuda_trial *trial, struct ddpm_cuda_device *device,
                                 const struct ddpm_call *call);
void ddpm_cuda_trial_close(struct ddpm_cuda_trial *trial);

/* Run a row, with a cuDNN plan or without (NULL: our own kernel). *good: it computes what our own
 * kernel did. If `milliseconds` is NULL, it is not timed. */
ddpm_status ddpm_cuda_trial_run(const struct ddpm_cuda_trial *trial, const struct ddpm_kernel *row,
                                const struct ddpm_cudnn_plan *plan, bool *good,
                                float *milliseconds);

#endif

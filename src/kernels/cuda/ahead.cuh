/* Plans made ahead of their trials, by several threads.
 *
 * cuDNN takes up to a second to make a plan that it compiles, on one processor, and a network has
 * dozens of shapes. So the plans that are about to be tried are made first, the likely one of every
 * shape before the second of any. Trials then run one by one, in the same order as without threads:
 * which plans are tried, and so the choice, does not depend on the threads.
 *
 * cuDNN demands that threads do not share a handle, so each has its own, and plans run with the
 * handle of the device. Nobody has checked on a GPU yet that this works with every engine: if such
 * a plan does not run, it is made again, and the threads stop making plans. */
#ifndef DDPM_KERNELS_CUDA_AHEAD_CUH
#define DDPM_KERNELS_CUDA_AHEAD_CUH

#include "kernels/cuda/search.cuh"

/* A call that needs a choice. */
struct ddpm_cuda_wish {
    const struct ddpm_call *call;
    const struct ddpm_kernel *own; /* the first row of our own that supports it */
    char key[DDPM_PLAN_TEXT_BYTES];
};

/* How many threads make plans, if the caller's options allow that many (0: all processors);
 * DDPM_CUDA_PLAN_THREADS sets another number. With 1, none does. */
int ddpm_cuda_plan_threads(int threads);

/* Make plans for calls whose choice is not stored. `measure`: also those that may be better than
 * the first, in half of the time that is left for trials. Afterwards a search finds them, until
 * they are forgotten. The cache must be locked. */
void ddpm_cuda_make_ahead(struct ddpm_cuda_device *device, const struct ddpm_cuda_wish *wishes,
                          size_t count, bool measure);
void ddpm_cuda_forget_ahead(struct ddpm_cuda_choices *choices);

/* Was this plan made ahead? *plan is NULL if cuDNN could not make it. */
bool ddpm_cuda_made_ahead(const struct ddpm_cuda_choices *choices, const char *key,
                          const char *name, struct ddpm_cudnn_plan **plan);

#endif

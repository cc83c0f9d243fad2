/* The search for the cuDNN plan that serves a convolution, for choose.cu.
 *
 * A trial (trial.cuh) runs our own kernel first. A cuDNN plan with a different result is rejected,
 * and one that is not clearly faster is not worth using. */
#ifndef DDPM_KERNELS_CUDA_SEARCH_CUH
#define DDPM_KERNELS_CUDA_SEARCH_CUH

#include "kernels/cuda/conv_cudnn.cuh"

extern "C" {
#include "kernels/cuda/plan_cache.h"
}

enum ddpm_cuda_mode { DDPM_CUDA_MODE_AUTO, DDPM_CUDA_MODE_CUDNN, DDPM_CUDA_MODE_OWN };

struct ddpm_cuda_choice {
    struct ddpm_cuda_choice *next;
    char key[DDPM_PLAN_TEXT_BYTES];
    struct ddpm_cudnn_plan *plan; /* NULL: our own kernel */
};

struct ddpm_cuda_choices {
    enum ddpm_cuda_mode mode;
    struct ddpm_cudnn *cudnn;
    struct ddpm_plan_cache *cache;
    struct ddpm_cuda_choice *list;
    double seconds_left; /* for trying more plans than the first correct one */
    bool said;
};

/* cuDNN's row for this operation. */
const struct ddpm_kernel *ddpm_cuda_cudnn_row(enum ddpm_op op);

/* The best cuDNN plan, or NULL for our own kernel, the row `own`. `measure`: otherwise the first
 * correct plan. `key`: what the choice depends on, as text. */
ddpm_status ddpm_cuda_search(struct ddpm_cuda_device *device, const struct ddpm_call *call,
                             const struct ddpm_kernel *own, const char *key, bool measure,
                             struct ddpm_cudnn_plan **best);

/* The plan `name`, which an earlier process chose, compiled by it or made now. NULL if cuDNN has
 * none, or if it does not compute what our own kernel does. */
struct ddpm_cudnn_plan *ddpm_cuda_search_kept(struct ddpm_cuda_device *device,
                                              const struct ddpm_call *call,
                                              const struct ddpm_kernel *own, const char *key,
                                              const char *name);

/* Store a compiled plan. If it cannot be stored, the next process compiles it again. */
void ddpm_cuda_keep_plan(struct ddpm_cuda_choices *choices, const char *key,
                         const struct ddpm_cudnn_plan *plan);

#endif

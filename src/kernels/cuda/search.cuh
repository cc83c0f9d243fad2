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

#define DDPM_CUDA_MOST_NAMES 8                  /* of plans, per form */
#define DDPM_CUDA_MAKERS (DDPM_PLAN_TRIALS - 1) /* threads that make plans, at most */

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
    bool lost;   /* the device: a plan's kernel did something illegal */
    int threads; /* that may make plans ahead; 1: none does */
    struct ddpm_cudnn *makers[DDPM_CUDA_MAKERS];
    int maker_count;
    struct ddpm_cuda_ahead *ahead; /* plans that threads have made; NULL: none (ahead.cuh) */
};

/* Which forms to ask cuDNN for, and how many plans are worth a trial. Fused plans, and those that
 * keep fp32 sums of bf16 products, are compiled on demand; that takes a second each, so only a few
 * are tried. */
struct ddpm_cuda_form {
    enum ddpm_cudnn_form form;
    int most, compiled;
};
int ddpm_cuda_forms_of(const struct ddpm_call *call, struct ddpm_cuda_form forms[2]);

/* Make the plan with this name; NULL if cuDNN has none. */
struct ddpm_cudnn_plan *ddpm_cuda_make_plan(struct ddpm_cudnn *cudnn, const struct ddpm_call *call,
                                            const char *name);

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

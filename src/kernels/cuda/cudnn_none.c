/* cuDNN in a build without its headers: there is none. */
#include "kernels/cuda/cudnn.h"

void ddpm_cudnn_open(void *stream, struct ddpm_cudnn **out)
{
    (void)stream;
    *out = NULL;
}

void ddpm_cudnn_open_deviceless(const char *properties, struct ddpm_cudnn **out)
{
    (void)properties;
    *out = NULL;
}

ddpm_status ddpm_cudnn_set_stream(struct ddpm_cudnn *cudnn, void *stream)
{
    (void)cudnn, (void)stream;
    return DDPM_OK;
}

void ddpm_cudnn_close(struct ddpm_cudnn **cudnn)
{
    *cudnn = NULL;
}

size_t ddpm_cudnn_version(const struct ddpm_cudnn *cudnn)
{
    (void)cudnn;
    return 0;
}

int ddpm_cudnn_plans(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *convolution,
                     const char *name, int most, int compiled, struct ddpm_cudnn_plan **plans)
{
    (void)cudnn, (void)convolution, (void)name, (void)most, (void)compiled, (void)plans;
    return 0;
}

int ddpm_cudnn_names(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *convolution,
                     int most, int compiled, char (*names)[DDPM_CUDNN_NAME_BYTES])
{
    (void)cudnn, (void)convolution, (void)most, (void)compiled, (void)names;
    return 0;
}

char *ddpm_cudnn_print_plan(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_plan *plan,
                            size_t *bytes)
{
    (void)cudnn, (void)plan, (void)bytes;
    return NULL;
}

struct ddpm_cudnn_plan *ddpm_cudnn_load_plan(struct ddpm_cudnn *cudnn, const char *name,
                                             enum ddpm_cudnn_form form, const char *text,
                                             size_t bytes)
{
    (void)cudnn, (void)name, (void)form, (void)text, (void)bytes;
    return NULL;
}

ddpm_status ddpm_cudnn_run(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_plan *plan,
                           const struct ddpm_cudnn_pointers *pointers)
{
    (void)cudnn, (void)pointers;
    return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: this was built without cuDNN", plan->name);
}

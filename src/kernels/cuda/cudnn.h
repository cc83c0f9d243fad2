/* Convolutions of NVIDIA's cuDNN 9, through its graph interface (cudnn_graph.h), for the rows of
 * conv_cudnn.cu. The library is loaded when a device is opened, so the plug-in also runs without
 * it; only its headers are needed to build this. In a build without them open() finds nothing.
 *
 * A convolution has several plans: cuDNN's engines with their settings, best guess first. A plan is
 * offered only if it gives the same bits every time, sums in fp32, and neither rounds fp32 inputs
 * nor transforms them (no TF32, Winograd, FFT). */
#ifndef DDPM_KERNELS_CUDA_CUDNN_H
#define DDPM_KERNELS_CUDA_CUDNN_H

#include "kernels/kernels.h"

#define DDPM_CUDNN_NAME_BYTES 192

struct ddpm_cudnn;

enum ddpm_cudnn_form {
    DDPM_CUDNN_PLAIN,  /* y = conv(x, w) */
    DDPM_CUDNN_FUSED,  /* y = conv(x, w) + bias (+ residual) */
    DDPM_CUDNN_DATA,   /* x = transpose of conv applied to y */
    DDPM_CUDNN_WEIGHT, /* w in fp32 = gradient from x and y */
};

/* x [N,H,W,C], y and residual [N,out_h,out_w,K] of `dtype`, with pixel strides; w [K,R,S,C] of
 * `dtype`, but fp32 in the form WEIGHT; bias fp32. All addresses are multiples of 16. */
struct ddpm_cudnn_convolution {
    enum ddpm_cudnn_form form;
    enum ddpm_dtype dtype;
    int64_t n, h, w, c, out_h, out_w, k, kernel_h, kernel_w, stride, padding;
    int64_t x_stride, y_stride, residual_stride; /* residual_stride 0: none */
};

struct ddpm_cudnn_plan {
    char name[DDPM_CUDNN_NAME_BYTES]; /* engine and settings: the same in every process */
    enum ddpm_cudnn_form form;
    bool compiled; /* compiled on demand, which takes about a second: worth storing as text */
    size_t workspace_bytes;
    void *descriptor; /* cuDNN's execution plan */
};

struct ddpm_cudnn_pointers {
    const void *x, *w, *y, *bias, *residual; /* the form says which of them are outputs */
    void *workspace;
};

/* Load the library that DDPM_CUDNN names ("off": none; unset: libcudnn.so.9) and make a handle for
 * the current device and `stream` (a cudaStream_t). *out is NULL if there is no usable library,
 * which is logged. */
void ddpm_cudnn_open(void *stream, struct ddpm_cudnn **out);

/* The same without a device: plans can be made but not run, for the device that `properties`
 * (cuDNN's JSON) describes. For tests. */
void ddpm_cudnn_open_deviceless(const char *properties, struct ddpm_cudnn **out);

/* Set the stream in which plans run. */
ddpm_status ddpm_cudnn_set_stream(struct ddpm_cudnn *cudnn, void *stream);
void ddpm_cudnn_close(struct ddpm_cudnn **cudnn);
size_t ddpm_cudnn_version(const struct ddpm_cudnn *cudnn);

/* Up to `most` plans of a convolution. Engines that compile on demand, which takes about a second
 * each, are limited to `compiled` of them. With `name` only the plan of that name. Returns how
 * many; they live until close(). */
int ddpm_cudnn_plans(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *convolution,
                     const char *name, int most, int compiled, struct ddpm_cudnn_plan **plans);

/* The names of the first `most` possible plans, without making any, which is quick; at most
 * `compiled` of them are compiled on demand. Returns how many. */
int ddpm_cudnn_names(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *convolution,
                     int most, int compiled, char (*names)[DDPM_CUDNN_NAME_BYTES]);

/* A plan as text, including its compiled kernels, and the plan from such a text without compiling.
 * The text is valid for this device and version of cuDNN; load gives NULL if cuDNN rejects it. The
 * text does not say which plan it is: the caller must pass the `name` and `form` of the plan that
 * was printed, and must make sure that the bytes are undamaged. print: free() the text; NULL if
 * there is none. */
char *ddpm_cudnn_print_plan(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_plan *plan,
                            size_t *bytes);
struct ddpm_cudnn_plan *ddpm_cudnn_load_plan(struct ddpm_cudnn *cudnn, const char *name,
                                             enum ddpm_cudnn_form form, const char *text,
                                             size_t bytes);

ddpm_status ddpm_cudnn_run(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_plan *plan,
                           const struct ddpm_cudnn_pointers *pointers);

#endif

/* y = f(x) and dx = f'(x)·dy: exact GELU, ReLU, sigmoid. The functions are in simd_math.h. */
#include "kernels/cpu/element.h"
#include "kernels/cpu/simd_math.h"

static inline vf gelu_map(vf x, vf unused)
{
    (void)unused;
    return vf_gelu(x);
}

static inline vf relu_map(vf x, vf unused)
{
    (void)unused;
    return vf_relu(x);
}

static inline vf sigmoid_map(vf x, vf unused)
{
    (void)unused;
    return vf_sigmoid(x);
}

static inline vf gelu_backward_map(vf x, vf dy)
{
    vf slope;
    vf_gelu_with_slope(x, &slope);
    return slope * dy;
}

static inline vf relu_backward_map(vf x, vf dy)
{
    return vf_relu_slope(x) * dy;
}

static inline vf sigmoid_backward_map(vf x, vf dy)
{
    return vf_sigmoid_slope(x) * dy;
}

MAP_RANGE(gelu_range, 1, gelu_map)
MAP_RANGE(relu_range, 1, relu_map)
MAP_RANGE(sigmoid_range, 1, sigmoid_map)
MAP_RANGE(gelu_backward_range, 2, gelu_backward_map)
MAP_RANGE(relu_backward_range, 2, relu_backward_map)
MAP_RANGE(sigmoid_backward_range, 2, sigmoid_backward_map)

static ddpm_range_function *const forward_ranges[] = {
    [DDPM_GELU] = gelu_range, [DDPM_RELU] = relu_range, [DDPM_SIGMOID] = sigmoid_range};
static ddpm_range_function *const backward_ranges[] = {[DDPM_GELU] = gelu_backward_range,
                                                       [DDPM_RELU] = relu_backward_range,
                                                       [DDPM_SIGMOID] = sigmoid_backward_range};

static bool forward_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1) && call->attributes.activation != DDPM_NO_ACTIVATION;
}

static bool backward_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 2) && call->attributes.activation != DDPM_NO_ACTIVATION;
}

static ddpm_status forward_run(const struct ddpm_call *call)
{
    for_pixels(call, forward_ranges[call->attributes.activation]);
    return DDPM_OK;
}

static ddpm_status backward_run(const struct ddpm_call *call)
{
    for_pixels(call, backward_ranges[call->attributes.activation]);
    return DDPM_OK;
}

static const struct ddpm_kernel activation_kernel = {
    .name = SIMD_NAME("activation"), .supports = forward_supports, .run = forward_run};
KERNELS_OF(activation, &activation_kernel);
static const struct ddpm_kernel activation_backward_kernel = {
    .name = SIMD_NAME("activation_backward"), .supports = backward_supports, .run = backward_run};
KERNELS_OF(activation_backward, &activation_backward_kernel);

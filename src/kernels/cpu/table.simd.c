/* The table of one level: per operation the rows to try, in order. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/diffusion.h"
#include "kernels/cpu/rows.h"

/* clang-format off */
#define ROWS(...) (const struct ddpm_kernel *const[]){__VA_ARGS__, NULL}
/* clang-format on */

/* Compiled once more, as avx512bf16 with DDPM_AMX, for the table of level amx. */
#if defined(DDPM_AMX)
#define TABLE ddpm_cpu_table_amx
#define AMX_ROW(name) &ddpm_##name##_amx,
#else
#define TABLE SIMD(cpu_table)
#define AMX_ROW(name)
#endif

ddpm_cpu_table const TABLE = {
    [DDPM_OP_CONV2D] =
        ROWS(AMX_ROW(conv2d_rows) AMX_ROW(conv2d_winograd) AMX_ROW(conv2d) & SIMD(conv2d_winograd),
             &SIMD(conv2d_direct)),
    [DDPM_OP_CONV2D_BACKWARD_DATA] =
        ROWS(AMX_ROW(conv2d_backward_data_rows) AMX_ROW(conv2d_backward_data_winograd)
                     AMX_ROW(conv2d_backward_data) &
                 SIMD(conv2d_backward_data_winograd),
             &SIMD(conv2d_backward_data_direct)),
    [DDPM_OP_CONV2D_BACKWARD_WEIGHT] =
        ROWS(AMX_ROW(conv2d_backward_weight_rows) AMX_ROW(conv2d_backward_weight) &
                 SIMD(conv2d_backward_weight_winograd),
             &SIMD(conv2d_backward_weight_direct)),
    [DDPM_OP_DEPTHWISE_CONV2D] =
        ROWS(AMX_ROW(depthwise_conv2d_tiles) AMX_ROW(depthwise_conv2d) & SIMD(depthwise_conv2d)),
    [DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA] =
        ROWS(AMX_ROW(depthwise_conv2d_backward_data_tiles) AMX_ROW(depthwise_conv2d_backward_data) &
             SIMD(depthwise_conv2d_backward_data)),
    [DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT] =
        ROWS(AMX_ROW(depthwise_conv2d_backward_weight) & SIMD(depthwise_conv2d_backward_weight)),
    [DDPM_OP_GROUP_NORM] = ROWS(&SIMD(group_norm)),
    [DDPM_OP_GROUP_NORM_BACKWARD] = ROWS(&SIMD(group_norm_backward)),
    [DDPM_OP_ACTIVATION] = ROWS(&SIMD(activation)),
    [DDPM_OP_ACTIVATION_BACKWARD] = ROWS(&SIMD(activation_backward)),
    [DDPM_OP_ADD] = ROWS(&SIMD(add)),
    [DDPM_OP_ADD_CHANNELS] = ROWS(&SIMD(add_channels)),
    [DDPM_OP_SUM_PIXELS] = ROWS(&SIMD(sum_pixels)),
    [DDPM_OP_CONCAT] = ROWS(&SIMD(concat)),
    [DDPM_OP_UPSAMPLE] = ROWS(&SIMD(upsample)),
    [DDPM_OP_UPSAMPLE_BACKWARD] = ROWS(&SIMD(upsample_backward)),
    [DDPM_OP_SCALE_PIXELS] = ROWS(&SIMD(scale_pixels)),
    [DDPM_OP_SCALE_PIXELS_BACKWARD] = ROWS(&SIMD(scale_pixels_backward)),
    [DDPM_OP_TIMESTEP_EMBEDDING] = ROWS(&ddpm_cpu_timestep_embedding),
    [DDPM_OP_NORMALIZE_PICTURES] = ROWS(&ddpm_cpu_normalize_pictures),
    [DDPM_OP_DRAW_TIMESTEPS] = ROWS(&ddpm_cpu_draw_timesteps),
    [DDPM_OP_DRAW_NORMAL] = ROWS(&ddpm_cpu_draw_normal),
    [DDPM_OP_CONVERT] = ROWS(&SIMD(convert)),
    [DDPM_OP_Q_SAMPLE] = ROWS(&ddpm_cpu_q_sample),
    [DDPM_OP_GATHER_ROWS] = ROWS(&ddpm_cpu_gather_rows),
    [DDPM_OP_COMBINE] = ROWS(&ddpm_cpu_combine),
    [DDPM_OP_LOSS] = ROWS(&ddpm_cpu_loss),
    [DDPM_OP_LOSS_BACKWARD] = ROWS(&ddpm_cpu_loss_backward),
    [DDPM_OP_REVERSE_STEP] = ROWS(&ddpm_cpu_reverse_step),
    [DDPM_OP_GRADIENT_NORM] = ROWS(&SIMD(gradient_norm)),
    [DDPM_OP_ADAMW] = ROWS(&SIMD(adamw)),
};

/* What level amx has before the rows of avx512bf16: convolutions in matrix tiles. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

/* clang-format off */
#define ROWS(...) (const struct ddpm_kernel *const[]){__VA_ARGS__, NULL}
/* clang-format on */

ddpm_cpu_table const ddpm_cpu_table_amx = {
    [DDPM_OP_CONV2D] = ROWS(&ddpm_conv2d_rows_amx, &ddpm_conv2d_winograd_amx, &ddpm_conv2d_amx),
    [DDPM_OP_CONV2D_BACKWARD_DATA] =
        ROWS(&ddpm_conv2d_backward_data_rows_amx, &ddpm_conv2d_backward_data_winograd_amx,
             &ddpm_conv2d_backward_data_amx),
    [DDPM_OP_CONV2D_BACKWARD_WEIGHT] =
        ROWS(&ddpm_conv2d_backward_weight_rows_amx, &ddpm_conv2d_backward_weight_amx),
    [DDPM_OP_DEPTHWISE_CONV2D] = ROWS(&ddpm_depthwise_conv2d_tiles_amx, &ddpm_depthwise_conv2d_amx),
    [DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA] = ROWS(&ddpm_depthwise_conv2d_backward_data_tiles_amx,
                                                    &ddpm_depthwise_conv2d_backward_data_amx),
    [DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT] = ROWS(&ddpm_depthwise_conv2d_backward_weight_amx),
};

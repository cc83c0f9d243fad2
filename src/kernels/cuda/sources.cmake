# Sources of the CUDA backend; the emulated build of the tests compiles the same lists. What speaks to cuDNN is apart,
# in the library ddpm_cudnn of CMakeLists.txt or, where there is none, cudnn_none.c.
set(DDPM_CUDA_HOST_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/host.c
    ${CMAKE_CURRENT_LIST_DIR}/plan_cache.c
    ${CMAKE_CURRENT_LIST_DIR}/../kernels.c
    ${CMAKE_CURRENT_LIST_DIR}/../../tensor/tensor.c)
set(DDPM_CUDA_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/choose.cu
    ${CMAKE_CURRENT_LIST_DIR}/combine.cu
    ${CMAKE_CURRENT_LIST_DIR}/conv_cudnn.cu
    ${CMAKE_CURRENT_LIST_DIR}/conv_forward.cu
    ${CMAKE_CURRENT_LIST_DIR}/conv_simt.cu
    ${CMAKE_CURRENT_LIST_DIR}/conv_weight.cu
    ${CMAKE_CURRENT_LIST_DIR}/cuda.cu
    ${CMAKE_CURRENT_LIST_DIR}/depthwise.cu
    ${CMAKE_CURRENT_LIST_DIR}/depthwise_weight.cu
    ${CMAKE_CURRENT_LIST_DIR}/device.cu
    ${CMAKE_CURRENT_LIST_DIR}/diffusion.cu
    ${CMAKE_CURRENT_LIST_DIR}/elementwise.cu
    ${CMAKE_CURRENT_LIST_DIR}/group_norm.cu
    ${CMAKE_CURRENT_LIST_DIR}/group_norm_backward.cu
    ${CMAKE_CURRENT_LIST_DIR}/loss.cu
    ${CMAKE_CURRENT_LIST_DIR}/optimizer.cu
    ${CMAKE_CURRENT_LIST_DIR}/resample.cu
    ${CMAKE_CURRENT_LIST_DIR}/threshold.cu
    ${CMAKE_CURRENT_LIST_DIR}/variance.cu)

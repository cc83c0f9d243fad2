# Tests of the CUDA backend. On a GPU where there is one (skipped, 77, where not); its table without one; and all kernels
# on an emulated device (cuda_emulator/).
ddpm_kernel_program(cuda_device cuda_device_test.c)
ddpm_kernel_program(cuda_table cuda_table_test.c)

function(ddpm_cuda_tests suffix plugin)
  foreach(dtype fp32 bf16)
    ddpm_kernel_ctest(kernel_cuda${suffix}_${dtype} --backend cuda --dtype ${dtype})
    list(APPEND names kernel_cuda${suffix}_${dtype})
  endforeach()
  add_test(NAME cuda_device${suffix} COMMAND test_cuda_device)
  add_test(NAME cuda_table${suffix} COMMAND test_cuda_table)
  list(APPEND names cuda_device${suffix} cuda_table${suffix})
  set_tests_properties(${names} PROPERTIES ENVIRONMENT DDPM_CUDA_PLUGIN=$<TARGET_FILE:${plugin}>
                       SKIP_RETURN_CODE 77 LABELS cuda)
endfunction()

if(TARGET ddpm_cuda)
  ddpm_cuda_tests("" ddpm_cuda)
endif()
add_subdirectory(cuda_emulator)
if(TARGET ddpm_cuda_emulated)
  ddpm_cuda_tests(_emulated ddpm_cuda_emulated)
endif()

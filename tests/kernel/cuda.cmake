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
  if(TARGET test_library_late) # not where the kernels are built alone
    add_test(NAME library_late_cuda${suffix} COMMAND test_library_late)
    set_tests_properties(library_late_cuda${suffix} PROPERTIES SKIP_RETURN_CODE 77 LABELS cuda ENVIRONMENT
                         "DDPM_CUDA_PLUGIN=$<TARGET_FILE:${plugin}>;DDPM_TEST_DEVICE=cuda")
  endif()
endfunction()

if(TARGET ddpm_cuda)
  ddpm_cuda_tests("" ddpm_cuda)
endif()
add_subdirectory(cuda_emulator)
if(TARGET ddpm_cuda_emulated)
  ddpm_cuda_tests(_emulated ddpm_cuda_emulated)
endif()

# The file of measured choices needs no device, cuDNN's graphs need cuDNN but no device.
add_executable(test_plan_cache plan_cache_test.c ${PROJECT_SOURCE_DIR}/src/kernels/cuda/plan_cache.c)
target_include_directories(test_plan_cache PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(test_plan_cache PRIVATE ddpm_flags PkgConfig::CMOCKA)
add_test(NAME cuda_plan_cache COMMAND test_plan_cache)
set_tests_properties(cuda_plan_cache PROPERTIES LABELS cuda)
if(TARGET ddpm_cudnn)
  add_executable(test_cudnn_plans cudnn_plans_test.c $<TARGET_OBJECTS:ddpm_cudnn>)
  target_link_libraries(test_cudnn_plans PRIVATE PkgConfig::CMOCKA)
  ddpm_link_rooms(test_cudnn_plans kernels)
  add_test(NAME cudnn_plans COMMAND test_cudnn_plans)
  set_tests_properties(cudnn_plans PROPERTIES SKIP_RETURN_CODE 77 LABELS cuda)
endif()

# The rows of cuDNN's convolutions on the emulated device, with a stand-in for cuDNN.
if(TARGET ddpm_fake_cudnn)
  ddpm_kernel_program(cuda_choice cuda_choice_test.c)
  add_test(NAME cuda_choice_emulated COMMAND test_cuda_choice)
  set(environment DDPM_CUDA_PLUGIN=$<TARGET_FILE:ddpm_cuda_emulated> DDPM_CUDNN=$<TARGET_FILE:ddpm_fake_cudnn>)
  set_tests_properties(cuda_choice_emulated PROPERTIES ENVIRONMENT "${environment}" SKIP_RETURN_CODE 77 LABELS cuda)
  foreach(dtype fp32 bf16)
    foreach(op conv2d conv2d_backward_data conv2d_backward_weight)
      set(name kernel_cuda_emulated_cudnn_${op}_${dtype})
      ddpm_kernel_ctest(${name} --backend cuda --dtype ${dtype} --op ${op})
      set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment};DDPM_CUDA_CONV=cudnn" LABELS cuda)
    endforeach()
  endforeach()
endif()

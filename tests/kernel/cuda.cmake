# Tests of the CUDA backend. On a GPU if there is one (otherwise skipped, 77); its table without one; and all kernels on
# an emulated device (cuda_emulator/).
ddpm_kernel_program(cuda_device cuda_device_test.c)
ddpm_kernel_program(cuda_table cuda_table_test.c)
ddpm_kernel_program(cuda_gelu cuda_gelu_test.c)

function(ddpm_cuda_tests suffix plugin)
  foreach(dtype fp32 bf16)
    ddpm_kernel_ctest(kernel_cuda${suffix}_${dtype} --backend cuda --dtype ${dtype})
    list(APPEND names kernel_cuda${suffix}_${dtype})
  endforeach()
  add_test(NAME cuda_device${suffix} COMMAND test_cuda_device)
  add_test(NAME cuda_table${suffix} COMMAND test_cuda_table)
  add_test(NAME cuda_gelu${suffix} COMMAND test_cuda_gelu)
  add_test(NAME kernel_bits_cuda${suffix} COMMAND test_kernel_bits cuda)
  list(APPEND names cuda_device${suffix} cuda_table${suffix} cuda_gelu${suffix} kernel_bits_cuda${suffix})
  set_tests_properties(${names} PROPERTIES ENVIRONMENT DDPM_CUDA_PLUGIN=$<TARGET_FILE:${plugin}>
                       SKIP_RETURN_CODE 77 LABELS cuda)
  foreach(test late patches copies kept sampler variance consistency)
    if(TARGET test_library_${test}) # not if the kernels are built alone
      add_test(NAME library_${test}_cuda${suffix} COMMAND test_library_${test})
      set_tests_properties(library_${test}_cuda${suffix} PROPERTIES SKIP_RETURN_CODE 77 LABELS cuda ENVIRONMENT
                           "DDPM_CUDA_PLUGIN=$<TARGET_FILE:${plugin}>;DDPM_TEST_DEVICE=cuda")
    endif()
  endforeach()
endfunction()

if(TARGET ddpm_cuda)
  ddpm_cuda_tests("" ddpm_cuda)
endif()
add_subdirectory(cuda_emulator)
if(TARGET ddpm_cuda_emulated)
  ddpm_cuda_tests(_emulated ddpm_cuda_emulated)
  if(NOT DDPM_KERNELS_ONLY) # its target comes later: ../golden
    add_test(NAME golden_networks_cuda_emulated COMMAND test_golden_networks WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(golden_networks_cuda_emulated PROPERTIES LABELS cuda ENVIRONMENT
                         "DDPM_CUDA_PLUGIN=$<TARGET_FILE:ddpm_cuda_emulated>;DDPM_TEST_DEVICE=cuda")
  endif()
  # The kernels for an H100, which are off elsewhere.
  foreach(op conv2d conv2d_backward_data conv2d_backward_weight)
    ddpm_kernel_ctest(kernel_cuda_emulated_wgmma_${op} --backend cuda --dtype bf16 --op ${op} --kernel ${op}_cuda_wgmma
                      --every 3)
    set_tests_properties(kernel_cuda_emulated_wgmma_${op} PROPERTIES LABELS cuda ENVIRONMENT
      "DDPM_CUDA_PLUGIN=$<TARGET_FILE:ddpm_cuda_emulated>;DDPM_EMULATED_CAPABILITY=9;DDPM_CUDA_WGMMA=on")
  endforeach()
  add_executable(test_cuda_faults cuda_faults_test.c)
  target_link_libraries(test_cuda_faults PRIVATE PkgConfig::CMOCKA ${CMAKE_DL_LIBS})
  ddpm_link_rooms(test_cuda_faults graph)
  add_test(NAME cuda_faults_emulated COMMAND test_cuda_faults)
  set_tests_properties(cuda_faults_emulated PROPERTIES ENVIRONMENT DDPM_CUDA_PLUGIN=$<TARGET_FILE:ddpm_cuda_emulated>
                       SKIP_RETURN_CODE 77 LABELS cuda)
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
  if(TARGET ddpm_fake_driver)
    set_tests_properties(cudnn_plans PROPERTIES ENVIRONMENT DDPM_TEST_DRIVER=$<TARGET_FILE:ddpm_fake_driver>)
  endif()
endif()

# The rows of cuDNN's convolutions on the emulated device, with a stand-in for cuDNN.
if(TARGET ddpm_fake_cudnn)
  ddpm_kernel_program(cuda_choice cuda_choice_test.c choice_support.c)
  ddpm_kernel_program(cuda_ahead cuda_ahead_test.c choice_support.c)
  add_test(NAME cuda_choice_emulated COMMAND test_cuda_choice)
  add_test(NAME cuda_ahead_emulated COMMAND test_cuda_ahead)
  set(environment DDPM_CUDA_PLUGIN=$<TARGET_FILE:ddpm_cuda_emulated> DDPM_CUDNN=$<TARGET_FILE:ddpm_fake_cudnn>)
  set_tests_properties(cuda_choice_emulated cuda_ahead_emulated PROPERTIES ENVIRONMENT "${environment}"
                       SKIP_RETURN_CODE 77 LABELS cuda)
  foreach(dtype fp32 bf16)
    foreach(op conv2d conv2d_backward_data conv2d_backward_weight)
      set(name kernel_cuda_emulated_cudnn_${op}_${dtype})
      ddpm_kernel_ctest(${name} --backend cuda --dtype ${dtype} --op ${op})
      set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment};DDPM_CUDA_CONV=cudnn" LABELS cuda)
    endforeach()
  endforeach()
  # Whole training steps against PyTorch's, all convolutions through the stand-in.
  if(NOT DDPM_KERNELS_ONLY)
    foreach(run two_fp32 att_fp32 two_bf16)
      string(REGEX MATCH "^[a-z]+" file ${run})
      string(REGEX MATCH "[a-z0-9]+$" precision ${run})
      set(name golden_training_${run}_cuda_emulated_cudnn)
      add_test(NAME ${name} COMMAND test_golden_training training_${file} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
      set_tests_properties(${name} PROPERTIES LABELS cuda ENVIRONMENT
        "${environment};DDPM_CUDA_CONV=cudnn;DDPM_TEST_DEVICE=cuda;DDPM_TEST_PRECISION=${precision}")
    endforeach()
  endif()
  if(TARGET test_library_copies)
    add_test(NAME library_copies_cuda_emulated_cudnn COMMAND test_library_copies)
    set_tests_properties(library_copies_cuda_emulated_cudnn PROPERTIES LABELS cuda ENVIRONMENT
                         "${environment};DDPM_CUDA_CONV=cudnn;DDPM_TEST_DEVICE=cuda")
  endif()
endif()

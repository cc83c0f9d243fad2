# Which GPUs the CUDA plug-in is compiled for. Every kernel takes a while for each architecture, so a build by hand
# compiles for the GPUs in this machine.

# ddpm_gpus(VARIABLE): the architectures of the GPUs in this machine that the plug-in supports, each once.
function(ddpm_gpus variable)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                  OUTPUT_VARIABLE capabilities RESULT_VARIABLE ignored ERROR_QUIET)
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" capabilities "${capabilities}")
  set(found "")
  foreach(capability ${capabilities})
    string(REPLACE "." "" capability ${capability})
    if(capability GREATER_EQUAL 80)
      list(APPEND found ${capability}-real)
    endif()
  endforeach()
  list(REMOVE_DUPLICATES found)
  set(${variable} ${found} PARENT_SCOPE)
endfunction()

# ddpm_cuda_architectures(ARCHITECTURES EVERY): what to compile for, in CMake's notation. EVERY is true if it is all.
function(ddpm_cuda_architectures architectures every)
  set(wanted ${DDPM_CUDA_ARCHITECTURES})
  if(NOT wanted)
    set(wanted ${CMAKE_CUDA_ARCHITECTURES})
  endif()
  if(NOT wanted OR wanted STREQUAL "native")
    ddpm_gpus(wanted)
    if(NOT wanted)
      message(STATUS "CUDA plug-in: no GPU of compute capability 8.0 or later in this machine, so it is compiled for \
all of them, which takes long. To choose one: -DDDPM_CUDA_ARCHITECTURES=90-real for capability 9.0 (H100), 80-real for \
8.0 (A100), 89-real for 8.9 (RTX 40)")
      set(wanted all)
    endif()
  endif()
  set(all FALSE)
  if(wanted STREQUAL "all")
    set(wanted 80 86-real 89-real 90)
    set(all TRUE)
  endif()
  set(${architectures} ${wanted} PARENT_SCOPE)
  set(${every} ${all} PARENT_SCOPE)
endfunction()

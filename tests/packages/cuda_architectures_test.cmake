# cmake -P: what the CUDA plug-in is compiled for, with an nvidia-smi of our own.
cmake_minimum_required(VERSION 3.18)
include(${CMAKE_CURRENT_LIST_DIR}/../../cmake/cuda-architectures.cmake)
string(RANDOM LENGTH 12 folder)
set(folder $ENV{TMPDIR}/ddpm-${folder})
if(NOT folder MATCHES "^/")
  set(folder /tmp/${folder})
endif()
set(ENV{PATH} ${folder}:$ENV{PATH})

# expect(CAPABILITIES ARCHITECTURES EVERY): with GPUs of these compute capabilities; none: nvidia-smi fails.
function(expect capabilities architectures every)
  string(REPLACE " " "\\n" lines "${capabilities}")
  file(WRITE ${folder}/nvidia-smi "#!/bin/sh\n[ -n '${lines}' ] || exit 9\nprintf '${lines}\\n'\n")
  execute_process(COMMAND chmod +x ${folder}/nvidia-smi)
  ddpm_cuda_architectures(got got_every)
  if(NOT "${got}" STREQUAL "${architectures}" OR NOT got_every STREQUAL every)
    file(REMOVE_RECURSE ${folder})
    message(FATAL_ERROR "GPUs \"${capabilities}\", DDPM_CUDA_ARCHITECTURES \"${DDPM_CUDA_ARCHITECTURES}\", "
            "CMAKE_CUDA_ARCHITECTURES \"${CMAKE_CUDA_ARCHITECTURES}\": got \"${got}\" ${got_every}, "
            "want \"${architectures}\" ${every}")
  endif()
endfunction()

set(all 80 86-real 89-real 90)
expect("9.0" "90-real" FALSE)
expect("9.0 8.0 9.0" "90-real;80-real" FALSE)
expect("7.5" "${all}" TRUE) # too old for the plug-in: packages for other machines can still be built
expect("" "${all}" TRUE)
set(CMAKE_CUDA_ARCHITECTURES native)
expect("8.9" "89-real" FALSE)
set(CMAKE_CUDA_ARCHITECTURES 86)
expect("9.0" "86" FALSE)
set(DDPM_CUDA_ARCHITECTURES 80-real)
expect("9.0" "80-real" FALSE)
set(DDPM_CUDA_ARCHITECTURES all)
expect("9.0" "${all}" TRUE)
file(REMOVE_RECURSE ${folder})

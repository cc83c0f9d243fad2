# DDPM_CPU_LEVELS: the levels of CPU kernels in a build for this processor (src/core/cpu_features.h). Tests run every
# one.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(DDPM_CPU_LEVELS generic avx2 avx512 avx512bf16 amx)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^i[3-6]86$")
  set(DDPM_CPU_LEVELS generic avx2 avx512 avx512bf16)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(DDPM_CPU_LEVELS generic neon neonbf16)
else()
  set(DDPM_CPU_LEVELS generic)
endif()

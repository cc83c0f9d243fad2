# Cross-building for 64-bit ARM with Debian's compiler:
#
#     cmake -S . -B build-aarch64 -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake
#
# Debian packages: gcc-aarch64-linux-gnu, and the libraries of docs/dependencies.md from architecture arm64
# (dpkg --add-architecture arm64; libjansson-dev:arm64 …). With qemu-user the build can run what it made, for the manual
# pages and the tests.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
find_program(aarch64_cxx aarch64-linux-gnu-g++)
if(aarch64_cxx)
  set(CMAKE_CXX_COMPILER ${aarch64_cxx})
endif()
find_program(aarch64_qemu NAMES qemu-aarch64-static qemu-aarch64)
if(aarch64_qemu)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${aarch64_qemu})
endif()

# pkg-config must not find the libraries of this machine.
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

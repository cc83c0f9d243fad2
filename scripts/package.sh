#!/usr/bin/env bash
# package.sh deb|tarball [FOLDER]: packages, from a build of their own in build/package-*, into FOLDER (packages).
# DDPM_PACKAGE_OPTIONS has more options for CMake, DDPM_PACKAGE_BUILD is another folder to build in.
#
#     deb      .deb files for the system that this runs on: program, library, headers, and the plug-ins for MPI and CUDA
#              whose compilers and headers are here
#     tarball  one .tar.gz that runs where it is unpacked. It needs a C library no older than the one here: Debian 11's
#              (2.31) for most systems
set -eu -o pipefail
cd "$(dirname "$0")/.."
kind=${1:-}
folder=${2:-packages}
case $kind in
  # The bundled libraries must also be found by each other: DT_RPATH, not DT_RUNPATH.
  tarball) options=(-DDDPM_PACKAGE=TGZ -DCMAKE_INSTALL_PREFIX=/opt/ddpm -DCMAKE_INSTALL_LIBDIR=lib -DDDPM_CUDA=OFF
                    -DDDPM_OPENMPI=OFF -DDDPM_MPICH=OFF "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags"
                    "-DCMAKE_SHARED_LINKER_FLAGS=-Wl,--disable-new-dtags") ;;
  deb) options=(-DDDPM_PACKAGE=DEB -DCMAKE_INSTALL_PREFIX=/usr -DDDPM_ZSH_COMPLETIONS=share/zsh/vendor-completions
                -DDDPM_CUDA_ARCHITECTURES=all) ;; # not only the GPU of this machine
  *) echo "package.sh: got \"$kind\", want deb or tarball" >&2; exit 2 ;;
esac
build=${DDPM_PACKAGE_BUILD:-build/package-$kind}
mkdir -p "$folder"
cmake -S . -B "$build" -G Ninja -DDDPM_BUILD_TESTS=OFF "${options[@]}" ${DDPM_PACKAGE_OPTIONS:-} >/dev/null
cmake --build "$build"
(cd "$build" && rm -rf packages && cpack -B packages >cpack.log) || { cat "$build/cpack.log" >&2; exit 1; }
# cpack gives the library scripts that call ldconfig, although it already has the trigger that Debian wants instead.
for deb in "$build"/packages/libddpm[0-9]*.deb; do
  [ -e "$deb" ] || continue
  dpkg-deb -R "$deb" "$build/packages/library"
  rm -f "$build/packages/library/DEBIAN/postinst" "$build/packages/library/DEBIAN/postrm"
  dpkg-deb --root-owner-group -b "$build/packages/library" "$deb" >/dev/null
done
find "$build/packages" -maxdepth 1 \( -name '*.deb' -o -name '*.tar.gz' \) -exec cp {} "$folder" \;
ls -l "$folder"

#!/usr/bin/env bash
# test-packages.sh FOLDER [build] [deb] [tarball] [aarch64]: builds all packages and tries them in fresh systems;
# without steps, the first three. As root, on Debian or Ubuntu, with debootstrap. FOLDER takes about 5 GB. Nothing
# outside it is changed.
#
#     build    .deb files and wheel in Debian 12, tarball in Debian 11, all into FOLDER/packages. ddpm-cuda is skipped
#              without nvcc, and made for one GPU (90-real) unless DDPM_PACKAGE_OPTIONS has DDPM_CUDA_ARCHITECTURES
#     deb      lintian; installs the .deb files and the wheel in a fresh Debian 12: trains, compiles a C program, uses
#              Python, reads the manual pages, completes in three shells; then plug-ins: trains with Open MPI and
#              MPICH, asks for CUDA without a driver, removes them again
#     tarball  looks at the versions of glibc's symbols; unpacks it in fresh systems of Debian 11, Debian 12 and
#              Ubuntu 24.04 and trains there without a network
#     aarch64  cross-builds for 64-bit ARM in Debian 12 and runs the tests with qemu. Until it ends, the kernel
#              runs ARM programs with qemu
#
# Systems are downloaded once and kept as FOLDER/SUITE.tar; ccache's files are in FOLDER/ccache, or in CCACHE_DIR. The
# systems get this machine's apt settings, such as a proxy. Ubuntu's keys come from the package ubuntu-keyring if it is
# installed, else from Debian 13's. Variables: DDPM_UBUNTU_KEYRING is another file with Ubuntu's keys.
# DDPM_DEBIAN_MIRROR and DDPM_UBUNTU_MIRROR replace debootstrap's own mirrors. DDPM_CUDA_TOOLKIT is the folder of a CUDA
# toolkit if nvcc is not on PATH. DDPM_PACKAGE_OPTIONS and CMAKE_BUILD_PARALLEL_LEVEL are for CMake, and
# DDPM_TEST_OPTIONS for the ctest of aarch64 ("-R kernel").
set -eu -o pipefail
source=$(cd "$(dirname "$0")/.." && pwd)

fail() {
  echo "test-packages.sh: $*" >&2
  exit 1
}

skipped=()
skip() {
  echo "skipped: $*" >&2
  skipped+=("$*")
}

[ $# -ge 1 ] || fail "want a folder"
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
steps="${*:-build deb tarball}"
packages=$folder/packages
keyring=${DDPM_UBUNTU_KEYRING:-/usr/share/keyrings/ubuntu-archive-keyring.gpg}
[ "$(id -u)" = 0 ] || fail "only root can make a system with debootstrap"
command -v debootstrap >/dev/null || fail "debootstrap is missing"
cache=${CCACHE_DIR:-$folder/ccache}
nvcc=$(command -v nvcc || true)
toolkit=${DDPM_CUDA_TOOLKIT:-$(dirname "$(dirname "$(readlink -f "${nvcc:-/no/bin/nvcc}")")")}

# download SUITE: a minimal system, once.
download() {
  local suite=$1 root options=(--variant=minbase)
  [ ! -e "$folder/$suite.tar" ] || return 0
  echo "== downloading $suite"
  case $suite in
    noble) # older versions of debootstrap do not know it, but one script serves every Ubuntu release
      ubuntu_keys
      options+=(--merged-usr "--keyring=$keyring" "$suite" "$folder/$suite.new" "${DDPM_UBUNTU_MIRROR:-}")
      [ -e "/usr/share/debootstrap/scripts/$suite" ] || options+=(/usr/share/debootstrap/scripts/gutsy)
      ;;
    *) options+=("$suite" "$folder/$suite.new" "${DDPM_DEBIAN_MIRROR:-}") ;;
  esac
  rm -rf "$folder/$suite.new"
  # Its mounts disappear when it ends, even if interrupted, so a later rm cannot reach through them.
  unshare -m debootstrap "${options[@]}" >"$folder/$suite.log" || fail "no $suite, see $folder/$suite.log"
  rm -f "$folder/$suite.new"/var/cache/apt/archives/*.deb
  tar -C "$folder/$suite.new" -cf "$folder/$suite.tar.part" .
  mv "$folder/$suite.tar.part" "$folder/$suite.tar"
  rm -rf "$folder/$suite.new"
}

# fresh NAME SUITE: a new system in $folder/NAME, with this source in /src.
fresh() {
  download "$2"
  rm -rf "${folder:?}/$1"
  mkdir "$folder/$1"
  tar -C "$folder/$1" -xf "$folder/$2.tar"
  mkdir "$folder/$1/src" "$folder/$1/packages"
  apt-config dump | grep -E '^Acquire::(Check|Retries|http|https)' >"$folder/$1/etc/apt/apt.conf.d/90outside" || true
  echo force-unsafe-io >"$folder/$1/etc/dpkg/dpkg.cfg.d/quick" # nothing here needs to outlive a crash
  (cd "$source" && git ls-files -co --exclude-standard -z | tar -c --null -T - --ignore-failed-read) |
    tar -C "$folder/$1/src" -x
}

# inside NAME COMMAND…: in that system, with /proc, terminals and the folders of $shared, which are the same outside.
# without_network NAME COMMAND…: with no network but its own. building NAME COMMAND…: with ccache and the CUDA toolkit.
inside() {
  local root=$folder/$1
  shift
  # shellcheck disable=SC2016 # the inner shell's words
  shared=${shared:-} unshare -m -p -f ${namespaces:-} bash -c 'mount -t proc proc "$0/proc" && mkdir -p "$0/dev/pts" &&
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$0/dev/pts" &&
    for path in $shared; do mkdir -p "$0$path" && mount --bind "$path" "$0$path" || exit 1; done &&
    exec chroot "$0" "$@"' "$root" \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    ${CMAKE_BUILD_PARALLEL_LEVEL:+"CMAKE_BUILD_PARALLEL_LEVEL=$CMAKE_BUILD_PARALLEL_LEVEL"} \
    DEBIAN_FRONTEND=noninteractive DDPM_PACKAGE_OPTIONS="${DDPM_PACKAGE_OPTIONS:-}" "$@"
}
without_network() {
  namespaces=-n inside "$@"
}
building() {
  local name=$1 launcher
  shift
  for launcher in C CXX CUDA; do set -- "CMAKE_${launcher}_COMPILER_LAUNCHER=ccache" "$@"; done
  [ ! -e "$toolkit/bin/nvcc" ] || set -- "CUDACXX=$toolkit/bin/nvcc" "$@"
  mkdir -p "$cache"
  shared="$cache $([ ! -e "$toolkit/bin/nvcc" ] || echo "$toolkit")" inside "$name" \
    env "CCACHE_DIR=$cache" CCACHE_BASEDIR=/src CCACHE_NOHASHDIR=1 "$@"
}

# ubuntu_keys: sets $keyring. Debian 12 has no package of Ubuntu's keys, but trusts Debian 13's.
ubuntu_keys() {
  [ ! -e "$keyring" ] || return 0
  [ -z "${DDPM_UBUNTU_KEYRING:-}" ] || fail "DDPM_UBUNTU_KEYRING: no file $keyring"
  keyring=$folder/ubuntu-archive-keyring.gpg
  [ ! -e "$keyring" ] || return 0
  fresh keys bookworm
  sed -i 's/ bookworm / trixie /' "$folder/keys/etc/apt/sources.list"
  install keys ubuntu-keyring
  cp "$folder/keys/usr/share/keyrings/ubuntu-archive-keyring.gpg" "$keyring"
  rm -rf "$folder/keys"
}

# install NAME PACKAGE…
install() {
  local name=$1
  shift
  { inside "$name" apt-get update -qq && inside "$name" apt-get install -y -qq --no-install-recommends "$@"; } \
    >"$folder/$name.log" 2>&1 || { tail "$folder/$name.log" >&2; fail "$name: $* cannot be installed"; }
}

step_build() {
  rm -rf "$packages"
  mkdir "$packages"
  echo "== tarball, in Debian 11"
  fresh build-bullseye bullseye
  # Its gcc does not know AMX.
  install build-bullseye clang-13 libc6-dev ccache cmake ninja-build pkg-config libjansson-dev libpng-dev zlib1g-dev \
    libjpeg-dev libwebp-dev libzip-dev
  building build-bullseye CC=clang-13 bash /src/scripts/package.sh tarball /packages
  echo "== Debian packages and wheel, in Debian 12"
  fresh build-bookworm bookworm
  install build-bookworm gcc g++ libc6-dev ccache cmake ninja-build pkg-config file libjansson-dev libpng-dev \
    zlib1g-dev libjpeg-dev libwebp-dev libtiff-dev libzip-dev libopenmpi-dev libmpich-dev lintian python3-pip \
    python3-setuptools python3-wheel dpkg-dev
  building build-bookworm DDPM_PACKAGE_OPTIONS="-DDDPM_CUDA_ARCHITECTURES=90-real ${DDPM_PACKAGE_OPTIONS:-}" \
    bash /src/scripts/package.sh deb /packages
  inside build-bookworm pip wheel -q --no-build-isolation --no-deps -w /packages /src/python
  cp "$folder"/build-*/packages/* "$packages"
}

step_deb() {
  local plugin program
  echo "== lintian"
  if [ -e "$folder/build-bookworm/usr/bin/lintian" ]; then
    cp "$packages"/*.deb "$folder/build-bookworm/packages"
    inside build-bookworm sh -c 'lintian --allow-root --fail-on error,warning --tag-display-limit 0 /packages/*.deb'
  else
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$packages"/*.deb
  fi
  echo "== Debian packages and wheel, in a fresh Debian 12"
  fresh try-deb bookworm
  cp "$packages"/*.deb "$packages"/*.whl "$folder/try-deb/packages"
  # shellcheck disable=SC2046 # words
  install try-deb $(cd "$packages" && ls ddpm_*.deb libddpm*.deb | sed 's#^#/packages/#') \
    gcc libc6-dev pkg-config bash-completion fish zsh man-db groff-base python3-numpy python3-venv
  inside try-deb bash /src/tests/packages/try_debian.sh /src "/packages/$(cd "$packages" && ls -- *.whl)"
  echo "== plug-ins, in the same Debian 12"
  for plugin in openmpi mpich cuda; do
    if [ ! -e "$(find "$packages" -name "ddpm-${plugin}_*.deb")" ]; then
      [ $plugin = cuda ] && { [ ! -e "$toolkit/bin/nvcc" ] || [[ ${DDPM_PACKAGE_OPTIONS:-} = *DDPM_CUDA=OFF* ]]; } ||
        fail "no ddpm-$plugin in $packages"
      skip "ddpm-cuda, without nvcc or with DDPM_CUDA=OFF"
      continue
    fi
    case $plugin in
      openmpi) program=openmpi-bin ;;
      mpich) program=mpich ;;
      cuda) program= ;;
    esac
    # shellcheck disable=SC2086 # a second package or none
    install try-deb "$(cd "$packages" && ls ddpm-"$plugin"_*.deb | sed 's#^#/packages/#')" $program
    inside try-deb bash /src/tests/packages/try_plugin.sh $plugin
  done
}

step_tarball() {
  local file newest suite
  file=$(find "$packages" -name 'ddpm-*-linux-x86_64.tar.gz')
  [ -f "$file" ] || fail "no tarball in $packages"
  echo "== glibc of the tarball"
  rm -rf "$folder/unpacked"
  mkdir "$folder/unpacked"
  tar -C "$folder/unpacked" -xzf "$file"
  newest=$(find "$folder/unpacked" -type f \( -name '*.so*' -o -path '*/bin/*' \) -exec objdump -T {} + |
    grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
  echo "newest symbols: $newest"
  [ "$(printf '%s\n' GLIBC_2.31 "$newest" | sort -V | tail -n 1)" = GLIBC_2.31 ] || fail "want GLIBC_2.31 or earlier"
  for suite in bullseye bookworm noble; do
    echo "== tarball, in a fresh $suite without a network"
    fresh "try-$suite" "$suite"
    mkdir -p "$folder/try-$suite/opt/some where"
    tar -C "$folder/try-$suite/opt/some where" -xzf "$file"
    without_network "try-$suite" sh -c 'exec sh /src/tests/packages/try_program.sh /opt/some\ where/ddpm-*/bin/ddpm'
  done
}

# Not with qemu. library_memory and threads_networks have not passed there yet: the first counts qemu's own memory too.
# install_examples starts programs of this machine; the golden tests of the reference kernels would take hours; documents
# and style do not depend on the processor.
not_in_qemu='^(library_memory|install_examples|threads_networks|golden_.*_ref|docs_.*|style_.*)$'

step_aarch64() {
  local register=/proc/sys/fs/binfmt_misc name=ddpm-aarch64
  local elf='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  echo "== aarch64, in Debian 12"
  fresh build-aarch64 bookworm
  inside build-aarch64 dpkg --add-architecture arm64
  install build-aarch64 gcc-aarch64-linux-gnu qemu-user-static cmake ninja-build pkg-config bats procps \
    {libc6,libjansson,libpng,zlib1g,libjpeg,libwebp,libtiff,libzip,libcmocka}-dev:arm64
  inside build-aarch64 cmake -S /src -B /src/build -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake -DDDPM_WERROR=ON
  inside build-aarch64 cmake --build /src/build
  # Programs that shells start run in qemu too. "F": the kernel keeps it open, wherever its file is.
  [ -e $register/register ] || mount -t binfmt_misc none $register
  # shellcheck disable=SC2064 # these values
  trap "[ ! -e $register/$name ] || echo -1 >$register/$name" EXIT
  echo ":$name:M::$elf:$mask:$folder/build-aarch64/usr/bin/qemu-aarch64-static:F" >$register/register
  # shellcheck disable=SC2086 # a list of words
  inside build-aarch64 ctest --test-dir /src/build --output-on-failure --timeout 3000 -LE slow -E "$not_in_qemu" \
    ${DDPM_TEST_OPTIONS:-}
}

for step in $steps; do
  case $step in
    build | deb | tarball | aarch64) ;;
    *) fail "got \"$step\", want build, deb, tarball or aarch64" ;;
  esac
done
for step in $steps; do "step_$step"; done
if [ ${#skipped[@]} -gt 0 ]; then
  echo "packages: good, but skipped: $(printf '%s; ' "${skipped[@]}" | sed 's/; $//')"
else
  echo "packages: good"
fi

#!/usr/bin/env bash
# setup.sh build|test: install what building (and testing) needs, on Debian or Ubuntu, as root or with sudo. Does
# nothing if everything is installed. docs/dependencies.md says what each package is for.
#
# setup.sh libraries DIR: put the required libraries and pkg-config into DIR instead, about 3 MB and without root, for
# machines where you cannot install anything. It downloads and unpacks Debian's or Ubuntu's packages. You can then move
# DIR, or copy it to a machine with the same architecture and a C library at least as new. To build there:
#
#     cmake -C DIR/ddpm.cmake -S . -B build -G Ninja && ninja -C build
set -eu -o pipefail

build_packages="gcc libc6-dev cmake ninja-build pkg-config libjansson-dev libpng-dev zlib1g-dev libjpeg-dev"
optional_packages="libwebp-dev libtiff-dev libzip-dev liblapacke"
test_packages="g++ make bats procps libcmocka-dev clang libclang-rt-dev clang-format libopenmpi-dev openmpi-bin libmpich-dev mpich zsh fish man-db groff-base python3-numpy"

unpacked_packages="libjansson-dev libpng-dev zlib1g-dev libjpeg-dev libcmocka-dev pkg-config"

# Replace links by files and make paths relative, so that the folder survives any way of copying.
unpack() { # unpack DIR
  local into=$1 work apt packages deb
  if [ -e "$into" ] && [ -n "$(ls -A "$into")" ]; then
    echo "setup.sh: $into: got a folder that is not empty, want a new one" >&2
    exit 1
  fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "setup.sh: libraries DIR needs apt-get and dpkg-deb; run it on a Debian or Ubuntu machine and copy DIR" >&2
    exit 1
  fi
  work=$(mktemp -d)
  # shellcheck disable=SC2064 # this folder, and now
  trap "rm -rf '$work'" EXIT
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root" "$into"
  apt=(-qq -o "Dir::Cache=$work/cache")
  [ "$(id -u)" != 0 ] || apt+=(-o APT::Sandbox::User=root)
  if ! apt-get download --print-uris libjansson-dev >/dev/null 2>&1; then # there are no package lists here
    apt+=(-o "Dir::State::lists=$work/lists")
    apt-get "${apt[@]}" update
  fi
  # shellcheck disable=SC2086 # a list of words
  packages=$(apt-cache "${apt[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances $unpacked_packages |
    grep -E '^(lib(jansson|png|jpeg|turbojpeg|cmocka|pkgconf)[a-z0-9.-]*|zlib1g(-dev)?|pkgconf(-bin)?|pkg-config)$' | sort -u)
  # shellcheck disable=SC2086
  (cd "$work" && apt-get "${apt[@]}" download $packages)
  for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
  gather "$work/root" "$into"
  (cd "$work" && printf '%s\n' *.deb) >"$into/packages.txt"
  echo "$into: $(du -sh "$into" | cut -f 1); build with"
  echo "  cmake -C $into/ddpm.cmake -S . -B build -G Ninja && ninja -C build"
}

# gather ROOT DIR: collect headers, libraries, .pc files and pkg-config from an unpacked system in one flat layout.
gather() {
  local root=$1 into=$2 folder link target
  # resolve links inside ROOT
  find "$root" -type l | while read -r link; do
    target=$(readlink "$link")
    case $target in /*) ln -sfn "$root$target" "$link" ;; esac
  done
  mkdir -p "$into/bin" "$into/include" "$into/lib/pkgconfig"
  cp -RL "$root"/usr/include/. "$into/include"
  for folder in "$into"/include/*-linux-gnu*; do # compilers search this folder only in their own system
    [ ! -d "$folder" ] || { cp -R "$folder"/. "$into/include" && rm -rf "$folder"; }
  done
  for folder in "$root"/usr/lib/*-linux-gnu* "$root"/lib/*-linux-gnu*; do
    [ -d "$folder" ] || continue
    find "$folder" -maxdepth 1 -name '*.so*' -exec cp -L {} "$into/lib" \;
    [ ! -d "$folder/pkgconfig" ] || cp -L "$folder"/pkgconfig/*.pc "$into/lib/pkgconfig"
  done
  find "$root/usr/bin" \( -name pkgconf -o -name pkg-config \) -exec cp -L {} "$into/bin/pkgconf" \;
  # shellcheck disable=SC2016 # pkg-config's variable
  sed -i -E -e 's#/[a-z0-9_]+-linux-gnu[a-z0-9]*##g' -e 's#(=|-I|-L)/usr\>#\1${pcfiledir}/../..#g' "$into"/lib/pkgconfig/*.pc
  cat >"$into/bin/pkg-config" <<'END'
#!/bin/sh
# Finds this folder's libraries, wherever it was moved to.
here=$(cd "$(dirname "$0")/.." && pwd)
export PKG_CONFIG_LIBDIR="$here/lib/pkgconfig" LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/bin/pkgconf" "$@"
END
  chmod +x "$into/bin/pkg-config" "$into/bin/pkgconf"
  cat >"$into/ddpm.cmake" <<'END'
# cmake -S . -B build -C THIS: build and run with the libraries next to this file.
set(PKG_CONFIG_EXECUTABLE ${CMAKE_CURRENT_LIST_DIR}/bin/pkg-config CACHE FILEPATH "")
set(CMAKE_BUILD_RPATH ${CMAKE_CURRENT_LIST_DIR}/lib CACHE STRING "")
set(CMAKE_INSTALL_RPATH ${CMAKE_CURRENT_LIST_DIR}/lib CACHE STRING "")
END
}

case ${1:-} in
  build) packages=$build_packages optional=$optional_packages ;;
  test) packages="$build_packages $optional_packages $test_packages" optional="" ;;
  -h | --help) sed -n '/^#!/d; /^#/!q; s/^#  *//p' "$0"; exit ;;
  libraries)
    [ -n "${2:-}" ] || { echo "setup.sh: libraries wants a folder to write into" >&2; exit 2; }
    unpack "$2"
    exit
    ;;
  *) echo "setup.sh: got \"$*\", want build, test or libraries DIR" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "setup.sh: this is not a Debian system; install what docs/dependencies.md lists, then run cmake by hand" >&2
  exit 1
fi
# missing PACKAGE…: those that are not installed.
missing() {
  local package state
  for package; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || printf ' %s' "$package"
  done
}

# shellcheck disable=SC2086 # lists of words
missing=$(missing $packages) optional=$(missing $optional)
[ -n "$missing$optional" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
  if [ -z "$missing" ]; then
    echo "setup.sh: building without$optional, which only root can install"
    exit
  fi
  echo "setup.sh: these packages are missing, and only root can install them:$missing" >&2
  echo "  hint: scripts/setup.sh libraries libs unpacks the libraries into a folder, which scripts/demo.sh then uses" >&2
  exit 1
elif [ "$(id -u)" != 0 ]; then
  sudo=sudo
fi
missing="$missing$optional"
echo "installing$missing"
# Not exported: sudo drops variables.
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null

#!/usr/bin/env bash
# setup.sh build|test: install what building (and testing) needs, on Debian or Ubuntu, as root or with sudo.
# Does nothing when everything is there. docs/dependencies.md says what each package is for.
set -eu -o pipefail

build_packages="gcc libc6-dev cmake ninja-build pkg-config libjansson-dev libpng-dev zlib1g-dev libjpeg-dev libwebp-dev libtiff-dev"
test_packages="g++ make bats libcmocka-dev clang libclang-rt-dev clang-format"

case ${1:-} in
  build) packages=$build_packages ;;
  test) packages="$build_packages $test_packages" ;;
  *) echo "setup.sh: got \"${1:-}\", want build or test" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "setup.sh: this is no Debian system; install what docs/dependencies.md lists, then run cmake by hand" >&2
  exit 1
fi
missing=""
for package in $packages; do
  state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || {
    echo "setup.sh: these packages are missing, and only root can install them:$missing" >&2
    exit 1
  }
  sudo=sudo
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null

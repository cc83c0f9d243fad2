#!/bin/bash
# try_plugin.sh cuda|openmpi|mpich: an installed package ddpm-cuda, where there is no driver, or one of the packages for
# MPI, used and removed.
set -eu -o pipefail
plugin=$1
package=ddpm-$plugin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# train RUN OPTION…: a step, by a program that the shell or $launcher finds on PATH.
train() {
  ${launcher:-} ddpm train --data pictures --out "$1" --image-size 16 --dim 8 --dim-mults 1,2 --batch-size 4 \
    --timesteps 50 --steps 1 --sample-every 0 "${@:2}"
}

# refused TEXT COMMAND…: it fails and says TEXT.
refused() {
  local text=$1
  shift
  if "$@" >said 2>&1; then
    fail "it ran, want \"$text\""
  fi
  grep -qF "$text" said || { cat said >&2; fail "want \"$text\""; }
}

ddpm synth --out pictures --count 8 --size 16 -q
file=$(dpkg -L "$package" | grep '\.so$')
depends=$(dpkg-query -W -f '${Depends}' "$package")
echo "$package: $(dpkg-query -W -f '${Description}' "$package" | head -n 1); depends on $depends"
ldd "$file" >libraries
if grep 'not found' libraries; then
  fail "$file needs libraries that $package does not depend on"
fi

case $plugin in
  cuda)
    # The driver and cuDNN are loaded at run time, if they are there.
    if grep -iE 'cuda|cudnn|nvidia|nccl' <<<"$depends"; then
      fail "$package depends on NVIDIA's packages"
    fi
    refused "no CUDA device: the plug-in is installed, but NVIDIA's driver (libcuda.so.1) is not" \
      train run --device cuda
    train auto --device auto --verbose 2>&1 | tee said | grep -F 'no CUDA device, using the CPU' ||
      { cat said >&2; fail "nothing said why the CPU is used"; }
    ;;
  openmpi | mpich)
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
    launcher="mpirun.$plugin -n 2"
    name=$([ "$plugin" = mpich ] && echo MPICH || echo "Open MPI")
    train together --device cpu 2>&1 | tee said | grep -E "^ranks +2 .*$name" ||
      { cat said >&2; fail "two processes did not train together"; }
    launcher=
    ;;
esac

apt-get purge -y -qq "$package" >/dev/null 2>&1 || fail "$package cannot be removed"
[ ! -e "$file" ] || fail "$file is still there"
[ ! -e "$(dirname "$file")" ] || [ -n "$(ls "$(dirname "$file")")" ] || fail "$(dirname "$file") was left behind"
[ "$plugin" != cuda ] || refused "no CUDA backend" train again --device cuda
train removed --device cpu -q
echo "$package: used and removed"

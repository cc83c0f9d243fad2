#!/usr/bin/env bash
# Does scripts/check-includes.sh find wrong includes? Each wrong include is put into a copy of the tree.
set -eu -o pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
script=$PWD/scripts/check-includes.sh
mkdir "$work/programs"
cp -r CMakeLists.txt include src "$work"
cp -r programs/ddpm "$work/programs"
cd "$work"
bash "$script" >/dev/null

expect() { # expect FILE INCLUDE TEXT
  cp "$1" saved
  echo "#include $2" >>"$1"
  if bash "$script" >said 2>&1 || ! grep -q "$3" said; then
    echo "$1 with $2: got \"$(cat said)\", want \"$3\" and a failure" >&2
    exit 1
  fi
  mv saved "$1"
}
expect src/core/error.c '"tensor/tensor.h"' 'core does not use tensor'
expect src/graph/graph.c '<ddpm/network.h>' 'graph does not use model'
expect src/model/network.c '"kernels/cpu/cpu.h"' 'kernels/cpu/cpu.h is private to kernels'
expect src/data/source.c '"config/config.h"' 'data does not use config'
expect include/ddpm/log.h '"core/error.h"' 'public header'
expect programs/ddpm/main.c '"graph/ops/simple.h"' 'private to graph'
bash "$script" >/dev/null

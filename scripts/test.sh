#!/usr/bin/env bash
# test.sh: installs what is missing, builds, runs all tests; then the same with clang under AddressSanitizer and
# UndefinedBehaviorSanitizer: 20 minutes on two cores of a Zen 5, twice that on slower ones. Exit 0 if everything passed.
set -eu -o pipefail
case $#,${1:-} in
  0,) ;;
  1,-h | 1,--help) sed -n '2,3s/^# //p' "$0"; exit ;;
  *) echo "test.sh: got \"$*\", want nothing" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
jobs=$(nproc)

scripts/setup.sh test

echo "== gcc, optimised like the demo and the packages"
cuda=OFF
if command -v nvcc >/dev/null; then
  cuda=ON
  echo "nvcc is there: the CUDA backend is compiled too"
else
  echo "skipped: no nvcc, so the CUDA backend is not compiled"
fi
cmake -S . -B build/test -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS=-g -DDDPM_WERROR=ON \
  -DDDPM_CUDA=$cuda -DDDPM_CUDA_ARCHITECTURES=90 >/dev/null
cmake --build build/test
ctest --test-dir build/test --output-on-failure -j "$jobs"

echo "== clang, AddressSanitizer, UndefinedBehaviorSanitizer"
CC=clang CXX=clang++ cmake -S . -B build/sanitize -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DDDPM_WERROR=ON \
  -DDDPM_SANITIZE=ON -DDDPM_CUDA=OFF >/dev/null
cmake --build build/sanitize
echo "skipped here, being slow under sanitizers: the reference kernels' golden tests, resuming, kills, installing," \
  "visits to a GPU, launching ranks, commands of documents, one of two types at each level of the CPU's kernels;" \
  "and counting the files of an operation, which builds for itself"
ctest --test-dir build/sanitize --output-on-failure -j "$jobs" -LE slow \
  -E 'golden_.*_ref|(kernel_cpu|golden_objectives)_(generic_bf16|avx2_bf16|avx512_fp32)|cli_resume|fault_kill|style_files_for_an_op|ranks_(openmpi|mpich|hosts)|docs_commands'

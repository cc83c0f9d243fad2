#!/usr/bin/env bash
# check-threads.sh [--helgrind] [FOLDER]: builds with clang and ThreadSanitizer into FOLDER (build/threads) and runs
# what uses threads: the pool, the prefetcher, two networks in two threads, some training steps of the program; the last
# two with the kernels of every level that this processor has. With --helgrind the same under Valgrind's Helgrind, which
# takes minutes. Exit 0 if no race was found, 77 if there is no clang or no Valgrind.
set -eu -o pipefail
cd "$(dirname "$0")/.."
tool=thread
[ "${1:-}" = --helgrind ] && { tool=helgrind; shift; }
build=${1:-build/threads}
[ "$tool" = thread ] || build=${1:-build/helgrind}
under=()
if [ "$tool" = thread ]; then
  command -v clang >/dev/null || { echo "check-threads.sh: no clang here"; exit 77; }
  export CC=clang CXX=clang++ TSAN_OPTIONS="halt_on_error=1 exitcode=66 ${TSAN_OPTIONS:-}"
  options=(-DCMAKE_C_FLAGS=-fsanitize=thread -DCMAKE_EXE_LINKER_FLAGS=-fsanitize=thread)
else
  command -v valgrind >/dev/null || { echo "check-threads.sh: no valgrind here"; exit 77; }
  options=(-DCMAKE_C_FLAGS=-DDDPM_HELGRIND)
  under=(valgrind --quiet --tool=helgrind --error-exitcode=66 --suppressions=tests/threads/helgrind.supp)
fi
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DDDPM_CUDA=OFF "${options[@]}" >/dev/null
cmake --build "$build" --target test_core test_threads_refused test_data_prefetch test_threads_networks ddpm | tail -1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check NAME COMMAND…: run it and show its output only if it fails.
check() {
  echo "== $1"
  shift
  "${under[@]}" "$@" >"$work/log" 2>&1 || { cat "$work/log"; echo "check-threads.sh: failed: $*" >&2; exit 1; }
}

# For the pool's twenty thousand short loops, Helgrind would take minutes.
[ "$tool" = helgrind ] || check "thread pool" "$build/tests/unit/test_core"
check "threads that are refused" "$build/tests/unit/test_threads_refused"
check "prefetching" "$build/tests/unit/test_data_prefetch"
"$build/programs/ddpm/ddpm" synth --out "$work/pictures" --count 8 --size 16 2>/dev/null
steps=(--dim 8 --dim-mults 1,2 --image-size 16 --timesteps 20 --schedule cosine --batch-size 4 --device cpu
  --threads 4 --decode-threads 2 --steps 6 --save-every 3 --sample-every 3 --num-samples 2)
levels=(generic avx2 avx512 avx512bf16 amx neon neonbf16)
if [ "$tool" = helgrind ]; then
  levels=(generic) # Valgrind knows no vectors wider than AVX2
  steps+=(--steps 3 --sample-every 0)
fi
for level in "${levels[@]}"; do
  if ! DDPM_CPU=$level "$build/programs/ddpm/ddpm" train --data "$work/pictures" --out "$work/$level-probe" \
    "${steps[@]}" --steps 1 >"$work/log" 2>&1; then
    if grep -q 'this processor lacks' "$work/log"; then
      echo "skipped: this processor lacks $level"
      continue
    fi
  fi
  export DDPM_CPU=$level
  check "two networks in two threads, $level" "$build/tests/threads/test_threads_networks"
  for precision in fp32 bf16; do
    check "training steps, $level, $precision" "$build/programs/ddpm/ddpm" train --data "$work/pictures" \
      --out "$work/$level-$precision" "${steps[@]}" --precision "$precision"
  done
  unset DDPM_CPU
done
echo "no race was found"

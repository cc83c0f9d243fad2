#!/usr/bin/env bash
# Builds, tests and measures the CUDA backend on the machine where it runs.
#
#   scripts/test-cuda.sh [--build DIR] [--libraries DIR] [--parts check,sanitizer,bench,torch,run,busy]
#                        [--no-sanitizer] [--out DIR] [--data PICTURES] [--resume] [--limit SECONDS]
#
# Needs an NVIDIA GPU, the CUDA toolkit, a C compiler and CMake. The libraries of the whole program
# (docs/dependencies.md) are the system's, or those that `scripts/setup.sh libraries DIR` put into a folder on another
# machine. If they are missing, it builds only the kernels and says which checks it skips. Without a GPU it stops after
# building and the table test.
#
# The parts check and sanitizer test correctness. The others come from bench/measure.sh, which says what they need;
# bench includes the times of single kernels. All run unless --parts selects some. Figures go to --out (BUILD/measured),
# with a table of targets; missing a target is not a failure. Exit: 0 nothing failed, 1 something failed, 2 wrong usage.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

usage="want [--build DIR] [--libraries DIR] [--parts check,sanitizer,bench,torch,run,busy] [--no-sanitizer] [--out DIR]
[--data PICTURES] [--resume] [--limit SECONDS]"
build="build-cuda"
libraries=''
parts=check,sanitizer,bench,torch,run,busy
out=''
sanitizer=yes
limit=0
measure=() # options for bench/measure.sh
while [ $# -gt 0 ]; do
  case $1 in
    --no-sanitizer) sanitizer=no ;;
    --resume) measure+=(--resume) ;;
    --build | --libraries | --parts | --out | --data | --limit)
      [ $# -gt 1 ] || { echo "test-cuda.sh: $1 wants a value" >&2; exit 2; }
      case $1 in
        --data) measure+=("$1" "$2") ;;
        *) declare "${1#--}=$2" ;;
      esac
      shift
      ;;
    *) echo "test-cuda.sh: got \"$1\", $usage" >&2; exit 2 ;;
  esac
  shift
done
for part in ${parts//,/ }; do
  case $part in
    check | sanitizer | bench | torch | run | busy) ;;
    *) echo "test-cuda.sh: --parts: got \"$part\", $usage" >&2; exit 2 ;;
  esac
done
case $build in /*) ;; *) build=$PWD/$build ;; esac
out=${out:-$build/measured}
has() { [[ ,$parts, == *",$1,"* ]]; }

summary=""
failed=0
note() { summary+="$1: $2"$'\n'; echo "== $1: $2"; }
check() { # check NAME command…: runs it and records the result; 77 means skipped
  local name=$1 code
  shift
  "$@"
  code=$?
  case $code in
    0) note "$name" passed ;;
    77) note "$name" "skipped (no device)" ;;
    *) note "$name" "FAILED ($code)"; failed=1 ;;
  esac
}
finish() { echo; echo "Summary"; printf '%s' "$summary"; exit $failed; }

# ---- build ----
gpu=$(nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')
options=(-DCMAKE_BUILD_TYPE=Release -DDDPM_CUDA=ON)
[ -n "$capability" ] && options+=("-DDDPM_CUDA_ARCHITECTURES=$capability-real")
[ -n "$libraries" ] && options+=(-C "$libraries/ddpm.cmake")
mkdir -p "$build" || exit 1
if command -v ninja >/dev/null && [ ! -f "$build/CMakeCache.txt" ]; then options+=(-G Ninja); fi
whole=yes
if ! cmake -S . -B "$build" "${options[@]}" -DDDPM_KERNELS_ONLY=OFF >"$build/configure.log" 2>&1; then
  whole=no
  tail -n 12 "$build/configure.log"
  rm -rf "$build/CMakeCache.txt" "$build/CMakeFiles"
  cmake -S . -B "$build" "${options[@]}" -DDDPM_KERNELS_ONLY=ON >"$build/configure.log" 2>&1 ||
    { cat "$build/configure.log"; note configure FAILED; failed=1; finish; }
  note "whole program" "left out: its libraries were not found, see above; the kernels alone are tested"
fi
check build cmake --build "$build" --parallel
[ $failed = 0 ] || finish

export DDPM_CUDA_PLUGIN=$build/programs/ddpm/libddpm_cuda.so
tests=$build/tests/kernel
check "table" "$tests/test_cuda_table"
if [ -z "$gpu" ]; then
  note "everything on a device" "skipped: nvidia-smi names none"
  finish
fi
echo "GPU: $gpu"
note "GPU" "$gpu"

# ---- correctness ----
# shellcheck disable=SC2317 # called by check, like the next two
train() { # train OUT STEPS PRECISION [options…]
  local out=$1 steps=$2 precision=$3
  shift 3
  "$build/programs/ddpm/ddpm" train --device cuda --data "$work/data" --out "$out" --dim 16 --dim-mults 1,2 \
    --image-size 32 --batch-size 4 --steps "$steps" --precision "$precision" --save-every 3 --sample-every 1000 "$@"
}
# shellcheck disable=SC2317
same_weights() { # same_weights RUN RUN
  local file
  for file in model ema optimizer; do
    cmp "$1/checkpoints/latest/$file.safetensors" "$2/checkpoints/latest/$file.safetensors" || return 1
  done
}
# shellcheck disable=SC2317
resume_is_exact() { # resume_is_exact PRECISION
  train "$work/straight-$1" 6 "$1" && train "$work/stopped-$1" 3 "$1" &&
    train "$work/stopped-$1" 6 "$1" --resume && same_weights "$work/straight-$1" "$work/stopped-$1"
}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
check_kernels() { # against the reference
  check "kernels fp32" "$tests/test_kernel" --backend cuda --dtype fp32
  check "kernels bf16" "$tests/test_kernel" --backend cuda --dtype bf16
  local convolutions=("$tests/test_kernel" --backend cuda --op "conv2d*")
  check "convolutions by cuDNN fp32" env DDPM_CUDA_CONV=cudnn "${convolutions[@]}" --dtype fp32
  check "convolutions by cuDNN bf16" env DDPM_CUDA_CONV=cudnn "${convolutions[@]}" --dtype bf16
  check "convolutions by our own kernels" env DDPM_CUDA_CONV=own "${convolutions[@]}" --dtype bf16
  check "device, recording, same bits twice" "$tests/test_cuda_device"
}
check_program() {
  if [ $whole = no ]; then
    note "golden numbers, resume" "skipped: they need the whole program"
    return
  fi
  local name precision
  for name in networks training diffusion; do
    for precision in fp32 bf16; do
      [ "$name $precision" != "diffusion bf16" ] || continue # its tables and draws are fp32
      check "golden numbers, $precision: $name" env DDPM_TEST_DEVICE=cuda DDPM_TEST_PRECISION="$precision" \
        "$build/tests/golden/test_golden_$name"
    done
  done
  check "late results" env DDPM_TEST_DEVICE=cuda "$build/tests/unit/test_library_late"
  check "bf16 copies of weights" env DDPM_TEST_DEVICE=cuda "$build/tests/unit/test_library_copies"
  "$build/programs/ddpm/ddpm" synth --out "$work/data" --count 16 --size 32 >/dev/null
  check "resume, bit for bit, fp32" resume_is_exact fp32
  check "resume, bit for bit, bf16" resume_is_exact bf16
}
check_with_sanitizer() {
  if [ $sanitizer = no ]; then
    note "compute-sanitizer" "skipped: --no-sanitizer"
  elif ! command -v compute-sanitizer >/dev/null; then
    note "compute-sanitizer" "skipped: not installed"
  else
    for tool in memcheck racecheck; do
      for op in conv2d conv2d_backward_weight depthwise_conv2d depthwise_conv2d_backward_weight group_norm_backward; do
        check "$tool: $op" compute-sanitizer --tool "$tool" --error-exitcode 1 "$tests/test_kernel" --backend cuda \
          --dtype bf16 --op "$op"
      done
      if [ $whole = yes ]; then
        [ -d "$work/data" ] || "$build/programs/ddpm/ddpm" synth --out "$work/data" --count 16 --size 32 >/dev/null
        check "$tool: a training step" compute-sanitizer --tool "$tool" --error-exitcode 1 --target-processes all \
          "$build/programs/ddpm/ddpm" train --device cuda --data "$work/data" --out "$work/$tool" --dim 8 \
          --dim-mults 1,2 --image-size 16 --batch-size 2 --steps 1 --precision bf16 --sample-every 1000
      fi
    done
  fi
}
keep() { # keep NAME: save the summary since the last call, for the table
  [ $whole = no ] || { mkdir -p "$out" && { date +%FT%R; printf '%s' "${summary#"$kept"}"; } >"$out/checks-$1.txt"; }
  kept=$summary
}
kept=''
if has check; then
  check_kernels
  check_program
  keep check
fi
if has sanitizer; then
  check_with_sanitizer
  keep sanitizer
fi

# ---- measuring ----
if has bench; then
  check "times, bf16" "$tests/test_kernel" --backend cuda --dtype bf16 --bench
  check "times, fp32" "$tests/test_kernel" --backend cuda --dtype fp32 --bench
fi
if [ $whole = no ]; then
  note "figures of the whole program" "not measured: it could not be built"
else
  if [ "$limit" != 0 ]; then # time left
    limit=$((limit - SECONDS))
    measure+=(--limit $((limit > 1 ? limit : 1)))
  fi
  bench/measure.sh --program "$build/programs/ddpm/ddpm" --out "$out" "${measure[@]}" \
    --parts "$(tr ',' '\n' <<<"$parts" | grep -vxE 'check|sanitizer' | paste -sd ,)"
fi
finish

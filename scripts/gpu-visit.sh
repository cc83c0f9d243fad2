#!/usr/bin/env bash
# Checks and measurements on a machine with an NVIDIA GPU, for visits of a few minutes in which one command may take
# 330 seconds and the machine has a driver, perhaps a toolkit and PyTorch, and nothing of ours.
#
#   scripts/gpu-visit.sh pack [--pictures FOLDER] [--plans FOLDER]   here: builds for sm_90a and packs everything that
#                                                                    the visit runs
#   scripts/gpu-visit.sh first                                       there: how long does a step take? is it right?
#   scripts/gpu-visit.sh second                                      after fixing: against compiled PyTorch; drawing
#   scripts/gpu-visit.sh run                                         the article's 37,000 steps, in 600 s
#
#   --folder DIR   what was packed (visit)            --out DIR     results (visit-results)
#   --limit S      seconds of the whole command       --jobs N      tests at a time (all processors)
#   --small        sizes to try this script out       --device D    cuda
#   --patience S   for one test (40)                  --slowest S   step with which `run` begins (0.014)
#   --build DIR    pack's build folder (build-visit)  --slow N      multiply every step's time limit by N, to rehearse on
#                                                     few or busy processors
#
# No fault stops the rest: each step has a log and a time limit, and what it found is written at once. The limits add
# up to less than 330 s; the last steps of `first` and `second` get what the others leave. Everything is timed while
# nothing else runs. The last output is one table, OUT/table.md, and one archive, OUT/visit.tar.gz; the output has at
# most 12,000 characters, the archive 16 MiB. Send OUT/cache back to `pack --plans` for the next visit. Tests that find
# no device count as failed if nvidia-smi names a GPU. An operation whose test fails is run again with
# CUDA_LAUNCH_BLOCKING=1, then under memcheck. Exit: 0 nothing failed, 1 something did, 2 wrong usage.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

usage() { echo "gpu-visit.sh: $1" >&2; exit 2; }
form=${1:-}
case $form in pack | first | second | run) shift ;; *) usage "got \"$form\", want pack, first, second or run" ;; esac
folder=visit out=visit-results build=build-visit pictures='' plans='' device=cuda jobs=$(nproc) limit=330
patience=40 slow=1 slowest=0.014 python=${PYTHON:-python3}
[ "$form" != run ] || limit=600
dim=64 size=128 timesteps=1000 batch=16 larger=64 repeats=20 steps=400 many=2000 all=37000 draw=16 every=1
while [ $# -gt 0 ]; do
  case $1 in
    --small) dim=8 size=16 timesteps=30 batch=4 larger=8 repeats=1 steps=3 many=4 all=5 draw=2 every=20 ;;
    --folder | --out | --build | --pictures | --plans | --device | --jobs | --limit | --patience | --slow | --slowest)
      [ $# -gt 1 ] || usage "$1 wants a value"
      declare "${1#--}=$2"
      shift
      ;;
    *) usage "got \"$1\", want the options listed at the top of this file" ;;
  esac
  shift
done

# ---- pack ----
programs="programs/ddpm/ddpm programs/ddpm/libddpm_cuda.so tests/kernel/test_kernel tests/kernel/test_cuda_device
tests/golden/test_golden_networks tests/golden/test_golden_training tests/golden/test_golden_diffusion
tests/unit/test_library_late tests/unit/test_library_copies tests/unit/test_library_kept tests/kernel/test_cuda_gelu"

# shellcheck disable=SC2120 # the options come from a shell of its own
build_all() { # build_all [cmake's options…]: what cannot be built is skipped
  local libraries=$folder/libraries targets options=("$@") further=()
  [ -f "$libraries/ddpm.cmake" ] || scripts/setup.sh libraries "$libraries" || return 1
  if command -v ninja >/dev/null; then options+=(-G Ninja) further=(-- -k 0); fi
  # shellcheck disable=SC2016 # the loader's variable
  cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DDDPM_CUDA=ON -DDDPM_CUDA_ARCHITECTURES=90a-real \
    -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH='$ORIGIN/../libraries/lib' -C "$libraries/ddpm.cmake" \
    "${options[@]}" || return 1
  targets=$(for file in $programs; do basename "$file" .so; done | sed 's/^libddpm_cuda$/ddpm_cuda/')
  # shellcheck disable=SC2086 # a list of words
  cmake --build "$build" --parallel "$jobs" --target $targets "${further[@]}"
  gather
}

gather() { # fails if the program or the plug-in is missing; tests may be
  local file
  mkdir -p "$folder/bin" || return 1
  for file in $programs; do
    rm -f "$folder/bin/$(basename "$file")"
    [ ! -f "$build/$file" ] || cp "$build/$file" "$folder/bin" || return 1
  done
  strip "$folder"/bin/*
  [ -x "$folder/bin/ddpm" ] && [ -f "$folder/bin/libddpm_cuda.so" ]
}

pack() {
  folder=$(realpath -m "$folder")
  build_all || exit 1
  if [ -n "$plans" ]; then
    rm -rf "$folder/cache"
    cp -R "$plans" "$folder/cache" || exit 1
  fi
  if [ -z "$pictures" ]; then
    pictures=$build/pictures
    "$folder/bin/ddpm" synth --out "$pictures" --count 320 --size "$size" --force >/dev/null || exit 1
  fi
  "$folder/bin/ddpm" pack "$pictures" --out "$folder/pictures.npy" --size "$size" || exit 1
  "$folder/bin/ddpm" --version || exit 1
  echo "$folder: $(du -sm "$folder" | cut -f 1) MB"
  [ "$(du -sm "$folder" | cut -f 1)" -le 50 ] || { echo "gpu-visit.sh: $folder: want 50 MB or less" >&2; exit 1; }
}
if [ "$form" = pack ]; then
  pack
  exit
fi

# ---- steps ----
mkdir -p "$out/work" || exit 1
out=$(realpath "$out") folder=$(realpath -m "$folder")
work=$out/work bin=$folder/bin
: >"$out/steps.tsv"
: >"$out/figures.tsv"
find "$work" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
gpu=$(timeout 20 nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader 2>/dev/null |
  head -n 1)

closing=8 # seconds for the table and the archive
left() { echo $((limit - SECONDS - closing)); }
say() { # say KIND TEXT: printed at once, at most 1,500 characters of each kind
  printf '%s\n' "$2" >>"$work/said-$1"
  [ "$(wc -c <"$work/said-$1")" -gt 1500 ] || printf '%s\n' "$2"
}
step() { # step NAME SECONDS COMMAND…: runs it within this time, with a log, and a line about the outcome
  local name=$1 most=$(($2 * slow)) code begin=$SECONDS what
  shift 2
  rm -f "$out/$name.log"
  [ "$most" -le "$(left)" ] || most=$(left)
  if [ "$most" -lt 1 ]; then
    code=124 what="NOT RUN: no time was left"
  else
    timeout --kill-after 3 "$most" "$@" >"$out/$name.log" 2>&1 </dev/null
    code=$?
    case $code in
      0) what=passed ;;
      77) if [ -n "$gpu" ]; then what="FAILED: skipped itself, though there is a GPU"; else what=skipped; fi ;;
      124 | 137) what="FAILED: not done in $most s" ;;
      13[0-9] | 14[0-9]) what="FAILED: ended by signal $((code - 128))" ;;
      *) what="FAILED: $code" ;;
    esac
  fi
  printf '%s\t%s\t%s\n' "$name" "$what" $((SECONDS - begin)) >>"$out/steps.tsv"
  [ "$what" = passed ] || say steps "== $name: $what"
  return $code
}
beside() { # beside COMMAND…: in the background, as many as --jobs allows
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
  "$@" &
}
figure() { # figure WHAT FIGURE WANTED [CONDITION of awk]
  local verdict=''
  [ -z "${4:-}" ] || verdict=$(awk "BEGIN { print ($4) ? \"reached\" : \"FALLS SHORT\" }")
  printf '| %s | %s | %s | %s |\n' "$1" "${2:0:400}" "$3" "$verdict" >>"$out/figures.tsv"
  say figures "$1: ${2:0:120}; $3 $verdict"
}
why() { # why NAME: why this step has no figure
  echo "not measured: $(awk -F '\t' -v name="$1" '$1 == name { what = $2 } END { print what }' "$out/steps.tsv")$(
    awk 'NF { last = $0 } END { gsub(/[^[:print:]]/, "", last); gsub(/\|/, "/", last)
      if (last) print "; " substr(last, 1, 120) }' "$out/$1.log" 2>/dev/null)"
}
calculate() { awk "BEGIN { printf(\"$1\", $2) }"; } # calculate FORMAT EXPRESSION
number() { sed -n "s/^ *\"$2\": \\([-+0-9.e]*\\),*\$/\\1/p" "$1" 2>/dev/null | head -n 1; } # number FILE.json KEY
within() { "$python" -c 'import functools, json, sys
value = functools.reduce(dict.get, sys.argv[2].split("."), json.load(open(sys.argv[1]))[0])
print("" if value is None else value)' "$@" 2>/dev/null; } # within FILE.json KEY.KEY

# ---- the machine ----
find_cudnn() { # as a Python package it is on no loader's path, and neither is NVRTC, which it compiles with
  local packages
  mapfile -t packages < <("$python" -c 'import nvidia; print("\n".join(nvidia.__path__))' 2>/dev/null)
  if [ ${#packages[@]} -gt 0 ]; then
    LD_LIBRARY_PATH=$(find "${packages[@]}" -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd :):$(
      )${LD_LIBRARY_PATH:-}
    export LD_LIBRARY_PATH
    if [ -z "${DDPM_CUDNN:-}" ]; then
      DDPM_CUDNN=$(find "${packages[@]}" -name 'libcudnn.so.9' 2>/dev/null | head -n 1)
      CUDNN_PATH=$(dirname "$(dirname "${DDPM_CUDNN:-/}")")
      export CUDNN_PATH
      if [ -n "$DDPM_CUDNN" ]; then export DDPM_CUDNN; else unset DDPM_CUDNN; fi
    fi
  fi
  echo "cuDNN: ${DDPM_CUDNN:-as the loader finds it}"
}
describe() {
  nvidia-smi
  lscpu | head -n 20
  nvcc --version
  "$python" -c 'import torch; print("torch", torch.__version__)'
  "$bin/ddpm" --version
}
load() { # the packed programs, or those that can be built here
  step load 10 "$bin/ddpm" --version && return
  echo "== what was packed does not load; building"
  build=$work/build
  step build 200 bash -c build_all || step build-without-cudnn 200 bash -c 'build_all -DDDPM_CUDNN=OFF'
  step load-built 10 "$bin/ddpm" --version
}
# Steps are run by `timeout`, which knows no functions: these are for a shell of their own.
export folder build programs jobs bin work device python
export -f build_all gather describe

prepare() {
  export XDG_CACHE_HOME=$out/cache
  export DDPM_CUDA_PLUGIN=${DDPM_CUDA_PLUGIN:-$bin/libddpm_cuda.so}
  if [ -d "$folder/cache" ] && [ ! -d "$out/cache" ]; then cp -R "$folder/cache" "$out/cache"; fi
  mkdir -p "$out/cache"
  find_cudnn
  load
  step machine 20 bash -c describe
}
model=(--dim "$dim" --image-size "$size" --timesteps "$timesteps" --precision bf16 --device "$device")

# ---- correctness ----
operations() { sed -n 's/^OP([A-Z0-9_]*, *\([a-z0-9_]*\).*/\1/p' src/kernels/ops.inc; }
kernel() { # kernel OPERATION DTYPE [CONV]: its test; if that fails, which kernel, and what it touched
  local name=kernel-$1-$2${3:+-$3} command
  command=("$bin/test_kernel" --backend "$device" --dtype "$2" --op "$1" --every "$every")
  step "$name" "$patience" env DDPM_CUDA_CONV="${3:-auto}" "${command[@]}" && return
  [ "$(left)" -gt 0 ] || return
  step "$name-blocking" "$patience" env DDPM_CUDA_CONV="${3:-auto}" CUDA_LAUNCH_BLOCKING=1 "${command[@]}"
  if command -v compute-sanitizer >/dev/null; then
    step "$name-memcheck" "$patience" env DDPM_CUDA_CONV="${3:-auto}" compute-sanitizer --error-exitcode 1 \
      "${command[@]}"
  fi
}
resume() { # resume PRECISION CONV: stopped and resumed gives the same bits
  local run=$work/resume-$1-$2 how=() file
  how=(--device "$device" --dim 16 --dim-mults "1,2" --image-size 16 --batch-size 4 --precision "$1" --save-every 3
    --sample-every 0 --data "$folder/pictures.npy")
  "$bin/ddpm" train --out "$run-a" --steps 6 "${how[@]}" && "$bin/ddpm" train --out "$run-b" --steps 3 "${how[@]}" &&
    "$bin/ddpm" train --out "$run-b" --steps 6 --resume "${how[@]}" || return 1
  for file in model ema optimizer; do
    cmp "$run-a/checkpoints/latest/$file.safetensors" "$run-b/checkpoints/latest/$file.safetensors" || return 1
  done
}
export -f resume
resume_step() { # and fails if cuDNN should have served and did not
  step "resume-$1-$2" 60 env DDPM_LOG=debug DDPM_CUDA_CONV="$2" bash -c "resume $1 $2"
  [ "$2" = own ] || step "served-by-cudnn-$1" 5 grep 'cuDNN served [1-9]' "$out/resume-$1-$2.log"
}
golden() { # golden NAME PRECISION CONV
  step "golden-$1-$2-$3" 60 env DDPM_TEST_DEVICE="$device" DDPM_TEST_PRECISION="$2" DDPM_CUDA_CONV="$3" \
    "$bin/test_golden_$1"
}
is_hopper() { case $gpu in *", 9.0, "*) ;; *) return 1 ;; esac; } # what conv_wgmma.cu is for
wgmma() { # wgmma OPERATION: off unless it is switched on
  step "kernel-$1-wgmma" "$patience" env DDPM_CUDA_CONV=own DDPM_CUDA_WGMMA=on "$bin/test_kernel" --backend "$device" \
    --dtype bf16 --op "$1" --kernel "$1_cuda_wgmma"
}
check() { # in the time that is left: whole networks first, then operations
  local op dtype conv served
  for dtype in bf16 fp32; do
    for conv in cudnn own; do
      beside resume_step $dtype $conv
      for op in training networks; do beside golden $op $dtype $conv; done
    done
  done
  beside golden diffusion fp32 own
  for op in late copies kept; do beside step library-$op 60 env DDPM_TEST_DEVICE="$device" "$bin/test_library_$op"; done
  for op in device gelu; do beside step "$op" 60 "$bin/test_cuda_$op"; done
  if is_hopper; then for op in conv2d conv2d_backward_data conv2d_backward_weight; do beside wgmma $op; done; fi
  for op in $(operations); do
    for dtype in bf16 fp32; do
      case $op in
        conv2d*) for conv in own cudnn; do beside kernel "$op" $dtype $conv; done ;;
        *) beside kernel "$op" $dtype ;;
      esac
    done
  done
  wait
  served=$(cat "$out"/resume-*-cudnn.log 2>/dev/null | grep -o 'cuDNN served .*' | tail -n 1)
  figure "convolutions in cuDNN" "${served:-none: $(why resume-bf16-cudnn)}" "some"
  figure "tests" "$(awk -F '\t' '$2 == "passed" { p++ } $2 ~ /^FAILED/ { f++ } $2 == "skipped" { s++ } $2 ~ /^NOT/ { n++ }
    END { printf "%d passed, %d failed, %d skipped, %d not run", p, f, s, n }' "$out/steps.tsv")" "none fails" \
    "$(grep -c -e FAILED -e 'NOT RUN' "$out/steps.tsv") == 0"
}

# ---- measuring ----
bench() { # bench NAME BATCH SECONDS [VARIABLE=VALUE…]: a whole training step
  local name=$1 size_of=$2 most=$3
  shift 3
  rm -f "$out/$name.json" # of an earlier command
  step "$name" "$most" env "$@" bash -c '"$0" bench --json "${@:2}" >"$1"' "$bin/ddpm" "$out/$name.json" \
    --data "$folder/pictures.npy" "${model[@]}" --batch-size "$size_of" --repeats "$repeats"
}
seconds_of() { number "$out/$1.json" step_seconds; }
headline() { # headline NAME WHAT WANTED [FACTOR: "reached" when seconds · FACTOR <= 1]
  local time flops
  time=$(seconds_of "$1") flops=$(number "$out/$1.json" step_flops)
  if [ -z "$time" ]; then
    figure "$2" "$(why "$1")" "$3"
    return
  fi
  figure "$2" "$(calculate "%.2f ms, %.0f TFLOP/s" "1e3 * $time, $flops / $time / 1e12")" "$3" "${4:+$time * $4 <= 1}"
}
profile() { # the slowest kernels of one plain step
  local metrics=gpu__time_duration.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed
  metrics+=,dram__throughput.avg.pct_of_peak_sustained_elapsed
  command -v ncu >/dev/null || { figure "four slowest kernels" "not measured: no ncu" ""; return; }
  step profile 40 env DDPM_CUDA_GRAPH=off DDPM_CUDA_CONV=own ncu --csv --clock-control none --launch-count 1500 \
    --metrics $metrics --log-file "$out/profile.csv" "$bin/ddpm" train --data "$folder/pictures.npy" \
    --out "$work/profile" "${model[@]}" --batch-size "$batch" --steps 1 --sample-every 0
  figure "four slowest kernels" "$(slowest_kernels "$out/profile.csv" 2>/dev/null || {
    why profile
    grep -h -m 1 ERR "$out/profile.csv" 2>/dev/null # counters may be for administrators only
  } | paste -sd ' ')" ""
}
slowest_kernels() { "$python" - "$1" <<'END'
import collections, csv, sys
lines = [line for line in open(sys.argv[1]) if line.startswith('"')]
sums = collections.defaultdict(lambda: collections.defaultdict(float))
for row in csv.DictReader(lines):
    metric, value = row["Metric Name"], float(row["Metric Value"].replace(",", ""))
    kernel = sums[row["Kernel Name"].split("(")[0]]
    if metric == "gpu__time_duration.sum":
        kernel["ms"] += value * {"ns": 1e-6, "us": 1e-3, "usecond": 1e-3, "nsecond": 1e-6}.get(row["Metric Unit"], 1)
        kernel["runs"] += 1
    else:
        kernel[metric.split("_")[0]] += value
if not sums:
    sys.exit(1)
print("; ".join(f"{name} {k['ms']:.2f} ms in {k['runs']:.0f} (sm {k['sm'] / k['runs']:.0f} %, memory "
                f"{k['dram'] / k['runs']:.0f} %)" for name, k in sorted(sums.items(), key=lambda s: -s[1]["ms"])[:4]))
END
}
has_torch() { # asked once, because importing it takes seconds
  [ -n "${torch_found:-}" ] || torch_found=$(timeout 40 "$python" -c "import torch
print('yes' if '$device' != 'cuda' or torch.cuda.is_available() else 'no')" 2>/dev/null || echo no)
  [ "$torch_found" = yes ]
}
torch() { # torch NAME SECONDS MODE PART BATCH: PyTorch, and ours before and after it
  local name=torch-${1//[ ,]/-} ratio memory
  if ! has_torch; then
    figure "PyTorch, $1" "not measured: no $python with a torch that knows the device" "≥ 1.5"
    return
  fi
  rm -f "$out/$name.json"
  step "$name" "$2" bash -c '"$0" bench/compare.py "${@:2}" >"$1"' "$python" "$out/$name.json" \
    --ddpm "$bin/ddpm" --dim "$dim" --size "$size" --batch "$5" --device "$device" --precision bf16 --part "$4" \
    --rounds 0 --repeats "$repeats" --data "$folder/pictures.npy" --configurations "bf16-channels_last-$3"
  ratio=$(within "$out/$name.json" ratio) memory=$(within "$out/$name.json" memory.ratio)
  if [ -z "$ratio" ]; then
    figure "PyTorch's time to ours, $1" "$(why "$name")" "≥ 1.5"
    return
  fi
  figure "PyTorch's time to ours, $1" "$(calculate %.2f "$ratio"): $(
    calculate "%.2f ms to %.2f" "1e3 * $(within "$out/$name.json" pytorch.seconds),
      1e3 * $(within "$out/$name.json" ddpm.seconds)")" "≥ 1.5" "$ratio >= 1.5"
  [ -z "$memory" ] || figure "our memory to PyTorch's, $1" "$(calculate %.2f "$memory")" "< 1" "$memory < 1"
}
warm() { # warm BATCH: what torch.compile makes is stored, and found again
  step "torch-warm-$1" 80 "$python" bench/pytorch_bench.py --size "$size" --batch "$1" --dim "$dim" --device "$device" \
    --part train --repeats 1 --configuration bf16-channels_last-compile
}
long() { # long NAME STEPS SECONDS WANTED: training from the packed pictures, with the GPU's share of time
  local asking='' log=$out/$1.csv rate busy=''
  if [ -n "$gpu" ]; then
    nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits -lms 200 >"$log" 2>&1 &
    asking=$!
  fi
  step "$1" "$3" "$bin/ddpm" train --data "$folder/pictures.npy" --out "$work/$1" "${model[@]}" --batch-size "$batch" \
    --steps "$2" --sample-every 0 --save-every "$(($2 / 2))"
  [ -z "$asking" ] || { kill $asking; wait $asking; } 2>/dev/null
  cp "$work/$1/log.csv" "$out/$1-loss.csv" 2>/dev/null
  rate=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "seconds") at = i }
    NR > 1 { n++; last = $at; if (n == 1) first = last }
    END { if (n > 1) printf "%.2f ms a step, %.0f s in all", 1e3 * (last - first) / (n - 1), last }' \
    "$out/$1-loss.csv" 2>/dev/null)
  figure "$2 steps with checkpoints" "${rate:-$(why "$1")}" "$4"
  # the middle half: not the start, not the end
  [ -z "$asking" ] || busy=$(awk -F ', *' '
    $1 ~ /^[0-9]+$/ { share[n++] = $1; if ($2 > most) most = $2 }
    END { for (i = int(n / 4); i < int(3 * n / 4); i++) { sum += share[i]; m++ }
      if (m) printf "%.0f %%, %d MiB in use", sum / m, most }' "$log")
  [ -z "$asking" ] || figure "GPU busy meanwhile" "${busy:-$(why "$1")}" "≥ 97 %"
}
drawing() { # drawing NAME SECONDS WANTED-SECONDS OPTIONS…
  local name=draw-${1//[ ,]/-} drew
  step "$name" "$2" "$bin/ddpm" sample "$work/smoke" --out "$work/$name" --force -n $draw --batch $draw --seed 1 \
    --device "$device" --precision bf16 "${@:4}"
  drew=$(sed -n 's/^drew [0-9]* pictures in \([0-9.]*\) s:.*/\1/p' "$out/$name.log" | tail -n 1)
  figure "$draw pictures, $1" "${drew:-$(why "$name")}${drew:+ s}" "≤ $3 s" "${drew:-1e9} <= $3"
}

# ---- the three forms ----
form_first() {
  local plans
  bench bench-auto "$batch" 75 DDPM_LOG=debug DDPM_CUDA_TRIALS=40 # its log names every plan that was tried
  plans=$(grep -o -e '[0-9]* threads made .*' -e 'those of threads do not run' "$out/bench-auto.log" | paste -sd ';')
  figure "cuDNN's plans" "${plans:-none: $(why bench-auto)}" "made by threads, and they run"
  bench bench-16 "$batch" 15
  headline bench-16 "training step, batch $batch" "≤ 12 ms" "1 / 0.012"
  torch eager 45 eager train "$batch"
  long train-400 $steps 30 ""
  profile
  bench bench-16-aside-off "$batch" 15 DDPM_CUDA_ASIDE=off
  headline bench-16-aside-off "the same with DDPM_CUDA_ASIDE=off" "slower"
  bench bench-16-own "$batch" 15 DDPM_CUDA_CONV=own
  headline bench-16-own "the same with our own convolutions" ""
  if is_hopper; then
    bench bench-16-wgmma "$batch" 15 DDPM_CUDA_CONV=own DDPM_CUDA_WGMMA=on
    headline bench-16-wgmma "our own with DDPM_CUDA_WGMMA=on" "faster"
  fi
  step bench-kernels 15 "$bin/test_kernel" --backend "$device" --dtype bf16 --bench
  check
}
form_second() {
  local op
  export DDPM_CUDA_TRIALS=15 # for shapes that the cache does not know
  step smoke 25 "$bin/ddpm" train --data "$folder/pictures.npy" --out "$work/smoke" "${model[@]}" \
    --batch-size "$batch" --steps 3 --sample-every 0
  bench bench-larger $larger 40
  headline bench-larger "training step, batch $larger" "≥ 50 % of the peak"
  drawing "all $timesteps steps" 20 3.5 --sampler ancestral
  drawing "20 steps" 15 0.5 --sampler unipc --sampling-steps 20
  if has_torch; then for op in $batch $larger; do beside warm "$op"; done; fi
  if command -v compute-sanitizer >/dev/null; then
    for op in conv2d conv2d_backward_weight depthwise_conv2d depthwise_conv2d_backward_weight group_norm_backward; do
      beside step "racecheck-$op" 60 compute-sanitizer --tool racecheck --error-exitcode 1 "$bin/test_kernel" \
        --backend "$device" --dtype bf16 --op $op
    done
  fi
  wait
  torch "eager, batch $batch" 25 eager train "$batch"
  torch "compile, batch $batch" 40 compile train "$batch"
  torch "eager, batch $larger" 25 eager train $larger
  torch "compile, batch $larger" 60 compile train $larger
  torch "drawing, batch $batch" 40 compile sample "$batch"
  long train-2000 $many 60 ""
}
form_run() {
  local time
  bench bench-16 "$batch" 90
  headline bench-16 "training step, batch $batch" "< $slowest s" "1 / $slowest"
  time=$(seconds_of bench-16)
  if ! awk "BEGIN { exit !(${time:-1e9} < $slowest) }"; then
    figure "$all steps" "not run: a step takes too long for one command" "< 600 s"
    return
  fi
  long train-all $all "$(left)" "< 600 s"
}

prepare
[ -n "$gpu" ] || say steps "== nvidia-smi names no GPU"
"form_$form"
{
  echo "${gpu:-no GPU}; $form; $(date +%FT%R); $SECONDS s"
  echo
  printf '| what | figure | wanted | |\n|---|---|---|---|\n'
  cat "$out/figures.tsv"
  echo
  echo "not run because no time was left: $(grep -c 'NOT RUN' "$out/steps.tsv") steps"
  grep -v -P '\t(passed|NOT RUN.*)\t' "$out/steps.tsv" | sed 's/\t/: /; s/\t\(.*\)$/ (\1 s)/' | head -c 4000
  echo
  echo "the longest steps: $(sort -t "$(printf '\t')" -k 3 -n -r "$out/steps.tsv" | head -n 8 |
    awk -F '\t' '{ printf "%s%s %d s", (NR > 1 ? ", " : ""), $1, $3 }')"
} >"$out/table.md"
archive() { # archive BYTES: files below this size, and the cache
  find "$out" -maxdepth 1 -type f -size "-$1c" ! -name '*.tar.gz' -printf '%f\n' >"$work/files"
  echo cache >>"$work/files"
  tar -C "$out" -czf "$out/visit.tar.gz" -T "$work/files"
  [ "$(stat -c %s "$out/visit.tar.gz")" -le $((15 << 20)) ]
}
archive 4000000 || archive 100000
echo
head -c 8500 "$out/table.md"
! grep -q -e FAILED -e 'NOT RUN' "$out/steps.tsv"

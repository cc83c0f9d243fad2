#!/usr/bin/env bash
# Measures the article's run on this machine and compares the figures with what is wanted of a GPU.
#
#   bench/measure.sh --program BUILD/programs/ddpm/ddpm --out DIR [--parts bench,torch,run,busy] [--data PICTURES]
#                    [--resume] [--limit SECONDS] [--device cuda[:N]|cpu] [sizes, see below]
#
#   bench   whole training steps at three batch sizes; 16 pictures drawn with all their steps
#   torch   PyTorch beside them (compare.py); wants a python3 with torch, or PYTHON=…
#   run     37,000 steps on PICTURES: seconds, log, grids, pictures drawn from the EMA weights. --resume goes on with a
#           run that was stopped
#   busy    share of time in which the GPU computes, and its memory, while training from PICTURES (nvidia-smi)
#
# Parts may be run one by one: DIR keeps every figure with the time at which it was measured, and DIR/table.md shows all
# of them. --limit stops run and torch so many seconds after the start, for machines where no command may take longer.
# Whatever is not there (torch, nvidia-smi, pictures) makes a line "not measured". Sizes other than the article's are
# for trying this script out: --dim, --size, --timesteps, --batches A,B,C, --steps, --draw, --repeats, --rounds,
# --seconds, --precision. Exit: 0, or 2 for wrong usage; figures never fail.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() { echo "measure.sh: $1" >&2; exit 2; }
program='' out='' parts=bench,torch,run,busy data='' resume=no limit=0 device=cuda precision=bf16
dim=64 size=128 timesteps=1000 batches=16,64,256 steps=37000 draw=256 repeats=20 rounds=3 seconds=20
while [ $# -gt 0 ]; do
  case $1 in
    --resume) resume=yes ;;
    --program | --out | --parts | --data | --limit | --device | --precision | --dim | --size | --timesteps | \
      --batches | --steps | --draw | --repeats | --rounds | --seconds)
      [ $# -gt 1 ] || usage "$1 wants a value"
      declare "${1#--}=$2"
      shift
      ;;
    *) usage "got \"$1\", want the options that stand at the head of this file" ;;
  esac
  shift
done
[ -x "$program" ] || usage "--program: got \"$program\", want the program ddpm"
[ -n "$out" ] || usage "--out: want a folder for the figures"
for part in ${parts//,/ }; do
  case $part in bench | torch | run | busy) ;; *) usage "--parts: got \"$part\", want of bench,torch,run,busy" ;; esac
done
IFS=, read -r small middle large <<<"$batches"
[ -n "$large" ] || usage "--batches: got \"$batches\", want three numbers with commas between them"
python=${PYTHON:-python3}
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
work=$out/work
mkdir -p "$work"
model=(--dim "$dim" --image-size "$size" --timesteps "$timesteps" --precision "$precision" --device "$device")
IFS=, read -r -a visible <<<"${CUDA_VISIBLE_DEVICES:-}" # nvidia-smi counts the others too
gpu=0
case $device in cuda:*) gpu=${device#cuda:} ;; esac
gpu=${visible[gpu]:-$gpu}

# ---- the figures: KEY, when, figure, verdict, in DIR/figures.tsv ----
put() { # put KEY FIGURE VERDICT
  touch "$out/figures.tsv"
  { grep -v "^$1"$'\t' "$out/figures.tsv"; printf '%s\t%s\t%s\t%s\n' "$1" "$(date +%FT%R)" "$2" "$3"; } >"$work/figures"
  mv "$work/figures" "$out/figures.tsv"
  echo "== $1: ${2:+$2, }$3"
}
missed() { # missed REASON KEY…
  local key
  for key in "${@:2}"; do put "$key" "" "not measured: $1"; done
}
untried() { # untried REASON KEY…: the same, but figures of an earlier time stay
  local key
  for key in "${@:2}"; do
    if grep -q "^$key"$'\t[^\t]*\t[^\t]' "$out/figures.tsv" 2>/dev/null; then
      echo "== $key: the figure there is stays; $1"
    else
      missed "$1" "$key"
    fi
  done
}
last_line() { tail -n 1 "$1" 2>/dev/null | tr '\t' ' ' | cut -c 1-200; }
calculate() { awk "BEGIN { printf(\"$1\", $2) }"; } # calculate FORMAT EXPRESSION…
judge() { awk "BEGIN { print ($1) ? \"reached\" : \"FALLS SHORT\" }"; }
# in_time COMMAND…: stopped as by Ctrl-C when the time is up, then with 124
in_time() {
  if [ "$limit" = 0 ]; then
    "$@"
  elif [ $((limit - SECONDS)) -lt 5 ]; then
    return 124
  else
    timeout --foreground --signal INT --kill-after 60 $((limit - SECONDS)) "$@"
  fi
}
why_not() { # why_not CODE LOG
  if [ "$1" = 124 ]; then echo "not done within $limit s"; else last_line "$2"; fi
}
# number FILE.json KEY: of the outermost object
number() { sed -n "s/^ *\"$2\": \\([-+0-9.e]*\\),*\$/\\1/p" "$1" | head -n 1; }

# ---- pictures where their content does not matter, and a model where its skill does not ----
make_pictures() {
  [ -f "$work/pictures.npy" ] && return
  "$program" synth --out "$work/synthetic" --count 320 --size "$size" --force >"$work/synth.log" 2>&1 &&
    "$program" pack "$work/synthetic" --out "$work/pictures.npy" --size "$size" >"$work/pack.log" 2>&1
}

make_model() {
  model_path=$out/run
  [ -e "$model_path/checkpoints/latest" ] && return
  model_path=$work/model
  [ -e "$model_path/checkpoints/latest" ] && return
  rm -rf "$model_path"
  "$program" train --data "$work/pictures.npy" --out "$model_path" "${model[@]}" --batch-size "$small" --steps 1 \
    --sample-every 0 >"$work/model.log" 2>&1
}

# ---- bench ----
measure_step() { # measure_step BATCH KEY
  local json=$out/step-$1.json log=$work/step-$1.log time flops peak verdict
  if ! "$program" bench --json --data "$work/pictures.npy" "${model[@]}" --batch-size "$1" --repeats "$repeats" \
    >"$json" 2>"$log"; then
    missed "$(last_line "$log")" "$2"
    return
  fi
  time=$(number "$json" step_seconds) flops=$(number "$json" step_flops) peak=$(number "$json" peak_flops)
  case $2 in
    step_small) verdict=$(judge "$time <= 0.012") ;;
    *) verdict=$(judge "$flops / $time >= 0.5 * 790e12") ;;
  esac
  put "$2" "$(calculate "%.2f ms, %.1f TFLOP/s: %.1f %% of 790, %.1f %% of the measured peak" "1e3 * $time,
    $flops / $time / 1e12, $flops / $time / 7.9e12, $peak > 0 ? 100 * $flops / $time / $peak : 0" |
    sed 's/, 0.0 % of the measured peak//')" "$verdict"
}

# The second time is the one that counts: the first may measure convolutions and keep what it found.
measure_sampling() {
  local log=$out/sample.log drew begin end
  make_model || { missed "$(last_line "$work/model.log")" sample; return; }
  for _ in 1 2; do
    begin=$(date +%s.%N)
    if ! "$program" sample "$model_path" --out "$work/sixteen" --force -n 16 --batch 16 --seed 1 --sampler ancestral --device "$device" \
      --precision "$precision" >"$log" 2>&1; then
      missed "$(last_line "$log")" sample
      return
    fi
    end=$(date +%s.%N)
  done
  drew=$(sed -n 's/^drew [0-9]* pictures in \([0-9.]*\) s:.*/\1/p' "$log")
  put sample "$drew s$(calculate ", %.2f s with start-up and files" "$end - $begin")" "$(judge "$drew <= 3.5")"
}

part_bench() {
  make_pictures || { missed "$(last_line "$work/pack.log")" step_small step_middle step_large sample; return; }
  measure_step "$small" step_small
  measure_step "$middle" step_middle
  measure_step "$large" step_large
  measure_sampling
}

# ---- torch ----
from_json() { # from_json FILE KEY.KEY: "" when it is null
  "$python" -c 'import functools, json, sys
value = functools.reduce(dict.get, sys.argv[2].split("."), json.load(open(sys.argv[1]))[0])
print("" if value is None else value)' "$@"
}

compare() { # compare train|sample
  in_time "$python" "$here/compare.py" --ddpm "$program" --dim "$dim" --size "$size" --batch "$small" \
    --device "$device" --precision "$precision" --part "$1" --rounds "$rounds" --repeats "$repeats" \
    --data "$work/pictures.npy" --configurations bf16-channels_last-eager bf16-channels_last-compile \
    >"$out/torch-$1.json" 2>"$work/torch-$1.log"
}

compare_training() {
  local json=$out/torch-train.json code ratio theirs ours memory
  compare train
  code=$?
  if [ $code != 0 ]; then
    missed "$(why_not $code "$work/torch-train.log")" step_ratio memory
    return
  fi
  ratio=$(from_json "$json" ratio) theirs=$(from_json "$json" pytorch.seconds) ours=$(from_json "$json" ddpm.seconds)
  put step_ratio "$(calculate "%.2f: %.2f ms to %.2f ms" "$ratio, 1e3 * $theirs, 1e3 * $ours"), $(
    from_json "$json" pytorch.configuration)" "$(judge "$ratio >= 1.5")"
  memory=$(from_json "$json" memory.ratio)
  if [ -z "$memory" ]; then
    missed "neither nvidia-smi nor torch told how much was used" memory
    return
  fi
  theirs=$(from_json "$json" memory.pytorch) ours=$(from_json "$json" memory.ddpm)
  put memory "$(calculate "%.2f: %.2f GB to %.2f GB" "$memory, $ours / 1e9, $theirs / 1e9"), $(
    from_json "$json" memory.what)" "$(judge "$memory < 0.5")"
}

# Ours is the time of whole pictures that the part bench measured, theirs as many of their steps and nothing else.
compare_sampling() {
  local json=$out/torch-sample.json code theirs ours
  compare sample
  code=$?
  if [ $code != 0 ]; then
    missed "$(why_not $code "$work/torch-sample.log")" sample_ratio
    return
  fi
  theirs=$(calculate %.3f "$timesteps * $(from_json "$json" pytorch.seconds)")
  ours=$(sed -n "s/^drew $small pictures in \\([0-9.]*\\) s:.*/\\1/p" "$out/sample.log" 2>/dev/null)
  if [ -z "$ours" ]; then
    missed "PyTorch takes $theirs s; ours is the part bench's, which was not run" sample_ratio
    return
  fi
  put sample_ratio "$(calculate "%.2f: %.2f s to %.2f s" "$theirs / $ours, $theirs, $ours"), $(
    from_json "$json" pytorch.configuration)" "$(judge "$theirs >= 2 * $ours")"
}

part_torch() {
  if ! "$python" -c "import torch; assert '$device' == 'cpu' or torch.cuda.is_available()" 2>/dev/null; then
    untried "no $python with a torch that knows the device" step_ratio sample_ratio memory
    return
  fi
  make_pictures || { missed "$(last_line "$work/pack.log")" step_ratio sample_ratio memory; return; }
  compare_training
  compare_sampling
}

# ---- run ----
train_all() { # train_all RUN [--resume]
  local begin=$SECONDS
  in_time "$program" train --data "$data" --out "$1" "${model[@]}" --batch-size "$small" --steps "$steps" \
    --sample-every "$((steps / 37))" --num-samples 16 --save-every "$((steps / 37))" "${@:2}" 2>&1 |
    tee -i -a "$out/run.log"
  echo "measure.sh: $((SECONDS - begin)) s, with samples, files and start-up" | tee -a "$out/run.log"
}

collect() { # collect RUN: the loss curve and four of the grids
  local mark grids=0 curve='loss.csv, loss.png'
  for mark in 1 10 30 37; do
    mark=$(printf 'step-%06d.png' $((mark * (steps / 37))))
    cp "$1/samples/$mark" "$out/$mark" 2>>"$work/plot.log" && grids=$((grids + 1))
  done
  "$python" "$here/plot_loss.py" "$1" --labels "$precision" --out "$out/loss.png" >"$work/plot.log" 2>&1 ||
    curve="loss.csv (no loss.png, which wants matplotlib)"
  put results "$curve; $grids grids" "$(judge "$grids == 4")"
}

draw_many() { # draw_many RUN
  local log=$out/drawn.log counts code
  in_time "$program" sample "$1" --out "$out/drawn" --force -n "$draw" --seed 1 --device "$device" \
    --precision "$precision" >"$log" 2>&1
  code=$?
  if [ $code != 0 ]; then
    missed "$(why_not $code "$log"); --resume draws" drawn
    return
  fi
  counts=$(sed -n 's/^drew [0-9]* pictures in [0-9.]* s: \(.*\); by .*/\1/p' "$log")
  put drawn "of $draw: $counts" "$(judge "\"$counts\" ~ /^0 black, 0 white, 0 of one colour, 0 saturated, 0 of pure noise\$/")"
}

part_run() {
  local run=$out/run last done_steps spent
  if [ -z "$data" ]; then
    untried "no --data PICTURES" train results drawn
    return
  elif [ -e "$run/checkpoints/latest" ] && [ $resume = no ]; then
    untried "$run is there already; --resume goes on with it" train results drawn
    return
  elif [ -e "$run/checkpoints/latest" ]; then
    train_all "$run" --resume
  else
    rm -rf "$run" # without a checkpoint it is none
    train_all "$run"
  fi
  cp "$run/log.csv" "$out/loss.csv" 2>>"$work/plot.log"
  last=$(tail -n 1 "$run/log.csv" 2>/dev/null)
  done_steps=${last%%,*} spent=${last##*,}
  if [ ! -e "$run/checkpoints/latest" ]; then
    missed "$(last_line <(grep -v '^measure.sh' "$out/run.log"))" train results drawn
    return
  elif [ "$done_steps" != "$steps" ]; then
    missed "at step $done_steps of $steps; --resume goes on ($(
      last_line <(grep -v '^measure.sh' "$out/run.log")))" train results drawn
    return
  fi
  put train "$(calculate "%.1f s, %.2f ms a step" "$spent, 1e3 * $spent / $steps")" "$(judge "$spent < 600")"
  collect "$run"
  draw_many "$run"
}

# ---- busy ----
ask_gpu() { nvidia-smi -i "$gpu" --query-gpu="$1" --format=csv,noheader,nounits; }
rows_of() { if [ -f "$1" ]; then echo $(($(wc -l <"$1") - 1)); else echo 0; fi; }

part_busy() {
  local pictures=$data name='' before run=$work/busy trainer asking waited=0 share memory
  if ! before=$(ask_gpu memory.used 2>/dev/null | head -n 1) || ! [[ $before =~ ^[0-9]+$ ]]; then
    untried "no nvidia-smi that tells" busy
    return
  fi
  if [ -z "$pictures" ]; then
    make_pictures || { missed "$(last_line "$work/pack.log")" busy; return; }
    pictures=$work/synthetic name=" from synthetic PNG pictures, no --data"
  fi
  rm -rf "$run"
  "$program" train --data "$pictures" --out "$run" "${model[@]}" --batch-size "$small" --steps 1000000 \
    --sample-every 0 --save-every 0 >"$out/busy.log" 2>&1 &
  trainer=$!
  # from its 50th step on, when pictures are read ahead and every step is a replay
  while [ "$(rows_of "$run/log.csv")" -lt 50 ] && kill -0 $trainer 2>/dev/null && [ $waited -lt 3000 ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
  if [ "$(rows_of "$run/log.csv")" -ge 50 ] && kill -0 $trainer 2>/dev/null; then
    nvidia-smi -i "$gpu" --query-gpu=timestamp,utilization.gpu,memory.used --format=csv,noheader,nounits -lms 200 \
      >"$out/busy.csv" 2>&1 & # itself, not in a function, whose shell would be killed in its place
    asking=$!
    sleep "$seconds"
    kill $asking 2>/dev/null
    wait $asking 2>/dev/null
    kill -TERM $trainer 2>/dev/null
    wait $trainer
    read -r share memory < <(awk -F ', *' '$2 ~ /^[0-9]+$/ { sum += $2; count++; if ($3 > most) most = $3 }
      END { if (count > 4) printf "%.2f %d\n", sum / count, most }' "$out/busy.csv")
    if [ -n "${share:-}" ]; then
      put busy "$share % over $seconds s$name; memory in use $memory MiB, before it $before MiB" "$(
        judge "$share >= 97")"
    else
      missed "nvidia-smi did not tell the share: $(last_line "$out/busy.csv")" busy
    fi
  else
    kill -TERM $trainer 2>/dev/null
    wait $trainer
    missed "no 50 steps in $((waited / 10)) s: $(last_line "$out/busy.log")" busy
  fi
  rm -rf "$run"
}

# ---- the table ----
row() { # row LINE KEY PART WHAT WANTED
  local line when='' figure='' verdict="not measured: the part $3 was not run"
  if line=$(grep "^$2"$'\t' "$out/figures.tsv" 2>/dev/null); then
    when=$(cut -f 2 <<<"$line") figure=$(cut -f 3 <<<"$line") verdict=$(cut -f 4 <<<"$line")
  fi
  echo "| $1 | $4 | $figure | $5 | $verdict | $when |"
}

checks() { # checks NAME: what scripts/test-cuda.sh wrote: the time, then a line for each check
  local file=$out/checks-$1.txt figure='' when='' passed failed verdict="not measured: the part $1 was not run"
  if [ -f "$file" ]; then
    passed=$(grep -c ': passed$' "$file") failed=$(grep -c ': FAILED' "$file") when=$(head -n 1 "$file")
    figure="$passed passed, $failed failed, $(grep -c ': skipped' "$file") skipped"
    verdict=$(judge "$failed == 0")
    if [ $((passed + failed)) = 0 ]; then verdict="not measured: $(last_line "$file")"; fi
  fi
  echo "| 1 | scripts/test-cuda.sh: $1 | $figure | none fails | $verdict | $when |"
}

table() {
  echo "$(ask_gpu name,driver_version 2>/dev/null | head -n 1 | sed 's/$/: /')TwoResUNet, dim $dim, ${size}×$size, T $timesteps, $(
    )$precision, $device; $("$program" --version)"
  echo
  echo "| line | what | figure | wanted | | measured |"
  echo "|---|---|---|---|---|---|"
  checks check
  checks sanitizer
  row 2 step_small bench "training step, batch $small" "≤ 12 ms"
  row 2 step_ratio torch "the same, PyTorch's time to ours" "≥ 1.5"
  row 2 step_middle bench "training step, batch $middle" "≥ 50 % of 790 TFLOP/s"
  row 2 step_large bench "training step, batch $large" "≥ 50 % of 790 TFLOP/s"
  row 3 sample bench "16 pictures, $timesteps steps" "≤ 3.5 s"
  row 3 sample_ratio torch "the same, PyTorch's time to ours" "≥ 2"
  row 4 train run "$steps steps of training, batch $small" "< 600 s"
  row 4 results run "loss curve and grids" "4 grids"
  row 4 drawn run "pictures drawn from the EMA weights" "none black or empty"
  row 5 busy busy "GPU busy while training from a folder" "≥ 97 %"
  row 5 memory torch "device memory, training at batch $small" "below 0.5 of PyTorch's"
}

for part in ${parts//,/ }; do
  echo "== part $part"
  "part_$part"
done
table >"$out/table.md"
echo
cat "$out/table.md"

#!/usr/bin/env bash
# fuzz.sh [SECONDS [TARGET…]]: builds the fuzz targets (clang, sanitizers) in build/fuzz and runs all of them, or those
# named, for SECONDS each (600), FUZZ_JOBS at a time (2), at the lowest priority. The corpora stay in build/fuzz/corpus
# and start with the tests' own files. Exit 0 if nothing was found; findings go to build/fuzz/findings.
#
# fuzz.sh --run PROGRAM SECONDS: runs one built target on its seeds only and keeps nothing; the tests use this.
set -eu -o pipefail
cd "$(dirname "$0")/.."

# Memory limit of a target, including the sanitizer's own memory; also the limit of one allocation.
limits=(-rss_limit_mb=256 -malloc_limit_mb=256 -timeout=20)
export ASAN_OPTIONS=quarantine_size_mb=8:malloc_context_size=8:allocator_may_return_null=1

# seeds TARGET FOLDER: copy the tests' files of its kind to FOLDER.
seeds() {
  local target=$1 folder=$2 pattern file
  local -A ending=([png]=png [jpeg]=jpg [bmp]=bmp [tiff]=tif [webp]=webp [npy]=npy)
  mkdir -p "$folder"
  pattern=${ending[$target]:-}
  case $target in
    png | jpeg | bmp | tiff | webp)
      for file in $(find tests/golden/picture tests/pictures -name "*.$pattern" -size -16k); do
        cp "$file" "$folder/$(tr / - <<<"${file#tests/}")"
      done
      ;;
    npz) find tests/golden/data -name "*.npz" -exec cp -t "$folder" {} + ;;
    npy) find tests/golden/picture -name "*.npy" -size -2k -exec cp -t "$folder" {} + ;;
    safetensors) # for this target, a first byte of 255 means "a whole file follows"
      for file in $(find tests/golden/data -name '*.safetensors' -size -64k); do
        { printf '\377' && cat "$file"; } >"$folder/$(basename "$file")"
      done
      ;;
    torch) find tests/golden/data/torch -name "*.pt" -exec cp -t "$folder" {} + ;;
    json) find tests/golden/data -name '*.json' -size -64k -exec cp -t "$folder" {} + ;;
    config)
      sed -n '/^    {"model_name"/,/}$/p' docs/file-formats.md >"$folder/defaults.json"
      ;;
    state)
      echo '{"format": 1, "version": "0.1.0", "step": 7, "data": "0123456789abcdef", "options":
        {"network": "TwoResUNet", "dim": "64"}, "files": {"model.safetensors": {"bytes": 1, "crc32": 2}}}' \
        >"$folder/state.json"
      ;;
    *)
      echo "fuzz.sh: no target \"$target\"" >&2
      return 2
      ;;
  esac
}

# run PROGRAM SECONDS CORPUS SEEDS FINDINGS
run() {
  local target=${1##*fuzz_} dictionary=()
  [ ! -f "tests/fuzz/$target.dict" ] || dictionary=("-dict=tests/fuzz/$target.dict")
  nice -n 19 "$1" "${limits[@]}" "${dictionary[@]}" -max_total_time="$2" -max_len=16384 -print_final_stats=1 \
    -artifact_prefix="$5/$target-" "$3" "$4"
}

if [ "${1:-}" = --run ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/corpus"
  seeds "${2##*fuzz_}" "$work/seeds"
  run "$2" "$3" "$work/corpus" "$work/seeds" "$work" >"$work/log" 2>&1 || {
    tail -n 40 "$work/log"
    exit 1
  }
  exit 0
fi

seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(png jpeg bmp tiff webp npy npz safetensors torch json config state)
build=build/fuzz
CC=clang CXX=clang++ cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DDDPM_BUILD_FUZZERS=ON \
  -DDDPM_SANITIZE=ON -DDDPM_CUDA=OFF >/dev/null
nice -n 19 cmake --build $build --target fuzzers
mkdir -p $build/findings $build/logs
failed=0
running=()

# Wait for the one started first.
reap() {
  local name=${running[0]%:*} process=${running[0]#*:}
  running=("${running[@]:1}")
  if wait "$process"; then
    echo "$name: nothing found; $(grep -h 'number_of_executed_units' "$build/logs/$name" | tr -s ' ')"
  else
    echo "$name: see $build/logs/$name and $build/findings"
    failed=1
  fi
}

for target in "${targets[@]}"; do
  seeds "$target" "$build/seeds/$target"
  mkdir -p "$build/corpus/$target"
  run "$build/tests/fuzz/fuzz_$target" "$seconds" "$build/corpus/$target" "$build/seeds/$target" $build/findings \
    >"$build/logs/$target" 2>&1 &
  running+=("$target:$!")
  [ ${#running[@]} -lt "${FUZZ_JOBS:-2}" ] || reap
done
while [ ${#running[@]} -gt 0 ]; do reap; done
exit $failed

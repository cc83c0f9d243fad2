#!/usr/bin/env bash
# demo.sh [DIR]: the whole workflow from scratch, in under five minutes on two cores: installs what is missing, builds,
# makes pictures, trains, draws. Results go to DIR (default: demo).
set -eu -o pipefail
cd "$(dirname "$0")/.."
out=${1:-demo}
if [ -e "$out" ]; then
  echo "demo.sh: $out is there already; remove it, or name another folder" >&2
  exit 1
fi

scripts/setup.sh build
echo "== building"
cmake -S . -B build/demo -G Ninja -DCMAKE_BUILD_TYPE=Release -DDDPM_BUILD_TESTS=OFF -DDDPM_CUDA=OFF >/dev/null
cmake --build build/demo >/dev/null
ddpm=build/demo/programs/ddpm/ddpm

echo "== making 2000 pictures of woods, rivers and fields"
$ddpm synth --out "$out/pictures" --count 2000 --size 32 --seed 1

echo "== training"
$ddpm train --data "$out/pictures" --out "$out/run" --image-size 32 --dim 16 --dim-mults 1,2 --timesteps 200 \
  --schedule cosine --batch-size 8 --lr 2e-3 --warmup 50 --lr-schedule cosine --steps 2600 --ema-every 1 \
  --save-every 1000 --sample-every 0 --seed 1

echo "== drawing 16 new pictures"
$ddpm sample "$out/run" --out "$out/drawn" -n 16 --trajectory "$out/trajectory.png" --every 1

cat <<END

Look at
  $out/pictures/          what it was trained on
  $out/drawn/grid.png     16 pictures that it drew
  $out/trajectory.png     how they came out of noise (an animated PNG; a web browser shows it)
  $out/run/log.csv        the loss, step by step
Then try your own folder:
  $ddpm train --data FOLDER --out RUN --image-size 64 --dim 32
END

#!/usr/bin/env bash
# demo.sh [DIR]: the whole workflow from scratch, in under five minutes on two cores: installs what is missing, builds,
# makes pictures, trains, draws. Results go to DIR (default: demo), a path relative to this repository. With a folder
# `libs` made by `scripts/setup.sh libraries libs` it builds with that and installs nothing.
set -eu -o pipefail
case $#,${1:-} in
  0, | 1,[!-]*) ;;
  1,-h | 1,--help) sed -n '2,4s/^# //p' "$0"; exit ;;
  *) echo "demo.sh: got \"$*\", want nothing or one folder for the results" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
out=${1:-demo}
if [ -e "$out" ]; then
  echo "demo.sh: $(realpath "$out") already exists; remove it, or name another folder" >&2
  [ ! -e "$out/run/config.json" ] ||
    echo "  hint: build/demo/programs/ddpm/ddpm train --resume $out/run continues its training" >&2
  exit 1
fi
libs=()
[ ! -e libs/ddpm.cmake ] || libs=(-C libs/ddpm.cmake)

cat <<END
Trains a small model on pictures that are made up, and draws new ones. On two cores:
  1 install the libraries that are missing   up to 1 minute, asks for sudo
  2 build                                    1 minute
  3 make 2000 pictures of 32x32              2 seconds
  4 train 7900 steps                         2 minutes
  5 draw 16 pictures                         5 seconds
Results go to $out, about 30 MB.
END

# part TEXT: say which part begins, and how long the one before it took.
number=0
part() {
  [ "$number" = 0 ] || echo "   took $((SECONDS - began)) s"
  number=$((number + 1)) began=$SECONDS
  [ -z "${1:-}" ] || echo "== $number/5 $1"
}

part "libraries"
[ ${#libs[@]} -gt 0 ] || scripts/setup.sh build
part "building"
cmake "${libs[@]}" -S . -B build/demo -G Ninja -DCMAKE_BUILD_TYPE=Release -DDDPM_BUILD_TESTS=OFF -DDDPM_CUDA=OFF \
  >/dev/null
if [ -t 1 ]; then
  cmake --build build/demo # ninja counts in one line
else
  cmake --build build/demo >/dev/null
fi
ddpm=build/demo/programs/ddpm/ddpm

part "making 2000 pictures of woods, rivers and fields"
$ddpm synth --out "$out/pictures" --count 2000 --size 32 --seed 1

part "training"
$ddpm train --data "$out/pictures" --out "$out/run" --image-size 32 --dim 16 --dim-mults 1,2 --timesteps 200 \
  --recipe fast --patches 2 --coordinates on --batch-size 8 --steps 7900 --save-every 2000 --sample-every 0 --seed 1

part "drawing 16 new pictures"
$ddpm sample "$out/run" --out "$out/drawn" -n 16 --scale 4 --trajectory "$out/trajectory.png" --every 1
part

cat <<END

All of it took $SECONDS s. Look at
  $out/pictures/          what it was trained on
  $out/drawn/grid.png     16 pictures that it drew, four times as large
  $out/trajectory.png     how they came out of noise (an animated PNG; a web browser shows it)
  $out/run/log.csv        the loss, step by step
Then try your own folder:
  $ddpm train --data FOLDER --out RUN --image-size 32 --dim 32 --recipe fast --time 10m
To install the program as ddpm, with manual pages: sudo cmake --install build/demo
END

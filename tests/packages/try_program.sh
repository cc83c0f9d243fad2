#!/bin/sh
# try_program.sh DDPM: pictures, 20 steps, drawing and evaluation by an installed program, in an empty folder.
set -eu
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"$program" --version
"$program" synth --out pictures --count 24 --size 16
"$program" train --data pictures --out run --image-size 16 --dim 8 --dim-mults 1,2 --batch-size 4 --timesteps 50 \
  --steps 20 --sample-every 20 -q
"$program" sample run --out drawn -n 12
"$program" evaluate drawn --against pictures
[ -s drawn/grid.png ] || { echo "FAILED: no grid.png was drawn" >&2; exit 1; }
[ -d run/checkpoints ] || { echo "FAILED: no checkpoint" >&2; exit 1; }

#!/bin/bash
# commands_test.sh DDPM DOCUMENT: runs every `ddpm` command of a document, in order, in an empty folder.
#
# A command is an indented line that begins with "ddpm", with what follows a "\" at its end; those of mpirun are run by
# tests/ranks. Lines with a placeholder in capitals (RUN, FILE) or "…" only show syntax and are skipped, and so are
# commands with a file that we do not ship. The folder has pictures, forest, others, photo.jpg, mask.png and scenes.npy, and, unless
# the document makes them itself, runs/first and drawn. Sizes and steps are reduced so that a command takes a moment;
# everything else is as in the document.
set -u -o pipefail
program=$(realpath "$1") document=$(realpath "$2") name=$(basename "$2")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

for folder in pictures forest others; do
  "$program" synth --out $folder --count 220 --size 16 --seed ${#folder} 2>/dev/null || exit 1
done
cp pictures/000000.png photo.jpg # what a file holds counts, not its name
"$program" synth --out mask --count 1 --size 16 --seed 9 2>/dev/null && mv mask/000000.png mask.png
{ # an array of 40 pictures with 13 bands
  printf '\x93NUMPY\x01\x00v\x00%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 16, 16, 13), }"
  head -c $((40 * 16 * 16 * 13)) /dev/zero
} >scenes.npy

# The command, with options that make it small; if an option has two values, the last counts.
ddpm() {
  local verb=$1 words=() word
  shift
  while [ $# -gt 0 ]; do
    word=$1
    shift
    case $word in
      --time | --patience | --validate-every) shift ;; # they are for more steps
      *) words+=("$word") ;;
    esac
  done
  case $verb in
    train | distill)
      if [[ " ${words[*]} " != *" --resume "* ]]; then
        words+=(--steps 4 --sample-every 2 --validate-every 2)
        [ "$verb" = distill ] || words+=(--image-size 16 --dim 8 --dim-mults 1,2 --batch-size 4 --warmup 0)
        [ "$verb" = distill ] || words+=(--timesteps 50 --schedule cosine)
      elif [[ " ${words[*]} " == *" --steps "* ]]; then
        words+=(--steps 6)
      fi
      words+=(--threads 1)
      ;;
    sample)
      words+=(--threads 1)
      [[ " ${words[*]} " != *" -n "* ]] || words+=(-n 12)
      ;;
    evaluate) [[ " ${words[*]} " != *" -n "* ]] || words+=(-n 12) ;;
    synth) words+=(--count 12 --size 16 --force) ;;
    pack) words+=(--size 16) ;;
    bench) words+=(--image-size 16 --dim 8 --batch-size 2 --threads 1) ;;
  esac
  "$program" "$verb" "${words[@]}"
}

grep -q -e '--out runs/first' "$document" || ddpm train --data pictures --out runs/first --objective v 2>/dev/null
grep -qE -e '--out drawn( |$)' "$document" || ddpm sample runs/first --out drawn -n 12 2>/dev/null

count=0 failed=0 line=''
while IFS= read -r text; do
  line+=${text%\\}
  [[ $text != *\\ ]] || continue
  command=$line line=''
  [[ $command =~ ^\ {4}ddpm\  ]] || continue
  command=${command%% #*}
  [[ ! $command =~ (…|[[:space:]=/|][A-Z]{2,}) ]] || continue
  [[ $command != *pt_inception* ]] || continue
  # what a script in the document saves
  [[ $command != *mine.safetensors* ]] || cp runs/first/checkpoints/latest/ema.safetensors mine.safetensors
  count=$((count + 1))
  if ! eval "$command" >out 2>&1 </dev/null; then
    echo "$name: failed:$command"
    tail -4 out
    failed=$((failed + 1))
  fi
done <"$document"
echo "$name: $count commands, $failed failed"
[ $count -gt 0 ] && [ $failed -eq 0 ]

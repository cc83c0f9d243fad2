#!/bin/bash
# try_debian.sh SOURCE WHEEL: the installed Debian packages, and the wheel in a virtual environment. The system has a C
# compiler, pkg-config, man, bash-completion, fish, zsh, NumPy and venv, and no -dev package but libddpm-dev and the C
# library's.
set -eu -o pipefail
source=$1 wheel=$2
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

sh "$here/try_program.sh" ddpm

flags=$(pkg-config --cflags --libs ddpm | xargs)
[ "$flags" = -lddpm ] || fail "pkg-config: got \"$flags\", want \"-lddpm\""
static=$(pkg-config --static --libs ddpm)
[[ $static != *-L* ]] || fail "pkg-config --static: got \"$static\", want no folder"
for example in train_and_sample embed_generator; do
  # shellcheck disable=SC2086 # words
  cc -std=c11 -pthread -o "$work/$example" "$source/examples/$example.c" $flags -lm
done
(cd "$work" && ./train_and_sample 3 out.ppm >/dev/null && [ "$(head -c 2 out.ppm)" = P6 ]) || fail train_and_sample
echo "C program with pkg-config: good"

cp "$source/python/test_ddpm.py" "$work"
python3 -m venv --system-site-packages "$work/python" # NumPy is Debian's
"$work/python/bin/pip" install -q --no-index --no-deps "$wheel"
(cd "$work" && python/bin/python -B test_ddpm.py)

pages=0
for page in /usr/share/man/man1/ddpm*.1.gz; do
  LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>"$work/warnings" >/dev/null
  [ ! -s "$work/warnings" ] || { cat "$work/warnings" >&2; fail "man --warnings $page"; }
  pages=$((pages + 1))
done
man -w ddpm-train >/dev/null || fail "man finds no ddpm-train"
echo "$pages manual pages: no warnings"

# What pressing tab completes in each shell, with only the package installed.
cd "$work"
mkdir folder
touch file.png
while IFS='|' read -r line want; do
  bash_got=$(timeout 60 zsh -f "$here/complete_in_bash.zsh" "$line")
  zsh_got=$(timeout 60 zsh -f "$source/tests/cli/complete.zsh" /usr/share/zsh/vendor-completions "$line")
  fish_got=$(HOME=$work fish -c "complete -C '$line'" | cut -f 1 | paste -sd,)
  for got in "bash: $bash_got" "zsh: $zsh_got"; do
    [ "$(sed 's/[= ]*$//' <<<"${got#*: }")" = "$want" ] || fail "\"$line\": got \"$got\", want \"$want\""
  done
  [ "${line% *} ${fish_got%,}" = "$want" ] || fail "\"$line\": got \"fish: $fish_got\", want \"$want\""
done <<'END_OF_LINES'
ddpm tr|ddpm train
ddpm train --dim-m|ddpm train --dim-mults
ddpm train --recipe b|ddpm train --recipe best
ddpm sample --mask fi|ddpm sample --mask file.png
ddpm train -o f|ddpm train -o folder/
ddpm completion z|ddpm completion zsh
END_OF_LINES
echo "completions in bash, zsh and fish: good"

#!/bin/sh
# verbs_test.sh DDPM FILE: every verb of the program has a section "## ddpm VERB" in FILE (docs/options.md) that names
# the options of `ddpm VERB --help-all` and no others. If a verb takes all options of the library, only its own are
# compared.
set -u
ddpm=$1 file=$2 failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

"$ddpm" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' >"$work/verbs"
sed -n 's/^## ddpm \([a-z]*\)$/\1/p' "$file" >"$work/sections"
if ! cmp -s "$work/verbs" "$work/sections"; then
    echo "$file: its sections are not the verbs of the program, in order:"
    diff "$work/verbs" "$work/sections"
    failed=1
fi
while read -r verb; do
    "$ddpm" "$verb" --help-all >"$work/help"
    sed -i -e '/^Options of the [a-z]* (defaults/,$d' -e '/^Options of every verb/,$d' "$work/help"
    sed -n 's/^  [ -].[, ] --\([a-z0-9-]*\).*/\1/p' "$work/help" | sort -u >"$work/want"
    sed -n "/^## ddpm $verb\$/,/^## /p" "$file" | sed '1d;/^## /d' | grep -o -e '--[a-z0-9][a-z0-9-]*' |
        sed 's/^--//' | sort -u >"$work/got"
    if ! cmp -s "$work/want" "$work/got"; then
        echo "$file, ddpm $verb: '<' is an option that is missing, '>' one that the program does not have:"
        diff "$work/want" "$work/got"
        failed=1
    fi
done <"$work/verbs"
[ -s "$work/verbs" ] || { echo "ddpm --help lists no verb"; failed=1; }
exit $failed

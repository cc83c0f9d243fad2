#!/bin/sh
# readme_test.sh COMPILER README: do the C programs of the README compile, without a warning, against the public headers?
# To be run from the project's root.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
awk -v folder="$work" '/^```c$/ { ++n; inside = 1; next } /^```/ { inside = 0 }
                       inside { print > (folder "/" n ".c") }' "$2"
[ -f "$work/1.c" ] || { echo "$2: no \`\`\`c block was found" >&2; exit 1; }
for program in "$work"/*.c; do
    "$1" -std=c11 -Wall -Wextra -Wconversion -Werror -Iinclude -c "$program" -o "$work/object"
done

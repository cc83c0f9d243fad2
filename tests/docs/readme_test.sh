#!/bin/sh
# readme_test.sh COMPILER DOCUMENT…: do the C programs of the documents compile, without a warning, against the public
# headers? To be run from the project's root.
set -eu
compiler=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for document; do
    rm -f "$work"/*.c
    awk -v folder="$work" '/^```c$/ { ++n; inside = 1; next } /^```/ { inside = 0 }
                           inside { print > (folder "/" n ".c") }' "$document"
    [ -f "$work/1.c" ] || { echo "$document: no \`\`\`c block was found" >&2; exit 1; }
    for program in "$work"/*.c; do
        "$compiler" -std=c11 -Wall -Wextra -Wconversion -Werror -Iinclude -c "$program" -o "$work/object"
    done
done

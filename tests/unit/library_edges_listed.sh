#!/bin/sh
# Check that no public function is missing from library_edges*_test.c. Run it in the project's root.
set -eu
tests=tests/unit/library_edges*_test.c
functions=$(cat include/ddpm/*.h | tr '\n' ' ' | grep -o 'DDPM_API [^;(]*(' | grep -o 'ddpm_[a-z0-9_]*($' | tr -d '(' | sort -u)
[ "$(echo "$functions" | wc -l)" -ge 50 ] || { echo "the headers were not understood: $functions"; exit 1; }
missing=
for name in $functions; do
    grep -q "\b$name(" $tests || missing="$missing $name"
done
[ -z "$missing" ] || { echo "library_edges*_test.c lack$missing"; exit 1; }

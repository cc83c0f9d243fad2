#!/bin/sh
# print-to.sh FILE COMMAND…: write the command's output to FILE, atomically.
set -eu
file=$1
shift
mkdir -p "$(dirname "$file")"
"$@" >"$file.part"
mv "$file.part" "$file"

#!/bin/sh
# print-to.sh FILE COMMAND…: FILE is what the command prints, whole or as before.
set -eu
file=$1
shift
mkdir -p "$(dirname "$file")"
"$@" >"$file.part"
mv "$file.part" "$file"

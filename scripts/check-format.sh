#!/usr/bin/env bash
# check-format.sh [--fix]: is every C file formatted by clang-format 14 (.clang-format)? --fix formats them. Exit 0 yes,
# 1 no, 77 if there is no clang-format 14. Run it in the project's root.
set -eu -o pipefail
for program in clang-format-14 clang-format; do
  version=$("$program" --version 2>/dev/null | grep -o 'version [0-9]*' || true)
  [ "$version" = "version 14" ] && break
done
if [ "$version" != "version 14" ]; then
  echo "check-format.sh: no clang-format 14 here; other versions format differently"
  exit 77
fi
mode=(--dry-run -Werror)
[ "${1:-}" = --fix ] && mode=(-i)
find bench examples include programs src tests \( -name '*.c' -o -name '*.h' \) -print0 |
  xargs -0 "$program" "${mode[@]}"

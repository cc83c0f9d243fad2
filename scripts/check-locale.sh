#!/usr/bin/env bash
# check-locale.sh: does the library avoid functions that depend on the host's locale? Run it in the project's root.
# Numbers and the case of letters go through src/core/text.h; our code never sets the process's locale.
set -eu -o pipefail
failed=0

# forbid NAMES FILES…: fail if one of these functions is called there.
forbid() {
  local names=$1
  shift
  if grep -nE "\\b($names) *\\(" "$@"; then
    echo "want the functions of src/core/text.h instead of: $names" >&2
    failed=1
  fi
}

mapfile -t library < <(find src -name '*.[ch]' ! -path src/core/text.c ! -path src/core/text.h)
mapfile -t program < <(find programs -name '*.[ch]')
[ "${#library[@]}" -gt 50 ] || { echo "the sources were not found" >&2; exit 1; }
forbid 'strto(d|f|ld)|atof|strn?casecmp|to(upper|lower)|is(alpha|alnum|upper|lower|space|print|punct)|localeconv|strerror(_r|_l)?' \
  "${library[@]}"
forbid 'setlocale|bindtextdomain' "${library[@]}" "${program[@]}"
# Numbers with a decimal point: snprintf() and the like would write the host's comma.
if grep -nE 's?n?printf *\(.*"[^"]*%[-+ #0-9.*]*l?[aefgAEFG]' "${library[@]}" | grep -vE 'ddpm_(print|format)'; then
  echo "want ddpm_print() for numbers with a point" >&2
  failed=1
fi
exit $failed

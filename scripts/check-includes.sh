#!/usr/bin/env bash
# check-includes.sh: do includes only go downward? Run it in the project's root.
#
#   - A room of src/ includes itself and the rooms that its USES in CMakeLists.txt names, no other.
#   - A header in a subfolder of a room (kernels/cpu/…) is that room's own.
#   - <ddpm/….h> may be included by the room that implements it and by those above.
#   - Public headers include <ddpm/….h> and the standard library only.
#   - The program includes the rooms that programs/ddpm/CMakeLists.txt links, and what those use.
set -eu -o pipefail

declare -A uses=() home=([status]=core [log]=core [config]=config [network]=model [sampler]=model [trainer]=training
  [evaluate]=evaluation [likelihood]=model [ddpm]=training)
failed=0
count=0

fail() {
  echo "$*" >&2
  failed=1
}

while read -r name words; do
  uses[$name]=" $name $(sed -n 's/.*USES \([a-z ]*\).*/\1/p' <<<"$words" | sed 's/LINK.*//') "
done < <(sed -n 's/^ *ddpm_room(\([a-z_]*\) *\(.*\))$/\1 \2/p' CMakeLists.txt)
[ ${#uses[@]} -gt 5 ] || fail "CMakeLists.txt: only ${#uses[@]} rooms were found; has their form changed?"
for room in "${!uses[@]}"; do
  for used in ${uses[$room]}; do
    [ -n "${uses[$used]:-}" ] || fail "CMakeLists.txt: $room uses $used, which is not a room before it"
  done
done
for folder in src/*/; do
  room=$(basename "$folder")
  [ -n "${uses[$room]:-}" ] || fail "$folder is not a room of CMakeLists.txt"
done

# check FILE ALLOWED WHO: check that its includes are only from the rooms in the list ALLOWED; WHO owns the subfolders
# of its name.
check() {
  local file=$1 allowed=$2 who=$3 line target room
  while read -r line; do
    count=$((count + 1))
    target=${line#*[<\"]}
    target=${target%[>\"]*}
    case $line in
      *'<ddpm/'*)
        room=$(basename "$target" .h)
        room=${home[$room]:-}
        [ -n "$room" ] || fail "$file: $target belongs to no room that this script knows"
        ;;
      *'<'* | *'"cmocka'*) continue ;;
      *'"'*/*) room=${target%%/*} ;;
      *) continue ;; # a file in the same folder
    esac
    [[ $allowed == *" $room "* ]] || fail "$file: includes $target, but $who does not use $room"
    [[ $room == "$who" || $target == "ddpm/"* || ${target#*/} != */* ]] ||
      fail "$file: $target is private to $room"
  done < <(grep -E '^ *# *include' "$file" || true)
}

while read -r file; do
  room=${file#src/}
  room=${room%%/*}
  check "$file" "${uses[$room]:-}" "$room"
done < <(find src -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | sort)

linked=" $(sed -n 's/^ddpm_link_rooms(ddpm \(.*\))$/\1/p' programs/ddpm/CMakeLists.txt) "
[ "$linked" != "  " ] || fail "programs/ddpm/CMakeLists.txt: no ddpm_link_rooms(ddpm …) was found"
for room in $linked; do linked+="${uses[$room]:-} "; done
for file in programs/ddpm/*.[ch]; do
  check "$file" "$linked" program
done

for file in include/ddpm/*.h; do
  if grep -HnE '^ *# *include *"|^ *# *include *<[a-z]*/' "$file" | grep -v '<ddpm/'; then
    fail "$file: a public header includes public and standard headers only"
  fi
done

[ $failed = 0 ] && echo "$count includes go downward"
exit $failed

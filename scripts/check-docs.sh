#!/usr/bin/env bash
# check-docs.sh: do links between documents work, are prose lines at most 120 columns, and is no paragraph repeated?
#
# Tables and indented code may be wider. Anchors must match a heading, converted the way GitHub does it.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=0
say() { echo "$1"; failed=1; }

mapfile -t documents < <(git ls-files '*.md' 2>/dev/null | grep . || find . -name '*.md' -not -path './build*')

anchors() {
  sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

for document in "${documents[@]}"; do
  folder=$(dirname "$document")
  while IFS= read -r link; do
    file=${link%%#*}
    case $link in
      http*) continue ;;
      '#'*) file=$document ;;
      *) file=$folder/$file ;;
    esac
    if [ ! -e "$file" ]; then
      say "$document: $link leads nowhere"
    elif [[ $link == *'#'* ]] && ! anchors "$file" | grep -qx -e "${link#*#}"; then
      say "$document: $link: there is no such heading"
    fi
  done < <(awk '/^```/ { code = !code } !code && !/^    /' "$document" | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//')
done

wide=$(awk '/^```/ { code = !code }
  # four spaces are code after an empty line, and otherwise the next line of a list item
  { indented = /^    / && (blank || indented); blank = !NF }
  !code && !/^ *\|/ && !indented { line = $0; gsub(/[\200-\277]/, "", line)
    if (length(line) > 120) printf "%s:%d: %d columns, want at most 120\n", FILENAME, FNR, length(line) }' \
  "${documents[@]}")
[ -z "$wide" ] || say "$wide"

twice=$(awk 'BEGIN { RS = "" } length($0) > 160 && !/^ *\|/ && !/^    / && seen[$0]++ {
  print FILENAME ": a repeated paragraph: " substr($0, 1, 60) }' "${documents[@]}")
[ -z "$twice" ] || say "$twice"
exit $failed

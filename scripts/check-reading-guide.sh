#!/bin/sh
# check-reading-guide.sh [FILE…]: does every place that a document names exist? Run it in the project's root.
#
#     `path/file.c`: `name`     the file exists and defines the function or table `name`
#     `path/file`               a path that starts with a folder of the project: it exists
#
# SIMD(name) stands for one definition per CPU level. A definition starts in the first column, as clang-format writes
# it. Without arguments: docs/reading-guide.md, which must name at least 50 definitions, and docs/architecture.md.
set -u
failed=0 count=0

fail() {
    echo "$*" >&2
    failed=1
}

# defines FILE NAME: a function with its body, or an object with its value.
defines() {
    sed -n "/^[a-z][^;]*[ *]$2([^;]*\$/,/[;{]/p" "$1" | grep -q '{' ||
        grep -q "^[a-z][^;]*[ *]$2\\(\\[[^]]*\\]\\)* = " "$1"
}

check() {
    guide=$1
    [ -f "$guide" ] || { fail "$guide: there is no such file"; return; }
    for path in $(grep -o '`[A-Za-z][A-Za-z0-9_./-]*`' "$guide" | tr -d '`' | sort -u |
        grep -E '^(bench|cmake|docs|examples|include|programs|scripts|src|tests)/'); do
        [ -e "$path" ] || fail "$guide: $path is not there"
    done
    mentions=$(grep -o '`[A-Za-z0-9_./-]*`: `[A-Za-z0-9_()]*`' "$guide" | tr -d '`:' | sort -u | tr ' ' '@')
    for mention in $mentions; do
        file=${mention%@*} name=${mention#*@} count=$((count + 1))
        [ -f "$file" ] || { fail "$guide: $file, which should define $name, is not there"; continue; }
        defines "$file" "$name" || fail "$guide: $file does not define $name"
    done
}

if [ $# -gt 0 ]; then
    for guide; do check "$guide"; done
else
    check docs/reading-guide.md
    [ "$count" -ge 50 ] || fail "docs/reading-guide.md: only $count definitions were found; has the form of mentions changed?"
    check docs/architecture.md
fi
[ $failed -eq 0 ] && echo "$count definitions are where the documents say"
exit $failed

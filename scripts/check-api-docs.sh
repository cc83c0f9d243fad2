#!/bin/sh
# check-api-docs.sh [--doxygen] [FILE…]: does every declaration in the public headers have its own comment? Prints those
# that have none. Declarations are functions, structs, fields, enums, enumerators and typedefs; their comment is /**
# before */ or /**< after */, and each header has one for itself, with @file in it. Run it in the project's root.
# Without files: include/ddpm. With --doxygen, doxygen reads the headers too, and any warning is a failure; exit 77 if
# it is not installed.
set -u
doxygen=false
[ "${1:-}" = --doxygen ] && doxygen=true && shift
[ $# -gt 0 ] || set -- include/ddpm/*.h

# Check one header, formatted by clang-format. A declaration is checked when the next one starts, or at the end, since
# its comment may follow it.
undocumented() {
    awk -v file="$1" '
function judge() {
    if (last != "" && !last_documented)
        print file ": " last
    last = ""
}

function declared(kind,    name) {
    judge()
    name = text
    sub(/[[(=].*/, "", name)
    gsub(/[^A-Za-z_0-9]+$/, "", name)
    sub(/.*[^A-Za-z_0-9]/, "", name)
    last = kind " " name
    last_documented = documented
    documented = 0
    text = ""
}

function comment(body) {
    if (body ~ /^\/\*\*</ && text == "")
        last_documented = 1
    else if (body ~ /^\/\*\*/ && body ~ /@file/)
        has_file = 1
    else if (body ~ /^\/\*\*/)
        documented = 1 # for what follows, or for an enumerator without a comma
}

function opened() {
    ++depth
    scope[depth] = text ~ /extern "C"/ ? "" : text ~ /(^| )enum / ? "enumerator" : "field"
    if (scope[depth] != "")
        declared(scope[depth] == "field" ? "struct" : "enum")
    text = ""
}

function closed() {
    if (scope[depth] == "enumerator" && text != "")
        declared("enumerator")
    text = scope[depth] == "" ? "" : "}"
    --depth
}

function ended() {
    if (scope[depth] == "field")
        declared("field")
    else if (text ~ /^typedef/)
        declared("typedef")
    else if (text ~ /\(/)
        declared("function")
    else if (text != "" && text !~ /^}/) # in typedef struct { … } name; the name is not another declaration
        declared(text ~ /^enum/ ? "enum" : text ~ /^struct [A-Za-z_0-9]*$/ ? "struct" : "object")
    text = ""
}

continued || /^[ \t]*#/ { continued = /\\$/; next }
{ all = all $0 "\n" }

END {
    while (match(all, /\/\*|\/\/|[{};,]/)) {
        text = text substr(all, 1, RSTART - 1)
        gsub(/[ \t\n]+/, " ", text)
        sub(/^ /, "", text)
        mark = substr(all, RSTART, RLENGTH)
        all = substr(all, RSTART)
        length_of_mark = 1
        if (mark == "/*") {
            length_of_mark = index(all, "*/") + 1
            comment(substr(all, 1, length_of_mark))
        } else if (mark == "//")
            length_of_mark = index(all, "\n")
        else if (mark == "{")
            opened()
        else if (mark == "}")
            closed()
        else if (mark == ";")
            ended()
        else if (scope[depth] == "enumerator")
            declared("enumerator")
        else
            text = text ","
        all = substr(all, length_of_mark + 1)
    }
    judge()
    if (!has_file)
        print file ": the file itself"
}' "$1"
}

found=$(for header; do undocumented "$header"; done)
if [ -n "$found" ]; then
    printf 'without a comment of their own:\n%s\n' "$found" >&2
    exit 1
fi
if $doxygen; then
    command -v doxygen >/dev/null || { echo "check-api-docs.sh: doxygen is not installed"; exit 77; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    { cat docs/Doxyfile; echo "INPUT = $*"; echo "OUTPUT_DIRECTORY = $work"; } >"$work/Doxyfile"
    if ! doxygen "$work/Doxyfile" >"$work/said" 2>&1 || [ -s "$work/said" ]; then
        cat "$work/said" >&2
        exit 1
    fi
fi
echo "every declaration of $# headers has a comment"

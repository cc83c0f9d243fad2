#!/bin/sh
# Does scripts/check-api-docs.sh report a declaration of each kind without a comment, and none with one?
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/header.h" <<'END'
/* not for Doxygen, and no @file */
#define TWO_LINES(x) \
    struct x
struct forward_without;
/** with */
struct forward;
/** with */
struct with {
    int field_without; /* a plain comment is none */
    int field;         /**< with */
    /** with */
    const int (*pair)[2];
    int last_without[3];
};
struct struct_without {
    int one; /**< with */
};
/** with */
typedef enum kind {
    KIND_A = 1, /**< with */
    KIND_WITHOUT,
    KIND_B /**< with */
} kind;
enum enum_without {
    /** with */
    OTHER_A,
    OTHER_WITHOUT
};
#ifdef __cplusplus
extern "C" {
#endif
typedef void typedef_without(int a, int b);
/** with */
typedef void callback(int a,
                      int b);
int function_without(struct with *with, int b);
/** with; "quoted { text" */
int function(struct with *with,
             int b);
#ifdef __cplusplus
}
#endif
END
sh scripts/check-api-docs.sh "$work/header.h" 2>"$work/said" && { echo "got success, want failure" >&2; exit 1; }
sed "s,^$work/header.h: ,," "$work/said" >"$work/got"
cat >"$work/want" <<'END'
without a comment of their own:
struct forward_without
field field_without
field last_without
struct struct_without
enumerator KIND_WITHOUT
enum enum_without
enumerator OTHER_WITHOUT
typedef typedef_without
function function_without
the file itself
END
diff "$work/want" "$work/got"

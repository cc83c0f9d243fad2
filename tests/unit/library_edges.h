/* Shared by the tests of wrong arguments, see library_edges_test.c. */
#ifndef DDPM_TESTS_LIBRARY_EDGES_H
#define DDPM_TESTS_LIBRARY_EDGES_H

#include "library_support.h"

#define refused(expression, part) assert_error(expression, DDPM_ERROR_ARGUMENT, part)

enum { VALUES = 3 * 8 * 8, PARAMETER = 8 }; /* of a tiny picture, and of the parameter below */
#define NAME "init_conv.bias"
#define BAD_WEIGHTS ((enum ddpm_weights)7)

/* An options struct followed by bytes that this version does not know. */
#define LARGER(type)                                                                               \
    struct {                                                                                       \
        struct type own;                                                                           \
        char behind[24];                                                                           \
    }

/* Call `call` with *options made smaller and larger in every way; `ok` is its result with the right
 * size. */
#define TRY_SIZES(type, given, least, ok, call)                                                    \
    do {                                                                                           \
        LARGER(type) larger;                                                                       \
        struct type *options = &larger.own;                                                        \
        memset(&larger, 0, sizeof larger);                                                         \
        *options = (given);                                                                        \
        options->size = 0;                                                                         \
        refused(call, "struct " #type ": got size 0");                                             \
        options->size = (least)-1;                                                                 \
        refused(call, "struct " #type ": got size");                                               \
        options->size = SIZE_MAX; /* never set: memory behind it must not be read */               \
        refused(call, "struct " #type ": got size");                                               \
        options->size = sizeof larger;                                                             \
        assert_int_equal(call, ok);                                                                \
        larger.behind[sizeof larger.behind - 1] = 1;                                               \
        refused(call, "struct " #type ": got");                                                    \
        assert_non_null(strstr(ddpm_error_message(), "a value set after"));                        \
    } while (0)

#endif

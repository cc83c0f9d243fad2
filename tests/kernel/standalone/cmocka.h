/* The few parts of cmocka's interface that the kernel tests use, for machines without cmocka: a GPU
 * server with just a compiler (DDPM_KERNELS_ONLY). */
#ifndef DDPM_TESTS_STANDALONE_CMOCKA_H
#define DDPM_TESTS_STANDALONE_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test_func)(void **state);
    int (*setup_func)(void **state);
    int (*teardown_func)(void **state);
    void *initial_state;
};

/* State of the running test; every program is a single file that includes this header once. */
static jmp_buf standalone_return;
static const char *standalone_filter;
enum { STANDALONE_FAILED = 1, STANDALONE_SKIPPED = 2 };

#define cmocka_unit_test(function)                                                                 \
    {                                                                                              \
#function, function, NULL, NULL, NULL                                                      \
    }
#define cmocka_unit_test_setup_teardown(function, setup, teardown)                                 \
    {                                                                                              \
#function, function, setup, teardown, NULL                                                 \
    }
#define print_message(...) ((void)printf(__VA_ARGS__), (void)fflush(stdout))
#define print_error(...) ((void)fprintf(stderr, __VA_ARGS__))
#define skip() longjmp(standalone_return, STANDALONE_SKIPPED)
#define fail_msg(...)                                                                              \
    do {                                                                                           \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                            \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fprintf(stderr, "\n");                                                                     \
        longjmp(standalone_return, STANDALONE_FAILED);                                             \
    } while (0)
#define assert_true(condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("not so: %s", #condition);                                                    \
    } while (0)
#define assert_false(condition) assert_true(!(condition))
#define assert_null(pointer) assert_true((pointer) == NULL)
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_int_equal(a, b) assert_true((a) == (b))
#define assert_int_not_equal(a, b) assert_true((a) != (b))
#define assert_string_equal(a, b) assert_true(strcmp((a), (b)) == 0)
#define assert_string_not_equal(a, b) assert_true(strcmp((a), (b)) != 0)
#define assert_ptr_equal(a, b) assert_true((a) == (b))
#define assert_memory_equal(a, b, bytes) assert_true(memcmp((a), (b), (bytes)) == 0)

static inline void cmocka_set_test_filter(const char *name)
{
    standalone_filter = name;
}

static inline int standalone_run_one(const struct CMUnitTest *test)
{
    void *state = test->initial_state;
    printf("[ RUN      ] %s\n", test->name);
    int result = setjmp(standalone_return);
    if (result == 0) {
        if (test->setup_func && test->setup_func(&state) != 0)
            fail_msg("the test's setup failed");
        test->test_func(&state);
    }
    if (test->teardown_func)
        (void)test->teardown_func(&state);
    printf("[ %s ] %s\n",
           result == STANDALONE_FAILED    ? " FAILED "
           : result == STANDALONE_SKIPPED ? "SKIPPED "
                                          : "      OK",
           test->name);
    fflush(stdout);
    return result == STANDALONE_FAILED;
}

static inline int standalone_run(const char *group, const struct CMUnitTest *tests, size_t count,
                                 int (*setup)(void **), int (*teardown)(void **))
{
    void *state = NULL;
    int failed = setup && setup(&state) != 0;
    for (size_t i = 0; i < count && !(failed && i == 0); ++i)
        if (!standalone_filter || strcmp(standalone_filter, tests[i].name) == 0)
            failed += standalone_run_one(&tests[i]);
    if (teardown)
        teardown(&state);
    printf("%s: %d failed\n", group, failed);
    return failed;
}

#define cmocka_run_group_tests_name(group, tests, setup, teardown)                                 \
    standalone_run(group, tests, sizeof(tests) / sizeof *(tests), setup, teardown)

#endif

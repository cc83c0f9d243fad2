/* Unit tests of src/core: error text, memory, random numbers, parallel loops. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/threads.h"

static void error_text_is_kept_and_prefixed(void **state)
{
    (void)state;
    assert_int_equal(ddpm_raise(DDPM_ERROR_FORMAT, "got %d, want %d", 3, 4), DDPM_ERROR_FORMAT);
    assert_string_equal(ddpm_error_message(), "got 3, want 4");
    ddpm_raise_context(DDPM_ERROR_FORMAT, "%s: ", "x.npy");
    assert_string_equal(ddpm_error_message(), "x.npy: got 3, want 4");
}

/* Known answers of Philox4x32-10 from the authors' Random123 distribution (kat_vectors). */
static void philox_gives_the_known_answers(void **state)
{
    (void)state;
    struct ddpm_random4 r = ddpm_philox(0, 0, 0, 0, 0);
    assert_int_equal(r.v[0], 0x6627e8d5u);
    assert_int_equal(r.v[1], 0xe169c58du);
    assert_int_equal(r.v[2], 0xbc57ac4cu);
    assert_int_equal(r.v[3], 0x9b00dbd8u);
    r = ddpm_philox(UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
    assert_int_equal(r.v[0], 0x408f276du);
    assert_int_equal(r.v[1], 0x41c83b0eu);
    assert_int_equal(r.v[2], 0xa20bc7c6u);
    assert_int_equal(r.v[3], 0x6d5451fdu);
}

static void permutation_is_one(void **state)
{
    (void)state;
    const uint32_t counts[] = {1, 2, 3, 7, 16, 17, 320, 1000};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; ++k) {
        uint32_t count = counts[k];
        uint8_t *seen = calloc(count, 1);
        for (uint32_t i = 0; i < count; ++i) {
            uint32_t place = ddpm_permute(i, count, 7, 3);
            assert_in_range(place, 0, count - 1);
            assert_int_equal(seen[place]++, 0);
        }
        free(seen);
    }
}

static void normals_have_mean_0_and_variance_1(void **state)
{
    (void)state;
    enum { COUNT = 1 << 18 };
    float *x = malloc(COUNT * sizeof *x);
    ddpm_fill_normal(x, COUNT, 11, DDPM_STREAM_NOISE, 5, 2);
    double sum = 0, squares = 0, fourth = 0;
    for (int i = 0; i < COUNT; ++i) {
        double square = (double)x[i] * x[i];
        sum += x[i];
        squares += square;
        fourth += square * square;
    }
    assert_true(fabs(sum / COUNT) < 0.01);
    assert_true(fabs(squares / COUNT - 1) < 0.015);
    assert_true(fabs(fourth / COUNT - 3) < 0.1);
    free(x);
}

static void add_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t i = begin; i < end; ++i)
        ((int *)context)[i] += 1;
}

static void parallel_loop_visits_each_once(void **state)
{
    (void)state;
    int hits[1003] = {0};
    for (int threads = 1; threads <= 4; ++threads)
        ddpm_parallel_for(threads, 1003, 10, add_range, hits);
    for (int i = 0; i < 1003; ++i)
        assert_int_equal(hits[i], 4);
}

struct squares {
    int64_t sum[64]; /* one per chunk of 16 */
    int threads;
};

static void add_squares(void *context, int64_t begin, int64_t end, int thread)
{
    struct squares *squares = context;
    assert_true(thread < squares->threads);
    for (int64_t i = begin; i < end; ++i)
        squares->sum[begin / 16] += i * i;
}

/* Many short loops in a row, with changing numbers of threads: every chunk runs once, and never on
 * more threads than requested. */
static void short_loops_lose_nothing(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; ++round) {
        struct squares squares = {.threads = 1 + round % 5};
        int64_t count = 1 + round % 1000, sum = 0;
        ddpm_parallel_for(squares.threads, count, 16, add_squares, &squares);
        for (int chunk = 0; chunk < 64; ++chunk)
            sum += squares.sum[chunk];
        assert_int_equal(sum, (count - 1) * count * (2 * count - 1) / 6);
    }
}

static void nested_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t i = begin; i < end; ++i)
        ddpm_parallel_for(4, 10, 1, add_range, (int *)context + 10 * i);
}

static void nested_loops_work(void **state)
{
    (void)state;
    int hits[100] = {0};
    ddpm_parallel_for(4, 10, 1, nested_range, hits);
    for (int i = 0; i < 100; ++i)
        assert_int_equal(hits[i], 1);
}

static void *loops_on_another_thread(void *argument)
{
    int *hits = argument;
    for (int round = 0; round < 200; ++round)
        ddpm_parallel_for(3, 100, 7, add_range, hits);
    return NULL;
}

static void several_threads_loop_at_once(void **state)
{
    (void)state;
    static int hits[4][100];
    pthread_t threads[4];
    for (int i = 0; i < 4; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, loops_on_another_thread, hits[i]), 0);
    for (int i = 0; i < 4; ++i)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 400; ++i)
        assert_int_equal(hits[i / 100][i % 100], 200);
}

static void arrays_grow_and_refuse_overflow(void **state)
{
    (void)state;
    int *array = NULL;
    size_t capacity = 0;
    assert_int_equal(ddpm_grow_array((void **)&array, &capacity, 100, sizeof *array, "ints"), 0);
    assert_true(capacity >= 100);
    assert_int_equal(
        ddpm_grow_array((void **)&array, &capacity, SIZE_MAX / 2, sizeof *array, "ints"),
        DDPM_ERROR_MEMORY);
    free(array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_text_is_kept_and_prefixed),
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(permutation_is_one),
        cmocka_unit_test(normals_have_mean_0_and_variance_1),
        cmocka_unit_test(parallel_loop_visits_each_once),
        cmocka_unit_test(short_loops_lose_nothing),
        cmocka_unit_test(nested_loops_work),
        cmocka_unit_test(several_threads_loop_at_once),
        cmocka_unit_test(arrays_grow_and_refuse_overflow),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}

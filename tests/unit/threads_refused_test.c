/* The system starts fewer threads than requested, or none: pthread_create() is wrapped. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "core/threads.h"
#include "data/prefetch.h"
#include "data_support.h"

enum { COUNT = 1000, PICTURES = 5 };

static int granted; /* threads that can still be started */
static int asked;
static int unblocked; /* threads that would take the host program's signals */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *argument);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *argument)
{
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    unblocked += !sigismember(&blocked, SIGINT) || !sigismember(&blocked, SIGUSR1);
    ++asked;
    if (granted-- <= 0)
        return EAGAIN;
    return __real_pthread_create(thread, attributes, function, argument);
}

static char said[4096];
static int remarks;

static void keep(void *user, ddpm_log_level level, const char *line)
{
    (void)user;
    assert_int_equal(level, DDPM_LOG_WARNING);
    snprintf(said, sizeof said, "%s", line);
    ++remarks;
}

static int begin(void **state)
{
    (void)state;
    said[0] = 0;
    remarks = asked = unblocked = 0;
    ddpm_set_log_callback(keep, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    granted = 1000;
    assert_int_equal(unblocked, 0);
    ddpm_set_log_callback(NULL, NULL);
    return 0;
}

static void add_range(void *context, int64_t first, int64_t last, int thread)
{
    (void)thread;
    for (int64_t i = first; i < last; ++i)
        ((int *)context)[i] += 1;
}

static void *loops(void *argument)
{
    int *hits = argument;
    for (int round = 0; round < 50; ++round)
        ddpm_parallel_for(8, COUNT, 7, add_range, hits);
    return NULL;
}

/* Loops that request 8 threads when the system grants fewer. A pool belongs to its thread, so every
 * case runs on its own thread. */
static void loop_with(int workers)
{
    static int hits[COUNT];
    pthread_t thread;
    memset(hits, 0, sizeof hits);
    granted = workers;
    asked = remarks = 0;
    assert_int_equal(__real_pthread_create(&thread, NULL, loops, hits), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < COUNT; ++i)
        assert_int_equal(hits[i], 50);
}

static void loops_go_on_with_fewer(void **state)
{
    (void)state;
    static const int cases[] = {0, 1, 3, 6};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; ++k) {
        loop_with(cases[k]);
        char wanted[64];
        snprintf(wanted, sizeof wanted, "computing with %d of 8 threads", cases[k] + 1);
        assert_non_null(strstr(said, wanted));
        assert_non_null(strstr(said, "ulimit -u"));
        assert_int_equal(remarks, 1);          /* not one for every loop */
        assert_int_equal(asked, cases[k] + 1); /* and it does not try again */
    }
}

static void enough_threads_are_no_remark(void **state)
{
    (void)state;
    loop_with(7);
    assert_int_equal(remarks, 0);
}

static struct ddpm_source *open_source(const char *folder)
{
    const struct ddpm_source_options options = {
        .channels = 3, .height = 6, .width = 6, .threads = 1, .cache_bytes = 1 << 20};
    struct ddpm_source *source = NULL;
    assert_ok(ddpm_source_open(&source, folder, &options));
    return source;
}

static void read_batches(struct ddpm_source *source, int threads, uint8_t *out)
{
    const struct ddpm_prefetch_options options = {
        .batch_size = 4, .depth = 3, .threads = threads, .seed = 5, .shuffle = true};
    struct ddpm_prefetch *prefetch;
    assert_ok(ddpm_prefetch_create(&prefetch, source, &options));
    for (int step = 0; step < 6; ++step, out += 4 * 6 * 6 * 3) {
        struct ddpm_batch batch;
        assert_ok(ddpm_prefetch_next(prefetch, &batch));
        memcpy(out, batch.pixels, 4 * 6 * 6 * 3);
        ddpm_prefetch_release(prefetch);
    }
    ddpm_prefetch_destroy(&prefetch);
}

static void pictures_are_read_with_fewer(void **state)
{
    (void)state;
    static uint8_t many[6 * 4 * 6 * 6 * 3], few[sizeof many];
    char *folder = make_folder();
    for (int i = 0; i < PICTURES; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%02d.png", i);
        write_picture(folder, name, i, 9, 8);
    }
    struct ddpm_source *source = open_source(folder);
    granted = 100;
    read_batches(source, 4, many);
    assert_int_equal(remarks, 0);
    for (int threads = 0; threads < 4; ++threads) {
        granted = threads;
        read_batches(source, 4, few);
        assert_memory_equal(many, few, sizeof many);
        char wanted[64];
        snprintf(wanted, sizeof wanted, "reading pictures with %d of 4 threads", threads);
        assert_non_null(strstr(said, wanted));
    }
    assert_int_equal(remarks, 4);
    assert_non_null(strstr(said, "the system grants this process no more threads; ulimit -u"));
    ddpm_source_close(&source);
    remove_folder(folder);
}

static void words_fit_the_error(void **state)
{
    (void)state;
    assert_non_null(strstr(ddpm_thread_words(EAGAIN), "pids.max"));
    assert_string_equal(ddpm_thread_words(EPERM), "Operation not permitted");
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(loops_go_on_with_fewer),
        CASE(enough_threads_are_no_remark),
        CASE(pictures_are_read_with_fewer),
        CASE(words_fit_the_error),
    };
    return cmocka_run_group_tests_name("threads_refused", tests, NULL, NULL);
}

/* Plans made ahead by threads (src/kernels/cuda/ahead.cu), on the emulated device with the stand-in
 * for cuDNN, whose plans take a while. The stand-in ends the process if two threads use one handle
 * at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <pthread.h>

#include "choice_support.h"
#include "kernels/cuda/cudnn.h"

enum { KINDS = 6, DATA_GRADIENT = 12 /* cuDNN's number of that operation */ };

/* The device's messages about plans, without times, and everything that was chosen. */
static struct {
    pthread_mutex_t mutex;
    char trials[16384], others[16384];
    char chosen[KINDS][DDPM_CUDNN_NAME_BYTES];
} heard = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void add_line(char *all, size_t bytes, const char *line, size_t length)
{
    const size_t used = strlen(all);
    snprintf(all + used, bytes - used, "%.*s\n", (int)length, line);
}

static void hear(void *unused, ddpm_log_level level, const char *text)
{
    (void)unused, (void)level;
    const char *result = strstr(text, ", cuDNN's "); /* "x, cuDNN's data2_2=7: right, 1.0 us, …" */
    result = result ? strstr(result, "_2=7: ") : NULL;
    pthread_mutex_lock(&heard.mutex);
    if (result)
        add_line(heard.trials, sizeof heard.trials, text,
                 strcspn(result, ",") + (size_t)(result - text));
    else
        add_line(heard.others, sizeof heard.others, text, strlen(text));
    pthread_mutex_unlock(&heard.mutex);
}

/* Choose for three shapes forward and three backward with this many threads, as a plan does. */
static void choose(const char *threads)
{
    struct ddpm_device *device;
    struct ddpm_call calls[KINDS];
    assert_int_equal(setenv("DDPM_CUDA_PLAN_THREADS", threads, 1), 0);
    memset(heard.trials, 0, sizeof heard.trials);
    memset(heard.others, 0, sizeof heard.others);
    ddpm_set_log_callback(hear, NULL);
    assert_int_equal(ddpm_device_open("cuda", &(struct ddpm_device_options){0}, &device), DDPM_OK);
    for (int i = 0; i < KINDS; ++i) {
        calls[i] = choice_call(i < 3 ? DDPM_OP_CONV2D : DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_BF16,
                               8 + 8 * (i % 3));
        calls[i].device = device;
    }
    device->backend->expect_calls(device, calls, KINDS);
    const int made = *choice_counter("fake_cudnn_made");
    for (int i = 0; i < KINDS; ++i) {
        calls[i].kernel = device->backend->find_kernel(device, &calls[i]);
        assert_non_null(calls[i].kernel);
        heard.chosen[i][0] = '\0';
        if (!strstr(calls[i].kernel->name, "_cudnn"))
            continue;
        assert_int_equal(calls[i].kernel->prepare(&calls[i]), DDPM_OK);
        const struct ddpm_cudnn_plan *plan = calls[i].state;
        memcpy(heard.chosen[i], plan->name, sizeof heard.chosen[i]);
    }
    assert_int_equal(*choice_counter("fake_cudnn_made"), made);
    ddpm_device_close(&device);
    ddpm_set_log_callback(NULL, NULL);
}

static int reset(void **state)
{
    static const char *const names[] = {"fake_cudnn_made",
                                        "fake_cudnn_most_at_once",
                                        "fake_cudnn_milliseconds",
                                        "fake_cudnn_dies_at",
                                        "fake_cudnn_right_runs",
                                        "fake_cudnn_second_right_runs",
                                        "fake_cudnn_wants_its_handle"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        *choice_counter(names[i]) = 0;
    unsetenv("DDPM_CUDA_TRIALS");
    return choice_make_folder(state);
}

static void plans_are_made_at_the_same_time(void **unused)
{
    (void)unused;
    const int *at_once = choice_counter("fake_cudnn_most_at_once");
    *choice_counter("fake_cudnn_milliseconds") = 20;
    choose("3");
    assert_in_range(*at_once, 2, 3);
    assert_non_null(strstr(heard.others, "3 threads made "));
    assert_int_equal(*choice_counter("fake_cudnn_handles"), 0);
}

static void one_thread_makes_none_ahead(void **unused)
{
    (void)unused;
    choose("1");
    assert_int_equal(*choice_counter("fake_cudnn_most_at_once"), 1);
    assert_null(strstr(heard.others, "threads made"));
}

/* The same plans are tried in the same order. */
static void trials_do_not_depend_on_threads(void **unused)
{
    char alone[sizeof heard.trials];
    choose("1");
    memcpy(alone, heard.trials, sizeof alone);
    assert_non_null(strstr(alone, "cuDNN's data3_2=7: right"));
    const int made = *choice_counter("fake_cudnn_made");
    choice_remove_folder(unused);
    reset(unused);
    choose("4");
    assert_string_equal(heard.trials, alone);
    assert_int_equal(*choice_counter("fake_cudnn_made"), made);
}

static void the_choice_does_not_depend_on_threads(void **unused)
{
    (void)unused;
    assert_int_equal(setenv("DDPM_CUDA_CONV", "cudnn", 1), 0);
    char alone[KINDS][DDPM_CUDNN_NAME_BYTES];
    choose("1");
    memcpy(alone, heard.chosen, sizeof alone);
    choose("4");
    for (int i = 0; i < KINDS; ++i) {
        assert_string_equal(alone[i], i < 3 ? "fused2_2=7" : "data2_2=7");
        assert_string_equal(heard.chosen[i], alone[i]);
    }
}

/* Stored choices need no plans except their own. */
static void threads_make_nothing_that_is_known(void **unused)
{
    (void)unused;
    choose("3");
    assert_non_null(strstr(heard.others, "measuring convolution kernels"));
    const int made = *choice_counter("fake_cudnn_made");
    choose("3");
    assert_null(strstr(heard.others, "threads made"));
    assert_null(strstr(heard.others, "measuring convolution kernels"));
    assert_in_range(*choice_counter("fake_cudnn_made") - made, 0, KINDS);
}

/* Without time for better plans, threads make the first plan of each shape, and searches make only
 * as many as they need to find a correct one. */
static void threads_stop_when_the_time_is_up(void **unused)
{
    (void)unused;
    assert_int_equal(setenv("DDPM_CUDA_TRIALS", "0", 1), 0);
    choose("3");
    assert_non_null(strstr(heard.others, "3 threads made 6 of "));
    assert_int_equal(*choice_counter("fake_cudnn_made"), 2 * KINDS); /* a wrong one, a right one */
    assert_int_equal(*choice_counter("fake_cudnn_second_right_runs"), 0);
}

/* The child makes several plans, and one of them ends it. */
static void a_plan_that_ends_the_process_is_not_made_again(void **unused)
{
    (void)unused;
    char path[512], text[16384];
    int status;
    *choice_counter("fake_cudnn_milliseconds") = 5;
    *choice_counter("fake_cudnn_dies_at") = DATA_GRADIENT;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        choose("3");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    *choice_counter("fake_cudnn_dies_at") = 0;
    choose("3");
    assert_non_null(strstr(heard.others, "skipping cuDNN's data2_2=7: a process ended"));
    choice_read(path, sizeof path, text, sizeof text);
    assert_non_null(strstr(text, " data2_2=7\t1\n"));
}

/* If plans turn out to run only with the handle that made them, they are made again. */
static void plans_that_want_their_own_handle_are_made_again(void **unused)
{
    (void)unused;
    *choice_counter("fake_cudnn_wants_its_handle") = 1;
    assert_int_equal(setenv("DDPM_CUDA_CONV", "cudnn", 1), 0);
    choose("3");
    assert_non_null(strstr(heard.others, "cuDNN's plans are made one by one"));
    for (int i = 0; i < KINDS; ++i)
        assert_string_equal(heard.chosen[i], i < 3 ? "fused2_2=7" : "data2_2=7");
}

static void odd_numbers_of_threads_are_named(void **unused)
{
    static const char *const odd[] = {"0", "many", "-3", "2.5"};
    (void)unused;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; ++i) {
        char wanted[64];
        choose(odd[i]);
        snprintf(wanted, sizeof wanted, "DDPM_CUDA_PLAN_THREADS: got \"%s\", want 1 to 8", odd[i]);
        assert_non_null(strstr(heard.others, wanted));
    }
}

int main(void)
{
    const int cannot = choice_can_run("test_cuda_ahead");
    if (cannot)
        return cannot;
#define CASE(f) cmocka_unit_test_setup_teardown(f, reset, choice_remove_folder)
    const struct CMUnitTest tests[] = {
        CASE(plans_are_made_at_the_same_time),
        CASE(one_thread_makes_none_ahead),
        CASE(trials_do_not_depend_on_threads),
        CASE(the_choice_does_not_depend_on_threads),
        CASE(threads_make_nothing_that_is_known),
        CASE(threads_stop_when_the_time_is_up),
        CASE(a_plan_that_ends_the_process_is_not_made_again),
        CASE(plans_that_want_their_own_handle_are_made_again),
        CASE(odd_numbers_of_threads_are_named),
    };
    return cmocka_run_group_tests_name("CUDA plans ahead", tests, NULL, NULL);
}

/* The files that store measured choices of kernels, and compiled plans: what they store, and that
 * no damage to them does harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/cuda/plan_cache.h"

static char folder[64];

/* The only file of choices in the folder. */
static void find_file(char path[512])
{
    char command[512];
    snprintf(command, sizeof command, "ls %s/ddpm/cuda-*.plans", folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, 512, list));
    pclose(list);
    path[strcspn(path, "\n")] = '\0';
}

static struct ddpm_plan_cache *open_locked(const char *identity)
{
    struct ddpm_plan_cache *cache;
    ddpm_plan_cache_open(identity, &cache);
    assert_non_null(cache);
    ddpm_plan_cache_lock(cache);
    return cache;
}

static int make_folder(void **unused)
{
    (void)unused;
    snprintf(folder, sizeof folder, "/tmp/ddpm-plans-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return setenv("XDG_CACHE_HOME", folder, 1);
}

static int remove_folder(void **unused)
{
    char command[512];
    (void)unused;
    snprintf(command, sizeof command, "chmod -R u+w %s && rm -r %s", folder, folder);
    return system(command);
}

static void choices_outlive_the_process_that_made_them(void **unused)
{
    (void)unused;
    struct ddpm_plan_cache *cache = open_locked("device A");
    assert_null(ddpm_plan_cache_get(cache, "conv 1"));
    assert_true(ddpm_plan_cache_put(cache, "conv 1", "own"));
    assert_true(ddpm_plan_cache_put(cache, "conv 2", "plain62_2=7"));
    assert_true(ddpm_plan_cache_put(cache, "conv 1", "data7"));
    ddpm_plan_cache_close(&cache);
    assert_null(cache);
    cache = open_locked("device A");
    assert_string_equal(ddpm_plan_cache_get(cache, "conv 1"), "data7");
    assert_string_equal(ddpm_plan_cache_get(cache, "conv 2"), "plain62_2=7");
    ddpm_plan_cache_close(&cache);
    cache = open_locked("device B");
    assert_null(ddpm_plan_cache_get(cache, "conv 1"));
    ddpm_plan_cache_close(&cache);
}

static void another_process_s_choice_is_taken(void **unused)
{
    (void)unused;
    struct ddpm_plan_cache *first = open_locked("device A"), *second;
    ddpm_plan_cache_unlock(first);
    second = open_locked("device A");
    assert_true(ddpm_plan_cache_put(second, "conv", "theirs"));
    ddpm_plan_cache_unlock(second);
    ddpm_plan_cache_lock(first);
    assert_string_equal(ddpm_plan_cache_get(first, "conv"), "theirs");
    assert_true(ddpm_plan_cache_put(first, "another", "ours"));
    ddpm_plan_cache_unlock(first);
    ddpm_plan_cache_lock(second);
    assert_string_equal(ddpm_plan_cache_get(second, "another"), "ours");
    assert_string_equal(ddpm_plan_cache_get(second, "conv"), "theirs");
    ddpm_plan_cache_close(&first);
    ddpm_plan_cache_close(&second);
}

/* A file that holds ("first", "own"), its path and a stream to it. */
static FILE *open_file_of_one_choice(char path[512], const char *mode)
{
    struct ddpm_plan_cache *cache = open_locked("device A");
    assert_true(ddpm_plan_cache_put(cache, "first", "own"));
    ddpm_plan_cache_close(&cache);
    find_file(path);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    return file;
}

static void damage_is_read_as_nothing(void **unused)
{
    (void)unused;
    static const char *const contents[] = {"",
                                           "\n",
                                           "device A",
                                           "device B\nconv\tother\n",
                                           "\x80\xff\x00\x01",
                                           "device A\nconv\n",
                                           "device A\n\tvalue\nconv\t\n",
                                           "device A\nconv\tvalue without an end"};
    for (size_t i = 0; i < sizeof contents / sizeof *contents; ++i) {
        char path[512];
        FILE *file = open_file_of_one_choice(path, "w");
        fputs(contents[i], file);
        fclose(file);
        struct ddpm_plan_cache *cache = open_locked("device A");
        assert_null(ddpm_plan_cache_get(cache, "first"));
        assert_null(ddpm_plan_cache_get(cache, "conv"));
        assert_true(ddpm_plan_cache_put(cache, "conv", "good again"));
        ddpm_plan_cache_close(&cache);
        cache = open_locked("device A");
        assert_string_equal(ddpm_plan_cache_get(cache, "conv"), "good again");
        ddpm_plan_cache_close(&cache);
        assert_int_equal(remove(path), 0);
    }
}

static void good_lines_between_damaged_ones_count(void **unused)
{
    (void)unused;
    char path[512];
    FILE *file = open_file_of_one_choice(path, "a");
    fputs("no tab here\n", file);
    for (int i = 0; i < 5000; ++i)
        fputc('x', file);
    fputs("\nlast\town\n", file);
    fclose(file);
    struct ddpm_plan_cache *cache = open_locked("device A");
    assert_string_equal(ddpm_plan_cache_get(cache, "first"), "own");
    assert_string_equal(ddpm_plan_cache_get(cache, "last"), "own");
    ddpm_plan_cache_close(&cache);
}

static void text_that_would_break_the_file_is_refused(void **unused)
{
    (void)unused;
    char long_text[600];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    struct ddpm_plan_cache *cache = open_locked("device A");
    assert_false(ddpm_plan_cache_put(cache, "a\tb", "own"));
    assert_false(ddpm_plan_cache_put(cache, "a", "o\nwn"));
    assert_false(ddpm_plan_cache_put(cache, "", "own"));
    assert_false(ddpm_plan_cache_put(cache, long_text, "own"));
    assert_null(ddpm_plan_cache_get(cache, "a"));
    ddpm_plan_cache_close(&cache);
}

static void without_a_place_there_is_no_cache(void **unused)
{
    (void)unused;
    struct ddpm_plan_cache *cache;
    assert_int_equal(setenv("XDG_CACHE_HOME", "/proc/no/such/place", 1), 0);
    ddpm_plan_cache_open("device A", &cache);
    assert_null(cache);
    assert_int_equal(setenv("XDG_CACHE_HOME", "relative", 1), 0);
    assert_int_equal(unsetenv("HOME"), 0);
    ddpm_plan_cache_open("device A", &cache);
    assert_null(cache);
    ddpm_plan_cache_close(&cache);
}

static void a_file_that_cannot_be_written_keeps_choices_for_the_process(void **unused)
{
    (void)unused;
    char path[512];
    struct ddpm_plan_cache *cache = open_locked("device A");
    assert_true(ddpm_plan_cache_put(cache, "first", "own"));
    find_file(path);
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* no file can be renamed to this, not even by root */
    assert_false(ddpm_plan_cache_put(cache, "second", "own"));
    assert_string_equal(ddpm_plan_cache_get(cache, "second"), "own");
    ddpm_plan_cache_close(&cache);
    assert_int_equal(rmdir(path), 0);
}

/* ---- plans ---- */

static const char *const plan_text = "{\"plan\":\n\"of\ttwo lines\"}";

static void write_plan(const char *identity, const char *key, const char *value)
{
    struct ddpm_plan_cache *cache = open_locked(identity);
    assert_true(ddpm_plan_cache_write_plan(cache, key, value, plan_text, strlen(plan_text)));
    ddpm_plan_cache_close(&cache);
}

static void expect_plan(const char *identity, const char *key, const char *value, const char *text)
{
    struct ddpm_plan_cache *cache = open_locked(identity);
    size_t bytes = 0;
    char *plan = ddpm_plan_cache_read_plan(cache, key, value, &bytes);
    if (text) {
        assert_non_null(plan);
        assert_int_equal(bytes, strlen(text));
        assert_memory_equal(plan, text, bytes);
    } else {
        assert_null(plan);
    }
    free(plan);
    ddpm_plan_cache_close(&cache);
}

/* The only plan file in the folder. */
static void find_plan(char path[512])
{
    char command[512];
    snprintf(command, sizeof command, "ls %s/ddpm/cuda-*.plan", folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, 512, list));
    pclose(list);
    path[strcspn(path, "\n")] = '\0';
}

static void plans_are_kept_for_what_was_chosen(void **unused)
{
    (void)unused;
    expect_plan("device A", "conv", "fused2", NULL);
    write_plan("device A", "conv", "fused2");
    expect_plan("device A", "conv", "fused2", plan_text);
    expect_plan("device A", "conv", "fused3", NULL); /* another choice */
    expect_plan("device A", "con", "fused2", NULL);
    expect_plan("device B", "conv", "fused2", NULL);
    write_plan("device A", "conv", "fused3");
    expect_plan("device A", "conv", "fused2", NULL); /* replaced */
    expect_plan("device A", "conv", "fused3", plan_text);
}

/* Two keys with the same hash would find each other's file. */
static void a_plan_of_another_key_is_refused(void **unused)
{
    (void)unused;
    char path[512], other[512], command[1200];
    write_plan("device A", "one", "fused2");
    find_plan(path);
    snprintf(command, sizeof command, "mv %s %s.kept", path, path);
    assert_int_equal(system(command), 0);
    write_plan("device A", "two", "fused2");
    find_plan(other);
    snprintf(command, sizeof command, "mv %s.kept %s", path, other);
    assert_int_equal(system(command), 0);
    expect_plan("device A", "two", "fused2", NULL);
    write_plan("device A", "two", "fused2");
    expect_plan("device A", "two", "fused2", plan_text);
}

/* Every byte of the file missing, flipped, and one too many. */
static void damaged_plans_are_no_plans(void **unused)
{
    (void)unused;
    char path[512], whole[512];
    write_plan("device A", "conv", "fused2");
    find_plan(path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    const size_t bytes = fread(whole, 1, sizeof whole - 1, file);
    fclose(file);
    for (size_t i = 0; i < 2 * bytes + 1; ++i) {
        file = fopen(path, "w");
        assert_non_null(file);
        if (i < bytes) {
            assert_int_equal(fwrite(whole, 1, i, file), i);
        } else {
            const size_t at = i - bytes;
            whole[at] ^= at < bytes ? 1 : 0;
            assert_int_equal(fwrite(whole, 1, bytes + (at == bytes), file), bytes + (at == bytes));
            whole[at] ^= at < bytes ? 1 : 0;
        }
        fclose(file);
        expect_plan("device A", "conv", "fused2", NULL);
    }
    write_plan("device A", "conv", "fused2");
    expect_plan("device A", "conv", "fused2", plan_text);
}

static void plans_that_cannot_be_kept_are_not(void **unused)
{
    (void)unused;
    char path[512], command[600];
    const size_t huge = (size_t)17 << 20;
    char *text = calloc(1, huge);
    struct ddpm_plan_cache *cache = open_locked("device A");
    assert_non_null(text);
    assert_false(ddpm_plan_cache_write_plan(cache, "conv", "fused2", text, huge));
    assert_false(ddpm_plan_cache_write_plan(cache, "conv", "fused2", text, 0));
    assert_false(ddpm_plan_cache_write_plan(cache, "co\nnv", "fused2", text, 9));
    assert_false(ddpm_plan_cache_write_plan(cache, "conv", "", text, 9));
    assert_true(ddpm_plan_cache_write_plan(cache, "conv", "fused2", text, 9));
    find_plan(path);
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* no file can be renamed to this, not even by root */
    assert_false(ddpm_plan_cache_write_plan(cache, "conv", "fused2", text, 9));
    ddpm_plan_cache_close(&cache);
    expect_plan("device A", "conv", "fused2", NULL);
    snprintf(command, sizeof command, "ls %s/ddpm/*.plan.* 2>/dev/null", folder);
    assert_int_not_equal(system(command), 0); /* no half file is left */
    assert_int_equal(rmdir(path), 0);
    free(text);
}

/* A process that ends during a trial does not close anything. */
static void a_trial_that_nothing_ended_is_found_by_the_next_process(void **unused)
{
    (void)unused;
    int status;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ddpm_plan_cache *cache = open_locked("device A");
        ddpm_plan_cache_begin_trial(cache, 0, "conv 1", "plan 1");
        ddpm_plan_cache_end_trial(cache, 0);
        ddpm_plan_cache_begin_trial(cache, 0, "conv 1", "plan 2");
        /* One of two threads has not finished its trial. */
        ddpm_plan_cache_begin_trial(cache, 1, "conv 3", "plan 3");
        ddpm_plan_cache_begin_trial(cache, DDPM_PLAN_TRIALS - 1, "conv 4", "plan 4");
        ddpm_plan_cache_end_trial(cache, 1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    for (int i = 0; i < 2; ++i) { /* it stays remembered */
        struct ddpm_plan_cache *cache = open_locked("device A");
        assert_false(ddpm_plan_cache_crashed(cache, "conv 1", "plan 1"));
        assert_true(ddpm_plan_cache_crashed(cache, "conv 1", "plan 2"));
        assert_false(ddpm_plan_cache_crashed(cache, "conv 2", "plan 2"));
        assert_false(ddpm_plan_cache_crashed(cache, "conv 3", "plan 3"));
        assert_true(ddpm_plan_cache_crashed(cache, "conv 4", "plan 4"));
        ddpm_plan_cache_close(&cache);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        CASE(choices_outlive_the_process_that_made_them),
        CASE(another_process_s_choice_is_taken),
        CASE(damage_is_read_as_nothing),
        CASE(good_lines_between_damaged_ones_count),
        CASE(text_that_would_break_the_file_is_refused),
        CASE(a_file_that_cannot_be_written_keeps_choices_for_the_process),
        CASE(plans_are_kept_for_what_was_chosen),
        CASE(a_plan_of_another_key_is_refused),
        CASE(damaged_plans_are_no_plans),
        CASE(plans_that_cannot_be_kept_are_not),
        CASE(a_trial_that_nothing_ended_is_found_by_the_next_process),
        CASE(without_a_place_there_is_no_cache),
    };
    return cmocka_run_group_tests_name("plan cache", tests, NULL, NULL);
}

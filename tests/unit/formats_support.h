/* Shared by the tests of src/formats: a scratch folder, files in it, and a full disk. */
#ifndef FORMATS_SUPPORT_H
#define FORMATS_SUPPORT_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "formats/file.h"

/* This program's scratch folder, made by the group's set-up. */
static char scratch[256];

static inline int make_scratch(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/ddpm-test-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int remove_scratch(void **state)
{
    (void)state;
    return ddpm_directory_remove(scratch) == DDPM_OK ? 0 : -1;
}

/* Path of a file in the scratch folder; the eight latest results stay valid. */
static inline const char *at(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static inline void assert_ok(ddpm_status status)
{
    if (status != DDPM_OK)
        fail_msg("%s: %s", ddpm_status_name(status), ddpm_error_message());
}

/* The expected status, and words that the message must contain. */
static inline void assert_error(ddpm_status got, ddpm_status want, const char *words)
{
    if (got != want || !strstr(ddpm_error_message(), words))
        fail_msg("got \"%s\": %s, want \"%s\": %s", ddpm_status_name(got), ddpm_error_message(),
                 ddpm_status_name(want), words);
}

static inline void assert_file_is(const char *path, const void *data, size_t bytes)
{
    void *got;
    size_t got_bytes;
    assert_ok(ddpm_file_read_whole(&got, &got_bytes, path, SIZE_MAX));
    assert_int_equal(got_bytes, bytes);
    assert_memory_equal(got, data, bytes);
    free(got);
}

/* The number of names in the scratch folder. */
static inline size_t scratch_count(void)
{
    char **names;
    size_t count;
    assert_ok(ddpm_directory_list(&names, &count, scratch));
    ddpm_names_free(names, count);
    return count;
}

/* Let no file grow beyond `bytes`, as on a full disk; RLIM_INFINITY ends it. */
static inline void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

#endif

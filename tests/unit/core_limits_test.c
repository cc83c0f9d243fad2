/* Limits of memory and processor time, read from a made-up root folder: control groups of both
 * versions, on their own and mixed, seen from inside a container and from outside. */
#define _GNU_SOURCE
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/limits.h"
#include "core/processors.h"

#define MIB ((size_t)1 << 20)

static char root[64];

/* Make a file under the root, with its parent folders. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(path, 0777);
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_root(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/ddpm-limits-XXXXXX");
    assert_non_null(mkdtemp(root));
    put("/proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n"
                         "CommitLimit: 1048576 kB\nCommitted_AS: 524288 kB\n");
    put("/proc/self/status", "Name:\tx\nVmSize:\t  102400 kB\nVmData:\t 51200 kB\n"
                             "RssAnon:\t   10240 kB\n");
    put("/proc/sys/vm/overcommit_memory", "0\n");
    return 0;
}

static int clear_root(void **state)
{
    (void)state;
    remove_root();
    return 0;
}

static const char second[] = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 "
                             "rw,nsdelegate,memory_recursiveprot\n";

static void without_groups_it_is_the_machine_s(void **state)
{
    (void)state;
    assert_int_equal(ddpm_memory_available(root, 0), 8192 * MIB);
    assert_int_equal(ddpm_processor_quota(root), INT_MAX);
    /* 10 MiB of 110 have been written: 100 are still to be touched. */
    assert_int_equal(ddpm_memory_available(root, 110 * MIB), (8192 - 100) * MIB);
    assert_int_equal(ddpm_memory_available(root, 1000000 * MIB), 1);
    remove_root();
    assert_int_equal(ddpm_memory_available(root, 0), 0); /* not known */
    assert_int_equal(ddpm_processor_quota(root), INT_MAX);
}

static void the_least_on_the_way_up_counts(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/user.slice/job/step\n");
    put("/proc/self/mountinfo", second);
    put("/sys/fs/cgroup/user.slice/job/step/memory.max", "max\n");
    put("/sys/fs/cgroup/user.slice/job/step/cpu.max", "max 100000\n");
    assert_int_equal(ddpm_memory_available(root, 0), 8192 * MIB);
    assert_int_equal(ddpm_processor_quota(root), INT_MAX);
    put("/sys/fs/cgroup/user.slice/job/memory.max", "2147483648\n");
    put("/sys/fs/cgroup/user.slice/job/memory.current", "1073741824\n");
    put("/sys/fs/cgroup/user.slice/job/memory.stat", "anon 1\ninactive_file 536870912\n");
    put("/sys/fs/cgroup/user.slice/job/cpu.max", "250000 100000\n");
    assert_int_equal(ddpm_memory_available(root, 0), 1536 * MIB);
    assert_int_equal(ddpm_processor_quota(root), 3); /* 2.5 */
    put("/sys/fs/cgroup/user.slice/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/user.slice/memory.current", "1073741825\n");
    put("/sys/fs/cgroup/user.slice/cpu.max", "50000 100000\n");
    assert_int_equal(ddpm_memory_available(root, 0), 1); /* over its limit */
    assert_int_equal(ddpm_processor_quota(root), 1);
}

static void memory_high_is_a_limit_too(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a\n");
    put("/proc/self/mountinfo", second);
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.high", "1073741824\n");
    put("/sys/fs/cgroup/a/memory.current", "0\n");
    assert_int_equal(ddpm_memory_available(root, 0), 1024 * MIB);
}

/* In a container with a namespace, our own group is "/", and its files are at the top. */
static void a_namespace_of_groups(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", second);
    put("/sys/fs/cgroup/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/memory.current", "536870912\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    assert_int_equal(ddpm_memory_available(root, 0), 512 * MIB);
    assert_int_equal(ddpm_processor_quota(root), 2);
    put("/proc/self/cgroup", "0::/../other\n"); /* moved out of it */
    assert_int_equal(ddpm_memory_available(root, 0), 512 * MIB);
    assert_int_equal(ddpm_processor_quota(root), 2);
}

static void the_first_version(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "12:cpuset:/\n5:cpu,cpuacct:/job/1\n4:memory:/job/1\n1:name=x:/\n");
    put("/proc/self/mountinfo",
        "40 30 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "41 30 0:34 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1073741824\n");
    put("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "268435456\n");
    put("/sys/fs/cgroup/memory/job/memory.use_hierarchy", "1\n");
    put("/sys/fs/cgroup/memory/job/memory.stat",
        "inactive_file 1\ntotal_inactive_file 134217728\n");
    put("/sys/fs/cgroup/memory/job/1/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/1/cpu.cfs_quota_us", "400000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/1/cpu.cfs_period_us", "100000\n");
    assert_int_equal(ddpm_memory_available(root, 0), 896 * MIB);
    assert_int_equal(ddpm_processor_quota(root), 4);
    put("/sys/fs/cgroup/memory/job/memory.use_hierarchy", "0\n");
    assert_int_equal(ddpm_memory_available(root, 0), 8192 * MIB);
}

/* Version 1 in a container: the path is the host's, the mount shows only our group. */
static void the_first_version_in_a_container(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "4:memory:/docker/abc\n3:cpu:/docker/abc\n0::/docker/abc\n");
    put("/proc/self/mountinfo",
        "40 30 0:33 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "41 30 0:34 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
        "150000\n"); /* the folder docker/abc does not exist */
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
    assert_int_equal(ddpm_memory_available(root, 0), 1024 * MIB);
    assert_int_equal(ddpm_processor_quota(root), 3);
    put("/proc/self/cgroup", "4:memory:/docker/abcd\n"); /* not below /docker/abc */
    assert_int_equal(ddpm_memory_available(root, 0), 1024 * MIB);
}

/* Hybrid: memory in version 1, the unified hierarchy without controllers, or the other way round.
 */
static void both_versions(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "4:memory:/a\n0::/a\n");
    put("/proc/self/mountinfo",
        "39 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "40 30 0:33 / /sys/fs/cgroup/my\\040memory rw - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/my memory/a/memory.limit_in_bytes", "1073741824\n");
    put("/sys/fs/cgroup/unified/a/memory.max", "1048576\n"); /* not the one in charge */
    put("/sys/fs/cgroup/unified/a/cpu.max", "100000 100000\n");
    assert_int_equal(ddpm_memory_available(root, 0), 1024 * MIB);
    assert_int_equal(ddpm_processor_quota(root), 1);
}

static void damaged_files_limit_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "0::\n", "::::\n", "4:memory\n", "x", "- - -\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i) {
        put("/proc/self/cgroup", texts[i]);
        put("/proc/self/mountinfo", i % 2 ? second : "1 2 - cgroup2\n - \n1 2 3 4 5 - cgroup2\n");
        assert_int_equal(ddpm_memory_available(root, 0), 8192 * MIB);
        assert_int_equal(ddpm_processor_quota(root), INT_MAX);
    }
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", second);
    put("/sys/fs/cgroup/memory.max", "99999999999999999999999999\n");
    put("/sys/fs/cgroup/cpu.max", "0 0\n");
    assert_int_equal(ddpm_memory_available(root, 0), 8192 * MIB);
    assert_int_equal(ddpm_processor_quota(root), INT_MAX);
}

static void strict_overcommit(void **state)
{
    (void)state;
    put("/proc/sys/vm/overcommit_memory", "2\n");
    assert_int_equal(ddpm_memory_available(root, 0), 512 * MIB);
}

/* Resource limits are the real ones of a child; the usage comes from the made-up file. */
enum { NO_EFFECT = 77 }; /* exit code: qemu-user accepts limits of memory and ignores them */

static int in_child(__rlimit_resource_t resource, size_t most, size_t wanted)
{
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {most, RLIM_INFINITY};
        const int set = setrlimit(resource, &limit);
        struct rlimit got = {0};
        if (set == 0 && getrlimit(resource, &got) == 0 && got.rlim_cur != most)
            _exit(NO_EFFECT);
        _exit(set == 0 && ddpm_memory_available(root, 0) == wanted ? 0 : 1);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_EFFECT) {
        print_message("limits of memory have no effect here\n");
        skip();
    }
    return status;
}

static void resource_limits(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* sanitizers use terabytes of address space */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    skip();
#endif
#endif
    assert_int_equal(in_child(RLIMIT_AS, 1124 * MIB, 1024 * MIB), 0);
    assert_int_equal(in_child(RLIMIT_DATA, 562 * MIB, 512 * MIB), 0);
    assert_int_equal(in_child(RLIMIT_STACK, 8 * MIB, 8192 * MIB), 0);
}

/* cpusets and taskset: the affinity. */
static void affinity_counts(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    size_t first = 0;
    while (!CPU_ISSET(first, &before))
        ++first;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_in_range(ddpm_processor_count(), 1, CPU_COUNT(&before));
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(ddpm_processor_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void)
{
#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, clear_root)
    const struct CMUnitTest tests[] = {
        WITH_ROOT(without_groups_it_is_the_machine_s),
        WITH_ROOT(the_least_on_the_way_up_counts),
        WITH_ROOT(memory_high_is_a_limit_too),
        WITH_ROOT(a_namespace_of_groups),
        WITH_ROOT(the_first_version),
        WITH_ROOT(the_first_version_in_a_container),
        WITH_ROOT(both_versions),
        WITH_ROOT(damaged_files_limit_nothing),
        WITH_ROOT(strict_overcommit),
        WITH_ROOT(resource_limits),
        cmocka_unit_test(affinity_counts),
    };
    return cmocka_run_group_tests_name("core_limits", tests, NULL, NULL);
}

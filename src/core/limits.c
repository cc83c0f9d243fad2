/* Limits of memory and processor time.
 *
 * A controller (memory, cpu) belongs to one hierarchy of groups: one of version 1, or the one of
 * version 2. /proc/self/cgroup says which group of a hierarchy is ours. /proc/self/mountinfo says
 * where the hierarchy is mounted and which group its topmost visible folder is. In a container that
 * is often the container's own group; or we see the whole path, but not the folders above. So
 * folders on the way that do not exist are skipped. */
#include "core/limits.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { PATH_BYTES = 4096 };

/* Our group in the hierarchy of one controller. */
struct group {
    char folder[PATH_BYTES];
    size_t top; /* length of the topmost visible folder's path, at the start of `folder` */
    bool first_version;
};

static FILE *open_file(const char *folder, const char *name)
{
    char path[2 * PATH_BYTES];
    const int used = snprintf(path, sizeof path, "%s%s", folder, name);
    return used > 0 && (size_t)used < sizeof path ? fopen(path, "r") : NULL;
}

/* The number after `key` at the start of a line. */
static bool read_number(const char *folder, const char *name, const char *key, long long *out)
{
    char line[256], *end;
    const size_t length = strlen(key);
    bool found = false;
    FILE *file = open_file(folder, name);
    while (file && !found && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) != 0)
            continue;
        errno = 0;
        const long long number = strtoll(line + length, &end, 10);
        found = end != line + length && errno == 0; /* "max" is not a number */
        *out = found ? number : *out;
    }
    if (file)
        fclose(file);
    return found;
}

static bool has_word(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; *at; at += *at == ',') {
        const size_t here = strcspn(at, ",\n");
        if (here == length && strncmp(at, word, length) == 0)
            return true;
        at += here;
        if (*at == '\n')
            break;
    }
    return false;
}

/* From /proc/self/cgroup, lines "4:memory:/a/b" and "0::/a/b": the group's path. */
static bool find_path(const char *root, const char *controller, bool first_version,
                      char path[PATH_BYTES])
{
    char *line = NULL;
    size_t bytes = 0;
    bool found = false;
    FILE *file = open_file(root, "/proc/self/cgroup");
    while (file && !found && getline(&line, &bytes, file) > 0) {
        char *names = strchr(line, ':'), *slash = names ? strchr(names + 1, ':') : NULL;
        if (!slash)
            continue;
        *slash++ = 0;
        slash[strcspn(slash, "\n")] = 0;
        if (first_version ? !has_word(names + 1, controller) : strncmp(line, "0:", 3) != 0)
            continue;
        found = snprintf(path, PATH_BYTES, "%s", slash) < PATH_BYTES;
    }
    free(line);
    if (file)
        fclose(file);
    return found;
}

/* mountinfo escapes spaces and the like as \040. */
static void decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from; ++to) {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

/* Parse a line of mountinfo, "36 35 0:33 TOP FOLDER options [fields…] - cgroup source
 * memory,rw". */
struct mount {
    char *top, *folder, *type, *options;
};

static bool split(char *line, struct mount *out)
{
    char *rest, *tail = strstr(line, " - ");
    if (!tail)
        return false;
    *tail = 0;
    (void)strtok_r(line, " ", &rest);
    for (int skip = 0; skip < 2; ++skip)
        (void)strtok_r(NULL, " ", &rest);
    out->top = strtok_r(NULL, " ", &rest);
    out->folder = strtok_r(NULL, " ", &rest);
    out->type = strtok_r(tail + 3, " \n", &rest);
    (void)strtok_r(NULL, " \n", &rest);
    out->options = strtok_r(NULL, " \n", &rest);
    if (!out->folder || !out->options)
        return false;
    decode(out->top);
    decode(out->folder);
    return true;
}

/* The folder of the group `path` under a mount; the topmost folder if the path is outside the
 * mount, as when a container sees only part of the hierarchy. */
static bool place(const char *root, const struct mount *mount, const char *path, struct group *out)
{
    const size_t top = strcmp(mount->top, "/") == 0 ? 0 : strlen(mount->top);
    const bool inside = strncmp(path, mount->top, top) == 0 &&
                        (path[top] == '/' || path[top] == 0) && !strstr(path, "/..");
    const char *below = inside && strcmp(path + top, "/") != 0 ? path + top : "";
    const int used = snprintf(out->folder, PATH_BYTES, "%s%s%s", root, mount->folder, below);
    out->top = strlen(root) + strlen(mount->folder);
    return used > 0 && used < PATH_BYTES;
}

static bool find_group(const char *root, const char *controller, bool first_version,
                       struct group *out)
{
    char path[PATH_BYTES], *line = NULL;
    size_t bytes = 0;
    struct mount mount;
    bool found = false;
    if (!find_path(root, controller, first_version, path))
        return false;
    FILE *file = open_file(root, "/proc/self/mountinfo");
    while (file && !found && getline(&line, &bytes, file) > 0) {
        if (!split(line, &mount) || strcmp(mount.type, first_version ? "cgroup" : "cgroup2") != 0)
            continue;
        if (!first_version || has_word(mount.options, controller))
            found = place(root, &mount, path, out);
    }
    free(line);
    if (file)
        fclose(file);
    out->first_version = first_version;
    return found;
}

/* Call `look` for our group and every group above it; the smallest answer counts. */
static long long least_on_the_way(const char *root, const char *controller,
                                  long long (*look)(const struct group *group, bool own))
{
    struct group group;
    long long least = LLONG_MAX;
    if (!find_group(root, controller, true, &group) && !find_group(root, controller, false, &group))
        return least;
    for (bool own = true;; own = false) {
        const long long here = look(&group, own);
        least = here < least ? here : least;
        char *slash = strrchr(group.folder + group.top, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

/* The system drops cached file pages that are not in use before it enforces a limit. */
static long long memory_left(const struct group *group, bool own)
{
    const bool v1 = group->first_version;
    long long limit = LLONG_MAX, high = LLONG_MAX, used = 0, cache = 0, counts = 1;
    /* In version 1 a group need not limit the groups below it. */
    if (v1 && !own && read_number(group->folder, "/memory.use_hierarchy", "", &counts) && !counts)
        return LLONG_MAX;
    (void)read_number(group->folder, v1 ? "/memory.limit_in_bytes" : "/memory.max", "", &limit);
    if (!v1) /* above it the system slows the process down instead of killing it */
        (void)read_number(group->folder, "/memory.high", "", &high);
    limit = high < limit ? high : limit;
    if (limit == LLONG_MAX)
        return limit;
    (void)read_number(group->folder, v1 ? "/memory.usage_in_bytes" : "/memory.current", "", &used);
    (void)read_number(group->folder, "/memory.stat", v1 ? "total_inactive_file " : "inactive_file ",
                      &cache);
    used -= cache < used ? cache : used;
    return used < limit ? limit - used : 0;
}

static long long processors(const struct group *group, bool own)
{
    long long quota = -1, period = 100000;
    (void)own;
    if (group->first_version) {
        (void)read_number(group->folder, "/cpu.cfs_quota_us", "", &quota);
        (void)read_number(group->folder, "/cpu.cfs_period_us", "", &period);
    } else {
        char line[64] = "";
        FILE *file = open_file(group->folder, "/cpu.max");
        if (!file || !fgets(line, sizeof line, file) ||
            sscanf(line, "%lld %lld", &quota, &period) < 1)
            quota = -1; /* "max 100000" */
        if (file)
            fclose(file);
    }
    return quota > 0 && period > 0 ? (quota - 1) / period + 1 : LLONG_MAX;
}

int ddpm_processor_quota(const char *root)
{
    const long long granted = least_on_the_way(root, "cpu", processors);
    return granted < INT_MAX ? (int)granted : INT_MAX;
}

/* How much a resource limit leaves. The file gives in kB what is allocated, whether touched or
 * not. */
static long long left_of(const char *root, int resource, const char *key)
{
    struct rlimit limit;
    long long taken;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur > LLONG_MAX || !read_number(root, "/proc/self/status", key, &taken))
        return LLONG_MAX;
    const long long most = (long long)limit.rlim_cur;
    return taken < most / 1024 ? most - 1024 * taken : 0;
}

/* If the system does not overcommit memory, allocations count even before they are touched. */
static long long left_to_commit(const char *root)
{
    long long mode, limit, committed;
    if (!read_number(root, "/proc/sys/vm/overcommit_memory", "", &mode) || mode != 2 ||
        !read_number(root, "/proc/meminfo", "CommitLimit:", &limit) ||
        !read_number(root, "/proc/meminfo", "Committed_AS:", &committed))
        return LLONG_MAX;
    return committed < limit ? 1024 * (limit - committed) : 0;
}

static long long least_of(long long a, long long b)
{
    return a < b ? a : b;
}

bool ddpm_address_space_is_limited(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

/* Pages that this process has allocated but not touched yet look free to the system and its groups,
 * but are not free for the next plan. */
size_t ddpm_memory_available(const char *root, size_t promised)
{
    long long free_kb, resident_kb;
    if (!read_number(root, "/proc/meminfo", "MemAvailable:", &free_kb) || free_kb < 0)
        return 0;
    long long left = least_of(1024 * free_kb, least_on_the_way(root, "memory", memory_left));
    if (read_number(root, "/proc/self/status", "RssAnon:", &resident_kb)) {
        const long long waiting = (long long)promised - 1024 * resident_kb;
        left -= waiting > 0 ? waiting : 0;
    }
    left = least_of(left, left_of(root, RLIMIT_AS, "VmSize:"));
    left = least_of(left, left_of(root, RLIMIT_DATA, "VmData:"));
    left = least_of(left, left_to_commit(root));
    return left > 1 ? (size_t)left : 1;
}

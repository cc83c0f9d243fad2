/* The files of measured choices and of plans, see plan_cache.h. */
#include "kernels/cuda/plan_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/hash.h"

enum { PATH_BYTES = 4096, LINE_BYTES = 2 * DDPM_PLAN_TEXT_BYTES + 2, MOST_ENTRIES = 65536 };
enum { HEAD_BYTES = 2 * LINE_BYTES + 64, MOST_PLAN_BYTES = 16 << 20 };

struct entry {
    char key[DDPM_PLAN_TEXT_BYTES], value[DDPM_PLAN_TEXT_BYTES];
};

struct ddpm_plan_cache {
    char stem[PATH_BYTES]; /* start of all paths: folder/cuda-<hash> */
    char path[PATH_BYTES + 8], lock_path[PATH_BYTES + 16];
    char identity[LINE_BYTES];
    int lock; /* file descriptor, -1: none */
    struct entry *entries;
    size_t count, capacity;
};

/* $XDG_CACHE_HOME/ddpm, created if missing. */
static bool find_folder(char folder[PATH_BYTES])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = -1;
    /* The specification of XDG_CACHE_HOME says to ignore a relative path. */
    if (cache && cache[0] == '/')
        length = snprintf(folder, PATH_BYTES, "%s", cache);
    else if (home && home[0] == '/')
        length = snprintf(folder, PATH_BYTES, "%s/.cache", home);
    if (length < 0 || length > PATH_BYTES - 64)
        return false;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return false;
    snprintf(folder + length, (size_t)(PATH_BYTES - length), "/ddpm");
    return mkdir(folder, 0700) == 0 || errno == EEXIST;
}

static struct entry *find(const struct ddpm_plan_cache *cache, const char *key)
{
    for (size_t i = 0; i < cache->count; ++i)
        if (!strcmp(cache->entries[i].key, key))
            return &cache->entries[i];
    return NULL;
}

/* In memory. */
static bool keep(struct ddpm_plan_cache *cache, const char *key, const char *value)
{
    struct entry *entry = find(cache, key);
    if (!entry) {
        if (cache->count == cache->capacity) {
            size_t capacity = cache->capacity ? 2 * cache->capacity : 64;
            struct entry *larger = realloc(cache->entries, capacity * sizeof *larger);
            if (!larger)
                return false;
            cache->entries = larger;
            cache->capacity = capacity;
        }
        entry = &cache->entries[cache->count++];
        snprintf(entry->key, sizeof entry->key, "%s", key);
    }
    snprintf(entry->value, sizeof entry->value, "%s", value);
    return true;
}

static bool is_text(const char *text)
{
    size_t length = 0;
    for (; text[length]; ++length)
        if ((unsigned char)text[length] < ' ' || (unsigned char)text[length] > '~')
            return false;
    return length > 0 && length < DDPM_PLAN_TEXT_BYTES;
}

/* Read the file's choices; lines that make no sense are ignored. */
static void read_file(struct ddpm_plan_cache *cache)
{
    char line[LINE_BYTES];
    FILE *file = fopen(cache->path, "r");
    if (!file)
        return;
    if (fgets(line, sizeof line, file) && !strcmp(line, cache->identity)) {
        while (cache->count < MOST_ENTRIES && fgets(line, sizeof line, file)) {
            char *end = strchr(line, '\n'), *tab = strchr(line, '\t');
            if (!end || !tab)
                continue;
            *end = *tab = '\0';
            if (is_text(line) && is_text(tab + 1))
                keep(cache, line, tab + 1);
        }
    }
    fclose(file);
}

/* A file that gets its name only when it is complete. */
struct draft {
    char path[PATH_BYTES + 64], temporary[PATH_BYTES + 96];
    FILE *file;
};

static bool open_draft(struct draft *draft, const char *path)
{
    snprintf(draft->path, sizeof draft->path, "%s", path);
    snprintf(draft->temporary, sizeof draft->temporary, "%s.%ld", path, (long)getpid());
    draft->file = fopen(draft->temporary, "w");
    return draft->file != NULL;
}

static bool commit(struct draft *draft, bool good)
{
    good = fflush(draft->file) == 0 && fsync(fileno(draft->file)) == 0 && good;
    good = fclose(draft->file) == 0 && good;
    good = good && rename(draft->temporary, draft->path) == 0;
    if (!good)
        (void)remove(draft->temporary);
    return good;
}

static bool write_file(const struct ddpm_plan_cache *cache)
{
    struct draft draft;
    if (!open_draft(&draft, cache->path))
        return false;
    bool good = fputs(cache->identity, draft.file) >= 0;
    for (size_t i = 0; i < cache->count; ++i)
        good = good &&
               fprintf(draft.file, "%s\t%s\n", cache->entries[i].key, cache->entries[i].value) > 0;
    return commit(&draft, good);
}

/* ---- plans that crash ---- */

static void name_crash(const char *key, const char *name, char entry[DDPM_PLAN_TEXT_BYTES])
{
    snprintf(entry, DDPM_PLAN_TEXT_BYTES, "crashed %016llx %s",
             (unsigned long long)ddpm_fnv64(DDPM_FNV64_START, key, strlen(key)), name);
}

static void trial_path(const struct ddpm_plan_cache *cache, int trial, char path[PATH_BYTES + 16])
{
    snprintf(path, PATH_BYTES + 16, "%s.trial%d", cache->stem, trial);
}

void ddpm_plan_cache_begin_trial(const struct ddpm_plan_cache *cache, int trial, const char *key,
                                 const char *name)
{
    char path[PATH_BYTES + 16];
    trial_path(cache, trial, path);
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    fprintf(file, "%s\t%s\n", key, name);
    fclose(file);
}

void ddpm_plan_cache_end_trial(const struct ddpm_plan_cache *cache, int trial)
{
    char path[PATH_BYTES + 16];
    trial_path(cache, trial, path);
    (void)remove(path);
}

bool ddpm_plan_cache_crashed(const struct ddpm_plan_cache *cache, const char *key, const char *name)
{
    char entry[DDPM_PLAN_TEXT_BYTES];
    name_crash(key, name, entry);
    return find(cache, entry) != NULL;
}

/* Remember the trial during which a process ended. */
static void take_over_trial(struct ddpm_plan_cache *cache, int trial)
{
    char path[PATH_BYTES + 16], line[LINE_BYTES], entry[DDPM_PLAN_TEXT_BYTES];
    trial_path(cache, trial, path);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    char *tab = fgets(line, sizeof line, file) ? strchr(line, '\t') : NULL;
    fclose(file);
    if (tab) {
        *tab = tab[1 + strcspn(tab + 1, "\n")] = '\0';
        name_crash(line, tab + 1, entry);
        (void)ddpm_plan_cache_put(cache, entry, "1");
    }
    ddpm_plan_cache_end_trial(cache, trial);
}

void ddpm_plan_cache_open(const char *identity, struct ddpm_plan_cache **out)
{
    char folder[PATH_BYTES];
    *out = NULL;
    if (!find_folder(folder))
        return;
    struct ddpm_plan_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return;
    cache->lock = -1;
    snprintf(cache->identity, sizeof cache->identity, "%.*s\n", LINE_BYTES - 2, identity);
    snprintf(
        cache->stem, sizeof cache->stem, "%.*s/cuda-%016llx", PATH_BYTES - 64, folder,
        (unsigned long long)ddpm_fnv64(DDPM_FNV64_START, cache->identity, strlen(cache->identity)));
    snprintf(cache->path, sizeof cache->path, "%s.plans", cache->stem);
    snprintf(cache->lock_path, sizeof cache->lock_path, "%s.lock", cache->path);
    /* Find out now whether anything can be stored: a choice that the next process would not know is
     * not worth measuring. */
    cache->lock = open(cache->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (cache->lock < 0) {
        free(cache);
        return;
    }
    *out = cache;
}

void ddpm_plan_cache_close(struct ddpm_plan_cache **cache)
{
    struct ddpm_plan_cache *closing = *cache;
    *cache = NULL;
    if (!closing)
        return;
    close(closing->lock);
    free(closing->entries);
    free(closing);
}

void ddpm_plan_cache_lock(struct ddpm_plan_cache *cache)
{
    int locked;
    while ((locked = flock(cache->lock, LOCK_EX)) != 0 && errno == EINTR)
        ;
    read_file(cache);
    for (int i = 0; locked == 0 && i < DDPM_PLAN_TRIALS; ++i) /* not those of a live process */
        take_over_trial(cache, i);
}

void ddpm_plan_cache_unlock(struct ddpm_plan_cache *cache)
{
    (void)flock(cache->lock, LOCK_UN);
}

const char *ddpm_plan_cache_get(const struct ddpm_plan_cache *cache, const char *key)
{
    const struct entry *entry = find(cache, key);
    return entry ? entry->value : NULL;
}

bool ddpm_plan_cache_put(struct ddpm_plan_cache *cache, const char *key, const char *value)
{
    return is_text(key) && is_text(value) && keep(cache, key, value) && write_file(cache);
}

/* ---- plans ---- */

static void plan_path(const struct ddpm_plan_cache *cache, const char *key,
                      char path[PATH_BYTES + 32])
{
    snprintf(path, PATH_BYTES + 32, "%s-%016llx.plan", cache->stem,
             (unsigned long long)ddpm_fnv64(DDPM_FNV64_START, key, strlen(key)));
}

/* The beginning of the first line, which shows that this is the right file. */
static int print_head(const struct ddpm_plan_cache *cache, const char *key, const char *value,
                      char head[HEAD_BYTES])
{
    const int identity = (int)strcspn(cache->identity, "\n");
    return snprintf(head, HEAD_BYTES, "%.*s\t%s\t%s\t", identity, cache->identity, key, value);
}

/* The plan after the first line, if it has the length and the checksum stated there. The checksum
 * is needed because cuDNN does not notice a flipped bit in a kernel's code. */
static char *read_body(FILE *file, size_t bytes, uint64_t checksum)
{
    char *plan = bytes > 0 && bytes <= MOST_PLAN_BYTES ? malloc(bytes + 1) : NULL;
    if (!plan)
        return NULL;
    plan[bytes] = '\0';
    if (fread(plan, 1, bytes, file) == bytes && fgetc(file) == EOF &&
        ddpm_fnv64(DDPM_FNV64_START, plan, bytes) == checksum)
        return plan;
    free(plan);
    return NULL;
}

char *ddpm_plan_cache_read_plan(const struct ddpm_plan_cache *cache, const char *key,
                                const char *value, size_t *bytes)
{
    char path[PATH_BYTES + 32], head[HEAD_BYTES], line[HEAD_BYTES];
    unsigned long long count, checksum;
    char *plan = NULL;
    plan_path(cache, key, path);
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    const size_t length = (size_t)print_head(cache, key, value, head);
    if (fgets(line, sizeof line, file) && !strncmp(line, head, length) &&
        sscanf(line + length, "%llu\t%llx", &count, &checksum) == 2) {
        plan = read_body(file, (size_t)count, checksum);
        *bytes = (size_t)count;
    }
    fclose(file);
    return plan;
}

bool ddpm_plan_cache_write_plan(const struct ddpm_plan_cache *cache, const char *key,
                                const char *value, const char *plan, size_t bytes)
{
    char path[PATH_BYTES + 32], head[HEAD_BYTES];
    struct draft draft;
    plan_path(cache, key, path);
    if (!is_text(key) || !is_text(value) || bytes == 0 || bytes > MOST_PLAN_BYTES ||
        !open_draft(&draft, path))
        return false;
    print_head(cache, key, value, head);
    bool good = fprintf(draft.file, "%s%zu\t%016llx\n", head, bytes,
                        (unsigned long long)ddpm_fnv64(DDPM_FNV64_START, plan, bytes)) > 0;
    return commit(&draft, good && fwrite(plan, 1, bytes, draft.file) == bytes);
}

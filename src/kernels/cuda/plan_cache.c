/* The file of measured choices, see plan_cache.h. */
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

enum { PATH_BYTES = 4096, LINE_BYTES = 2 * DDPM_PLAN_TEXT_BYTES + 2, MOST_ENTRIES = 65536 };

struct entry {
    char key[DDPM_PLAN_TEXT_BYTES], value[DDPM_PLAN_TEXT_BYTES];
};

struct ddpm_plan_cache {
    char path[PATH_BYTES], lock_path[PATH_BYTES + 8];
    char identity[LINE_BYTES];
    int lock; /* file descriptor, -1: none */
    struct entry *entries;
    size_t count, capacity;
};

/* $XDG_CACHE_HOME/ddpm, made where it is not there. */
static bool find_folder(char folder[PATH_BYTES])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = -1;
    /* The specification of XDG_CACHE_HOME: a relative path is to be ignored. */
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

/* FNV-1a. */
static uint64_t hash_text(const char *text)
{
    uint64_t hash = 1469598103934665603u;
    for (; *text; ++text)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
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

/* Take over what the file says; lines that make no sense are left out. */
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

static bool write_file(const struct ddpm_plan_cache *cache)
{
    char temporary[PATH_BYTES + 32];
    snprintf(temporary, sizeof temporary, "%s.%ld", cache->path, (long)getpid());
    FILE *file = fopen(temporary, "w");
    if (!file)
        return false;
    bool good = fputs(cache->identity, file) >= 0;
    for (size_t i = 0; i < cache->count; ++i)
        good =
            good && fprintf(file, "%s\t%s\n", cache->entries[i].key, cache->entries[i].value) > 0;
    good = fflush(file) == 0 && fsync(fileno(file)) == 0 && good;
    good = fclose(file) == 0 && good;
    good = good && rename(temporary, cache->path) == 0;
    if (!good)
        (void)remove(temporary);
    return good;
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
    snprintf(cache->path, sizeof cache->path, "%.*s/cuda-%016llx.plans", PATH_BYTES - 64, folder,
             (unsigned long long)hash_text(cache->identity));
    snprintf(cache->lock_path, sizeof cache->lock_path, "%s.lock", cache->path);
    /* Whether anything can be kept is asked now: a choice that the next process would not know is
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
    while (flock(cache->lock, LOCK_EX) != 0 && errno == EINTR)
        ;
    read_file(cache);
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

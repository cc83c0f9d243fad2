/* Folders and paths. */
#include "formats/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"

ddpm_status ddpm_path_join(char **out, const char *folder, const char *name)
{
    size_t length = strlen(folder);
    const char *between = length && folder[length - 1] != '/' ? "/" : "";
    return ddpm_format(out, "%s%s%s", folder, between, name);
}

ddpm_status ddpm_path_format(char *out, size_t bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out, bytes, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= bytes)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "the path is too long: %.64s…", out);
    return DDPM_OK;
}

bool ddpm_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool ddpm_path_is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Make one folder in an existing parent. */
static ddpm_status create_one(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return DDPM_OK;
    int error = errno;
    if (ddpm_path_is_directory(path))
        return DDPM_OK;
    errno = error;
    return ddpm_raise_errno("cannot make the folder %s", path);
}

ddpm_status ddpm_directory_create(const char *path)
{
    char *prefix;
    ddpm_status status = DDPM_OK;
    DDPM_TRY(ddpm_copy_string(&prefix, path));
    for (char *slash = strchr(prefix + (*prefix == '/'), '/'); slash && status == DDPM_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        status = create_one(prefix);
        *slash = '/';
    }
    free(prefix);
    return status == DDPM_OK ? create_one(path) : status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ddpm_status add_name(char ***names, size_t *capacity, size_t *count, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return DDPM_OK;
    DDPM_TRY(
        ddpm_grow_array((void **)names, capacity, *count + 1, sizeof **names, "names of files"));
    DDPM_TRY(ddpm_copy_string(&(*names)[*count], name));
    ++*count;
    return DDPM_OK;
}

ddpm_status ddpm_directory_list(char ***names, size_t *count, const char *path)
{
    *names = NULL;
    *count = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return ddpm_raise_errno("cannot list the folder %s", path);
    size_t capacity = 0;
    ddpm_status status = DDPM_OK;
    while (status == DDPM_OK) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno)
                status = ddpm_raise_errno("cannot list the folder %s", path);
            break;
        }
        status = add_name(names, &capacity, count, entry->d_name);
    }
    closedir(folder);
    if (status != DDPM_OK) {
        ddpm_names_free(*names, *count);
        *names = NULL;
        *count = 0;
    } else if (*count) {
        qsort(*names, *count, sizeof **names, compare_names);
    }
    return status;
}

ddpm_status ddpm_directory_is_empty(const char *path, bool *empty)
{
    char **names;
    size_t count;
    DDPM_TRY(ddpm_directory_list(&names, &count, path));
    ddpm_names_free(names, count);
    *empty = count == 0;
    return DDPM_OK;
}

void ddpm_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; ++i)
        free(names[i]);
    free(names);
}

static ddpm_status remove_content(const char *path)
{
    char **names;
    size_t count;
    ddpm_status first = DDPM_OK;
    DDPM_TRY(ddpm_directory_list(&names, &count, path));
    for (size_t i = 0; i < count; ++i) {
        char *inner;
        ddpm_status status = ddpm_path_join(&inner, path, names[i]);
        if (status == DDPM_OK) {
            status = ddpm_directory_remove(inner);
            free(inner);
        }
        if (first == DDPM_OK)
            first = status;
    }
    ddpm_names_free(names, count);
    return first;
}

ddpm_status ddpm_directory_remove(const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? DDPM_OK : ddpm_raise_errno("cannot look at %s", path);
    bool folder = S_ISDIR(info.st_mode);
    if (folder)
        DDPM_TRY(remove_content(path));
    if ((folder ? rmdir(path) : unlink(path)) != 0 && errno != ENOENT)
        return ddpm_raise_errno("cannot remove %s", path);
    return DDPM_OK;
}

/* Paths that do not exist. */
#include "missing.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config/nearest.h"
#include "formats/file.h"
#include "program.h"

/* The part before the last name: "runs/" of "runs/first", "" of "first". False if it is too long.
 */
static bool split(const char *path, char folder[PATH_MAX], char name[NAME_MAX + 1])
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        --length;
    size_t begin = length;
    while (begin > 0 && path[begin - 1] != '/')
        --begin;
    return snprintf(folder, PATH_MAX, "%.*s", (int)begin, path) < PATH_MAX &&
           snprintf(name, NAME_MAX + 1, "%.*s", (int)(length - begin), path + begin) <= NAME_MAX;
}

ddpm_status ddpm_raise_missing(const char *path, const char *what)
{
    char folder[PATH_MAX], name[NAME_MAX + 1], text[DDPM_NEAREST_BYTES] = "", **names;
    size_t count;
    if (split(path, folder, name) &&
        ddpm_directory_list(&names, &count, *folder ? folder : ".") == DDPM_OK) {
        struct ddpm_nearest nearest = {.wanted = name};
        for (size_t i = 0; i < count; ++i)
            ddpm_nearest_offer(&nearest, names[i]);
        ddpm_nearest_text(&nearest, "", text);
        ddpm_names_free(names, count);
    }
    return ddpm_raise(DDPM_ERROR_IO, "%s: %s%s", path, what, text);
}

ddpm_status ddpm_raise_no_model(const char *path)
{
    char folder[PATH_MAX], name[NAME_MAX + 1];
    if (split(path, folder, name) && strcmp(name, "best") == 0 && ddpm_path_is_directory(folder)) {
        ddpm_hint("%slatest is the newest checkpoint", folder);
        return ddpm_raise(DDPM_ERROR_IO,
                          "%s: no such checkpoint: the run has not measured a validation loss, so "
                          "none is the best",
                          path);
    }
    return ddpm_raise_missing(path, "no such run, checkpoint or file");
}

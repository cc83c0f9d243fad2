/* We recognise what ddpm wrote by marks inside, not by names alone: a run by the version in its
 * config.json, drawn pictures by the texts in the first one. */
#include "data/own_output.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "data/endings.h"
#include "data/folder.h"
#include "formats/file.h"
#include "formats/json.h"

/* ddpm writes its texts right after the header of a PNG. */
enum { HEAD_BYTES = 1024 };

static bool has_name(char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; ++i)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_run(const char *path, char *const *names, size_t count)
{
    char config[PATH_MAX];
    json_t *root;
    const char *version;
    if (!has_name(names, count, "config.json") ||
        !(has_name(names, count, "log.csv") || has_name(names, count, "checkpoints") ||
          has_name(names, count, "samples")))
        return false;
    if (ddpm_path_format(config, sizeof config, "%s/config.json", path) != DDPM_OK ||
        ddpm_json_read(&root, config) != DDPM_OK)
        return false;
    const bool ours = ddpm_json_get_string(root, "ddpm_version", &version) == DDPM_OK;
    json_decref(root);
    return ours;
}

/* step-000100.png, 0001.png, grid.png, 000001-t000990.png */
static bool is_drawn_name(const char *name)
{
    const char *at = strncmp(name, "step-", 5) == 0 ? name + 5 : name;
    size_t digits = strspn(at, "0123456789");
    if (digits >= 4 && strncmp(at + digits, "-t", 2) == 0) {
        at += digits + 2;
        digits = strspn(at, "0123456789");
    }
    return strcmp(name, "grid.png") == 0 || (digits >= 4 && strcmp(at + digits, ".png") == 0);
}

static bool is_drawn(const char *path)
{
    static const char mark[] = "tEXtddpm:picture";
    char head[HEAD_BYTES];
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = file < 0 ? -1 : read(file, head, sizeof head);
    if (file >= 0)
        close(file);
    if (got < 8 || memcmp(head, "\x89PNG\r\n\x1a\n", 8) != 0)
        return false;
    for (size_t i = 8; i + sizeof mark - 1 <= (size_t)got; ++i)
        if (memcmp(head + i, mark, sizeof mark - 1) == 0)
            return true;
    return false;
}

/* Do all pictures have such a name, and the first one such a text? */
static bool is_drawn_folder(const char *path, char *const *names, size_t count)
{
    char picture[PATH_MAX];
    const char *first = NULL;
    for (size_t i = 0; i < count; ++i) {
        if (!ddpm_is_picture_name(names[i]) || names[i][0] == '.')
            continue;
        if (!is_drawn_name(names[i]))
            return false;
        first = first ? first : names[i];
    }
    return first && ddpm_path_format(picture, sizeof picture, "%s/%s", path, first) == DDPM_OK &&
           is_drawn(picture);
}

bool ddpm_is_own_output(const char *path, char *const *names, size_t count)
{
    return is_run(path, names, count) || is_drawn_folder(path, names, count);
}

ddpm_status ddpm_folder_is_own_output(const char *path, bool *own)
{
    char **names;
    size_t count;
    DDPM_TRY(ddpm_directory_list(&names, &count, path));
    *own = ddpm_is_own_output(path, names, count);
    ddpm_names_free(names, count);
    return DDPM_OK;
}

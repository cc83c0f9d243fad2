/* fsync, if the file system has it. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/text.h"
#include "formats/file.h"

/* Does this error mean that the file system has no fsync, rather than that data is lost? For a
 * file, EROFS and the other errors accepted for folders would be real failures. */
static bool is_unsupported(int error, bool folder)
{
    if (error == EINVAL || error == ENOSYS || error == ENOTSUP || error == EOPNOTSUPP)
        return true;
    return folder && (error == EROFS || error == EBADF || error == EACCES || error == EPERM ||
                      error == EISDIR);
}

static void say_once(const char *path, bool folder, int error)
{
    static atomic_bool said[2];
    if (!atomic_exchange(&said[folder], true))
        ddpm_log(DDPM_LOG_WARNING,
                 "%s: this file system cannot fsync %s (%s); the last writes may be lost in a "
                 "power failure",
                 path, folder ? "folders" : "files", ddpm_system_words(error));
}

ddpm_status ddpm_file_sync(int descriptor, const char *path)
{
    if (fsync(descriptor) == 0)
        return DDPM_OK;
    if (!is_unsupported(errno, false))
        return ddpm_raise_errno("cannot fsync %s", path);
    say_once(path, false, errno);
    return DDPM_OK;
}

ddpm_status ddpm_directory_sync(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0 && errno != EACCES && errno != EPERM)
        return ddpm_raise_errno("cannot open the folder %s", path);
    int error = descriptor < 0 || fsync(descriptor) != 0 ? errno : 0;
    if (descriptor >= 0)
        close(descriptor);
    if (error == 0)
        return DDPM_OK;
    errno = error;
    if (!is_unsupported(error, true))
        return ddpm_raise_errno("cannot fsync the folder %s", path);
    say_once(path, true, error);
    return DDPM_OK;
}

ddpm_status ddpm_directory_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ddpm_directory_sync(".");
    char *folder;
    DDPM_TRY(ddpm_copy_string(&folder, path));
    folder[slash == path ? 1 : slash - path] = 0;
    ddpm_status status = ddpm_directory_sync(folder);
    free(folder);
    return status;
}

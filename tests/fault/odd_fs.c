/* A file system that lacks features, for LD_PRELOAD. Each variable names the error that the call
 * returns, e.g. ODD_SYMLINK=EPERM:
 *
 *     ODD_FLOCK, ODD_FCNTL (locks only), ODD_SYMLINK, ODD_LINK, ODD_EXCHANGE (renameat2),
 *     ODD_FSYNC_FILE, ODD_FSYNC_FOLDER, ODD_MMAP (of files), ODD_MKDIR */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Should the call fail? Sets errno. */
static int fails(const char *variable)
{
    static const struct {
        const char *name;
        int value;
    } errors[] = {{"EPERM", EPERM},   {"EINVAL", EINVAL}, {"ENOSYS", ENOSYS},
                  {"ENOLCK", ENOLCK}, {"EROFS", EROFS},   {"EIO", EIO},
                  {"ENODEV", ENODEV}, {"EACCES", EACCES}, {"ENOTSUP", ENOTSUP}};
    const char *wanted = getenv(variable);
    for (size_t i = 0; wanted && i < sizeof errors / sizeof *errors; ++i)
        if (strcmp(wanted, errors[i].name) == 0) {
            errno = errors[i].value;
            return 1;
        }
    return 0;
}

/* The next function of this name, in a pointer of its type. */
#define NEXT(type, name)                                                                           \
    type next;                                                                                     \
    {                                                                                              \
        void *found = dlsym(RTLD_NEXT, name);                                                      \
        memcpy(&next, &found, sizeof next);                                                        \
    }

int flock(int descriptor, int operation)
{
    typedef int (*function)(int, int);
    NEXT(function, "flock")
    return fails("ODD_FLOCK") ? -1 : next(descriptor, operation);
}

static int is_lock(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK ||
           command == F_OFD_SETLKW;
}

#define FCNTL(name)                                                                                \
    int name(int descriptor, int command, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, command);                                                              \
        void *argument = va_arg(arguments, void *);                                                \
        va_end(arguments);                                                                         \
        typedef int (*function)(int, int, ...);                                                    \
        NEXT(function, #name)                                                                      \
        return is_lock(command) && fails("ODD_FCNTL") ? -1 : next(descriptor, command, argument);  \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

int symlink(const char *target, const char *path)
{
    typedef int (*function)(const char *, const char *);
    NEXT(function, "symlink")
    return fails("ODD_SYMLINK") ? -1 : next(target, path);
}

int link(const char *from, const char *to)
{
    typedef int (*function)(const char *, const char *);
    NEXT(function, "link")
    return fails("ODD_LINK") ? -1 : next(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    typedef int (*function)(const char *, mode_t);
    NEXT(function, "mkdir")
    return fails("ODD_MKDIR") ? -1 : next(path, mode);
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    typedef int (*function)(int, const char *, int, const char *, unsigned);
    NEXT(function, "renameat2")
    return fails("ODD_EXCHANGE") ? -1 : next(a, from, b, to, flags);
}

int fsync(int descriptor)
{
    struct stat about;
    typedef int (*function)(int);
    NEXT(function, "fsync")
    if (fstat(descriptor, &about) != 0)
        return -1;
    return fails(S_ISDIR(about.st_mode) ? "ODD_FSYNC_FOLDER" : "ODD_FSYNC_FILE") ? -1
                                                                                 : next(descriptor);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
    typedef void *(*function)(void *, size_t, int, int, int, off_t);
    NEXT(function, "mmap")
    if (descriptor >= 0 && !(flags & MAP_ANONYMOUS) && fails("ODD_MMAP"))
        return MAP_FAILED;
    return next(address, bytes, protection, flags, descriptor, offset);
}

/* Files and folders: atomic writing, whole reading, read-only mapping, and the few folder
 * operations that run folders and checkpoints need.
 *
 * A file is written beside its place as PATH.tmp-PID-N and renamed over PATH by ddpm_file_commit(),
 * after fsync, so that PATH is at every moment either the old whole file or the new one. To publish
 * several files as one, write them into a folder with a temporary name and call
 * ddpm_directory_publish().
 *
 * Unless said otherwise a failure is DDPM_ERROR_IO with the path and the system's words, or
 * DDPM_ERROR_MEMORY. */
#ifndef DDPM_FORMATS_FILE_H
#define DDPM_FORMATS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* A file being written, buffered. Not for use by two threads at once. */
struct ddpm_file;

/* Begin to write PATH; *out is NULL on failure. A symbolic link is followed, so that its target is
 * replaced. A PATH that exists and is no regular file (a device, a pipe) is written in place,
 * without temporary name. */
ddpm_status ddpm_file_create(struct ddpm_file **out, const char *path);

/* Append `bytes` bytes. After a failure every later call on the file fails too, commit included. */
ddpm_status ddpm_file_write(struct ddpm_file *file, const void *data, size_t bytes);

/* Overwrite `bytes` bytes at `offset`, all of which must have been written before; appending goes
 * on at the end. DDPM_ERROR_ARGUMENT when the range reaches past the end. */
ddpm_status ddpm_file_patch(struct ddpm_file *file, uint64_t offset, const void *data,
                            size_t bytes);

/* Bytes appended so far. */
uint64_t ddpm_file_size(const struct ddpm_file *file);

/* Flush, fsync, close, rename, fsync of the folder. On failure the temporary file is removed and
 * PATH is as it was. *file is freed and NULL in either case. */
ddpm_status ddpm_file_commit(struct ddpm_file **file);

/* Remove the temporary file and free; PATH is as it was. *file may be NULL and is NULL afterwards;
 * the error text stays. */
void ddpm_file_abandon(struct ddpm_file **file);

/* The three above in one, for small contents. */
ddpm_status ddpm_file_write_whole(const char *path, const void *data, size_t bytes);

/* The whole of a regular file of at most `limit` bytes, with a 0 byte behind it that is not
 * counted. Free with free(). DDPM_ERROR_FORMAT when it is larger; *data is NULL on failure. */
ddpm_status ddpm_file_read_whole(void **data, size_t *bytes, const char *path, size_t limit);

/* A regular file that stays open and is read piece by piece, by several threads at once. One that
 * is cut short meanwhile gives an error, where reading a mapping would end the process. */
struct ddpm_file_reader {
    int descriptor;
    uint64_t bytes; /* when it was opened */
    char *path;
};
ddpm_status ddpm_file_reader_open(struct ddpm_file_reader *out, const char *path);

/* `bytes` bytes from `offset`; fewer are DDPM_ERROR_IO: the file has been cut short. */
ddpm_status ddpm_file_reader_read(const struct ddpm_file_reader *reader, uint64_t offset, void *out,
                                  size_t bytes);

/* Only for a reader whose opening succeeded. */
void ddpm_file_reader_close(struct ddpm_file_reader *reader);

/* A whole regular file in memory, read-only. The file must not be shortened while it is mapped (the
 * system then ends the process with SIGBUS); replacing it by rename is safe. Where the file system
 * cannot map, the file is read. An empty file gives bytes = 0 and a valid pointer. */
struct ddpm_mapping {
    const uint8_t *data;
    size_t bytes;
    void *copy; /* of a file that could not be mapped */
};
ddpm_status ddpm_mapping_open(struct ddpm_mapping *out, const char *path);

/* Bytes [first, first + bytes) have been read: their memory may go. Reading them once more reads
 * the file again. */
void ddpm_mapping_forget(const struct ddpm_mapping *mapping, size_t first, size_t bytes);

/* Unmap; a zeroed or closed mapping is fine. */
void ddpm_mapping_close(struct ddpm_mapping *mapping);

/* Folder and name with one slash between them; `name` alone when folder is "". Free with free(). */
ddpm_status ddpm_path_join(char **out, const char *folder, const char *name);

/* printf into a buffer; a path that does not fit is DDPM_ERROR_ARGUMENT. */
ddpm_status ddpm_path_format(char *out, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether something of that name can be seen; symbolic links are followed. */
bool ddpm_path_exists(const char *path);
bool ddpm_path_is_directory(const char *path);

/* Make a folder and the missing ones above it; one that is there already is fine. */
ddpm_status ddpm_directory_create(const char *path);

/* Names in a folder without "." and "..", in byte order. *names is NULL on failure. Free with
 * ddpm_names_free(). */
ddpm_status ddpm_directory_list(char ***names, size_t *count, const char *path);

/* Is there nothing in the folder? */
ddpm_status ddpm_directory_is_empty(const char *path, bool *empty);
void ddpm_names_free(char **names, size_t count);

/* Remove a folder with all it holds, or a single file; never follows a symbolic link. One that is
 * not there is fine. Goes on past what cannot be removed and reports the first failure. */
ddpm_status ddpm_directory_remove(const char *path);

/* Make a file's content durable; the names in a folder; the name `path` in its folder. A file
 * system that has no fsync is no failure: a warning says so once. */
ddpm_status ddpm_file_sync(int descriptor, const char *path);
ddpm_status ddpm_directory_sync(const char *path);
ddpm_status ddpm_directory_sync_parent(const char *path);

/* Make folder `temporary` durable, rename it to `path` and make the name durable. The files inside
 * must have been committed. Fails when `path` exists and is not an empty folder. Both must lie in
 * one file system. */
ddpm_status ddpm_directory_publish(const char *temporary, const char *path);

#endif

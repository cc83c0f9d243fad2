/* Files and folders: atomic writes, whole reads, read-only mappings, and the few folder operations
 * that run folders and checkpoints need.
 *
 * A file is written as PATH.tmp-PID-N in the same folder. After fsync, ddpm_file_commit() renames
 * it over PATH. So PATH is always either the complete old file or the complete new one. To publish
 * several files as one, write them into a folder with a temporary name and call
 * ddpm_directory_publish().
 *
 * Unless stated otherwise, a failure is DDPM_ERROR_IO with the path and the system's message, or
 * DDPM_ERROR_MEMORY. */
#ifndef DDPM_FORMATS_FILE_H
#define DDPM_FORMATS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* A file being written, buffered. Two threads must not use it at once. */
struct ddpm_file;

/* Start writing PATH; *out is NULL on failure. A symbolic link is followed, so its target is
 * replaced. If PATH exists and is not a regular file (a device, a pipe), it is written in place,
 * without a temporary name. */
ddpm_status ddpm_file_create(struct ddpm_file **out, const char *path);

/* Append `bytes` bytes. After a failure, every later call on the file fails too, including
 * commit. */
ddpm_status ddpm_file_write(struct ddpm_file *file, const void *data, size_t bytes);

/* Overwrite `bytes` bytes at `offset`, all already written; appending continues at the end.
 * DDPM_ERROR_ARGUMENT if the range extends past the end. */
ddpm_status ddpm_file_patch(struct ddpm_file *file, uint64_t offset, const void *data,
                            size_t bytes);

/* Bytes appended so far. */
uint64_t ddpm_file_size(const struct ddpm_file *file);

/* Flush, fsync, close, rename, fsync of the folder. On failure the temporary file is removed and
 * PATH is unchanged, unless only the last fsync failed: then PATH is the new file, but may be lost
 * in a power failure. Either way *file is freed and set to NULL. */
ddpm_status ddpm_file_commit(struct ddpm_file **file);

/* Remove the temporary file and free; PATH is unchanged. *file may be NULL and is set to NULL. Does
 * not change the error text. */
void ddpm_file_abandon(struct ddpm_file **file);

/* Create, append and commit in one call, for small files. */
ddpm_status ddpm_file_write_whole(const char *path, const void *data, size_t bytes);

/* Read a whole regular file of at most `limit` bytes; a 0 byte is added at the end but not counted.
 * Free with free(). DDPM_ERROR_FORMAT if it is larger; *data is NULL on failure. */
ddpm_status ddpm_file_read_whole(void **data, size_t *bytes, const char *path, size_t limit);

/* A regular file that stays open and is read in pieces, possibly by several threads at once. If the
 * file is truncated meanwhile, reading fails with an error; with a mapping the system would kill
 * the process. */
struct ddpm_file_reader {
    int descriptor;
    uint64_t bytes; /* when it was opened */
    char *path;
};
ddpm_status ddpm_file_reader_open(struct ddpm_file_reader *out, const char *path);

/* Read `bytes` bytes at `offset`. If there are fewer, DDPM_ERROR_IO: the file was truncated. */
ddpm_status ddpm_file_reader_read(const struct ddpm_file_reader *reader, uint64_t offset, void *out,
                                  size_t bytes);

/* Only for a reader that was opened successfully. */
void ddpm_file_reader_close(struct ddpm_file_reader *reader);

/* A whole regular file in memory, read-only. It must not be truncated while mapped (the system
 * would kill the process with SIGBUS); replacing it by rename is safe. If the file system cannot
 * map, the file is read instead. An empty file gives bytes = 0 and a valid pointer. */
struct ddpm_mapping {
    const uint8_t *data;
    size_t bytes;
    void *copy; /* of a file that could not be mapped */
};
ddpm_status ddpm_mapping_open(struct ddpm_mapping *out, const char *path);

/* The caller is done with bytes [first, first + bytes); the system may drop their pages. Using them
 * again rereads the file. */
void ddpm_mapping_forget(const struct ddpm_mapping *mapping, size_t first, size_t bytes);

/* Unmap. Does nothing for a zeroed or closed mapping. */
void ddpm_mapping_close(struct ddpm_mapping *mapping);

/* Folder and name with one slash between them; `name` alone when folder is "". Free with free(). */
ddpm_status ddpm_path_join(char **out, const char *folder, const char *name);

/* printf a path into a buffer; DDPM_ERROR_ARGUMENT if it does not fit. */
ddpm_status ddpm_path_format(char *out, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Does the path exist? Symbolic links are followed. */
bool ddpm_path_exists(const char *path);
bool ddpm_path_is_directory(const char *path);

/* Make a folder and its missing parents; it may exist already. */
ddpm_status ddpm_directory_create(const char *path);

/* Names in a folder without "." and "..", in byte order. *names is NULL on failure. Free with
 * ddpm_names_free(). */
ddpm_status ddpm_directory_list(char ***names, size_t *count, const char *path);

/* Is the folder empty? */
ddpm_status ddpm_directory_is_empty(const char *path, bool *empty);
void ddpm_names_free(char **names, size_t count);

/* Remove a folder with its content, or a single file; never follows a symbolic link. It need not
 * exist. Continues after a failure and reports the first one. */
ddpm_status ddpm_directory_remove(const char *path);

/* Make durable: a file's content; the names in a folder; the name `path` in its folder. If the file
 * system has no fsync, warn once and succeed. */
ddpm_status ddpm_file_sync(int descriptor, const char *path);
ddpm_status ddpm_directory_sync(const char *path);
ddpm_status ddpm_directory_sync_parent(const char *path);

/* Make folder `temporary` durable, rename it to `path` and make the name durable. The files inside
 * must be committed. Fails if `path` exists and is not an empty folder. Both must be on one file
 * system. */
ddpm_status ddpm_directory_publish(const char *temporary, const char *path);

#endif

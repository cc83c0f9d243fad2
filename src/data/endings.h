/* Which files of a folder count as pictures, by the endings of their names, and how many do not. */
#ifndef DDPM_DATA_ENDINGS_H
#define DDPM_DATA_ENDINGS_H

#include <stdbool.h>
#include <stddef.h>

/* The endings of pictures, for messages. */
#define DDPM_PICTURE_ENDINGS ".jpg, .jpeg, .jpe, .jfif, .png, .webp, .bmp, .tif or .tiff"

/* Does the name have a picture's ending, in upper or lower case? */
bool ddpm_is_picture_name(const char *name);

enum { DDPM_ENDINGS_KEPT = 32, DDPM_ENDING_BYTES = 12 };

/* Counts by ending, in lower case, in the order of first appearance. Zero-initialise. */
struct ddpm_endings {
    struct {
        char text[DDPM_ENDING_BYTES]; /* ".gif"; "" for no ending or a long one */
        size_t count;
    } kept[DDPM_ENDINGS_KEPT];
    size_t count;  /* of kinds */
    size_t others; /* files of further kinds */
};

/* Count a file that is not a picture by its name. */
void ddpm_endings_count(struct ddpm_endings *endings, const char *name);

/* "3 .gif, 1 .heic, 2 files without an extension", the most frequent first, into out[bytes]; "" if
 * there are none. Returns out. */
char *ddpm_endings_text(const struct ddpm_endings *endings, char *out, size_t bytes);

#endif

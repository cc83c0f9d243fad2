/* Why pictures cannot be read, grouped: a folder of 200 files of the same unreadable kind is one
 * line, not 200. */
#ifndef DDPM_DATA_REASONS_H
#define DDPM_DATA_REASONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { DDPM_REASONS_GROUPS = 16, DDPM_REASONS_NAMES = 3 };

struct ddpm_reasons {
    struct ddpm_reason {
        char *messages[DDPM_REASONS_NAMES]; /* the first ones; numbers in them may differ */
        char *names[DDPM_REASONS_NAMES];
        const char *text; /* the part of the first message after the name */
        int64_t count;
    } groups[DDPM_REASONS_GROUPS];
    int count;
    int64_t others; /* files for whose reason there was no group left */
};

/* Count `message`, which usually starts with a path that ends in `name`. */
ddpm_status ddpm_reasons_add(struct ddpm_reasons *reasons, const char *name, const char *message);

/* Is a file with this message part of a group that is printed as one line? */
bool ddpm_reasons_are_many(const struct ddpm_reasons *reasons, const char *name,
                           const char *message);

/* Call `say` with each line: "198 files: TIFF: got 32-bit …: a.tif, b.tif, c.tif and 195 more". A
 * few files with the same reason are not worth grouping: each has its own message. */
#define DDPM_REASON_BYTES 2048
typedef void ddpm_reason_say(void *user, const char *line);
void ddpm_reasons_say(const struct ddpm_reasons *reasons, ddpm_reason_say *say, void *user);

/* The first message of the group with the most files, or NULL. */
const char *ddpm_reasons_usual(const struct ddpm_reasons *reasons);

void ddpm_reasons_free(struct ddpm_reasons *reasons);

#endif

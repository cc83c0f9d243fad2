/* Text from outside (names of files, notes in them) made safe to show.
 *
 * A file name may hold any byte but 0 and '/'. A line feed in it would start a new line in a log;
 * an escape character would control the terminal. So every text is escaped before it is shown:
 * error texts and log messages in core/error.c, other output in the program.
 *
 *     line feed, carriage return, tab                    \n \r \t
 *     other control characters (C0, DEL, C1 in UTF-8)    \x1B, byte by byte
 *     bytes that are not UTF-8                           \xFF, byte by byte
 *     all other UTF-8                                    as it is, the backslash too
 *
 * The result is one line of valid UTF-8. Escaping it again changes nothing. */
#ifndef DDPM_CORE_ESCAPE_H
#define DDPM_CORE_ESCAPE_H

#include <stddef.h>

/* The most bytes that one escaped character takes, with the terminating 0. */
enum { DDPM_ESCAPE_BYTES = 5 };

/* Write the first character of *text, escaped, to `out` and move *text past it. Returns the bytes
 * written, 0 at the end of the text. */
size_t ddpm_escape_one(char out[DDPM_ESCAPE_BYTES], const char **text);

/* Escape all of `text` into out[bytes] and return it. Cuts off what does not fit, never within a
 * character. The two must not overlap. */
char *ddpm_escape(char *out, size_t bytes, const char *text);

#endif

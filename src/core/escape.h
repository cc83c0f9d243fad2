/* Text from outside (names of files, notes in them) made safe to show.
 *
 * A file may be called anything but 0 and '/': a line feed in its name would begin a line of its
 * own in a log, an escape character would command the terminal. So every text that is shown goes
 * through here first: error texts and remarks in core/error.c, whatever else the program prints in
 * the program.
 *
 *     line feed, carriage return, tab                    \n \r \t
 *     other control characters (C0, DEL, C1 in UTF-8)    \x1B, byte by byte
 *     bytes that are not UTF-8                           \xFF, byte by byte
 *     all other UTF-8                                    as it is, the backslash too
 *
 * The result is valid UTF-8 on one line, and escaping it again changes nothing. */
#ifndef DDPM_CORE_ESCAPE_H
#define DDPM_CORE_ESCAPE_H

#include <stddef.h>

/* Bytes of one escaped character at most, with the closing 0. */
enum { DDPM_ESCAPE_BYTES = 5 };

/* The first character of *text, escaped, into `out`; *text moves behind it. Returns the bytes
 * written, 0 at the end of the text. */
size_t ddpm_escape_one(char out[DDPM_ESCAPE_BYTES], const char **text);

/* All of `text` into out[bytes], which is returned. What does not fit is left out, never half a
 * character. The two must not overlap. */
char *ddpm_escape(char *out, size_t bytes, const char *text);

#endif

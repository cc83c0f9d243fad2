/* The three standard streams: what the program says must neither end it nor land in a file. */
#ifndef DDPM_PROGRAM_STREAMS_H
#define DDPM_PROGRAM_STREAMS_H

#include <stdbool.h>

#include "formats/json.h"

/* Before any file is opened. A standard descriptor that is closed is taken, so that no file opened
 * later gets its number and the program's words with it; writing to it still fails, as it did.
 * Writing to a pipe whose reader has gone, or beyond the size that files may have, becomes an
 * ordinary error. False when a descriptor can be had for neither. */
bool ddpm_prepare_streams(void);

/* Print to stdout `text`, which comes from outside: control characters in it are written out
 * (core/escape.h). `before` and `after` are printed as they are. */
void ddpm_print_text(const char *before, const char *text, const char *after);

/* "before key: text" on lines of its own. Those of the text itself are kept, such as a
 * configuration's, but indented, so that none can pass for a line of the program. */
void ddpm_print_note(const char *before, const char *key, const char *text);

/* Print to stdout the object, its keys in the order in which they were put; it stays the caller's.
 */
ddpm_status ddpm_print_json(const json_t *object);

/* The exit code after `code`, once everything for stdout is written. `product` says that stdout is
 * what the verb was asked for: then what could not be written is a failure, and a reader that has
 * gone (as of `| head`) ends the program as SIGPIPE would have, without a word. */
int ddpm_finish_output(int code, bool product);

#endif

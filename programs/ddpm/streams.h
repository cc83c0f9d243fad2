/* The three standard streams: output must neither kill the program nor end up in a file. */
#ifndef DDPM_PROGRAM_STREAMS_H
#define DDPM_PROGRAM_STREAMS_H

#include <stdbool.h>

#include "formats/json.h"

/* Call it before any file is opened. It occupies closed standard descriptors, so that no file
 * opened later gets their number and the program's output with it; writing to them still fails.
 * Writing to a pipe whose reader is gone, or beyond the file size limit, becomes an ordinary
 * error. False if a descriptor is not available. */
bool ddpm_prepare_streams(void);

/* Print `text`, which comes from outside, to stdout with its control characters escaped
 * (core/escape.h). `before` and `after` are printed as they are. */
void ddpm_print_text(const char *before, const char *text, const char *after);

/* Print "before key: text" on its own lines. Line breaks in the text, such as a configuration,
 * are kept but indented, so that no line can pass for one of the program's. */
void ddpm_print_note(const char *before, const char *key, const char *text);

/* Print the object to stdout, keys in insertion order. The caller keeps it. */
ddpm_status ddpm_print_json(const json_t *object);

/* The exit code after `code`, once stdout is flushed. `product` says that the verb's result goes
 * to stdout: then a failed write is a failure, and a reader that is gone (as with `| head`) ends
 * the program silently, as SIGPIPE would have. */
int ddpm_finish_output(int code, bool product);

#endif

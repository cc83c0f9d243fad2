/* What the system lets this process have, where that is less than what the machine has: control
 * groups of both versions, resource limits, strict accounting of memory.
 *
 * `root` is put before every path that is read: "" for the system's files, a folder in tests. */
#ifndef DDPM_CORE_LIMITS_H
#define DDPM_CORE_LIMITS_H

#include <stddef.h>

/* Bytes that this process can still have: the least of what is free on the machine, what each
 * control group from its own up to the topmost visible one has left, and what RLIMIT_AS,
 * RLIMIT_DATA and the system's commit limit leave. `promised` bytes have been allocated already,
 * written or not. At least 1; 0 when not known. */
size_t ddpm_memory_available(const char *root, size_t promised);

/* Processors' worth of time that the control groups grant, rounded up; INT_MAX without a quota. */
int ddpm_processor_quota(const char *root);

#endif

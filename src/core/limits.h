/* How much of the machine the system lets this process use: control groups of both versions,
 * resource limits, memory without overcommit.
 *
 * `root` is the prefix of every path that is read: "" for the system's files, a folder in tests. */
#ifndef DDPM_CORE_LIMITS_H
#define DDPM_CORE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes this process can still allocate: the smallest of what is free on the machine, what
 * each control group has left, from our own up to the topmost visible one, and what RLIMIT_AS,
 * RLIMIT_DATA and the system's commit limit leave. `promised` bytes are allocated already, whether
 * touched or not. At least 1; 0 if not known. */
size_t ddpm_memory_available(const char *root, size_t promised);

/* Does RLIMIT_AS (ulimit -v) limit the address space? Then mapped files count as memory too. */
bool ddpm_address_space_is_limited(void);

/* Processor time that the control groups grant, in processors, rounded up; INT_MAX without a
 * quota. */
int ddpm_processor_quota(const char *root);

#endif

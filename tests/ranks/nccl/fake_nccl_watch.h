/* The faults and the log of the stand-in for NCCL. */
#ifndef DDPM_TESTS_FAKE_NCCL_WATCH_H
#define DDPM_TESTS_FAKE_NCCL_WATCH_H

#include <stddef.h>

/* The number after "NAME:" in FAKE_NCCL_FAULT; 0 for NAME alone; -1 if the fault is not for `rank`.
 */
int fake_nccl_fault(int rank, const char *name);

/* The address of a function or variable of the emulated device. Aborts if there is none. */
void fake_nccl_find(const char *name, void *address);

/* Write a line into the log. `stream` may be NULL. */
void fake_nccl_note(int rank, const char *name, size_t count, void *stream);

#endif

/* Data-parallel loops. threads.c has the pool of threads behind them. */
#ifndef DDPM_CORE_THREADS_H
#define DDPM_CORE_THREADS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* Work on the half-open range [begin, end) of the loop; `thread` is 0 .. threads-1. */
typedef void ddpm_range_function(void *context, int64_t begin, int64_t end, int thread);

/* Run `function` over [0, count) on up to `threads` threads and wait. The range is cut into chunks
 * of `grain` iterations (the last may be shorter), handed out dynamically. A chunk's bounds never
 * depend on the number of threads, so a reduction that keeps one partial result per chunk gives the
 * same result for every thread count. On x86-64 and 64-bit ARM, subnormal numbers are zero inside;
 * the caller's mode is restored afterwards. */
void ddpm_parallel_for(int threads, int64_t count, int64_t grain, ddpm_range_function *function,
                       void *context);

/* pthread_create() with all signals blocked in the new thread: they are for the host program's
 * threads. Returns 0 or an errno. Every thread of the library starts this way; plug-ins do the same
 * themselves. */
int ddpm_thread_start(pthread_t *thread, void *(*function)(void *), void *argument);

/* Text for an error of ddpm_thread_start(): the reason and the remedy. No full stop at the end. */
const char *ddpm_thread_words(int error);

#endif

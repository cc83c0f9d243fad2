/* A clock that only goes forward, and waiting. */
#ifndef DDPM_CORE_CLOCK_H
#define DDPM_CORE_CLOCK_H

#include <time.h>

/* Seconds since some moment in the past; only differences mean anything. */
static inline double ddpm_now(void)
{
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (double)moment.tv_sec + 1e-9 * (double)moment.tv_nsec;
}

/* Sleep for `seconds`, or less if a signal comes. */
static inline void ddpm_sleep(double seconds)
{
    const time_t whole = (time_t)seconds;
    const struct timespec time = {whole, (long)((seconds - (double)whole) * 1e9)};
    nanosleep(&time, NULL);
}

#endif

/* A machine whose clock is an hour ahead, for LD_PRELOAD. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

int timespec_get(struct timespec *moment, int base)
{
    clock_gettime(CLOCK_REALTIME, moment);
    moment->tv_sec += 3600;
    return base;
}

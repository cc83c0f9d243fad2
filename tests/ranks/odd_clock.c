/* A machine whose clock is an hour ahead, for LD_PRELOAD. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

time_t time(time_t *out)
{
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    moment.tv_sec += 3600;
    if (out)
        *out = moment.tv_sec;
    return moment.tv_sec;
}

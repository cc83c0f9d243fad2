#define _GNU_SOURCE
#include "core/processors.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "core/error.h"
#include "core/limits.h"

/* How many processors this thread may run on, given cpusets and taskset. The set needs a bit for
 * every possible processor of the machine, so try larger sets until one is large enough. */
static int allowed_processors(void)
{
    for (int most = CPU_SETSIZE; most <= 1 << 20; most *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)most);
        const size_t bytes = CPU_ALLOC_SIZE((size_t)most);
        const bool known = set && sched_getaffinity(0, bytes, set) == 0;
        const int count = known ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

static atomic_int limit = INT_MAX;

void ddpm_limit_processors(int most)
{
    atomic_store(&limit, most);
}

static pthread_once_t quota_once = PTHREAD_ONCE_INIT;
static int quota;

static void read_quota(void)
{
    quota = ddpm_processor_quota("");
    if (quota < allowed_processors())
        ddpm_log(DDPM_LOG_INFO, "the control group grants %d of %d processors", quota,
                 allowed_processors());
}

/* Read the quota once. If it grows later we use too few threads, but without it too many threads
 * would wait for their turn. */
int ddpm_processor_count(void)
{
    pthread_once(&quota_once, read_quota);
    const int allowed = allowed_processors(), most = atomic_load(&limit);
    const int granted = quota < allowed ? quota : allowed;
    return granted < most ? granted : most;
}

/* Data-parallel loops over OpenMP. */
#define _GNU_SOURCE
#include "core/threads.h"

#include <sched.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

void ddpm_parallel_for(int threads, int64_t count, int64_t grain, ddpm_range_function *function,
                       void *context)
{
    if (grain < 1)
        grain = 1;
    int64_t chunks = (count + grain - 1) / grain;
#ifdef _OPENMP
    if (threads > 1 && chunks > 1) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            int64_t begin = chunk * grain;
            int64_t end = begin + grain < count ? begin + grain : count;
            function(context, begin, end, omp_get_thread_num());
        }
        return;
    }
#else
    (void)threads;
#endif
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        int64_t begin = chunk * grain;
        function(context, begin, begin + grain < count ? begin + grain : count, 0);
    }
}

int ddpm_processor_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int count = CPU_COUNT(&set);
        if (count > 0)
            return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

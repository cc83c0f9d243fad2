/* Timing each call of a part. */
#include <stdlib.h>

#include "core/clock.h"
#include "core/memory.h"
#include "graph/graph.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

ddpm_status ddpm_graph_profile(struct ddpm_graph *graph, int part, int repeats, double *seconds)
{
    const struct ddpm_backend *backend = graph->device->backend;
    const size_t begin = graph->parts[part].begin, count = graph->parts[part].end - begin;
    double *times; /* [count][repeats] */
    DDPM_TRY(ddpm_graph_refresh(graph));
    DDPM_TRY(ddpm_new_array((void **)&times, count * (size_t)repeats, sizeof *times, "timings"));
    ddpm_status status = backend->synchronize(graph->device);
    for (int r = 0; r < repeats && status == DDPM_OK; ++r)
        for (size_t i = 0; i < count && status == DDPM_OK; ++i) {
            const struct ddpm_call *call = &graph->calls[begin + i];
            status = ddpm_graph_pack_call(graph, begin + i);
            if (status == DDPM_OK)
                status = backend->synchronize(graph->device);
            double start = ddpm_now();
            if (status == DDPM_OK)
                status = call->kernel->run(call);
            if (status == DDPM_OK)
                status = backend->synchronize(graph->device);
            times[i * (size_t)repeats + (size_t)r] = ddpm_now() - start;
        }
    for (size_t i = 0; i < count && status == DDPM_OK; ++i) {
        double *of_call = times + i * (size_t)repeats;
        qsort(of_call, (size_t)repeats, sizeof *of_call, by_value);
        seconds[i] = of_call[repeats / 2];
    }
    free(times);
    return status;
}

/* How many pictures are drawn or measured at once. */
#include "model/batch.h"

#include "core/error.h"

int64_t ddpm_even_batch(int64_t pictures)
{
    const int64_t batches = (pictures + DDPM_LARGEST_BATCH - 1) / DDPM_LARGEST_BATCH;
    return batches ? (pictures + batches - 1) / batches : DDPM_LARGEST_BATCH;
}

ddpm_status ddpm_plan_batch(struct ddpm_device *device, struct ddpm_graph **graph, int64_t *batch,
                            bool may_shrink, ddpm_status (*build)(void *user), void *user,
                            const char *doing)
{
    for (;;) {
        ddpm_status status = build(user);
        if (status == DDPM_OK)
            status = ddpm_graph_plan(*graph, device);
        if (status != DDPM_ERROR_MEMORY || *batch == 1 || !may_shrink)
            return status;
        ddpm_graph_destroy(graph);
        *batch = (*batch + 1) / 2;
        ddpm_log(DDPM_LOG_INFO, "not enough memory: %s %lld pictures at once", doing,
                 (long long)*batch);
    }
}

/* Where did a value stop being finite? Run the step again and check every result. That is
 * possible because a failed step changes no weights, so the step can be repeated exactly. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "training/trainer_state.h"

#define NAMES_SHOWN 4

/* ", picture a.jpg" or ", among the pictures a.jpg, b.jpg, …" */
static void name_pictures(const struct ddpm_trainer *trainer, const int64_t *items, int64_t count,
                          int64_t picture, char *text, size_t bytes)
{
    text[0] = '\0';
    if (!items || !trainer->data)
        return;
    int64_t first = picture >= 0 ? picture : 0;
    int64_t end = picture >= 0 ? picture + 1 : count < NAMES_SHOWN ? count : NAMES_SHOWN;
    size_t used =
        (size_t)snprintf(text, bytes, picture >= 0 ? ", picture" : ", among the pictures");
    for (int64_t i = first; i < end && used < bytes; ++i) {
        char buffer[64];
        const char *name = ddpm_source_name(trainer->data->source, items[i], buffer, sizeof buffer);
        used += (size_t)snprintf(text + used, bytes - used, "%s %s", i > first ? "," : "", name);
    }
    if (picture < 0 && count > end && used < bytes)
        snprintf(text + used, bytes - used, ", …");
}

ddpm_status ddpm_trainer_diagnose(struct ddpm_trainer *trainer, int64_t micro_batch, double loss,
                                  double norm, const int64_t *items)
{
    const int64_t size = trainer->team.size;
    struct ddpm_weight_set *set = &trainer->players[0].network->weights;
    struct ddpm_device *device = trainer->device;
    char where[256] = "a layer that running the last batch again did not reveal", who[1024];
    int64_t picture = -1;
    ddpm_status status = device->backend->zero(device, set->gradients, ddpm_weight_set_bytes(set));
    if (status == DDPM_OK)
        status = ddpm_graph_run_checked(trainer->graph, trainer->parts.forward, &picture);
    if (status == DDPM_OK)
        status = ddpm_graph_run_checked(trainer->graph, trainer->parts.backward, &picture);
    if (status == DDPM_ERROR_NOT_FINITE)
        snprintf(where, sizeof where, "%s", ddpm_error_message());
    else if (status != DDPM_OK)
        return status;
    /* A bad gradient is noticed only after the last micro-batch; its values are still in place. */
    int64_t index = micro_batch >= 0 ? micro_batch : trainer->team.count - 1;
    name_pictures(trainer, items ? items + index * size : NULL, size, picture, who, sizeof who);
    return ddpm_raise(DDPM_ERROR_NOT_FINITE,
                      "step %lld: %s is %g; first in %s%s; the weights are those of step %lld",
                      (long long)trainer->step + 1,
                      isfinite(loss) ? "the gradient's norm" : "the loss",
                      isfinite(loss) ? norm : loss, where, who, (long long)trainer->step);
}

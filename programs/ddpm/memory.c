/* Does everything a verb will allocate fit into memory? Checked before weights are read or
 * created. */
#include "model/model.h"
#include "options.h"

ddpm_status ddpm_check_room(struct ddpm_network *network, const struct ddpm_memory_plan *plan,
                            uint64_t host)
{
    char needed[DDPM_TEXT_BYTES], weights_text[DDPM_TEXT_BYTES], work_text[DDPM_TEXT_BYTES],
        available[DDPM_TEXT_BYTES];
    const bool on_host = network->device->backend->host_memory;
    const double slab = (double)ddpm_weight_set_bytes(&network->weights);
    const double weights = network->weights.device ? 0 : 2 * slab; /* raw and averaged */
    double work = (double)plan->activations + (double)plan->packed;
    if (on_host)
        work += (double)plan->host + (double)host;
    /* A weights file is first read into a buffer, which is freed before the work begins. */
    const double need = weights + (on_host && weights > 0 && work < slab ? slab : work);
    if (!plan->available || need <= (double)plan->available)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_MEMORY,
                      "not enough memory to start: %s are needed (weights %s, the rest %s), %s "
                      "are free",
                      ddpm_bytes_text(needed, need), ddpm_bytes_text(weights_text, weights),
                      ddpm_bytes_text(work_text, need - weights),
                      ddpm_bytes_text(available, (double)plan->available));
}

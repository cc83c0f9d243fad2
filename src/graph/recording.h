/* Running the same calls repeatedly, with a single submission each time if the backend can record
 * them (on CUDA: a graph).
 *
 * The first turn runs normally, so that one-time work (packing weights, loading kernels) is not
 * recorded. The second is recorded, and later turns replay the recording. If recording fails, that
 * turn and all later ones of the device run normally, after one warning. Whatever changes from turn
 * to turn must be an input of the graph, written between turns. */
#ifndef DDPM_GRAPH_RECORDING_H
#define DDPM_GRAPH_RECORDING_H

#include "kernels/backend.h"

/* Zero before the first turn. */
struct ddpm_recording {
    bool had_turn;
    void *handle;
};

/* Run one turn. `submit` runs calls on the device and does nothing else. */
ddpm_status ddpm_recording_run(struct ddpm_recording *recording, struct ddpm_device *device,
                               ddpm_status (*submit)(void *user), void *user);
void ddpm_recording_release(struct ddpm_recording *recording, struct ddpm_device *device);

#endif

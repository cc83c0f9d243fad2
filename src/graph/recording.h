/* Running the same calls again and again with one submission each time, where a backend can record
 * them (on CUDA: a graph).
 *
 * The first turn runs plainly, so that whatever happens once (packing of weights, loading of
 * kernels) is not recorded; the second is recorded; from then on the recording is replayed. What
 * changes from turn to turn must be an input of the graph, written between turns. */
#ifndef DDPM_GRAPH_RECORDING_H
#define DDPM_GRAPH_RECORDING_H

#include "kernels/backend.h"

/* Zero before the first turn. */
struct ddpm_recording {
    bool had_turn;
    void *handle;
};

/* One turn; `submit` runs calls on the device and does nothing else. */
ddpm_status ddpm_recording_run(struct ddpm_recording *recording, struct ddpm_device *device,
                               ddpm_status (*submit)(void *user), void *user);
void ddpm_recording_release(struct ddpm_recording *recording, struct ddpm_device *device);

#endif

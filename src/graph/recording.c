/* Recording and replay, see recording.h. */
#include "graph/recording.h"

static ddpm_status record(struct ddpm_recording *recording, struct ddpm_device *device,
                          ddpm_status (*submit)(void *user), void *user)
{
    void *handle = NULL;
    DDPM_TRY(device->backend->record_begin(device));
    ddpm_status status = submit(user);
    ddpm_status ended = device->backend->record_end(device, &handle);
    if (status != DDPM_OK || ended != DDPM_OK) {
        device->backend->release_recording(device, handle); /* half of a turn */
        return status != DDPM_OK ? status : ended;
    }
    recording->handle = handle;
    return DDPM_OK;
}

ddpm_status ddpm_recording_run(struct ddpm_recording *recording, struct ddpm_device *device,
                               ddpm_status (*submit)(void *user), void *user)
{
    if (!device->backend->record_begin || device->plain || !recording->had_turn) {
        recording->had_turn = true;
        return submit(user);
    }
    if (!recording->handle && record(recording, device, submit, user) != DDPM_OK) {
        /* Nothing has run yet, and what cannot be recorded may still run plainly. */
        device->plain = true;
        ddpm_log(DDPM_LOG_WARNING, "steps run one kernel at a time, which is slower: %s",
                 ddpm_error_message());
        return submit(user);
    }
    return device->backend->replay(device, recording->handle);
}

void ddpm_recording_release(struct ddpm_recording *recording, struct ddpm_device *device)
{
    if (recording->handle)
        device->backend->release_recording(device, recording->handle);
    *recording = (struct ddpm_recording){0};
}

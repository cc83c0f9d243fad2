/* A case on a device, only through the backend's interface, in the planner's order: find_kernel,
 * prepare, allocate, pack, run, release. */
#include <stdlib.h>

#include "core/memory.h"
#include "kernel_case.h"

enum { GUARD_BYTES = 256 };

ddpm_status device_case_open(struct device_case *run, const struct case_state *state,
                             struct ddpm_device *device)
{
    const struct ddpm_backend *backend = device->backend;
    *run = (struct device_case){.call = state->call, .device = device};
    struct ddpm_call *call = &run->call;
    call->device = device;
    call->kernel = backend->find_kernel(device, call);
    if (!call->kernel)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "no kernel");
    if (call->kernel->prepare)
        DDPM_TRY(call->kernel->prepare(call));
    for (int b = 0; b < state->buffer_count; ++b)
        DDPM_TRY(backend->allocate(device, state->buffers[b].bytes, "a test", &run->memory[b]));
    for (int i = 0; i < DDPM_MAX_INPUTS; ++i)
        if (ddpm_tensor_present(&call->in[i]))
            call->in[i].data = (char *)run->memory[state->in[i].buffer] + state->in[i].offset;
    for (int o = 0; o < DDPM_MAX_OUTPUTS; ++o)
        if (ddpm_tensor_present(&call->out[o]))
            call->out[o].data = (char *)run->memory[state->out[o].buffer] + state->out[o].offset;
    DDPM_TRY(
        backend->allocate(device, call->scratch_bytes + GUARD_BYTES, "scratch", &call->scratch));
    return backend->allocate(device, call->packed_bytes + GUARD_BYTES, "packed", &call->packed);
}

static ddpm_status make_nan(struct ddpm_device *device, void *memory, size_t bytes)
{
    void *nan;
    DDPM_TRY(ddpm_new_array(&nan, bytes, 1, "NaN"));
    memset(nan, 0xff, bytes);
    ddpm_status status = device->backend->upload(device, memory, nan, bytes);
    if (status == DDPM_OK)
        status = device->backend->synchronize(device);
    free(nan);
    return status;
}

ddpm_status device_case_load(struct device_case *run, const struct case_state *state)
{
    const struct ddpm_backend *backend = run->device->backend;
    const struct ddpm_call *call = &run->call;
    for (int b = 0; b < state->buffer_count; ++b)
        DDPM_TRY(backend->upload(run->device, run->memory[b], state->buffers[b].before,
                                 state->buffers[b].bytes));
    DDPM_TRY(make_nan(run->device, call->scratch, call->scratch_bytes + GUARD_BYTES));
    DDPM_TRY(make_nan(run->device, call->packed, call->packed_bytes + GUARD_BYTES));
    return call->kernel->pack && call->packed_bytes ? call->kernel->pack(call) : DDPM_OK;
}

ddpm_status device_case_run(struct device_case *run)
{
    return run->call.kernel->run(&run->call);
}

static ddpm_status check_guard(struct device_case *run, const void *memory, size_t bytes,
                               const char *what)
{
    unsigned char guard[GUARD_BYTES];
    DDPM_TRY(run->device->backend->download(run->device, guard, (const char *)memory + bytes,
                                            sizeof guard));
    for (size_t i = 0; i < sizeof guard; ++i)
        if (guard[i] != 0xff)
            return ddpm_raise(DDPM_ERROR_MISMATCH, "wrote %zu bytes behind its %zu bytes of %s",
                              i + 1, bytes, what);
    return DDPM_OK;
}

ddpm_status device_case_fetch(struct device_case *run, struct case_state *state)
{
    const struct ddpm_backend *backend = run->device->backend;
    DDPM_TRY(backend->synchronize(run->device));
    for (int b = 0; b < state->buffer_count; ++b)
        DDPM_TRY(backend->download(run->device, state->buffers[b].after, run->memory[b],
                                   state->buffers[b].bytes));
    DDPM_TRY(check_guard(run, run->call.scratch, run->call.scratch_bytes, "scratch"));
    return check_guard(run, run->call.packed, run->call.packed_bytes, "packed weights");
}

void device_case_close(struct device_case *run)
{
    const struct ddpm_backend *backend = run->device->backend;
    if (run->call.kernel && run->call.kernel->release)
        run->call.kernel->release(&run->call);
    for (int b = 0; b < CASE_BUFFERS; ++b)
        if (run->memory[b])
            backend->release(run->device, run->memory[b]);
    if (run->call.scratch)
        backend->release(run->device, run->call.scratch);
    if (run->call.packed)
        backend->release(run->device, run->call.packed);
    *run = (struct device_case){0};
}

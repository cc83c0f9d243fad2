/* A backend: where tensors live and which kernel runs each operation. */
#ifndef DDPM_KERNELS_BACKEND_H
#define DDPM_KERNELS_BACKEND_H

#include "kernels/kernels.h"

/* Events that mark downloads, used in turn. A reused event marks a later download, which implies
 * the earlier one. */
#define DDPM_LATE_DOWNLOADS 4

struct ddpm_device_options {
    int threads;       /* 0: all processors */
    int index;         /* which accelerator; -1 - k: the k-th, wrapping around */
    const char *level; /* CPU level to use ("avx2", …), NULL: best */
    bool direct;       /* compute convolutions directly, without Winograd */
};

struct ddpm_backend;

/* An opened device. Backends embed it as the first member of their own. */
struct ddpm_device {
    const struct ddpm_backend *backend;
    int threads;
    bool direct;
    bool plain;                /* nothing is recorded: switched off, or recording has failed */
    enum ddpm_dtype preferred; /* dtype of activations for precision auto */
    char description[160];     /* "CPU, avx2, 2 threads" */
};

struct ddpm_backend {
    const char *name;
    bool host_memory;        /* tensors are in memory that the host can read and write */
    bool reads_bf16_weights; /* bf16 convolutions are faster with a bf16 copy of their weights
                                (ops.inc) */
    ddpm_status (*open)(const struct ddpm_device_options *options, struct ddpm_device **out);
    void (*close)(struct ddpm_device *device);

    /* Zeroed memory, aligned to DDPM_ALIGNMENT. */
    ddpm_status (*allocate)(struct ddpm_device *device, size_t bytes, const char *what, void **out);
    void (*release)(struct ddpm_device *device, void *memory);
    /* Bytes that can still be allocated; 0 if the backend cannot tell. */
    size_t (*available)(struct ddpm_device *device);

    /* All are ordered with the kernels. upload may return before the copy is done, but no longer
     * needs `from`; download waits. */
    ddpm_status (*upload)(struct ddpm_device *device, void *to, const void *from, size_t bytes);
    ddpm_status (*download)(struct ddpm_device *device, void *to, const void *from, size_t bytes);
    /* download in two halves, so that the host need not wait. NULL if download() never waits.
     * begin: queues the copy into `to`, memory from allocate_host(), and returns a ticket.
     * end:   waits until the copy with this ticket, and every one started before it, has arrived.
     *        A ticket need not be returned. */
    ddpm_status (*download_begin)(struct ddpm_device *device, void *to, const void *from,
                                  size_t bytes, uint64_t *ticket);
    ddpm_status (*download_end)(struct ddpm_device *device, uint64_t ticket);
    /* Copy a lot of data to the host while later calls run; one snapshot at a time. NULL if
     * download() never waits.
     * begin: copies `count` pieces of `bytes` each, as they are after the calls queued so far, on
     *        the device and from there into `to`, memory from allocate_host(). Returns without
     *        waiting; calls queued from now on may overwrite the pieces. Call it on the thread that
     *        uses the device, not while recording. DDPM_ERROR_MEMORY if the device has no room for
     *        the copy: nothing has happened; use download() instead. The room is kept for the next
     *        snapshot; available() counts it as free, and an allocation that needs it gets it.
     * end:   waits until `to` is complete. Any single thread may call it, whatever others do with
     *        the device. */
    ddpm_status (*snapshot_begin)(struct ddpm_device *device, void *const to[], void *const from[],
                                  int count, size_t bytes);
    ddpm_status (*snapshot_end)(struct ddpm_device *device);
    ddpm_status (*copy)(struct ddpm_device *device, void *to, const void *from, size_t bytes);
    ddpm_status (*zero)(struct ddpm_device *device, void *to, size_t bytes);
    ddpm_status (*synchronize)(struct ddpm_device *device);

    /* The first row of the table that supports the call, or NULL. `call` has op, attributes,
     * shapes. */
    const struct ddpm_kernel *(*find_kernel)(struct ddpm_device *device,
                                             const struct ddpm_call *call);

    /* The calls that find_kernel will get next, so that the backend can prepare what they need all
     * at once. NULL: it needs no such notice. Optional for the caller. */
    void (*expect_calls)(struct ddpm_device *device, const struct ddpm_call *calls, size_t count);

    /* Record the calls made between begin and end, and replay them with one submission. NULL if the
     * backend cannot. */
    ddpm_status (*record_begin)(struct ddpm_device *device);
    ddpm_status (*record_end)(struct ddpm_device *device, void **recording);
    ddpm_status (*replay)(struct ddpm_device *device, void *recording);
    void (*release_recording)(struct ddpm_device *device, void *recording);

    /* Asides: calls that run concurrently with the others. Calls between begin and end wait for all
     * calls made before begin and run in order, but calls made after end do not wait for them.
     * join: later calls wait for all asides except the last `behind` begin-end pairs, 0 or 1. Join
     * before a recording ends. NULL if the backend has none. */
    ddpm_status (*aside_begin)(struct ddpm_device *device);
    ddpm_status (*aside_end)(struct ddpm_device *device);
    ddpm_status (*aside_join)(struct ddpm_device *device, int behind);

    /* What orders the calls, for a library that adds work of its own between them: *queue is the
     * cudaStream_t of CUDA device *index. NULL: no such thing. */
    void (*queue)(struct ddpm_device *device, void **queue, int *index);

    /* Host memory for fast copies (pinned). NULL: use ordinary memory. */
    ddpm_status (*allocate_host)(struct ddpm_device *device, size_t bytes, void **out);
    void (*release_host)(struct ddpm_device *device, void *memory);

    /* Measure the peak rates per second: of operations (two per multiply-add) on `dtype`, summed in
     * fp32, and of memory bytes. NULL: not known. */
    ddpm_status (*measure_peak)(struct ddpm_device *device, enum ddpm_dtype dtype, double *flops,
                                double *bytes_per_second);
};

extern const struct ddpm_backend ddpm_backend_ref;
extern const struct ddpm_backend ddpm_backend_cpu;

/* Open a device by its name: "cpu", "ref", "cuda", "cuda:1", or "auto" (an accelerator if there is
 * one, else the CPU; logs which). "cuda" and "auto" take the first accelerator; after
 * ddpm_device_take_turn(k) the k-th, wrapping around if there are fewer. */
void ddpm_device_take_turn(int place);
ddpm_status ddpm_device_open(const char *name, const struct ddpm_device_options *options,
                             struct ddpm_device **out);
void ddpm_device_close(struct ddpm_device **device);

/* Bytes that can still be allocated; 0 if not known. */
size_t ddpm_device_available(struct ddpm_device *device);

/* A backend may be in its own shared library, loaded at run time (plugin.c). That exports
 * `ddpm_cuda_backend`, of type ddpm_plugin_backend, which returns NULL if `abi` is not the one it
 * was built for. The plug-in contains no copy of core/; it raises errors and logs through `host`,
 * so that error texts reach the caller's ddpm_error_message(). `host` must outlive the plug-in. */
/* Increment this whenever a struct in this file, kernels.h or tensor.h changes. */
#define DDPM_PLUGIN_ABI 18u

struct ddpm_host {
    ddpm_status (*raise)(ddpm_status status, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
    void (*log)(ddpm_log_level level, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
};

typedef const struct ddpm_backend *ddpm_plugin_backend(unsigned abi, const struct ddpm_host *host);

#endif

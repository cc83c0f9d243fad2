/* The table of backends, and opening a device by its name. Names have one of these forms:
 *
 *     cpu | ref | check | cuda | cuda:N | auto */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/plugin.h"

/* A row either points to its table or loads it. */
struct backend_row {
    const char *name;
    const struct ddpm_backend *backend;
    ddpm_status (*load)(const struct ddpm_backend **out);
};

static const struct backend_row backends[] = {
    {"cpu", &ddpm_backend_cpu, NULL},
    {"ref", &ddpm_backend_ref, NULL},
    {"check", &ddpm_backend_check, NULL},
    {"cuda", NULL, ddpm_plugin_load_cuda},
};

static const struct backend_row *find_row(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; ++i)
        if (strlen(backends[i].name) == length && !memcmp(backends[i].name, name, length))
            return &backends[i];
    return NULL;
}

static ddpm_status open_row(const struct backend_row *row,
                            const struct ddpm_device_options *options, struct ddpm_device **out)
{
    const struct ddpm_backend *backend = row->backend;
    if (!backend)
        DDPM_TRY(row->load(&backend));
    return backend->open(options, out);
}

/* "cuda:1" → index 1. */
static ddpm_status parse_index(const char *name, const char *digits, int *index)
{
    char *end;
    errno = 0;
    long value = strtol(digits, &end, 10);
    if (*digits < '0' || *digits > '9' || *end || errno || value > INT_MAX)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "device: got \"%s\", want a number after the colon",
                          name);
    *index = (int)value;
    return DDPM_OK;
}

/* Does the machine have an NVIDIA GPU with its driver? On WSL it is dxg. */
static bool has_nvidia_driver(void)
{
    static const char *const marks[] = {"/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; ++i)
        if (access(marks[i], F_OK) == 0)
            return true;
    return false;
}

/* Say once per process that the CPU is used, and why. Without a GPU nobody expects anything else,
 * so then it is only a debug message. */
static void say_without(bool plugin)
{
    static atomic_flag said[2] = {ATOMIC_FLAG_INIT, ATOMIC_FLAG_INIT};
    if (atomic_flag_test_and_set(&said[plugin]))
        return;
    ddpm_log(DDPM_LOG_DEBUG, "%s", ddpm_error_message());
    ddpm_log(has_nvidia_driver() ? DDPM_LOG_INFO : DDPM_LOG_DEBUG, "no CUDA %s, using the CPU",
             plugin ? "device" : "plug-in");
}

static int turn; /* of this process, among those on its machine */

void ddpm_device_take_turn(int place)
{
    turn = place;
}

static ddpm_status open_auto(const struct ddpm_device_options *options, struct ddpm_device **out)
{
    const struct ddpm_backend *cuda;
    const bool loaded = ddpm_plugin_load_cuda(&cuda) == DDPM_OK;
    if (!loaded || cuda->open(options, out) != DDPM_OK) {
        say_without(loaded);
        return ddpm_device_open("cpu", options, out);
    }
    ddpm_log(DDPM_LOG_INFO, "using %s", (*out)->description);
    return DDPM_OK;
}

ddpm_status ddpm_device_open(const char *name, const struct ddpm_device_options *options,
                             struct ddpm_device **out)
{
    struct ddpm_device_options own = *options;
    own.index = -1 - turn;
    *out = NULL;
    if (!strcmp(name, "auto"))
        return open_auto(&own, out);
    size_t length = strcspn(name, ":");
    const struct backend_row *row = find_row(name, length);
    if (!row || (name[length] && strcmp(row->name, "cuda") != 0))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "device: got \"%s\", want auto, cpu, cuda, cuda:N, ref or check", name);
    if (name[length])
        DDPM_TRY(parse_index(name, name + length + 1, &own.index));
    return open_row(row, &own, out);
}

void ddpm_device_close(struct ddpm_device **device)
{
    if (*device)
        (*device)->backend->close(*device);
    *device = NULL;
}

size_t ddpm_device_available(struct ddpm_device *device)
{
    return device->backend->available ? device->backend->available(device) : 0;
}

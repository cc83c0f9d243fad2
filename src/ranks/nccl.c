/* Loads NCCL's part of the CUDA plug-in. Also the transport of ranks without MPI: they find each
 * other through files (rendezvous.c), and their messages go through the GPUs. */
#include "ranks/nccl.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/plugin.h"
#include "ranks/launcher.h"
#include "ranks/rendezvous.h"
#include "ranks/state.h"

enum { BY_PLACE = INT_MIN };

/* Seconds that a failed rank keeps its files, so that the others can read why it failed. */
static const double readable = 1;
static const double patience = 0.25; /* seconds of waiting before it reads the others' files */

static struct {
    const struct ddpm_nccl *plugin;
    struct ddpm_rendezvous *files;
    struct ddpm_tasks tasks;
    int device;
    double timeout;
    double begun; /* the last collective */
} nccl = {.device = BY_PLACE};

void ddpm_ranks_take_device(int index)
{
    nccl.device = index;
}

ddpm_status ddpm_nccl_open(const struct ddpm_nccl **out)
{
    static const struct ddpm_plugin plugin = {
        .file = "libddpm_cuda.so",
        .variable = "DDPM_CUDA_PLUGIN",
        .name = "CUDA plug-in",
        .lack = "option ranks: got nccl, but there is no CUDA plug-in",
        .remedy = "build it",
    };
    ddpm_nccl_entry *entry;
    void *library;
    if (!nccl.plugin) {
        DDPM_TRY(ddpm_plugin_open(&plugin, &library));
        DDPM_TRY(ddpm_plugin_find(&plugin, library, "ddpm_nccl", &entry));
        nccl.plugin = entry(DDPM_NCCL_ABI, ddpm_raise);
    }
    *out = nccl.plugin;
    if (!nccl.plugin)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s was built for another version of this program, want interface %u of "
                          "NCCL; build both from the same source",
                          plugin.file, DDPM_NCCL_ABI);
    return nccl.plugin->load();
}

static ddpm_status pause_until(double end)
{
    if (ddpm_now() > end)
        return ddpm_rendezvous_give_up(nccl.files, nccl.timeout);
    ddpm_sleep(5e-3);
    return DDPM_OK;
}

static ddpm_status meet(void)
{
    const struct ddpm_tasks *tasks = &nccl.tasks;
    const int device = nccl.device == BY_PLACE ? -1 - tasks->place : nccl.device;
    const double end = ddpm_now() + nccl.timeout;
    unsigned char id[DDPM_NCCL_ID_BYTES];
    bool found = tasks->rank == 0, done = false;
    if (found)
        DDPM_TRY(nccl.plugin->make_id(id));
    while (!found) {
        DDPM_TRY(ddpm_rendezvous_find(nccl.files, id, &found));
        if (!found)
            DDPM_TRY(pause_until(end));
    }
    DDPM_TRY(nccl.plugin->join(id, device, tasks->rank, tasks->count, nccl.timeout));
    while (!done) {
        DDPM_TRY(ddpm_rendezvous_look(nccl.files));
        if (tasks->rank == 0)
            DDPM_TRY(ddpm_rendezvous_publish(nccl.files, id));
        DDPM_TRY(nccl.plugin->join_test(&done));
        if (!done)
            DDPM_TRY(pause_until(end));
    }
    ddpm_rendezvous_joined(nccl.files);
    return DDPM_OK;
}

void ddpm_nccl_say_end(void)
{
    if (nccl.files)
        ddpm_rendezvous_end(nccl.files, ddpm_error_message());
}

void ddpm_nccl_fail(void)
{
    if (!nccl.files)
        return;
    nccl.plugin->abort();
    ddpm_nccl_say_end();
    ddpm_sleep(readable);
    ddpm_rendezvous_close(&nccl.files);
}

ddpm_status ddpm_nccl_look(void)
{
    return nccl.files ? ddpm_rendezvous_look(nccl.files) : DDPM_OK;
}

static ddpm_status join(int *rank, int *count, const char **description)
{
    const struct ddpm_nccl *plugin;
    DDPM_TRY(ddpm_nccl_open(&plugin));
    DDPM_TRY(ddpm_rendezvous_open(&nccl.tasks, &nccl.files));
    DDPM_TRY(meet());
    *rank = nccl.tasks.rank;
    *count = nccl.tasks.count;
    *description = plugin->description();
    return DDPM_OK;
}

static void leave(int exit_code)
{
    (void)exit_code;
    nccl.plugin->leave();
    ddpm_rendezvous_close(&nccl.files);
}

static void end_now(int exit_code)
{
    ddpm_nccl_fail();
    _exit(exit_code);
}

void ddpm_nccl_part(int seconds)
{
    for (const double end = ddpm_now() + seconds;
         ddpm_now() < end && ddpm_rendezvous_has(nccl.files, 0);)
        ddpm_sleep(patience);
}

static ddpm_status begin(const struct ddpm_collective_call *call, int *request)
{
    *request = 0;
    nccl.begun = ddpm_now();
    return nccl.plugin->begin(call);
}

static ddpm_status test(int request, bool *done)
{
    (void)request;
    const ddpm_status status = nccl.plugin->test(done);
    if (status != DDPM_OK || *done || ddpm_now() - nccl.begun < patience)
        return status;
    return ddpm_rendezvous_look(nccl.files);
}

/* ranks.c tells all others the same note, one after another. One file serves them all: write it
 * once. */
static ddpm_status tell(int to, int64_t note)
{
    return to == (nccl.tasks.rank == 0) ? ddpm_rendezvous_tell(nccl.files, note) : DDPM_OK;
}

static ddpm_status hear(int *from, int64_t *note)
{
    ddpm_rendezvous_hear(nccl.files, from, note);
    return DDPM_OK;
}

const struct ddpm_transport *ddpm_nccl_transport(double timeout)
{
    static const struct ddpm_transport transport = {
        .join = join,
        .leave = leave,
        .abort = end_now,
        .begin = begin,
        .test = test,
        .tell = tell,
        .hear = hear,
    };
    nccl.timeout = timeout;
    (void)ddpm_launcher_find_tasks(&nccl.tasks);
    return &transport;
}

/* Joining the processes that were started together with this one, and leaving them. */
#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/plugin.h"
#include "ranks/launcher.h"
#include "ranks/state.h"

/* The rank that speaks for the survivors may still save something before it ends them. */
enum { SPEAKER_SECONDS = 30, FORWARD_SECONDS = 1 };

/* `host` is DDPM_HOST_BYTES long. */
static void find_host(char *host)
{
    if (gethostname(host, DDPM_HOST_BYTES - 1) != 0)
        snprintf(host, DDPM_HOST_BYTES, "unknown host");
    host[DDPM_HOST_BYTES - 1] = '\0';
}

const char *ddpm_ranks_host(const struct ddpm_ranks *ranks, int rank)
{
    static char here[DDPM_HOST_BYTES];
    if (ranks)
        return ranks->places[rank].host;
    find_host(here);
    return here;
}

static void describe_place(struct ddpm_rank_place *place)
{
    unsigned char set[8192] = {0}; /* processors of the largest machines, one bit each */
    find_host(place->host);
    if (sched_getaffinity(0, sizeof set, (cpu_set_t *)(void *)set) != 0)
        return;
    place->processors = ddpm_fnv64(DDPM_FNV64_START, set, sizeof set);
}

static ddpm_status meet(struct ddpm_ranks *ranks, const struct ddpm_launcher *launcher)
{
    DDPM_TRY(ranks->transport->join(&ranks->index, &ranks->count, &ranks->description));
    if (launcher->count > 0 && ranks->count != launcher->count)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s says that %d processes were started, but %s sees %d: the launcher "
                          "belongs to another MPI",
                          launcher->variable, launcher->count, ranks->description, ranks->count);
    ranks->speaks = ranks->index == 0;
    const size_t count = (size_t)ranks->count;
    DDPM_TRY(ddpm_new_array((void **)&ranks->places, count, sizeof *ranks->places, "ranks"));
    DDPM_TRY(ddpm_new_array((void **)&ranks->waiting, count, sizeof *ranks->waiting, "ranks"));
    DDPM_TRY(ddpm_new_array((void **)&ranks->fares, count, sizeof *ranks->fares, "ranks"));
    DDPM_TRY(ddpm_ranks_allocate_parts(ranks));
    describe_place(&ranks->places[ranks->index]);
    DDPM_TRY(ddpm_ranks_gather(ranks, ranks->places, sizeof *ranks->places));
    return ddpm_ranks_find_neighbours(ranks);
}

static ddpm_status load(const struct ddpm_launcher *launcher, const struct ddpm_transport **out)
{
    const bool open = launcher->kind == DDPM_LAUNCHER_OPENMPI;
    const struct ddpm_plugin plugin = {
        .file = open ? "libddpm_openmpi.so" : "libddpm_mpich.so",
        .variable = "DDPM_MPI_PLUGIN",
        .name = open ? "Open MPI plug-in" : "MPICH plug-in",
        .lack = open ? "several processes were started by Open MPI, and there is no plug-in for it"
                     : "several processes were started by MPICH, and there is no plug-in for it",
        .remedy = "build it (docs/ranks.md) or give --ranks off",
        .global = true, /* Open MPI's parts look for each other's symbols */
    };
    ddpm_transport_entry *entry;
    void *library;
    DDPM_TRY(ddpm_plugin_open(&plugin, &library));
    DDPM_TRY(ddpm_plugin_find(&plugin, library, "ddpm_transport", &entry));
    *out = entry(DDPM_TRANSPORT_ABI, ddpm_raise);
    if (!*out)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s was built for another version of this program, want interface %u; "
                          "build both from the same source",
                          plugin.file, DDPM_TRANSPORT_ABI);
    return DDPM_OK;
}

static ddpm_status refuse_tasks(const struct ddpm_launcher *launcher)
{
    if (strcmp(launcher->variable, "WORLD_SIZE") == 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "torchrun started %d processes; want option ranks nccl, to train on "
                          "GPUs together, or off",
                          launcher->count);
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "srun started %d tasks that do not know of each other; want srun "
                      "--mpi=pmix or --mpi=pmi2 (srun --mpi=list says what there is), on GPUs "
                      "option ranks nccl, or option ranks off",
                      launcher->count);
}

/* MPI if it started the processes, unless DDPM_RANKS_FILE names a file for them to meet at. */
static ddpm_status choose_nccl(struct ddpm_launcher *launcher)
{
    struct ddpm_tasks tasks;
    const bool mpi =
        launcher->kind == DDPM_LAUNCHER_OPENMPI || launcher->kind == DDPM_LAUNCHER_MPICH;
    const bool named = getenv("DDPM_RANKS_FILE") != NULL;
    if (mpi && (!named || !ddpm_launcher_find_tasks(&tasks)))
        return DDPM_OK;
    if (!ddpm_launcher_find_tasks(&tasks))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option ranks: got nccl, but this process was started neither by mpirun "
                          "nor by srun or torchrun (neither OMPI_COMM_WORLD_SIZE, PMI_SIZE or "
                          "PMIX_RANK is set, nor SLURM_PROCID, SLURM_NTASKS and SLURM_LOCALID, nor "
                          "RANK, WORLD_SIZE and LOCAL_RANK)");
    *launcher = (struct ddpm_launcher){tasks.count > 1 ? DDPM_LAUNCHER_TASKS : DDPM_LAUNCHER_NONE,
                                       tasks.variable, tasks.count};
    return DDPM_OK;
}

/* Which launcher to believe; kind NONE: the process is alone. */
static ddpm_status choose(enum ddpm_ranks_choice choice, struct ddpm_launcher *launcher)
{
    *launcher = (struct ddpm_launcher){.kind = DDPM_LAUNCHER_NONE};
    if (choice == DDPM_RANKS_OFF)
        return DDPM_OK;
    DDPM_TRY(ddpm_launcher_find(launcher));
    if (choice == DDPM_RANKS_NCCL)
        return choose_nccl(launcher);
    if (launcher->kind == DDPM_LAUNCHER_TASKS)
        return refuse_tasks(launcher);
    if (choice == DDPM_RANKS_MPI && launcher->kind == DDPM_LAUNCHER_NONE)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option ranks: got mpi, but this process was started neither by mpirun "
                          "nor by srun --mpi (none of OMPI_COMM_WORLD_SIZE, PMI_SIZE and PMIX_RANK "
                          "is set)");
    if (choice == DDPM_RANKS_AUTO && launcher->count == 1)
        launcher->kind = DDPM_LAUNCHER_NONE;
    return DDPM_OK;
}

/* All ranks or none. If the CUDA plug-in or NCCL is missing on one of them, all of them fail. */
static ddpm_status take_nccl(struct ddpm_ranks *ranks)
{
    static char description[128];
    const struct ddpm_nccl *nccl = NULL;
    ddpm_status status = ddpm_ranks_agree(ranks, ddpm_nccl_open(&nccl), NULL);
    if (status != DDPM_OK) {
        ranks->transport->leave(EXIT_FAILURE);
        return status;
    }
    ranks->nccl = nccl;
    if (ranks->apart)
        return DDPM_OK;
    snprintf(description, sizeof description, "%s, %s", ranks->description, nccl->description());
    ranks->description = description;
    return DDPM_OK;
}

static void release(struct ddpm_ranks *ranks)
{
    free(ranks->places);
    free(ranks->waiting);
    free(ranks->fares);
    free(ranks->lowest);
    ddpm_ranks_release_parts(ranks);
    ddpm_ranks_release_sums(ranks);
    free(ranks->shares.to);
    free(ranks->shares.from);
    free(ranks->shares.sums);
    free(ranks);
}

ddpm_status ddpm_ranks_join(enum ddpm_ranks_choice choice, double timeout, struct ddpm_ranks **out)
{
    struct ddpm_launcher launcher;
    struct ddpm_ranks *ranks;
    *out = NULL;
    DDPM_TRY(choose(choice, &launcher));
    if (launcher.kind == DDPM_LAUNCHER_NONE)
        return DDPM_OK;
    DDPM_TRY(DDPM_NEW(&ranks, "ranks"));
    ranks->timeout = timeout;
    ranks->apart = launcher.kind == DDPM_LAUNCHER_TASKS;
    ddpm_status status = DDPM_OK;
    if (ranks->apart)
        ranks->transport = ddpm_nccl_transport(timeout);
    else
        status = load(&launcher, &ranks->transport);
    if (status == DDPM_OK)
        status = meet(ranks, &launcher);
    if (status == DDPM_OK && choice == DDPM_RANKS_NCCL && ranks->count > 1)
        status = take_nccl(ranks);
    if (status == DDPM_OK && ranks->count > 1) {
        *out = ranks;
        return DDPM_OK;
    }
    if (status == DDPM_OK)
        ranks->transport->leave(EXIT_SUCCESS);
    else if (ranks->apart)
        ddpm_nccl_fail();
    release(ranks);
    return status;
}

void ddpm_ranks_close(struct ddpm_ranks **ranks, int exit_code)
{
    struct ddpm_ranks *closing = *ranks;
    *ranks = NULL;
    if (!closing)
        return;
    if (closing->lost) {
        /* When ranks abort, the launcher may drop output that it has not read yet. So the rank
         * that prints the error waits a moment first, and the others wait for that rank. */
        if (closing->apart && !closing->speaks)
            ddpm_nccl_part(SPEAKER_SECONDS);
        else
            sleep(closing->speaks ? FORWARD_SECONDS : SPEAKER_SECONDS);
        closing->transport->abort(exit_code);
    }
    ddpm_ranks_unshare_memory(closing);
    if (closing->nccl)
        closing->nccl->leave();
    closing->transport->leave(exit_code);
    release(closing);
}

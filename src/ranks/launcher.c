/* The environment variables that launchers give their processes. */
#include "ranks/launcher.h"

#include <stddef.h>
#include <stdlib.h>

/* The number in a variable; 0 if it is not set or not a number above 0. */
static int number(const char *variable)
{
    const char *text = getenv(variable);
    const long value = text ? strtol(text, NULL, 10) : 0;
    return value > 0 && value < 1 << 30 ? (int)value : 0;
}

/* The number in a variable; -1 if it is not set or not a number of at least 0. */
static int place(const char *variable)
{
    const char *text = getenv(variable);
    return text && *text >= '0' && *text <= '9' ? number(variable) : -1;
}

bool ddpm_launcher_find_tasks(struct ddpm_tasks *out)
{
    static const struct {
        const char *count, *rank, *place;
    } launchers[] = {{"WORLD_SIZE", "RANK", "LOCAL_RANK"},
                     {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"},
                     {"SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"}};
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; ++i) {
        *out = (struct ddpm_tasks){launchers[i].count, place(launchers[i].rank),
                                   number(launchers[i].count), place(launchers[i].place)};
        if (out->rank >= 0 && out->count > out->rank && out->place >= 0)
            return true;
    }
    return false;
}

ddpm_status ddpm_launcher_find(struct ddpm_launcher *out)
{
    const int open = number("OMPI_COMM_WORLD_SIZE"), pmi = number("PMI_SIZE");
    *out = (struct ddpm_launcher){.kind = DDPM_LAUNCHER_NONE};
    /* Under Slurm, mpirun starts its daemons with srun, and they pass srun's variables on. */
    if (open > 1 && pmi > 1 && getenv("MPI_LOCALNRANKS"))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "two launchers, one inside the other: Open MPI's started %d processes "
                          "and MPICH's %d; want one of them",
                          open, pmi);
    if (open > 0 && !(open == 1 && pmi > 1))
        *out = (struct ddpm_launcher){DDPM_LAUNCHER_OPENMPI, "OMPI_COMM_WORLD_SIZE", open};
    else if (pmi > 0)
        *out = (struct ddpm_launcher){DDPM_LAUNCHER_MPICH, "PMI_SIZE", pmi};
    else if (getenv("PMIX_RANK"))
        *out = (struct ddpm_launcher){DDPM_LAUNCHER_OPENMPI, "PMIX_RANK",
                                      number("SLURM_STEP_NUM_TASKS")};
    else if (number("SLURM_STEP_NUM_TASKS") > 1)
        *out = (struct ddpm_launcher){DDPM_LAUNCHER_TASKS, "SLURM_STEP_NUM_TASKS",
                                      number("SLURM_STEP_NUM_TASKS")};
    else if (number("WORLD_SIZE") > 1 && place("RANK") >= 0 && place("LOCAL_RANK") >= 0)
        *out = (struct ddpm_launcher){DDPM_LAUNCHER_TASKS, "WORLD_SIZE", number("WORLD_SIZE")};
    return DDPM_OK;
}

bool ddpm_launcher_is_first_here(void)
{
    static const char *const places[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
                                         "LOCAL_RANK", "SLURM_LOCALID"};
    if (getenv(places[0]) && getenv(places[1])) /* one launcher inside the other */
        return number(places[0]) == 0 && number(places[1]) == 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; ++i)
        if (getenv(places[i]))
            return number(places[i]) == 0;
    return true;
}

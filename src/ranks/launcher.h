/* Which launcher started this process together with others, according to the environment variables
 * of mpirun and srun. */
#ifndef DDPM_RANKS_LAUNCHER_H
#define DDPM_RANKS_LAUNCHER_H

#include <stdbool.h>

#include "core/error.h"

enum ddpm_launcher_kind {
    DDPM_LAUNCHER_NONE,
    DDPM_LAUNCHER_OPENMPI, /* Open MPI's mpirun, or srun --mpi=pmix */
    DDPM_LAUNCHER_MPICH,   /* MPICH's mpirun (hydra), or srun --mpi=pmi2 */
    DDPM_LAUNCHER_TASKS,   /* srun without any MPI, or torchrun */
};

struct ddpm_launcher {
    enum ddpm_launcher_kind kind;
    const char *variable; /* the variable that says so */
    int count;            /* processes started; 0: unknown */
};

/* DDPM_ERROR_ARGUMENT if one launcher was started by another. */
ddpm_status ddpm_launcher_find(struct ddpm_launcher *out);

/* Processes started by torchrun, or by srun without MPI. */
struct ddpm_tasks {
    const char *variable; /* that says how many */
    int rank, count;
    int place; /* among those on this machine */
};

/* Are there any, even just one? torchrun's variables win: srun may have started torchrun. */
bool ddpm_launcher_find_tasks(struct ddpm_tasks *out);

/* Is this the first of the processes that were started together on this machine, as far as the
 * environment says? If all of them fail before they are joined, only the first reports it. */
bool ddpm_launcher_is_first_here(void);

#endif

/* A single process, and launchers' variables; tests/ranks has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ranks/launcher.h"
#include "ranks/ranks.h"

static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "PMI_SIZE",
                                        "PMIX_RANK",
                                        "MPI_LOCALNRANKS",
                                        "MPI_LOCALRANKID",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_LOCALID"};

static int forget(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; ++i)
        unsetenv(variables[i]);
    return 0;
}

static void assert_launcher(enum ddpm_launcher_kind kind, int count)
{
    struct ddpm_launcher launcher;
    assert_int_equal(ddpm_launcher_find(&launcher), DDPM_OK);
    assert_int_equal(launcher.kind, kind);
    assert_int_equal(launcher.count, count);
}

static void launchers_are_known_by_their_variables(void **state)
{
    struct ddpm_launcher launcher;
    assert_launcher(DDPM_LAUNCHER_NONE, 0);
    setenv("SLURM_STEP_NUM_TASKS", "1", 1);
    assert_launcher(DDPM_LAUNCHER_NONE, 0);
    setenv("SLURM_STEP_NUM_TASKS", "8", 1);
    assert_launcher(DDPM_LAUNCHER_TASKS, 8);
    setenv("PMIX_RANK", "0", 1);
    assert_launcher(DDPM_LAUNCHER_OPENMPI, 8);
    forget(state);
    setenv("PMI_SIZE", "3", 1);
    assert_launcher(DDPM_LAUNCHER_MPICH, 3);
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
    assert_launcher(DDPM_LAUNCHER_MPICH, 3);
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1); /* srun's variables, which mpirun's daemons pass on */
    assert_launcher(DDPM_LAUNCHER_OPENMPI, 2);
    setenv("MPI_LOCALNRANKS", "3", 1);
    assert_int_equal(ddpm_launcher_find(&launcher), DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "Open MPI's started 2 processes and MPICH's 3"));
}

static void the_first_here_speaks(void **state)
{
    (void)state;
    assert_true(ddpm_launcher_is_first_here());
    setenv("MPI_LOCALRANKID", "0", 1);
    assert_true(ddpm_launcher_is_first_here());
    setenv("MPI_LOCALRANKID", "2", 1);
    assert_false(ddpm_launcher_is_first_here());
}

static void choices_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct ddpm_ranks *ranks;
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_NCCL, 1, &ranks), DDPM_ERROR_UNSUPPORTED);
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_MPI, 1, &ranks), DDPM_ERROR_ARGUMENT);
    setenv("SLURM_STEP_NUM_TASKS", "8", 1);
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_AUTO, 1, &ranks), DDPM_ERROR_ARGUMENT);
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_OFF, 1, &ranks), DDPM_OK);
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    setenv("DDPM_MPI_PLUGIN", "/nowhere/mpi.so", 1);
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_AUTO, 1, &ranks), DDPM_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ddpm_error_message(), "named by DDPM_MPI_PLUGIN cannot be loaded"));
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_AUTO, 1, &ranks), DDPM_OK);
    assert_null(ranks);
    unsetenv("DDPM_MPI_PLUGIN");
}

static void alone_everything_stays_as_it_is(void **state)
{
    (void)state;
    struct ddpm_ranks *alone = NULL;
    float values[3] = {1, 2, 3};
    int signal = 15;
    assert_int_equal(ddpm_ranks_index(alone), 0);
    assert_int_equal(ddpm_ranks_count(alone), 1);
    assert_true(ddpm_ranks_speaks(alone));
    assert_false(ddpm_ranks_lost(alone));
    assert_int_equal(ddpm_ranks_sum_begin(alone, values, 3), DDPM_OK);
    assert_int_equal(ddpm_ranks_go_on(alone), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(alone), DDPM_OK);
    assert_int_equal(ddpm_ranks_gather(alone, values, sizeof values), DDPM_OK);
    assert_int_equal(ddpm_ranks_broadcast(alone, 0, values, sizeof values), DDPM_OK);
    assert_int_equal(ddpm_ranks_compare(alone, "a: b\n"), DDPM_OK);
    assert_int_equal(ddpm_ranks_agree(alone, DDPM_OK, &signal), DDPM_OK);
    assert_int_equal(ddpm_ranks_agree(alone, DDPM_ERROR_IO, &signal), DDPM_ERROR_IO);
    assert_int_equal(signal, 15);
    assert_true(values[0] == 1 && values[1] == 2 && values[2] == 3);
    ddpm_ranks_still_here(alone);
    ddpm_ranks_close(&alone, 0);
}

int main(void)
{
    forget(NULL); /* variables of whatever runs the tests */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(launchers_are_known_by_their_variables, forget),
        cmocka_unit_test_setup(the_first_here_speaks, forget),
        cmocka_unit_test_setup(choices_that_cannot_be_are_refused, forget),
        cmocka_unit_test_setup(alone_everything_stays_as_it_is, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

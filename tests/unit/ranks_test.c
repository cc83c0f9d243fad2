/* A single process, and launchers' variables; tests/ranks has the rest. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ranks/launcher.h"
#include "ranks/ranks.h"
#include "ranks/state.h"
#include "tensor/tensor.h"

static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "PMI_SIZE",
                                        "PMIX_RANK",
                                        "MPI_LOCALNRANKS",
                                        "MPI_LOCALRANKID",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_NTASKS",
                                        "SLURM_PROCID",
                                        "RANK",
                                        "WORLD_SIZE",
                                        "LOCAL_RANK",
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

static void assert_tasks(int rank, int count, int place)
{
    struct ddpm_tasks tasks;
    assert_true(ddpm_launcher_find_tasks(&tasks));
    assert_int_equal(tasks.rank, rank);
    assert_int_equal(tasks.count, count);
    assert_int_equal(tasks.place, place);
}

static void processes_without_mpi_know_their_places(void **state)
{
    (void)state;
    struct ddpm_tasks tasks;
    struct ddpm_ranks *ranks;
    setenv("SLURM_NTASKS", "16", 1);
    setenv("SLURM_PROCID", "9", 1);
    assert_false(ddpm_launcher_find_tasks(&tasks));
    setenv("SLURM_LOCALID", "1", 1);
    assert_tasks(9, 16, 1);
    setenv("WORLD_SIZE", "4", 1); /* torchrun's, which srun has started */
    setenv("RANK", "0", 1);
    assert_tasks(9, 16, 1);
    setenv("LOCAL_RANK", "0", 1);
    assert_tasks(0, 4, 0);
    assert_launcher(DDPM_LAUNCHER_TASKS, 4);
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_AUTO, 1, &ranks), DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "torchrun started 4 processes"));
    setenv("RANK", "4", 1); /* none of 4: whatever this is, it is not torchrun */
    assert_tasks(9, 16, 1);
    setenv("RANK", "zero", 1);
    assert_tasks(9, 16, 1);
    setenv("RANK", "0", 1);
    setenv("WORLD_SIZE", "1", 1);
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_NCCL, 1, &ranks), DDPM_OK);
    assert_null(ranks);
}

static void the_first_here_speaks(void **state)
{
    (void)state;
    assert_true(ddpm_launcher_is_first_here());
    setenv("MPI_LOCALRANKID", "0", 1);
    assert_true(ddpm_launcher_is_first_here());
    setenv("MPI_LOCALRANKID", "2", 1);
    assert_false(ddpm_launcher_is_first_here());
    setenv("MPI_LOCALRANKID", "0", 1); /* first of the second launcher: two, nested */
    setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1", 1);
    assert_false(ddpm_launcher_is_first_here());
    setenv("OMPI_COMM_WORLD_LOCAL_RANK", "0", 1);
    assert_true(ddpm_launcher_is_first_here());
}

static void choices_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct ddpm_ranks *ranks;
    assert_int_equal(ddpm_ranks_join(DDPM_RANKS_NCCL, 1, &ranks), DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "neither by mpirun nor by srun or torchrun"));
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

/* Two ranks, the other one played by the test: it has the same number everywhere in every sum, and
 * is late. */
static struct {
    float number;    /* of the other rank */
    int delay, left; /* polls until a call is done */
    struct ddpm_collective_call calls[8];
    int count;
    size_t bytes; /* sent to the other */
} other;

static void answer(const struct ddpm_collective_call *call)
{
    if (!call->receive || call->what == DDPM_COLLECTIVE_SUM_AT)
        return;
    const size_t numbers = call->count / sizeof(uint16_t);
    uint16_t *received = (uint16_t *)call->receive + numbers;
    const uint16_t *own = call->send;
    for (size_t i = 0; i < numbers; ++i) {
        if (call->what == DDPM_COLLECTIVE_COLLECT) {
            received[i] = ddpm_float_to_bf16(other.number);
        } else if (call->what == DDPM_COLLECTIVE_EXCHANGE) {
            ((uint16_t *)call->receive)[i] = own[i];
            received[i] = ddpm_float_to_bf16(other.number);
        } else { /* the other's piece of the sums, to which this rank contributed a 1 */
            received[i] = ddpm_float_to_bf16(other.number + 1);
        }
    }
}

static ddpm_status play_begin(const struct ddpm_collective_call *call, int *request)
{
    *request = other.count;
    other.calls[other.count++] = *call;
    other.left = other.delay;
    other.bytes += call->count;
    return DDPM_OK;
}

static ddpm_status play_test(int request, bool *done)
{
    *done = other.left-- <= 0;
    if (*done)
        answer(&other.calls[request]);
    return DDPM_OK;
}

static ddpm_status play_nothing(int to, int64_t note)
{
    (void)to, (void)note;
    return DDPM_OK;
}

static ddpm_status play_silence(int *from, int64_t *note)
{
    (void)note;
    *from = -1;
    return DDPM_OK;
}

static const struct ddpm_transport played = {
    .begin = play_begin, .test = play_test, .tell = play_nothing, .hear = play_silence};

static void sums_over_bf16_are_rounded_twice(void **state)
{
    (void)state;
    bool waiting[2] = {false};
    struct ddpm_ranks ranks = {
        .transport = &played, .count = 2, .timeout = 60, .waiting = waiting, .speaks = true};
    /* 1 + 2^-8 lies between two numbers of bf16 and goes to the even one, 1; 3 times that to the
     * next. 256 + 0.75 is rounded once more as a sum. */
    float values[5] = {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 256, -2, 77};
    const size_t elements = ddpm_ranks_room_bf16(&ranks, 5);
    uint16_t *room = malloc(elements * sizeof *room);
    assert_true(elements >= 12);
    memset(&other, 0, sizeof other);
    other.number = 0.75f;
    other.delay = 3;
    assert_int_equal(ddpm_ranks_sum_bf16_begin(&ranks, values, 5, room), DDPM_OK);
    assert_int_equal(other.count, 1);
    for (int i = 0; i < 4; ++i)
        assert_int_equal(ddpm_ranks_go_on(&ranks), DDPM_OK);
    assert_int_equal(other.count, 2); /* the first message has arrived, the second has begun */
    assert_int_equal(ddpm_ranks_wait(&ranks), DDPM_OK);
    assert_int_equal(other.count, 2);
    assert_int_equal(other.calls[0].what, DDPM_COLLECTIVE_EXCHANGE);
    assert_int_equal(other.calls[1].what, DDPM_COLLECTIVE_GATHER);
    assert_int_not_equal(other.calls[0].lane, other.calls[1].lane);
    assert_true(values[0] == 1.75f && values[1] == 1.015625f + 0.75f && values[2] == 256);
    assert_true(values[3] == 1.75f && values[4] == 1.75f);   /* the other's piece */
    assert_int_equal(other.bytes, 2 * 3 * sizeof(uint16_t)); /* 2 (R-1)/R n, of 6 numbers */
    free(room);
}

static void sums_over_bf16_keep_what_is_not_finite(void **state)
{
    (void)state;
    bool waiting[2] = {false};
    struct ddpm_ranks ranks = {
        .transport = &played, .count = 2, .timeout = 60, .waiting = waiting, .speaks = true};
    float values[4] = {NAN, INFINITY, 3.4e38f, 1};
    uint16_t room[16];
    assert_true(ddpm_ranks_room_bf16(&ranks, 2) <= 8 && ddpm_ranks_room_bf16(NULL, 2) == 0);
    memset(&other, 0, sizeof other);
    /* Two sums at once; the second begins before the first has moved on. */
    assert_int_equal(ddpm_ranks_sum_bf16_begin(&ranks, values, 2, room), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_bf16_begin(&ranks, values + 2, 2, room + 8), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(&ranks), DDPM_OK);
    assert_int_equal(other.count, 4);
    assert_true(isnan(values[0]) && values[1] == 1 && isinf(values[2]) && values[3] == 1);
    ranks.lost = true;
    assert_int_equal(ddpm_ranks_wait(&ranks), DDPM_ERROR_IO);
    assert_int_equal(ddpm_ranks_sum_bf16_begin(&ranks, values, 2, room), DDPM_ERROR_IO);
}

static void a_sum_at_one_rank_over_bf16_is_rounded_once(void **state)
{
    (void)state;
    bool waiting[2] = {false};
    struct ddpm_ranks ranks = {
        .transport = &played, .count = 2, .timeout = 60, .waiting = waiting, .speaks = true};
    float values[3] = {1 + 0x1p-8f, 256, -2};
    uint16_t room[6];
    assert_int_equal(ddpm_ranks_room_at_bf16(&ranks, 0, 3), 6);
    assert_int_equal(ddpm_ranks_room_at_bf16(&ranks, 1, 3), 3);
    memset(&other, 0, sizeof other);
    other.number = 0.75f;
    assert_int_equal(ddpm_ranks_sum_at_bf16_begin(&ranks, 0, values, 3, room), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(&ranks), DDPM_OK);
    assert_int_equal(other.count, 1);
    assert_int_equal(other.calls[0].what, DDPM_COLLECTIVE_COLLECT);
    assert_int_equal(other.bytes, 3 * sizeof(uint16_t));
    assert_true(values[0] == 1.75f && values[1] == 256.75f && values[2] == -1.25f);
    assert_int_equal(ddpm_ranks_sum_at_bf16_begin(&ranks, 1, values, 3, room), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(&ranks), DDPM_OK);
    assert_int_equal(other.calls[1].root, 1);
    assert_true(values[0] == 1.75f && values[1] == 256.75f && values[2] == -1.25f); /* its own */
}

static void sums_at_one_rank_wait_for_their_turn(void **state)
{
    (void)state;
    enum { CHUNK = 1 << 19 };
    static float values[2 * CHUNK + 7];
    bool waiting[2] = {false};
    struct ddpm_ranks ranks = {
        .transport = &played, .count = 2, .timeout = 60, .waiting = waiting, .speaks = true};
    memset(&other, 0, sizeof other);
    assert_int_equal(ddpm_ranks_sum_at_begin(&ranks, 1, values, 2 * CHUNK + 7), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_at_begin(&ranks, 0, values, 5), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_at_begin(&ranks, 0, values, 0), DDPM_OK);
    assert_int_equal(other.count, 2);
    assert_int_equal(ddpm_ranks_go_on(&ranks), DDPM_OK);
    assert_int_equal(other.count, 3);
    assert_int_equal(ddpm_ranks_wait(&ranks), DDPM_OK);
    assert_int_equal(other.count, 4);
    const size_t counts[] = {CHUNK, CHUNK, 7, 5};
    for (int i = 0; i < 4; ++i) {
        assert_int_equal(other.calls[i].what, DDPM_COLLECTIVE_SUM_AT);
        assert_int_equal(other.calls[i].count, counts[i]);
        assert_int_equal(other.calls[i].root, i < 3);
        assert_ptr_equal(other.calls[i].receive, values + (i < 3 ? i * CHUNK : 0));
    }
    ranks.apart = true;
    assert_int_equal(ddpm_ranks_sum_at_begin(&ranks, 0, values, 5), DDPM_ERROR_UNSUPPORTED);
}

int main(void)
{
    forget(NULL); /* variables of whatever runs the tests */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(launchers_are_known_by_their_variables, forget),
        cmocka_unit_test_setup(processes_without_mpi_know_their_places, forget),
        cmocka_unit_test_setup(the_first_here_speaks, forget),
        cmocka_unit_test_setup(choices_that_cannot_be_are_refused, forget),
        cmocka_unit_test_setup(alone_everything_stays_as_it_is, forget),
        cmocka_unit_test(sums_over_bf16_are_rounded_twice),
        cmocka_unit_test(sums_over_bf16_keep_what_is_not_finite),
        cmocka_unit_test(a_sum_at_one_rank_over_bf16_is_rounded_once),
        cmocka_unit_test(sums_at_one_rank_wait_for_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

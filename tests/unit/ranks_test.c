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

/* All ranks but one are simulated here: they have the same number everywhere in every sum, and are
 * late. */
static struct {
    enum ddpm_dtype wire;
    float number;    /* of each other rank */
    int delay, left; /* polls until a call is done */
    struct ddpm_collective_call calls[32];
    int count;
    size_t bytes; /* sent to one other */
} other;

static void fill(float *message, int begin, int count, float number)
{
    for (int i = 2 * begin; i < 2 * (begin + count) && other.wire == DDPM_BF16; ++i)
        ((uint16_t *)message)[i] = ddpm_float_to_bf16(number);
    for (int i = begin; i < begin + count && other.wire == DDPM_F32; ++i)
        message[i] = number;
}

static void answer(const struct ddpm_collective_call *call, int rank)
{
    const struct ddpm_parts *parts =
        call->what == DDPM_COLLECTIVE_EXCHANGE ? &call->received : &call->parts;
    /* In the sums, the other rank adds just 1. */
    const float number = other.number + (call->what == DDPM_COLLECTIVE_GATHER ? 1 : 0);
    if (call->receive && parts->counts)
        fill(call->receive, parts->starts[rank], parts->counts[rank], number);
}

static ddpm_status play_begin(const struct ddpm_collective_call *call, int *request)
{
    *request = other.count;
    other.calls[other.count++] = *call;
    other.left = other.delay;
    if (call->parts.counts)
        other.bytes +=
            sizeof(float) * (size_t)call->parts.counts[call->what == DDPM_COLLECTIVE_EXCHANGE];
    return DDPM_OK;
}

static ddpm_status play_test(int request, bool *done)
{
    *done = other.left-- <= 0;
    if (*done)
        answer(&other.calls[request], 1);
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

/* Two ranks with room for sums of `most` numbers, this one being rank 0. */
static struct ddpm_ranks *meet(enum ddpm_dtype wire, size_t most)
{
    static bool waiting[128];
    struct ddpm_ranks *ranks = calloc(1, sizeof *ranks);
    assert_non_null(ranks);
    *ranks = (struct ddpm_ranks){
        .transport = &played, .count = 2, .timeout = 60, .waiting = waiting, .speaks = true};
    memset(&other, 0, sizeof other);
    other.wire = wire;
    assert_int_equal(ddpm_ranks_prepare_sums(ranks, wire, most), DDPM_OK);
    return ranks;
}

static void part(struct ddpm_ranks *ranks)
{
    ddpm_ranks_release_sums(ranks);
    free(ranks);
}

static void sums_over_bf16_are_rounded_twice(void **state)
{
    (void)state;
    /* 1 + 2^-8 lies between two numbers of bf16 and goes to the even one, 1; 3 times that to the
     * next. 256 + 0.75 is rounded once more as a sum. */
    float values[7] = {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 256, -2, 77, 78, 79};
    struct ddpm_ranks *ranks = meet(DDPM_BF16, 7);
    other.number = 0.75f;
    other.delay = 3;
    assert_int_equal(ddpm_ranks_sum_begin(ranks, values, 7), DDPM_OK);
    assert_int_equal(other.count, 1);
    for (int i = 0; i < 4; ++i)
        assert_int_equal(ddpm_ranks_go_on(ranks), DDPM_OK);
    assert_int_equal(other.count, 2); /* the first message has arrived, the second has begun */
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.count, 2);
    assert_int_equal(other.calls[0].what, DDPM_COLLECTIVE_EXCHANGE);
    assert_int_equal(other.calls[1].what, DDPM_COLLECTIVE_GATHER);
    assert_int_not_equal(other.calls[0].lane, other.calls[1].lane);
    assert_true(values[0] == 1.75f && values[1] == 1.015625f + 0.75f && values[2] == 256);
    assert_true(values[3] == -1.25f);
    assert_true(values[4] == 1.75f && values[5] == 1.75f && values[6] == 1.75f); /* the other's */
    assert_int_equal(other.bytes, 2 * 4 * sizeof(uint16_t)); /* 2 (R-1)/R n, of 8 numbers */
    part(ranks);
}

static void sums_over_bf16_keep_what_is_not_finite(void **state)
{
    (void)state;
    float values[8] = {NAN, 0, INFINITY, 0, 3.4e38f, 0, 1, 0};
    struct ddpm_ranks *ranks = meet(DDPM_BF16, 4);
    assert_int_equal(ddpm_ranks_sums_bytes(NULL, DDPM_BF16, 4), 0);
    /* Two sums at once; the second begins before the first has made progress. */
    assert_int_equal(ddpm_ranks_sum_begin(ranks, values, 4), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_begin(ranks, values + 4, 4), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.count, 4);
    assert_true(isnan(values[0]) && values[2] == 1 && isinf(values[4]) && values[6] == 1);
    ranks->lost = true;
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_ERROR_IO);
    assert_int_equal(ddpm_ranks_sum_begin(ranks, values, 2), DDPM_ERROR_IO);
    part(ranks);
}

static void a_sum_at_one_rank_over_bf16_is_rounded_once(void **state)
{
    (void)state;
    float values[3] = {1 + 0x1p-8f, 256, -2};
    struct ddpm_ranks *ranks = meet(DDPM_BF16, 6);
    other.number = 0.75f;
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 0, values, 3), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.count, 1);
    assert_int_equal(other.calls[0].what, DDPM_COLLECTIVE_COLLECT);
    assert_int_equal(other.bytes, 0); /* it has sent nothing itself */
    assert_true(values[0] == 1.75f && values[1] == 256.75f && values[2] == -1.25f);
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 1, values, 3), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.calls[1].root, 1);
    assert_int_equal(other.bytes, 4 * sizeof(uint16_t));                            /* in pairs */
    assert_true(values[0] == 1.75f && values[1] == 256.75f && values[2] == -1.25f); /* its own */
    part(ranks);
}

static void sums_over_fp32_are_the_same_two_messages_without_copies(void **state)
{
    (void)state;
    float values[5] = {1 + 0x1p-8f, 2, 3, 4, 5};
    struct ddpm_ranks *ranks = meet(DDPM_F32, 5);
    other.number = 0.75f;
    assert_int_equal(ddpm_ranks_sum_begin(ranks, values, 5), DDPM_OK);
    assert_ptr_equal(other.calls[0].send, values);
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.count, 2);
    assert_int_equal(other.calls[0].what, DDPM_COLLECTIVE_EXCHANGE);
    assert_int_equal(other.calls[1].what, DDPM_COLLECTIVE_GATHER);
    assert_ptr_equal(other.calls[1].receive, values);
    assert_true(values[0] == 1.75f + 0x1p-8f && values[1] == 2.75f && values[2] == 3.75f);
    assert_true(values[3] == 1.75f && values[4] == 1.75f);  /* the other's piece */
    assert_int_equal(other.bytes, (2 + 3) * sizeof(float)); /* its piece, and the sum of ours */
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 0, values, 2), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 1, values, 3), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.count, 4);
    assert_int_equal(other.calls[3].what, DDPM_COLLECTIVE_COLLECT);
    assert_ptr_equal(other.calls[3].send, values);
    assert_true(values[0] == 2.5f + 0x1p-8f && values[1] == 3.5f && values[2] == 3.75f);
    part(ranks);
}

/* Three ranks' numbers: 3, 2^24 and 3 at the positions where they are summed. */
static float sum_of_three(int index)
{
    float value = 0x1p24f;
    struct ddpm_ranks *ranks = meet(DDPM_F32, 1);
    ranks->count = 3;
    ranks->index = index;
    other.number = 3;
    assert_int_equal(ddpm_ranks_prepare_sums(ranks, DDPM_F32, 1), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, index, &value, 1), DDPM_OK);
    for (int rank = 0; rank < 3; ++rank)
        if (rank != index)
            answer(&other.calls[0], rank);
    other.calls[0].receive = NULL;
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    part(ranks);
    return value;
}

static void values_are_summed_in_the_order_of_ranks(void **state)
{
    (void)state;
    assert_true(sum_of_three(0) == (0x1p24f + 3) + 3);
    assert_true(sum_of_three(1) == (3 + 0x1p24f) + 3);
    assert_true(sum_of_three(2) == 6 + 0x1p24f);
    assert_true(sum_of_three(1) != sum_of_three(2));
}

static void sums_wait_for_their_turn(void **state)
{
    (void)state;
    enum { CHUNK = 1 << 20, AT_ONCE = DDPM_SUMS_AT_ONCE, COUNT = AT_ONCE * CHUNK + 7 };
    float *values = malloc(COUNT * sizeof *values);
    struct ddpm_ranks *ranks = meet(DDPM_F32, COUNT);
    assert_non_null(values);
    for (int i = 0; i < COUNT; ++i)
        values[i] = (float)(i % 1000);
    /* What is in flight at any time takes as much room as planned. */
    assert_int_equal(ddpm_ranks_sums_bytes(ranks, DDPM_F32, COUNT),
                     AT_ONCE * CHUNK / 2 * sizeof(float));
    assert_int_equal(ddpm_ranks_sums_bytes(ranks, DDPM_F32, 64), AT_ONCE * 32 * sizeof(float));
    assert_int_equal(ddpm_ranks_sum_begin(ranks, values, COUNT), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_begin(ranks, values, 0), DDPM_OK);
    assert_int_equal(other.count, AT_ONCE);
    other.left = 1; /* the first is late */
    assert_int_equal(ddpm_ranks_go_on(ranks), DDPM_OK);
    assert_int_equal(other.count, AT_ONCE);
    other.delay = 3;
    assert_int_equal(ddpm_ranks_go_on(ranks), DDPM_OK);
    assert_int_equal(other.count, AT_ONCE + 1); /* the first is gathered */
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.count, 2 * (AT_ONCE + 1));
    for (int i = 0; i < COUNT; ++i) {
        const bool own = i < AT_ONCE * CHUNK ? i % CHUNK < CHUNK / 2 : i < AT_ONCE * CHUNK + 4;
        assert_true(values[i] == (own ? (float)(i % 1000) : 1));
    }
    part(ranks);
    free(values);
}

static void sums_at_one_rank_wait_for_their_turn(void **state)
{
    (void)state;
    enum { CHUNK = 1 << 19, AT_ONCE = DDPM_SUMS_AT_ONCE };
    static float values[AT_ONCE * CHUNK + 7];
    struct ddpm_ranks *ranks = meet(DDPM_F32, AT_ONCE * CHUNK + 7);
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 1, values, AT_ONCE * CHUNK + 7), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 0, values, 5), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 0, values, 0), DDPM_OK);
    assert_int_equal(other.count, AT_ONCE);
    other.delay = 1;
    assert_int_equal(ddpm_ranks_go_on(ranks), DDPM_OK);
    assert_int_equal(other.count, AT_ONCE + 1);
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.count, AT_ONCE + 2);
    for (int i = 0; i < AT_ONCE + 1; ++i) {
        assert_int_equal(other.calls[i].what, DDPM_COLLECTIVE_COLLECT);
        assert_int_equal(other.calls[i].root, 1);
        assert_ptr_equal(other.calls[i].send, values + i * CHUNK);
    }
    assert_int_equal(other.calls[AT_ONCE + 1].root, 0);
    ranks->apart = true;
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 0, values, 5), DDPM_ERROR_UNSUPPORTED);
    assert_int_equal(ddpm_ranks_prepare_sums(ranks, DDPM_BF16, 5), DDPM_ERROR_UNSUPPORTED);
    part(ranks);
}

static void with_many_ranks_the_transport_sums(void **state)
{
    (void)state;
    float values[5] = {0};
    struct ddpm_ranks *ranks = meet(DDPM_F32, 5);
    ranks->count = 65;
    assert_int_equal(ddpm_ranks_prepare_sums(ranks, DDPM_F32, 5), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_begin(ranks, values, 5), DDPM_OK);
    assert_int_equal(ddpm_ranks_sum_at_begin(ranks, 3, values, 5), DDPM_OK);
    assert_int_equal(ddpm_ranks_wait(ranks), DDPM_OK);
    assert_int_equal(other.calls[0].what, DDPM_COLLECTIVE_SUM);
    assert_int_equal(other.calls[1].what, DDPM_COLLECTIVE_SUM_AT);
    assert_int_equal(other.calls[1].root, 3);
    assert_ptr_equal(other.calls[1].receive, values);
    assert_int_equal(ddpm_ranks_sums_bytes(ranks, DDPM_F32, 1 << 24), 0);
    assert_int_not_equal(ddpm_ranks_sums_bytes(ranks, DDPM_BF16, 1 << 24), 0);
    part(ranks);
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
        cmocka_unit_test(sums_over_fp32_are_the_same_two_messages_without_copies),
        cmocka_unit_test(values_are_summed_in_the_order_of_ranks),
        cmocka_unit_test(sums_wait_for_their_turn),
        cmocka_unit_test(sums_at_one_rank_wait_for_their_turn),
        cmocka_unit_test(with_many_ranks_the_transport_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

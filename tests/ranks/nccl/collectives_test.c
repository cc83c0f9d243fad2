/* All collectives in host memory over NCCL, without MPI: three processes, the emulated device and
 * the stand-in for NCCL. Some messages take more than one piece (8 MiB for all ranks together). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "meeting_folder.h"
#include "ranks/ranks.h"

enum { RANKS = 3, LONG = 5 << 20 };

static void require(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "rank %s: %s: %s\n", getenv("RANK"), what, ddpm_error_message());
    _exit(1);
}

static uint8_t byte_of(int rank, size_t i)
{
    return (uint8_t)((size_t)rank * 101 + i * 7 + i / 4099);
}

static void fill(uint8_t *bytes, int rank, size_t count)
{
    for (size_t i = 0; i < count; ++i)
        bytes[i] = byte_of(rank, i);
}

static bool is_of(const uint8_t *bytes, int rank, size_t count)
{
    for (size_t i = 0; i < count; ++i)
        if (bytes[i] != byte_of(rank, i))
            return false;
    return true;
}

static void gather(struct ddpm_ranks *ranks, uint8_t *all, size_t count)
{
    const int own = ddpm_ranks_index(ranks);
    memset(all, 0, RANKS * count);
    fill(all + (size_t)own * count, own, count);
    require(ddpm_ranks_gather(ranks, all, count) == DDPM_OK, "gather");
    for (int rank = 0; rank < RANKS; ++rank)
        require(is_of(all + (size_t)rank * count, rank, count), "what was gathered");
}

static void broadcast(struct ddpm_ranks *ranks, uint8_t *all, size_t count)
{
    fill(all, ddpm_ranks_index(ranks), count);
    require(ddpm_ranks_broadcast(ranks, 2, all, count) == DDPM_OK, "broadcast");
    require(is_of(all, 2, count), "what was broadcast");
}

/* To rank 1, and from it. */
static void collect_and_spread(struct ddpm_ranks *ranks, uint8_t *all, uint8_t *own, size_t count)
{
    const int index = ddpm_ranks_index(ranks);
    memset(all, 0, RANKS * count);
    fill(own, index, count);
    fill(all + (size_t)index * count, index, count);
    require(ddpm_ranks_collect(ranks, 1, own, all, count) == DDPM_OK, "collect");
    for (int rank = 0; rank < RANKS && index == 1; ++rank)
        require(is_of(all + (size_t)rank * count, rank, count), "what was collected");
    memset(own, 0, count);
    require(ddpm_ranks_spread(ranks, 1, all, own, count) == DDPM_OK, "spread");
    require(index == 1 || is_of(own, index, count), "what was spread");
}

static void sums(struct ddpm_ranks *ranks, float *values, float *other, size_t count)
{
    float *const shares[] = {values, other};
    const float own = (float)(ddpm_ranks_index(ranks) + 1);
    for (size_t i = 0; i < count; ++i)
        values[i] = own * (float)(i % 1000);
    require(ddpm_ranks_sum_begin(ranks, values, count) == DDPM_OK, "sum");
    require(ddpm_ranks_wait(ranks) == DDPM_OK, "sum");
    for (size_t i = 0; i < count; ++i) {
        require(values[i] == 6.0f * (float)(i % 1000), "the sum");
        values[i] = own;
        other[i] = (float)(i % 10);
    }
    require(ddpm_ranks_sum_shares(ranks, shares, 2, values, count) == DDPM_OK, "sum of shares");
    for (size_t i = 0; i < count; ++i)
        require(values[i] == 6.0f + 3.0f * (float)(i % 10), "the sum of shares");
}

static void run_rank(int index)
{
    struct ddpm_ranks *ranks;
    char text[16];
    uint8_t *all = malloc((size_t)RANKS * LONG), *own = malloc(LONG);
    snprintf(text, sizeof text, "%d", index);
    setenv("RANK", text, 1);
    setenv("LOCAL_RANK", text, 1);
    require(all && own, "memory");
    require(ddpm_ranks_join(DDPM_RANKS_NCCL, 20, &ranks) == DDPM_OK, "join");
    require(ddpm_ranks_count(ranks) == RANKS && ddpm_ranks_place(ranks) == index, "place");
    require(ddpm_ranks_sums_on_device(ranks), "NCCL");
    for (size_t count = 1; count <= LONG; count = count == 1      ? 1001
                                                  : count == 1001 ? LONG
                                                                  : LONG + 1) {
        gather(ranks, all, count);
        broadcast(ranks, all, count);
        collect_and_spread(ranks, all, own, count);
    }
    require(ddpm_ranks_gather(ranks, all, 0) == DDPM_OK, "nothing");
    sums(ranks, (float *)(void *)all, (float *)(void *)own, LONG / sizeof(float));
    int signal = index;
    const ddpm_status status =
        index == 2 ? ddpm_raise(DDPM_ERROR_FORMAT, "no such picture") : DDPM_OK;
    require(ddpm_ranks_agree(ranks, status, &signal) == DDPM_ERROR_FORMAT, "agreement");
    require(signal == 2 && strstr(ddpm_error_message(), "no such picture"), "agreed text");
    ddpm_ranks_close(&ranks, 0);
    free(all);
    free(own);
}

static void all_collectives_do_what_they_say(void **state)
{
    (void)state;
    pid_t processes[RANKS];
    setenv("WORLD_SIZE", "3", 1);
    for (int rank = 0; rank < RANKS; ++rank) {
        processes[rank] = fork();
        assert_true(processes[rank] >= 0);
        if (processes[rank] == 0) {
            run_rank(rank);
            _exit(0);
        }
    }
    for (int rank = 0; rank < RANKS; ++rank) {
        int status;
        assert_int_equal(waitpid(processes[rank], &status, 0), processes[rank]);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_collectives_do_what_they_say, make_meeting_folder,
                                        remove_meeting_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

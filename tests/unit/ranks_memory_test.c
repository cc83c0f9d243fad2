/* Memory shared by the ranks of a machine, over a simulated transport. tests/ranks has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/memory.h"
#include "ranks/memory.h"
#include "ranks/state.h"

enum { RANKS = 5, WANTED = 1 << 16 };

static struct {
    size_t backed; /* bytes of the shared memory that exist; writing to others is a SIGBUS */
    bool fails;
    void *memory;
    size_t bytes;
    int unshared, met;
} played;

static ddpm_status begin(const struct ddpm_collective_call *call, int *request)
{
    (void)call; /* all other ranks are well */
    *request = 0;
    return DDPM_OK;
}

static ddpm_status test(int request, bool *done)
{
    *done = true;
    played.met += request == 1;
    return DDPM_OK;
}

static ddpm_status tell(int to, int64_t note)
{
    (void)to, (void)note;
    return DDPM_OK;
}

static ddpm_status hear(int *from, int64_t *note)
{
    (void)note;
    *from = -1;
    return DDPM_OK;
}

static ddpm_status share(size_t bytes, void **memory)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    if (played.fails)
        return ddpm_raise(DDPM_ERROR_IO, "MPI: shared memory: none");
    assert_int_equal(ftruncate(fileno(file), (off_t)(played.backed ? played.backed : bytes)), 0);
    *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    assert_ptr_not_equal(*memory, MAP_FAILED);
    fclose(file);
    played.memory = *memory;
    played.bytes = bytes;
    return DDPM_OK;
}

static void unshare_all(void)
{
    ++played.unshared;
    munmap(played.memory, played.bytes);
}

static ddpm_status meet(int *request)
{
    *request = 1;
    return DDPM_OK;
}

static const struct ddpm_transport transport = {.begin = begin,
                                                .test = test,
                                                .tell = tell,
                                                .hear = hear,
                                                .share = share,
                                                .unshare = unshare_all,
                                                .meet_neighbours = meet};

/* Rank `index` of RANKS, whose lowest neighbours are given. */
static struct ddpm_ranks *make(int index, const int lowest[RANKS])
{
    struct ddpm_ranks *ranks = calloc(1, sizeof *ranks);
    ranks->transport = &transport;
    ranks->index = index;
    ranks->count = RANKS;
    ranks->timeout = 60;
    ranks->lowest = calloc(RANKS, sizeof *ranks->lowest);
    ranks->places = calloc(RANKS, sizeof *ranks->places);
    ranks->fares = calloc(RANKS, sizeof *ranks->fares);
    ranks->waiting = calloc(RANKS, sizeof *ranks->waiting);
    memcpy(ranks->lowest, lowest, RANKS * sizeof *lowest);
    return ranks;
}

static void drop(struct ddpm_ranks *ranks)
{
    ddpm_ranks_unshare_memory(ranks);
    free(ranks->lowest);
    free(ranks->places);
    free(ranks->fares);
    free(ranks->waiting);
    free(ranks);
}

static int reset(void **state)
{
    (void)state;
    memset(&played, 0, sizeof played);
    return 0;
}

static const int two_machines[RANKS] = {0, 1, 0, 0, 1}, apart[RANKS] = {0, 1, 2, 3, 4};

static void neighbours_are_counted(void **state)
{
    (void)state;
    struct ddpm_ranks *third = make(3, two_machines), *alone = make(3, apart);
    assert_int_equal(ddpm_ranks_neighbours(third), 3);
    assert_int_equal(ddpm_ranks_neighbour(third), 2);
    assert_true(ddpm_ranks_have_neighbours(third));
    assert_int_equal(ddpm_ranks_neighbours(alone), 1);
    assert_int_equal(ddpm_ranks_neighbour(alone), 0);
    assert_false(ddpm_ranks_have_neighbours(alone));
    assert_int_equal(ddpm_ranks_neighbours(NULL), 1);
    assert_int_equal(ddpm_ranks_neighbour(NULL), 0);
    assert_false(ddpm_ranks_have_neighbours(NULL));
    drop(third);
    drop(alone);
}

static void memory_is_shared_until_the_ranks_close(void **state)
{
    (void)state;
    struct ddpm_ranks *ranks = make(3, two_machines);
    size_t bytes;
    assert_null(ddpm_ranks_shared_memory(ranks, &bytes));
    assert_int_equal(ddpm_ranks_share_memory(ranks, WANTED), DDPM_OK);
    char *memory = ddpm_ranks_shared_memory(ranks, &bytes);
    assert_int_equal(bytes, WANTED);
    assert_int_equal((uintptr_t)memory % DDPM_ALIGNMENT, 0);
    memset(memory, 1, bytes);
    assert_int_equal(ddpm_ranks_meet_neighbours(ranks), DDPM_OK);
    assert_int_equal(played.met, 1);
    assert_int_equal(played.unshared, 0);
    drop(ranks);
    assert_int_equal(played.unshared, 1);
}

static void missing_pages_are_an_error(void **state)
{
    (void)state;
    struct ddpm_ranks *ranks = make(3, two_machines);
    size_t bytes;
    played.backed = 3 * 4096;
    assert_int_equal(ddpm_ranks_share_memory(ranks, WANTED), DDPM_ERROR_MEMORY);
    assert_non_null(strstr(ddpm_error_message(), "there is no room for"));
    assert_null(ddpm_ranks_shared_memory(ranks, &bytes));
    assert_int_equal(bytes, 0);
    assert_int_equal(played.unshared, 1);
    drop(ranks);
    assert_int_equal(played.unshared, 1);
}

static void more_than_there_can_be_is_refused_first(void **state)
{
    (void)state;
    struct ddpm_ranks *ranks = make(3, two_machines);
    assert_int_equal(ddpm_ranks_share_memory(ranks, SIZE_MAX / 4), DDPM_ERROR_MEMORY);
    assert_non_null(strstr(ddpm_error_message(), "/dev/shm: got "));
    assert_null(played.memory);
    played.fails = true;
    assert_int_equal(ddpm_ranks_share_memory(ranks, WANTED), DDPM_ERROR_IO);
    assert_int_equal(played.unshared, 0);
    drop(ranks);
    assert_int_equal(played.unshared, 0);
}

static void a_rank_alone_on_its_machine_gets_none(void **state)
{
    (void)state;
    static const int last_alone[RANKS] = {0, 0, 0, 0, 4};
    struct ddpm_ranks *ranks = make(4, last_alone);
    size_t bytes;
    assert_true(ddpm_ranks_have_neighbours(ranks));
    played.fails = true;
    assert_int_equal(ddpm_ranks_share_memory(ranks, SIZE_MAX / 4), DDPM_OK);
    assert_null(ddpm_ranks_shared_memory(ranks, &bytes));
    drop(ranks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(neighbours_are_counted, reset),
        cmocka_unit_test_setup(memory_is_shared_until_the_ranks_close, reset),
        cmocka_unit_test_setup(missing_pages_are_an_error, reset),
        cmocka_unit_test_setup(more_than_there_can_be_is_refused_first, reset),
        cmocka_unit_test_setup(a_rank_alone_on_its_machine_gets_none, reset),
    };
    return cmocka_run_group_tests_name("shared memory of ranks", tests, NULL, NULL);
}

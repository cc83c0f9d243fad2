/* Memory that the ranks of one machine share, without ever dying for lack of it.
 *
 * Shared memory is a file in a file system that lives in memory, usually /dev/shm, which containers
 * keep small. If that has no room for a page, the first write to the page ends the process with
 * SIGBUS. So free space is checked first, and read() makes the pages: it fails instead. */
#include "ranks/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/memory.h"
#include "ranks/state.h"

static const char folder[] = "/dev/shm"; /* where both MPIs make it, unless told otherwise */

int ddpm_ranks_neighbours(const struct ddpm_ranks *ranks)
{
    int count = 0;
    if (!ranks || !ranks->lowest)
        return 1;
    for (int rank = 0; rank < ranks->count; ++rank)
        count += ranks->lowest[rank] == ranks->lowest[ranks->index];
    return count;
}

int ddpm_ranks_neighbour(const struct ddpm_ranks *ranks)
{
    int before = 0;
    for (int rank = 0; rank < ddpm_ranks_index(ranks) && ranks->lowest; ++rank)
        before += ranks->lowest[rank] == ranks->lowest[ranks->index];
    return before;
}

bool ddpm_ranks_have_neighbours(const struct ddpm_ranks *ranks)
{
    for (int rank = 0; rank < ddpm_ranks_count(ranks) && ranks && ranks->lowest; ++rank)
        if (ranks->lowest[rank] != rank)
            return true;
    return false;
}

ddpm_status ddpm_ranks_find_neighbours(struct ddpm_ranks *ranks)
{
    if (!ranks->transport->lowest_neighbour)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&ranks->lowest, (size_t)ranks->count, sizeof *ranks->lowest,
                            "ranks"));
    DDPM_TRY(ranks->transport->lowest_neighbour(&ranks->lowest[ranks->index]));
    return ddpm_ranks_gather(ranks, ranks->lowest, sizeof *ranks->lowest);
}

/* MPI needs some of it, too. */
static ddpm_status check_room(size_t bytes)
{
    const double want = (double)bytes * 1.125;
    struct statvfs about;
    if (statvfs(folder, &about) != 0)
        return DDPM_OK; /* it must be elsewhere */
    const double room = (double)about.f_bavail * (double)about.f_frsize;
    if (room >= want)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_MEMORY, "%s: got %.1f MB of room, want %.1f", folder, room / 1e6,
                      want / 1e6);
}

/* Zeros in all pages of [from, from + bytes). */
static ddpm_status make_pages(char *from, size_t bytes)
{
    const int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (zeros < 0)
        return ddpm_raise_errno("cannot open /dev/zero");
    ddpm_status status = DDPM_OK;
    while (bytes > 0 && status == DDPM_OK) {
        const ssize_t done = read(zeros, from, bytes);
        if (done > 0) {
            from += done;
            bytes -= (size_t)done;
        } else if (errno == EFAULT) {
            status = ddpm_raise(DDPM_ERROR_MEMORY, "there is no room for %.1f MB of shared memory",
                                (double)bytes / 1e6);
        } else if (errno != EINTR) {
            status = ddpm_raise_errno("cannot fill shared memory");
        }
    }
    close(zeros);
    return status;
}

/* The same hint that ddpm_new_aligned() gives; most systems ignore it for shared memory. */
static void ask_for_huge_pages(char *memory, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t skip = (0 - (uintptr_t)memory) % page;
    if (bytes > skip)
        (void)madvise(memory + skip, (bytes - skip) / page * page, MADV_HUGEPAGE);
}

/* Each neighbour makes the pages of a part, which are then near its processors. */
static ddpm_status make_own_pages(const struct ddpm_ranks *ranks, char *memory, size_t bytes)
{
    const size_t count = (size_t)ddpm_ranks_neighbours(ranks);
    const size_t place = (size_t)ddpm_ranks_neighbour(ranks);
    const size_t begin = bytes / count * place;
    const size_t end = place + 1 == count ? bytes : bytes / count * (place + 1);
    ask_for_huge_pages(memory, bytes);
    return make_pages(memory + begin, end - begin);
}

ddpm_status ddpm_ranks_share_memory(struct ddpm_ranks *ranks, size_t bytes)
{
    const bool shares = ddpm_ranks_neighbours(ranks) > 1;
    const size_t room = bytes + DDPM_ALIGNMENT;
    void *memory = NULL;
    DDPM_TRY(ddpm_ranks_agree(ranks, shares ? check_room(room) : DDPM_OK, NULL));
    /* If this fails on some ranks only, the others cannot free theirs, which all must do together.
     */
    DDPM_TRY(
        ddpm_ranks_agree(ranks, shares ? ranks->transport->share(room, &memory) : DDPM_OK, NULL));
    if (shares) {
        ranks->shared = (char *)memory + (0 - (uintptr_t)memory) % DDPM_ALIGNMENT;
        ranks->shared_bytes = bytes;
    }
    const ddpm_status status = ddpm_ranks_agree(
        ranks, shares ? make_own_pages(ranks, ranks->shared, bytes) : DDPM_OK, NULL);
    if (status != DDPM_OK)
        ddpm_ranks_unshare_memory(ranks);
    return status;
}

void *ddpm_ranks_shared_memory(const struct ddpm_ranks *ranks, size_t *bytes)
{
    *bytes = ranks ? ranks->shared_bytes : 0;
    return ranks ? ranks->shared : NULL;
}

void ddpm_ranks_unshare_memory(struct ddpm_ranks *ranks)
{
    if (ranks->shared && !ranks->lost)
        ranks->transport->unshare();
    ranks->shared = NULL;
    ranks->shared_bytes = 0;
}

ddpm_status ddpm_ranks_meet_neighbours(struct ddpm_ranks *ranks)
{
    int request;
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    if (ranks->transport->meet_neighbours(&request) != DDPM_OK)
        return ddpm_ranks_lose(ranks);
    return ddpm_ranks_wait_for(ranks, request);
}

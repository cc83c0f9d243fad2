/* The transport over MPI. Compiled once per implementation, whose headers define the binary
 * interface; it contains no copy of core/. */
#include <mpi.h>
#include <string.h>

#include "ranks/transport.h"

enum { MOST_REQUESTS = 64, MOST_NOTED = 4096, NOTE_TAG = 1 };

static struct {
    ddpm_transport_raise *raise;
    MPI_Comm collectives[DDPM_LANE_COUNT], notes, neighbours;
    MPI_Win shared; /* with the neighbours */
    MPI_Request requests[MOST_REQUESTS];
    bool used[MOST_REQUESTS];
    MPI_Request told[MOST_NOTED]; /* notes in flight */
    int64_t told_note[MOST_NOTED];
    int count;
    char description[MPI_MAX_LIBRARY_VERSION_STRING];
} mpi = {.neighbours = MPI_COMM_NULL, .shared = MPI_WIN_NULL};

static ddpm_status check(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (code == MPI_SUCCESS)
        return DDPM_OK;
    MPI_Error_string(code, text, &length);
    return mpi.raise(DDPM_ERROR_IO, "MPI: %s: %s", what, text);
}

#define TRY_MPI(call, what)                                                                        \
    do {                                                                                           \
        const ddpm_status try_status_ = check(call, what);                                         \
        if (try_status_ != DDPM_OK)                                                                \
            return try_status_;                                                                    \
    } while (0)

/* A communicator of our own, which returns errors instead of ending the process. */
static ddpm_status make_communicator(MPI_Comm *out)
{
    TRY_MPI(MPI_Comm_dup(MPI_COMM_WORLD, out), "a communicator");
    TRY_MPI(MPI_Comm_set_errhandler(*out, MPI_ERRORS_RETURN), "a communicator");
    return DDPM_OK;
}

static ddpm_status find_neighbours(void)
{
    TRY_MPI(MPI_Comm_split_type(mpi.notes, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &mpi.neighbours),
            "ranks of this machine");
    TRY_MPI(MPI_Comm_set_errhandler(mpi.neighbours, MPI_ERRORS_RETURN), "ranks of this machine");
    return DDPM_OK;
}

/* "Open MPI v4.1.4" and "MPICH 4.0.2", from texts that are several lines long. */
static void describe(void)
{
    static const char word[] = "Version:\t";
    int length = 0;
    MPI_Get_library_version(mpi.description, &length);
    mpi.description[strcspn(mpi.description, ",\n")] = '\0';
    char *version = strstr(mpi.description, word);
    if (version)
        memmove(version, version + sizeof word - 1, strlen(version + sizeof word - 1) + 1);
}

static ddpm_status join(int *rank, int *count, const char **description)
{
    int provided;
    TRY_MPI(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "start");
    TRY_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "start");
    TRY_MPI(MPI_Comm_rank(MPI_COMM_WORLD, rank), "rank");
    TRY_MPI(MPI_Comm_size(MPI_COMM_WORLD, &mpi.count), "count of ranks");
    if (mpi.count > MOST_NOTED)
        return mpi.raise(DDPM_ERROR_UNSUPPORTED, "MPI: got %d ranks, want at most %d", mpi.count,
                         MOST_NOTED);
    for (int i = 0; i < mpi.count; ++i)
        mpi.told[i] = MPI_REQUEST_NULL;
    for (int lane = 0; lane < DDPM_LANE_COUNT; ++lane) {
        const ddpm_status status = make_communicator(&mpi.collectives[lane]);
        if (status != DDPM_OK)
            return status;
    }
    describe();
    *count = mpi.count;
    *description = mpi.description;
    const ddpm_status status = make_communicator(&mpi.notes);
    return status == DDPM_OK ? find_neighbours() : status;
}

static const char *const words[] = {
    [DDPM_COLLECTIVE_SUM] = "sum",           [DDPM_COLLECTIVE_GATHER] = "gather",
    [DDPM_COLLECTIVE_EXCHANGE] = "exchange", [DDPM_COLLECTIVE_BROADCAST] = "broadcast",
    [DDPM_COLLECTIVE_COLLECT] = "collect",   [DDPM_COLLECTIVE_SPREAD] = "spread",
    [DDPM_COLLECTIVE_SUM_AT] = "sum"};

static int own_rank(const struct ddpm_collective_call *call)
{
    int rank;
    MPI_Comm_rank(mpi.collectives[call->lane], &rank);
    return rank;
}

static int begin_equal(const struct ddpm_collective_call *call, MPI_Request *made)
{
    const void *own = call->send ? call->send : MPI_IN_PLACE;
    const int count = (int)call->count, root = call->root;
    const MPI_Comm among = mpi.collectives[call->lane];
    switch (call->what) {
    case DDPM_COLLECTIVE_SUM:
        return MPI_Iallreduce(own, call->receive, count, MPI_FLOAT, MPI_SUM, among, made);
    case DDPM_COLLECTIVE_GATHER:
        return MPI_Iallgather(own, count, MPI_BYTE, call->receive, count, MPI_BYTE, among, made);
    case DDPM_COLLECTIVE_EXCHANGE:
        return MPI_Ialltoall(own, count, MPI_BYTE, call->receive, count, MPI_BYTE, among, made);
    case DDPM_COLLECTIVE_BROADCAST:
        return MPI_Ibcast(call->receive, count, MPI_BYTE, root, among, made);
    case DDPM_COLLECTIVE_COLLECT:
        return MPI_Igather(own_rank(call) == root ? MPI_IN_PLACE : call->send, count, MPI_BYTE,
                           call->receive, count, MPI_BYTE, root, among, made);
    case DDPM_COLLECTIVE_SPREAD:
        return MPI_Iscatter(call->send, count, MPI_BYTE,
                            own_rank(call) == root ? MPI_IN_PLACE : call->receive, count, MPI_BYTE,
                            root, among, made);
    case DDPM_COLLECTIVE_SUM_AT:
        if (own_rank(call) == root)
            return MPI_Ireduce(MPI_IN_PLACE, call->receive, count, MPI_FLOAT, MPI_SUM, root, among,
                               made);
        return MPI_Ireduce(call->receive, NULL, count, MPI_FLOAT, MPI_SUM, root, among, made);
    }
    return MPI_ERR_ARG;
}

static int begin_parts(const struct ddpm_collective_call *call, MPI_Request *made)
{
    const int *counts = call->parts.counts, *starts = call->parts.starts, root = call->root;
    const MPI_Comm among = mpi.collectives[call->lane];
    const int rank = own_rank(call);
    switch (call->what) {
    case DDPM_COLLECTIVE_GATHER:
        return MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_FLOAT, call->receive, counts, starts, MPI_FLOAT,
                               among, made);
    case DDPM_COLLECTIVE_COLLECT:
        return MPI_Igatherv(rank == root ? MPI_IN_PLACE : call->send, counts[rank], MPI_FLOAT,
                            call->receive, counts, starts, MPI_FLOAT, root, among, made);
    case DDPM_COLLECTIVE_SPREAD:
        return MPI_Iscatterv(call->send, counts, starts, MPI_FLOAT,
                             rank == root ? MPI_IN_PLACE : call->receive, counts[rank], MPI_FLOAT,
                             root, among, made);
    case DDPM_COLLECTIVE_EXCHANGE:
        return MPI_Ialltoallv(call->send, counts, starts, MPI_FLOAT, call->receive,
                              call->received.counts, call->received.starts, MPI_FLOAT, among, made);
    case DDPM_COLLECTIVE_SUM:
    case DDPM_COLLECTIVE_SUM_AT:
    case DDPM_COLLECTIVE_BROADCAST:
        break;
    }
    return MPI_ERR_ARG;
}

static ddpm_status find_request(int *slot)
{
    for (*slot = 0; *slot < MOST_REQUESTS; ++*slot)
        if (!mpi.used[*slot])
            return DDPM_OK;
    return mpi.raise(DDPM_ERROR_ARGUMENT, "MPI: more than %d operations at once", MOST_REQUESTS);
}

static ddpm_status begin(const struct ddpm_collective_call *call, int *request)
{
    const ddpm_status status = find_request(request);
    if (status != DDPM_OK)
        return status;
    MPI_Request *made = &mpi.requests[*request];
    TRY_MPI(call->parts.counts ? begin_parts(call, made) : begin_equal(call, made),
            words[call->what]);
    mpi.used[*request] = true;
    return DDPM_OK;
}

static ddpm_status test(int request, bool *done)
{
    int flag = 0;
    const ddpm_status status =
        check(MPI_Test(&mpi.requests[request], &flag, MPI_STATUS_IGNORE), "wait");
    *done = flag;
    if (flag || status != DDPM_OK)
        mpi.used[request] = false;
    if (flag && status == DDPM_OK && mpi.shared != MPI_WIN_NULL)
        return check(MPI_Win_sync(mpi.shared), "shared memory"); /* see what neighbours wrote */
    return status;
}

static ddpm_status lowest_neighbour(int *rank)
{
    const int first = 0;
    MPI_Group all, near;
    TRY_MPI(MPI_Comm_group(mpi.notes, &all), "ranks of this machine");
    TRY_MPI(MPI_Comm_group(mpi.neighbours, &near), "ranks of this machine");
    TRY_MPI(MPI_Group_translate_ranks(near, 1, &first, all, rank), "ranks of this machine");
    MPI_Group_free(&near);
    MPI_Group_free(&all);
    return DDPM_OK;
}

/* All of it is a part of the lowest rank's. */
static ddpm_status share(size_t bytes, void **memory)
{
    MPI_Aint size;
    void *own;
    int rank, unit;
    TRY_MPI(MPI_Comm_rank(mpi.neighbours, &rank), "shared memory");
    TRY_MPI(MPI_Win_allocate_shared(rank == 0 ? (MPI_Aint)bytes : 0, 1, MPI_INFO_NULL,
                                    mpi.neighbours, &own, &mpi.shared),
            "shared memory");
    TRY_MPI(MPI_Win_set_errhandler(mpi.shared, MPI_ERRORS_RETURN), "shared memory");
    TRY_MPI(MPI_Win_shared_query(mpi.shared, 0, &size, &unit, memory), "shared memory");
    return check(MPI_Win_lock_all(MPI_MODE_NOCHECK, mpi.shared), "shared memory");
}

static void unshare(void)
{
    MPI_Win_unlock_all(mpi.shared);
    MPI_Win_free(&mpi.shared);
}

static ddpm_status meet_neighbours(int *request)
{
    const ddpm_status status = find_request(request);
    if (status != DDPM_OK)
        return status;
    TRY_MPI(MPI_Win_sync(mpi.shared), "shared memory");
    TRY_MPI(MPI_Ibarrier(mpi.neighbours, &mpi.requests[*request]), "ranks of this machine");
    mpi.used[*request] = true;
    return DDPM_OK;
}

static ddpm_status tell(int to, int64_t note)
{
    int left = 0;
    TRY_MPI(MPI_Test(&mpi.told[to], &left, MPI_STATUS_IGNORE), "note");
    if (!left)
        return DDPM_OK;
    mpi.told_note[to] = note;
    TRY_MPI(MPI_Isend(&mpi.told_note[to], 1, MPI_INT64_T, to, NOTE_TAG, mpi.notes, &mpi.told[to]),
            "note");
    return DDPM_OK;
}

static ddpm_status hear(int *from, int64_t *note)
{
    MPI_Status status;
    int arrived = 0;
    *from = -1;
    TRY_MPI(MPI_Iprobe(MPI_ANY_SOURCE, NOTE_TAG, mpi.notes, &arrived, &status), "note");
    if (!arrived)
        return DDPM_OK;
    TRY_MPI(
        MPI_Recv(note, 1, MPI_INT64_T, status.MPI_SOURCE, NOTE_TAG, mpi.notes, MPI_STATUS_IGNORE),
        "note");
    *from = status.MPI_SOURCE;
    return DDPM_OK;
}

/* Receive the notes that nobody has read: MPI cannot end with a send that is never received. */
static void leave(void)
{
    int from = 0;
    int64_t note;
    MPI_Status status;
    MPI_Barrier(mpi.notes);
    while (from >= 0)
        if (hear(&from, &note) != DDPM_OK)
            break;
    for (int i = 0; i < mpi.count; ++i)
        MPI_Wait(&mpi.told[i], &status);
    MPI_Comm_free(&mpi.neighbours);
    MPI_Comm_free(&mpi.notes);
    for (int lane = 0; lane < DDPM_LANE_COUNT; ++lane)
        MPI_Comm_free(&mpi.collectives[lane]);
    MPI_Finalize();
}

static void end_all(int exit_code)
{
    MPI_Abort(MPI_COMM_WORLD, exit_code);
}

static const struct ddpm_transport transport = {
    .join = join,
    .leave = leave,
    .abort = end_all,
    .begin = begin,
    .test = test,
    .tell = tell,
    .hear = hear,
    .lowest_neighbour = lowest_neighbour,
    .share = share,
    .unshare = unshare,
    .meet_neighbours = meet_neighbours,
};

__attribute__((visibility("default"))) ddpm_transport_entry ddpm_transport;

const struct ddpm_transport *ddpm_transport(unsigned abi, ddpm_transport_raise *raise)
{
    mpi.raise = raise;
    return abi == DDPM_TRANSPORT_ABI ? &transport : NULL;
}

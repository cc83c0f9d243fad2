/* Devices that sum gradients as bf16 get the same bits as the CPU with the rule of ranks/sums.c.
 * Three processes, the emulated device and the stand-in for NCCL. */
#include <math.h>
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

#include "kernels/backend.h"
#include "meeting_folder.h"
#include "ranks/ranks.h"
#include "tensor/tensor.h"

enum { RANKS = 3, LARGEST = 5000000, COUNTS = 7 };
/* Less than a vector, not a multiple of it, a rank with padding only, more than the stand-in moves
 * in a round. */
static const size_t counts[COUNTS] = {1, 7, 24, 25, 1001, 65536, LARGEST};

static void require(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "rank %s: %s: %s\n", getenv("RANK"), what, ddpm_error_message());
    _exit(1);
}

/* Many magnitudes. Every third one cancels between the first and the last rank, so that the order
 * of the additions shows in the sum. Some are not finite, or subnormal. */
static float gradient(int rank, size_t i)
{
    if (i % 3 == 0 && rank != 1)
        return ldexpf(rank == 0 ? 1.0f : -1.0f, 18);
    const uint32_t mixed = (uint32_t)(i * 2654435761u + (size_t)rank * 40503u);
    const float value = ldexpf((float)(mixed >> 8) / 8388608.0f - 1.0f, (int)(mixed % 40) - 20);
    switch (i % 997) {
    case 5:
        return INFINITY;
    case 6:
        return rank == 1 ? NAN : value;
    case 8:
        return 3e38f;
    case 9:
        return ldexpf(value, -130);
    default:
        return value;
    }
}

static float sum_by_the_rule(size_t i)
{
    float sum = ddpm_bf16_to_float(ddpm_float_to_bf16(gradient(0, i)));
    for (int rank = 1; rank < RANKS; ++rank)
        sum += ddpm_bf16_to_float(ddpm_float_to_bf16(gradient(rank, i)));
    return ddpm_bf16_to_float(ddpm_float_to_bf16(sum));
}

static void check(const float *values, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        const float want = sum_by_the_rule(i);
        if (memcmp(&values[i], &want, sizeof want) == 0 || (isnan(values[i]) && isnan(want)))
            continue;
        fprintf(stderr, "element %zu of %zu: got %.9g, want %.9g\n", i, count, (double)values[i],
                (double)want);
        _exit(1);
    }
}

/* All sums share the room, and start before any of them has arrived. */
static void add_up(struct ddpm_ranks *ranks, struct ddpm_device *device, float *host)
{
    const struct ddpm_backend *backend = device->backend;
    void *queue, *room, *values[COUNTS];
    int index;
    require(backend->allocate(device, ddpm_ranks_room_bf16_on_device(ranks, LARGEST), "room",
                              &room) == DDPM_OK,
            "room");
    for (int k = 0; k < COUNTS; ++k) {
        for (size_t i = 0; i < counts[k]; ++i)
            host[i] = gradient(ddpm_ranks_index(ranks), i);
        host[counts[k]] = 42; /* must stay */
        require(backend->allocate(device, (counts[k] + 1) * sizeof *host, "values", &values[k]) ==
                        DDPM_OK &&
                    backend->upload(device, values[k], host, (counts[k] + 1) * sizeof *host) ==
                        DDPM_OK,
                "values");
    }
    backend->queue(device, &queue, &index);
    require(ddpm_ranks_join_devices(ranks, index) == DDPM_OK, "devices");
    for (int k = 0; k < COUNTS; ++k)
        require(ddpm_ranks_sum_bf16_on_device(ranks, queue, values[k], counts[k], room) == DDPM_OK,
                "sum");
    require(ddpm_ranks_wait_on_device(ranks, queue) == DDPM_OK, "wait");
    for (int k = 0; k < COUNTS; ++k) {
        require(backend->download(device, host, values[k], (counts[k] + 1) * sizeof *host) ==
                    DDPM_OK,
                "download");
        check(host, counts[k]);
        require(host[counts[k]] == 42, "what lies behind the values");
        backend->release(device, values[k]);
    }
    backend->release(device, room);
}

static void run_rank(int index)
{
    struct ddpm_ranks *ranks;
    struct ddpm_device *device;
    char text[16];
    float *host = malloc((LARGEST + 1) * sizeof *host);
    snprintf(text, sizeof text, "%d", index);
    setenv("RANK", text, 1);
    setenv("LOCAL_RANK", text, 1);
    require(host != NULL, "memory");
    require(ddpm_ranks_join(DDPM_RANKS_NCCL, 20, &ranks) == DDPM_OK, "join");
    const struct ddpm_device_options options = {.threads = 1};
    ddpm_device_take_turn(index);
    require(ddpm_device_open("cuda", &options, &device) == DDPM_OK, "device");
    add_up(ranks, device, host);
    ddpm_device_close(&device);
    ddpm_ranks_close(&ranks, 0);
    free(host);
}

static void sums_have_the_bits_of_the_rule(void **state)
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
        cmocka_unit_test_setup_teardown(sums_have_the_bits_of_the_rule, make_meeting_folder,
                                        remove_meeting_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

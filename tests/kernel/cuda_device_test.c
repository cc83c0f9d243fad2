/* The CUDA device apart from its kernels: copies of all sizes, pinned memory, snapshots, recording
 * and replay, the message for an allocation that does not fit, and that every kernel gives the same
 * bits twice. Runs on a GPU or on the emulated device; skipped (77) if there is neither. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel_case.h"

enum { EXIT_SKIPPED = 77 };

static struct ddpm_device *device;

static void *device_memory(size_t bytes)
{
    void *memory;
    assert_int_equal(device->backend->allocate(device, bytes, "a test", &memory), DDPM_OK);
    return memory;
}

/* Sizes below, at and above what one slot, and all slots, of the upload ring hold. */
static void uploads_arrive_whole(void **unused)
{
    (void)unused;
    const struct ddpm_backend *b = device->backend;
    static const size_t sizes[] = {1, 4096, (4u << 20) - 1, 4u << 20, (4u << 20) + 3, 70u << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        unsigned char *back = malloc(sizes[i]), *memory = device_memory(sizes[i]);
        void *pinned;
        assert_non_null(back);
        assert_int_equal(b->allocate_host(device, sizes[i], &pinned), DDPM_OK);
        unsigned char *from = pinned;
        for (size_t k = 0; k < sizes[i]; ++k)
            from[k] = (unsigned char)(k * 2654435761u >> 13);
        assert_int_equal(b->upload(device, memory, from, sizes[i]), DDPM_OK);
        memset(from, 0, sizes[i]); /* upload() must no longer need its source */
        assert_int_equal(b->download(device, back, memory, sizes[i]), DDPM_OK);
        for (size_t k = 0; k < sizes[i]; ++k)
            if (back[k] != (unsigned char)(k * 2654435761u >> 13))
                fail_msg("byte %zu of %zu differs", k, sizes[i]);
        b->release_host(device, pinned);
        b->release(device, memory);
        free(back);
    }
}

static void memory_starts_at_zero_and_copies(void **unused)
{
    (void)unused;
    const struct ddpm_backend *b = device->backend;
    unsigned char *first = device_memory(1000), *second = device_memory(1000), back[1000];
    assert_int_equal((uintptr_t)first % 64, 0);
    assert_int_equal(b->upload(device, first + 7, "abc", 3), DDPM_OK);
    assert_int_equal(b->copy(device, second, first, 1000), DDPM_OK);
    assert_int_equal(b->zero(device, second + 8, 1), DDPM_OK);
    assert_int_equal(b->download(device, back, second, 1000), DDPM_OK);
    assert_memory_equal(back, "\0\0\0\0\0\0\0a\0c\0", 11);
    assert_true(b->available(device) > 0);
    b->release(device, first);
    b->release(device, second);
}

static void too_much_memory_says_what_is_free(void **unused)
{
    (void)unused;
    void *memory;
    ddpm_status status = device->backend->allocate(device, (size_t)1 << 44, "activations", &memory);
    assert_int_equal(status, DDPM_ERROR_MEMORY);
    assert_null(memory);
    assert_non_null(strstr(ddpm_error_message(), "activations: needs 16777216 MiB"));
    assert_non_null(strstr(ddpm_error_message(), "are free"));
}

/* Two pieces of device memory and of pinned memory. */
struct pieces {
    void *device[2];
    unsigned char *host[2];
    size_t bytes;
};

static struct pieces make_pieces(size_t bytes)
{
    struct pieces pieces = {.bytes = bytes};
    for (int i = 0; i < 2; ++i) {
        void *pinned;
        pieces.device[i] = device_memory(bytes);
        assert_int_equal(device->backend->allocate_host(device, bytes, &pinned), DDPM_OK);
        pieces.host[i] = pinned;
    }
    return pieces;
}

static void release_pieces(struct pieces *pieces)
{
    for (int i = 0; i < 2; ++i) {
        device->backend->release(device, pieces->device[i]);
        device->backend->release_host(device, pieces->host[i]);
    }
}

static void set_pieces(const struct pieces *pieces, int value)
{
    for (int i = 0; i < 2; ++i) {
        memset(pieces->host[i], value + i, pieces->bytes);
        assert_int_equal(
            device->backend->upload(device, pieces->device[i], pieces->host[i], pieces->bytes),
            DDPM_OK);
        memset(pieces->host[i], 0, pieces->bytes);
    }
}

static void begin_snapshot(const struct pieces *pieces)
{
    void *to[2] = {pieces->host[0], pieces->host[1]};
    assert_int_equal(device->backend->snapshot_begin(device, to, pieces->device, 2, pieces->bytes),
                     DDPM_OK);
}

static void overwrite(const struct pieces *pieces)
{
    for (int i = 0; i < 2; ++i)
        assert_int_equal(device->backend->zero(device, pieces->device[i], pieces->bytes), DDPM_OK);
}

static void assert_snapshot(const struct pieces *pieces, int value)
{
    for (int i = 0; i < 2; ++i)
        for (size_t k = 0; k < pieces->bytes; ++k)
            if (pieces->host[i][k] != value + i)
                fail_msg("byte %zu of piece %d: got %d, want %d", k, i, pieces->host[i][k],
                         value + i);
}

static void *end_snapshot(void *status)
{
    *(ddpm_status *)status = device->backend->snapshot_end(device);
    return NULL;
}

/* A snapshot holds what is there when it begins, whatever is queued afterwards; another thread
 * waits for it. */
static void snapshots_are_of_their_moment(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {3u << 20, 5u << 20,
                                   1000}; /* the staging memory grows and stays */
    for (int i = 0; i < 3; ++i) {
        struct pieces pieces = make_pieces(sizes[i]);
        pthread_t thread;
        ddpm_status status;
        set_pieces(&pieces, 10 * i + 1);
        begin_snapshot(&pieces);
        overwrite(&pieces);
        assert_int_equal(pthread_create(&thread, NULL, end_snapshot, &status), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(status, DDPM_OK);
        assert_snapshot(&pieces, 10 * i + 1);
        release_pieces(&pieces);
    }
}

static void snapshots_want_room_to_spare(void **unused)
{
    (void)unused;
    const struct ddpm_backend *b = device->backend;
    const size_t bytes = b->available(device);
    void *nowhere = NULL, *recording;
    assert_int_equal(b->snapshot_begin(device, &nowhere, &nowhere, 1, bytes), DDPM_ERROR_MEMORY);
    assert_non_null(strstr(ddpm_error_message(), "to spare"));
    assert_int_equal(b->record_begin(device), DDPM_OK);
    assert_int_equal(b->snapshot_begin(device, &nowhere, &nowhere, 1, 1), DDPM_ERROR_ARGUMENT);
    assert_int_equal(b->record_end(device, &recording), DDPM_OK);
    b->release_recording(device, recording);
}

/* Only on the emulated device: a GPU's memory is too large, and we do not own all of it. */
static void an_allocation_gets_the_room_of_a_snapshot(void **unused)
{
    (void)unused;
    const struct ddpm_backend *b = device->backend;
    const size_t limit = (size_t)500 << 20, step = 1u << 20;
    assert_int_equal(setenv("DDPM_EMULATED_MEMORY", "524288000", 1), 0);
    if (b->available(device) <= limit) {
        struct pieces pieces = make_pieces(16 * step);
        set_pieces(&pieces, 5);
        const size_t before = b->available(device);
        begin_snapshot(&pieces);
        assert_true(b->available(device) + step > before);
        void *memory = device_memory(before - step); /* while the snapshot is in progress */
        overwrite(&pieces);
        assert_int_equal(b->snapshot_end(device), DDPM_OK);
        assert_snapshot(&pieces, 5);
        b->release(device, memory);
        release_pieces(&pieces);
    }
    assert_int_equal(unsetenv("DDPM_EMULATED_MEMORY"), 0);
}

/* y = 2·y by y = y + y, recorded once and replayed three times. */
static void recordings_play_again(void **unused)
{
    (void)unused;
    const struct ddpm_backend *b = device->backend;
    float values[24], back[24];
    struct ddpm_call call = {.op = DDPM_OP_ADD, .label = "doubling", .device = device};
    void *recording, *memory = device_memory(sizeof values);
    for (int i = 0; i < 24; ++i)
        values[i] = (float)(i - 5);
    call.in[0] = call.in[1] = call.out[0] = ddpm_tensor_make(DDPM_F32, 1, 2, 3, 4);
    call.in[0].data = call.in[1].data = call.out[0].data = memory;
    call.kernel = b->find_kernel(device, &call);
    assert_non_null(call.kernel);
    assert_int_equal(b->record_begin(device), DDPM_OK);
    assert_int_equal(call.kernel->run(&call), DDPM_OK);
    assert_int_equal(b->upload(device, memory, values, sizeof values), DDPM_ERROR_ARGUMENT);
    assert_int_equal(b->record_end(device, &recording), DDPM_OK);
    assert_int_equal(b->upload(device, memory, values, sizeof values), DDPM_OK);
    for (int i = 0; i < 3; ++i)
        assert_int_equal(b->replay(device, recording), DDPM_OK);
    assert_int_equal(b->download(device, back, memory, sizeof back), DDPM_OK);
    for (int i = 0; i < 24; ++i)
        assert_true(back[i] == 8 * values[i]);
    b->release_recording(device, recording);
    b->release(device, memory);
}

/* to = from + from, one number */
static void double_number(float *to, float *from)
{
    struct ddpm_call call = {.op = DDPM_OP_ADD, .label = "doubling", .device = device};
    call.in[0] = call.in[1] = call.out[0] = ddpm_tensor_make(DDPM_F32, 1, 1, 1, 1);
    call.in[0].data = call.in[1].data = from;
    call.out[0].data = to;
    call.kernel = device->backend->find_kernel(device, &call);
    assert_non_null(call.kernel);
    assert_int_equal(call.kernel->run(&call), DDPM_OK);
}

/* On four numbers: aside 0 doubles number 0 into 1, 1 into 2 and 2 into 3; then 3 into 0, which
 * waits. */
static void go_aside(float *numbers)
{
    const struct ddpm_backend *b = device->backend;
    for (int i = 1; i < 4; ++i) {
        assert_int_equal(b->aside_join(device, 1),
                         DDPM_OK); /* the previous one may still be running */
        assert_int_equal(b->aside_begin(device), DDPM_OK);
        double_number(numbers + i, numbers + (i == 1 ? 0 : i - 1));
        assert_int_equal(b->aside_end(device), DDPM_OK);
    }
    assert_int_equal(b->aside_join(device, 0), DDPM_OK);
    double_number(numbers, numbers + 3);
}

static void calls_go_aside(void **unused)
{
    (void)unused;
    const struct ddpm_backend *b = device->backend;
    float *numbers = device_memory(4 * sizeof *numbers), values[4] = {1, 0, 0, 0};
    void *recording;
    assert_int_equal(b->upload(device, numbers, values, sizeof values), DDPM_OK);
    go_aside(numbers);
    assert_int_equal(b->download(device, values, numbers, sizeof values), DDPM_OK);
    assert_true(values[0] == 16 && values[1] == 2 && values[2] == 4 && values[3] == 8);
    assert_int_equal(b->record_begin(device), DDPM_OK);
    go_aside(numbers);
    assert_int_equal(b->record_end(device, &recording), DDPM_OK);
    for (int i = 0; i < 2; ++i)
        assert_int_equal(b->replay(device, recording), DDPM_OK);
    assert_int_equal(b->download(device, values, numbers, sizeof values), DDPM_OK);
    assert_true(values[0] == 4096 && values[1] == 512 && values[3] == 2048);
    b->release_recording(device, recording);
    b->release(device, numbers);
}

/* DDPM_CUDA_ASIDE=off: the same calls in one stream. */
static void calls_stay_in_turn(void **unused)
{
    struct ddpm_device *usual = device;
    const struct ddpm_device_options options = {0};
    assert_int_equal(setenv("DDPM_CUDA_ASIDE", "off", 1), 0);
    assert_int_equal(ddpm_device_open("cuda", &options, &device), DDPM_OK);
    assert_int_equal(unsetenv("DDPM_CUDA_ASIDE"), 0);
    calls_go_aside(unused);
    ddpm_device_close(&device);
    device = usual;
}

static void a_recording_ends_joined(void **unused)
{
    (void)unused;
    const struct ddpm_backend *b = device->backend;
    float *numbers = device_memory(2 * sizeof *numbers);
    void *recording;
    assert_int_equal(b->record_begin(device), DDPM_OK);
    assert_int_equal(b->aside_begin(device), DDPM_OK);
    double_number(numbers + 1, numbers);
    assert_int_equal(b->aside_end(device), DDPM_OK);
    assert_int_equal(b->record_end(device, &recording), DDPM_ERROR_DEVICE);
    assert_null(recording);
    b->release(device, numbers);
}

static void run_case(struct case_state *state)
{
    struct device_case run;
    ddpm_status status = device_case_open(&run, state, device);
    if (status == DDPM_OK)
        status = device_case_load(&run, state);
    if (status == DDPM_OK)
        status = device_case_run(&run);
    if (status == DDPM_OK)
        status = device_case_fetch(&run, state);
    device_case_close(&run);
    if (status != DDPM_OK)
        fail_msg("%s", ddpm_error_message());
}

static void the_same_bits_twice(void **unused)
{
    (void)unused;
    for (int i = 0; i < 2 * DDPM_OP_COUNT; ++i) {
        enum ddpm_op op = (enum ddpm_op)(i / 2);
        enum ddpm_dtype dtype = i % 2 ? DDPM_BF16 : DDPM_F32;
        struct kernel_case test;
        for (int cursor = 0;
             case_op_has_dtype(op, dtype) && case_next(op, dtype, &cursor, &test);) {
            if (test.values != VALUES_NORMAL || test.wide || test.absent || test.in_place >= 0)
                continue;
            struct case_state state;
            assert_int_equal(case_open(&state, &test, NULL), DDPM_OK);
            run_case(&state);
            unsigned char *first[CASE_BUFFERS];
            for (int b = 0; b < state.buffer_count; ++b) {
                first[b] = malloc(state.buffers[b].bytes);
                assert_non_null(first[b]);
                memcpy(first[b], state.buffers[b].after, state.buffers[b].bytes);
            }
            run_case(&state);
            for (int b = 0; b < state.buffer_count; ++b) {
                assert_memory_equal(first[b], state.buffers[b].after, state.buffers[b].bytes);
                free(first[b]);
            }
            case_close(&state);
        }
    }
}

int main(void)
{
    if (ddpm_device_open("cuda", &(struct ddpm_device_options){0}, &device) != DDPM_OK) {
        fprintf(stderr, "test_cuda_device: %s\n", ddpm_error_message());
        return EXIT_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uploads_arrive_whole),
        cmocka_unit_test(memory_starts_at_zero_and_copies),
        cmocka_unit_test(too_much_memory_says_what_is_free),
        cmocka_unit_test(snapshots_are_of_their_moment),
        cmocka_unit_test(snapshots_want_room_to_spare),
        cmocka_unit_test(an_allocation_gets_the_room_of_a_snapshot),
        cmocka_unit_test(recordings_play_again),
        cmocka_unit_test(calls_go_aside),
        cmocka_unit_test(calls_stay_in_turn),
        cmocka_unit_test(a_recording_ends_joined),
        cmocka_unit_test(the_same_bits_twice),
    };
    int failed = cmocka_run_group_tests_name("CUDA device", tests, NULL, NULL);
    ddpm_device_close(&device);
    return failed;
}

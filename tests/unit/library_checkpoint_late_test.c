/* Checkpoints on a device that takes snapshots (kernels/backend.h), simulated on the CPU: the
 * checkpoint holds the state at its start, a failed snapshot falls back to download(), and a later
 * failure is reported when the checkpoint is ended. */
#include <pthread.h>
#include <time.h>

#include "library_support.h"

#include "model/model.h"
#include "training/checkpoint.h"

enum { SLABS = DDPM_SLAB_SECOND_EMA };

/* The simulated device. */
static struct {
    bool no_room, no_pinned, breaks;
    int begun, ended, downloads, pinned;
    void *to[SLABS], *staging[SLABS];
    size_t bytes;
    pthread_t owner;
    bool ended_elsewhere;
} played;

static ddpm_status snapshot_begin(struct ddpm_device *device, void *const to[], void *const from[],
                                  int count, size_t bytes)
{
    (void)device;
    assert_int_equal(count, SLABS);
    if (played.no_room)
        return ddpm_raise(DDPM_ERROR_MEMORY, "no room on the device");
    ++played.begun;
    played.bytes = bytes;
    for (int i = 0; i < count; ++i) {
        played.to[i] = to[i];
        played.staging[i] = malloc(bytes);
        memcpy(played.staging[i], from[i], bytes);
    }
    return DDPM_OK;
}

/* Late enough for the next step to have begun. */
static ddpm_status snapshot_end(struct ddpm_device *device)
{
    (void)device;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    ++played.ended;
    played.ended_elsewhere = !pthread_equal(pthread_self(), played.owner);
    for (int i = 0; i < SLABS; ++i) {
        if (!played.breaks)
            memcpy(played.to[i], played.staging[i], played.bytes);
        free(played.staging[i]);
    }
    return played.breaks ? ddpm_raise(DDPM_ERROR_DEVICE, "the copy broke") : DDPM_OK;
}

static ddpm_status download(struct ddpm_device *device, void *to, const void *from, size_t bytes)
{
    ++played.downloads;
    return ddpm_backend_cpu.download(device, to, from, bytes);
}

static ddpm_status allocate_host(struct ddpm_device *device, size_t bytes, void **out)
{
    (void)device;
    *out = NULL;
    if (played.no_pinned)
        return ddpm_raise(DDPM_ERROR_MEMORY, "no pinned memory");
    ++played.pinned;
    *out = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return *out ? DDPM_OK : DDPM_ERROR_MEMORY;
}

static void release_host(struct ddpm_device *device, void *memory)
{
    (void)device;
    --played.pinned;
    free(memory);
}

static struct ddpm_backend table;

struct run {
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
};

static struct run open_run(void)
{
    struct run run = {.network = tiny_network(NULL)};
    memset(&played, 0, sizeof played);
    played.owner = pthread_self();
    table = ddpm_backend_cpu;
    table.host_memory = false;
    table.snapshot_begin = snapshot_begin;
    table.snapshot_end = snapshot_end;
    table.download = download;
    table.allocate_host = allocate_host;
    table.release_host = release_host;
    run.network->device->backend = &table;
    assert_ok(ddpm_trainer_create(run.network, NULL, NULL, &run.trainer));
    return run;
}

static void close_run(struct run *run)
{
    ddpm_trainer_destroy(&run->trainer);
    assert_int_equal(played.pinned, 0);
    run->network->device->backend = &ddpm_backend_cpu;
    ddpm_network_destroy(&run->network);
}

static void step(struct run *run, uint32_t index)
{
    struct ddpm_step_result result;
    assert_ok(step_made_up(run->trainer, run->network, index, &result));
}

/* Save, and step before the checkpoint is ended; it must hold the state before the step. */
static void save_beside_a_step(struct run *run, uint32_t index, const char *path)
{
    struct ddpm_network *opened;
    float *before = all_weights(run->network, DDPM_WEIGHTS_MODEL);
    played.downloads = 0; /* reading weights counts too */
    assert_ok(ddpm_trainer_save_begin(run->trainer, path));
    const int downloads = played.downloads;
    step(run, index);
    assert_ok(ddpm_trainer_save_end(run->trainer));
    played.downloads = downloads;
    assert_ok(ddpm_network_open(path, NULL, DDPM_WEIGHTS_MODEL, &opened));
    float *kept = all_weights(opened, DDPM_WEIGHTS_MODEL);
    float *after = all_weights(run->network, DDPM_WEIGHTS_MODEL);
    const size_t bytes = (size_t)ddpm_network_weight_count(opened) * sizeof(float);
    assert_memory_equal(kept, before, bytes);
    assert_memory_not_equal(kept, after, bytes);
    played.downloads = downloads;
    free(before);
    free(kept);
    free(after);
    ddpm_network_destroy(&opened);
}

static void the_copy_goes_on_beside_the_next_step(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct run run = open_run();
    for (uint32_t i = 0; i < 2; ++i) {
        step(&run, 2 * i);
        save_beside_a_step(&run, 2 * i + 1, in_folder(folder, "run"));
        assert_int_equal(played.begun, i + 1);
        assert_int_equal(played.ended, i + 1);
        assert_int_equal(played.downloads, 0);
        assert_int_equal(played.pinned, 1); /* kept for the next */
        assert_true(played.ended_elsewhere);
    }
    close_run(&run);
    remove_folder(folder);
}

static void without_room_or_pinned_memory_training_waits(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct run run = open_run();
    for (int i = 0; i < 2; ++i) {
        played.no_pinned = i == 0;
        played.no_room = i == 1;
        step(&run, 0);
        save_beside_a_step(&run, 1, in_folder(folder, "run"));
        assert_int_equal(played.begun, 0);
        assert_int_equal(played.ended, 0);
        assert_int_equal(played.downloads, SLABS);
    }
    played.no_room = false;
    step(&run, 2);
    save_beside_a_step(&run, 3, in_folder(folder, "run"));
    assert_int_equal(played.begun, 1);
    close_run(&run);
    remove_folder(folder);
}

static void a_copy_that_breaks_is_told_at_the_end(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct run run = open_run();
    played.breaks = true;
    assert_ok(ddpm_trainer_save_begin(run.trainer, in_folder(folder, "run")));
    step(&run, 0);
    assert_error(ddpm_trainer_save_end(run.trainer), DDPM_ERROR_DEVICE, "the copy broke");
    assert_false(ddpm_path_exists(in_folder(folder, "run/checkpoints/latest")));
    assert_ok(ddpm_trainer_save_end(run.trainer)); /* reported once */
    played.breaks = false;
    save_beside_a_step(&run, 1, in_folder(folder, "run"));
    close_run(&run);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_copy_goes_on_beside_the_next_step),
        cmocka_unit_test(without_room_or_pinned_memory_training_waits),
        cmocka_unit_test(a_copy_that_breaks_is_told_at_the_end),
    };
    return cmocka_run_group_tests_name("checkpoints copied out late", tests, NULL, NULL);
}

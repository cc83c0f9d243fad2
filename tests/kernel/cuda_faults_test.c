/* What happens when something fails on a CUDA device: the error names the kernel, and calls that
 * cannot be recorded run one by one. On the emulated device, which can be told to fail; skipped
 * (77) on any other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>

#include "graph/recording.h"
#include "kernels/backend.h"

enum { EXIT_SKIPPED = 77 };

static void *plugin;
static struct ddpm_device *device;
static float *values;
static struct ddpm_call calls[2];
static int warnings;
static char last_warning[512];

static int *knob(const char *name)
{
    int *number = dlsym(plugin, name);
    assert_non_null(number);
    return number;
}

static void keep_log(void *user, ddpm_log_level level, const char *text)
{
    (void)user;
    if (level != DDPM_LOG_WARNING)
        return;
    ++warnings;
    snprintf(last_warning, sizeof last_warning, "%s", text);
}

/* y = y + y, twice, under two names. */
static int open_device(void **unused)
{
    static const char *const labels[] = {"downs.0.first", "downs.0.second"};
    (void)unused;
    void *memory;
    warnings = 0;
    ddpm_set_log_callback(keep_log, NULL);
    assert_int_equal(ddpm_device_open("cuda", &(struct ddpm_device_options){0}, &device), DDPM_OK);
    assert_int_equal(device->backend->allocate(device, 64, "a test", &memory), DDPM_OK);
    values = memory;
    for (int i = 0; i < 2; ++i) {
        struct ddpm_call *call = &calls[i];
        *call = (struct ddpm_call){.op = DDPM_OP_ADD, .label = labels[i], .device = device};
        call->in[0] = call->in[1] = call->out[0] = ddpm_tensor_make(DDPM_F32, 1, 1, 1, 16);
        call->in[0].data = call->in[1].data = call->out[0].data = memory;
        call->kernel = device->backend->find_kernel(device, call);
        assert_non_null(call->kernel);
    }
    return 0;
}

static int close_device(void **unused)
{
    (void)unused;
    *knob("emulator_fails_in") = *knob("emulator_lost") = *knob("emulator_refuses_capture") = 0;
    device->backend->release(device, values);
    ddpm_device_close(&device);
    ddpm_set_log_callback(NULL, NULL);
    return unsetenv("CUDA_LAUNCH_BLOCKING") | unsetenv("DDPM_CUDA_GRAPH");
}

static ddpm_status run_both(void *unused)
{
    (void)unused;
    DDPM_TRY(calls[0].kernel->run(&calls[0]));
    return calls[1].kernel->run(&calls[1]);
}

static void assert_says(const char *text)
{
    if (!strstr(ddpm_error_message(), text))
        fail_msg("got \"%s\", want \"%s\" in it", ddpm_error_message(), text);
}

static void the_only_kernel_since_the_last_wait_is_named(void **unused)
{
    (void)unused;
    assert_int_equal(run_both(NULL), DDPM_OK);
    assert_int_equal(device->backend->synchronize(device), DDPM_OK);
    *knob("emulator_fails_in") = 1;
    assert_int_equal(calls[1].kernel->run(&calls[1]), DDPM_OK);
    assert_int_equal(device->backend->synchronize(device), DDPM_ERROR_DEVICE);
    assert_says(" in the kernel of add of downs.0.second");
    assert_int_equal(device->backend->upload(device, values, "abc", 3), DDPM_ERROR_DEVICE);
    assert_says(" in the kernel of add of downs.0.second");
}

static void one_of_several_kernels_is_among_those_named(void **unused)
{
    (void)unused;
    *knob("emulator_fails_in") = 2;
    assert_int_equal(run_both(NULL), DDPM_OK);
    assert_int_equal(calls[0].kernel->run(&calls[0]), DDPM_ERROR_DEVICE);
    assert_says(
        "in one of the last 3 kernels, the newest add of downs.0.first, add of downs.0.second, "
        "add of downs.0.first; CUDA_LAUNCH_BLOCKING=1 DDPM_CUDA_GRAPH=off say which");
}

static void a_blocking_launch_names_its_own_kernel(void **unused)
{
    (void)unused;
    assert_int_equal(setenv("CUDA_LAUNCH_BLOCKING", "1", 1), 0);
    *knob("emulator_fails_in") = 2;
    assert_int_equal(run_both(NULL), DDPM_ERROR_DEVICE);
    assert_says(" in the kernel of add of downs.0.second");
}

static ddpm_status turn(struct ddpm_recording *recording)
{
    return ddpm_recording_run(recording, device, run_both, NULL);
}

static void a_recorded_step_says_how_to_find_the_kernel(void **unused)
{
    (void)unused;
    struct ddpm_recording recording = {0};
    assert_int_equal(turn(&recording), DDPM_OK);
    assert_int_equal(turn(&recording), DDPM_OK);
    assert_non_null(recording.handle);
    assert_int_equal(device->backend->synchronize(device), DDPM_OK);
    *knob("emulator_fails_in") = 1;
    assert_int_equal(turn(&recording), DDPM_OK);
    assert_int_equal(device->backend->synchronize(device), DDPM_ERROR_DEVICE);
    assert_says("in a kernel of a recorded step; CUDA_LAUNCH_BLOCKING=1 DDPM_CUDA_GRAPH=off");
    *knob("emulator_lost") = 0;
    ddpm_recording_release(&recording, device);
}

/* y starts at 1, and every run doubles it twice. */
static void assert_turns(int turns)
{
    float back[16], one[16];
    float want = 1.0f;
    struct ddpm_recording recordings[2] = {{0}};
    for (int i = 0; i < 16; ++i)
        one[i] = 1.0f;
    assert_int_equal(device->backend->upload(device, values, one, sizeof one), DDPM_OK);
    for (int i = 0; i < turns; ++i, want *= 4.0f)
        assert_int_equal(turn(&recordings[i % 2]), DDPM_OK);
    assert_int_equal(device->backend->download(device, back, values, sizeof back), DDPM_OK);
    for (int i = 0; i < 16; ++i)
        assert_true(back[i] == want);
    for (int i = 0; i < 2; ++i) {
        assert_int_equal(recordings[i].handle != NULL, !device->plain);
        ddpm_recording_release(&recordings[i], device);
    }
}

static void what_cannot_be_recorded_runs_plainly_after_one_warning(void **unused)
{
    (void)unused;
    assert_turns(6);
    assert_int_equal(warnings, 0);
    *knob("emulator_refuses_capture") = 1;
    assert_turns(6);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, "steps run one kernel at a time"));
    assert_true(device->plain);
}

static void recording_can_be_switched_off(void **unused)
{
    assert_false(device->plain);
    close_device(unused);
    assert_int_equal(setenv("DDPM_CUDA_GRAPH", "off", 1), 0);
    open_device(unused);
    assert_turns(4);
    assert_int_equal(warnings, 0);
    assert_true(device->plain);
    close_device(unused);
    assert_int_equal(setenv("DDPM_CUDA_GRAPH", "never", 1), 0);
    open_device(unused);
    assert_int_equal(warnings, 1);
    assert_false(device->plain);
}

int main(void)
{
    const char *path = getenv("DDPM_CUDA_PLUGIN");
    plugin = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!plugin || !dlsym(plugin, "emulator_lost")) {
        fprintf(stderr, "test_cuda_faults: not on the emulated device\n");
        return EXIT_SKIPPED;
    }
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_device, close_device)
    const struct CMUnitTest tests[] = {
        CASE(the_only_kernel_since_the_last_wait_is_named),
        CASE(one_of_several_kernels_is_among_those_named),
        CASE(a_blocking_launch_names_its_own_kernel),
        CASE(a_recorded_step_says_how_to_find_the_kernel),
        CASE(what_cannot_be_recorded_runs_plainly_after_one_warning),
        CASE(recording_can_be_switched_off),
    };
    return cmocka_run_group_tests_name("CUDA faults", tests, NULL, NULL);
}

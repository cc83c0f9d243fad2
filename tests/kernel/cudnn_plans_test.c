/* The graphs of cudnn.c with NVIDIA's real library, without a GPU. cuDNN makes plans for a device
 * that is only described (H100 and A100 here). This shows that it understands and supports every
 * graph, though not that it computes the right thing. Skipped (77) if cuDNN is not installed. Plans
 * that are compiled need a driver to load the code; DDPM_TEST_DRIVER names one that accepts it
 * (cuda_emulator/fake_driver.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <pthread.h>

#include "kernels/cuda/cudnn.h"

enum { EXIT_SKIPPED = 77, MOST = 4 };

/* What cuDNN's own description of such a device contains. */
#define DEVICE(name, version, multiprocessors, l2, shared)                                         \
    "{\"deviceName\":\"" name "\",\"deviceVer\":" version                                          \
    ",\"multiProcessorCount\":" multiprocessors ",\"l2CacheSize\":" l2                             \
    ",\"maxSharedMemoryPerBlockOptin\":" shared                                                    \
    ",\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"                   \
    "\"cudaDeviceId\":0,\"driverVer\":13000,\"regsPerBlock\":65536,\"smClockRateKHz\":1700000,"    \
    "\"memClockRateKHz\":2000000,\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,"               \
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"pciDeviceId\":0,"         \
    "\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,"                    \
    "\"isTccDriver\":0,\"supportCoopLaunch\":1,\"totalGlobalMem\":80000000000}"

static const char *const devices[] = {
    DEVICE("NVIDIA H100 80GB HBM3", "900", "132", "52428800", "232448"),
    DEVICE("NVIDIA A100-SXM4-80GB", "800", "108", "41943040", "166912"),
};

static struct ddpm_cudnn_convolution layer(enum ddpm_cudnn_form form, enum ddpm_dtype dtype,
                                           int64_t size, int64_t c, int64_t k, int kernel,
                                           int stride, int padding)
{
    const int64_t out = (size + 2 * padding - kernel) / stride + 1;
    return (struct ddpm_cudnn_convolution){.form = form,
                                           .dtype = dtype,
                                           .n = 16,
                                           .h = size,
                                           .w = size,
                                           .c = c,
                                           .out_h = out,
                                           .out_w = out,
                                           .k = k,
                                           .kernel_h = kernel,
                                           .kernel_w = kernel,
                                           .stride = stride,
                                           .padding = padding,
                                           .x_stride = c,
                                           .y_stride = k};
}

/* There are plans of each kind, their names differ, and each is found by its name. */
static void expect_plans(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *c)
{
    struct ddpm_cudnn_plan *plans[MOST], *named[MOST];
    int count = ddpm_cudnn_plans(cudnn, c, NULL, MOST, 0, plans);
    if (count == 0)
        fail_msg("form %d, %s, %lldx%lld, %lld to %lld channels: no plan", (int)c->form,
                 ddpm_dtype_name(c->dtype), (long long)c->h, (long long)c->w, (long long)c->c,
                 (long long)c->k);
    for (int i = 0; i < count; ++i) {
        for (int j = 0; j < i; ++j)
            assert_string_not_equal(plans[i]->name, plans[j]->name);
        assert_int_equal(ddpm_cudnn_plans(cudnn, c, plans[i]->name, MOST, 0, named), 1);
        assert_string_equal(named[0]->name, plans[i]->name);
        assert_true(named[0]->workspace_bytes == plans[i]->workspace_bytes);
    }
    print_message("%lldx%lld %lld to %lld: %d plans, first %s, workspace %zu\n", (long long)c->h,
                  (long long)c->w, (long long)c->c, (long long)c->k, count, plans[0]->name,
                  plans[0]->workspace_bytes);
}

/* Compiled plans: fused, and fp32 gradients of bf16 weights. */
static bool is_compiled(enum ddpm_cudnn_form form, enum ddpm_dtype dtype)
{
    return form == DDPM_CUDNN_FUSED || (form == DDPM_CUDNN_WEIGHT && dtype == DDPM_BF16);
}

static void convolutions_have_plans(void **unused)
{
    (void)unused;
    for (size_t d = 0; d < sizeof devices / sizeof *devices; ++d) {
        struct ddpm_cudnn *cudnn;
        ddpm_cudnn_open_deviceless(devices[d], &cudnn);
        assert_non_null(cudnn);
        for (int dtype = DDPM_F32; dtype <= DDPM_BF16; ++dtype)
            for (int form = DDPM_CUDNN_PLAIN; form <= DDPM_CUDNN_WEIGHT; ++form) {
                enum ddpm_dtype type = (enum ddpm_dtype)dtype;
                enum ddpm_cudnn_form f = (enum ddpm_cudnn_form)form;
                if (is_compiled(f, type))
                    continue;
                struct ddpm_cudnn_convolution c = layer(f, type, 128, 64, 64, 3, 1, 1);
                expect_plans(cudnn, &c);
                c = layer(f, type, 16, 1024, 512, 3, 1, 1);
                expect_plans(cudnn, &c);
                c = layer(f, type, 64, 128, 256, 2, 2, 0);
                expect_plans(cudnn, &c);
                c = layer(f, type, 32, 256, 128, 1, 1, 0);
                c.x_stride = 512;
                expect_plans(cudnn, &c);
            }
        ddpm_cudnn_close(&cudnn);
    }
}

/* A plan is the same after going through its text, and cuDNN rejects a text that is truncated, for
 * another device, or not a plan. */
static void expect_same_from_text(struct ddpm_cudnn *cudnn, struct ddpm_cudnn *other,
                                  const struct ddpm_cudnn_plan *plan)
{
    size_t bytes, again_bytes;
    char *text = ddpm_cudnn_print_plan(cudnn, plan, &bytes);
    assert_non_null(text);
    assert_int_equal(strlen(text), bytes);
    struct ddpm_cudnn_plan *loaded =
        ddpm_cudnn_load_plan(cudnn, plan->name, plan->form, text, bytes);
    assert_non_null(loaded);
    assert_string_equal(loaded->name, plan->name);
    assert_int_equal(loaded->form, plan->form);
    assert_true(loaded->workspace_bytes == plan->workspace_bytes);
    char *again = ddpm_cudnn_print_plan(cudnn, loaded, &again_bytes);
    assert_non_null(again);
    assert_string_equal(again, text);
    assert_null(ddpm_cudnn_load_plan(cudnn, "cut off", plan->form, text, bytes - 1));
    assert_null(ddpm_cudnn_load_plan(cudnn, "half", plan->form, text, bytes / 2));
    assert_null(ddpm_cudnn_load_plan(cudnn, "no text", plan->form, "{}", 2));
    assert_null(ddpm_cudnn_load_plan(other, "another device", plan->form, text, bytes));
    free(text);
    free(again);
}

static void open_both(struct ddpm_cudnn **cudnn, struct ddpm_cudnn **other)
{
    ddpm_cudnn_open_deviceless(devices[0], cudnn);
    ddpm_cudnn_open_deviceless(devices[1], other);
    assert_non_null(*cudnn);
    assert_non_null(*other);
}

static void plans_come_back_from_their_text(void **unused)
{
    (void)unused;
    struct ddpm_cudnn *cudnn, *other;
    open_both(&cudnn, &other);
    for (int form = DDPM_CUDNN_PLAIN; form <= DDPM_CUDNN_WEIGHT; ++form) {
        struct ddpm_cudnn_plan *plans[MOST];
        enum ddpm_cudnn_form f = (enum ddpm_cudnn_form)form;
        struct ddpm_cudnn_convolution c = layer(f, DDPM_F32, 32, 64, 64, 3, 1, 1);
        int count = ddpm_cudnn_plans(cudnn, &c, NULL, MOST, 0, plans);
        assert_true(count > 0 || f == DDPM_CUDNN_FUSED);
        for (int i = 0; i < count; ++i)
            expect_same_from_text(cudnn, other, plans[i]);
    }
    ddpm_cudnn_close(&cudnn);
    ddpm_cudnn_close(&other);
}

/* The first plan of some shape, made by a thread with a library of its own. */
struct making {
    struct ddpm_cudnn *cudnn;
    struct ddpm_cudnn_convolution shape;
    struct ddpm_cudnn_plan *plan; /* NULL: none */
};

static void *make(void *argument)
{
    struct making *making = argument;
    if (ddpm_cudnn_plans(making->cudnn, &making->shape, NULL, 1, 1, &making->plan) != 1)
        making->plan = NULL;
    return NULL;
}

/* Threads, each with one of these shapes, make the plans that one thread makes. */
static void expect_same_from_threads(const struct ddpm_cudnn_convolution *shapes, int count)
{
    enum { THREADS = 3 };
    struct making alone[THREADS], beside[THREADS];
    pthread_t threads[THREADS];
    assert_in_range(count, 1, THREADS);
    for (int i = 0; i < count; ++i) {
        alone[i] = beside[i] = (struct making){.shape = shapes[i]};
        ddpm_cudnn_open_deviceless(devices[0], &alone[i].cudnn);
        ddpm_cudnn_open_deviceless(devices[0], &beside[i].cudnn);
        assert_non_null(beside[i].cudnn);
    }
    for (int i = 0; i < count; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, make, &beside[i]), 0);
    for (int i = 0; i < count; ++i)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < count; ++i) {
        make(&alone[i]);
        assert_int_equal(beside[i].plan == NULL, alone[i].plan == NULL);
        if (alone[i].plan) {
            print_message("made by a thread: %s\n", beside[i].plan->name);
            assert_string_equal(beside[i].plan->name, alone[i].plan->name);
            assert_int_equal(beside[i].plan->workspace_bytes, alone[i].plan->workspace_bytes);
        }
        ddpm_cudnn_close(&alone[i].cudnn);
        ddpm_cudnn_close(&beside[i].cudnn);
    }
}

static void threads_make_the_same_plans(void **unused)
{
    (void)unused;
    const struct ddpm_cudnn_convolution shapes[] = {
        layer(DDPM_CUDNN_PLAIN, DDPM_F32, 32, 128, 64, 3, 1, 1),
        layer(DDPM_CUDNN_DATA, DDPM_F32, 32, 128, 64, 3, 1, 1),
        layer(DDPM_CUDNN_WEIGHT, DDPM_F32, 32, 128, 64, 3, 1, 1)};
    expect_same_from_threads(shapes, 3);
}

/* Compiling needs a driver. NULL: there is no stand-in; else the number of codes it has taken. */
static int *load_driver(void)
{
    const char *driver = getenv("DDPM_TEST_DRIVER");
    void *library = driver ? dlopen(driver, RTLD_NOW | RTLD_LOCAL) : NULL;
    return library ? dlsym(library, "fake_driver_libraries") : NULL;
}

static void threads_compile_the_same_plans(void **unused)
{
    (void)unused;
    if (!load_driver())
        skip();
    const struct ddpm_cudnn_convolution shapes[] = {
        layer(DDPM_CUDNN_FUSED, DDPM_BF16, 16, 64, 128, 3, 1, 1),
        layer(DDPM_CUDNN_WEIGHT, DDPM_BF16, 16, 64, 128, 3, 1, 1)};
    expect_same_from_threads(shapes, 2);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void compiled_plans_hold_their_code(void **unused)
{
    (void)unused;
    struct ddpm_cudnn *cudnn, *other;
    const int *codes = load_driver();
    if (!codes)
        skip();
    open_both(&cudnn, &other);
    /* A bias; a bias and a residual; the gradient. */
    for (int i = 0; i < 3; ++i) {
        enum ddpm_cudnn_form form = i < 2 ? DDPM_CUDNN_FUSED : DDPM_CUDNN_WEIGHT;
        struct ddpm_cudnn_convolution c = layer(form, DDPM_BF16, 32, 64, 64, 3, 1, 1);
        struct ddpm_cudnn_plan *plan;
        c.residual_stride = i == 1 ? 64 : 0;
        const double begin = now();
        if (ddpm_cudnn_plans(cudnn, &c, NULL, 1, 1, &plan) == 0) {
            print_message("this cuDNN does not compile with the stand-in for the driver\n");
            break;
        }
        const double made = now();
        const int taken = *codes;
        assert_true(taken > 0 && plan->compiled);
        expect_same_from_text(cudnn, other, plan);
        print_message("%s: compiled and more in %.2f s, read back and more in %.3f s\n", plan->name,
                      made - begin, now() - made);
        assert_true(*codes > taken);
    }
    ddpm_cudnn_close(&cudnn);
    ddpm_cudnn_close(&other);
}

int main(void)
{
    if (!dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL)) {
        fprintf(stderr, "test_cudnn_plans: %s\n", dlerror());
        return EXIT_SKIPPED;
    }
    struct ddpm_cudnn *cudnn;
    ddpm_cudnn_open_deviceless(devices[0], &cudnn);
    if (!cudnn) {
        fprintf(stderr, "test_cudnn_plans: this cuDNN makes no plans without a device\n");
        return EXIT_SKIPPED;
    }
    ddpm_cudnn_close(&cudnn);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_have_plans),
        cmocka_unit_test(plans_come_back_from_their_text),
        cmocka_unit_test(threads_make_the_same_plans),
        cmocka_unit_test(compiled_plans_hold_their_code),
        cmocka_unit_test(threads_compile_the_same_plans),
    };
    return cmocka_run_group_tests_name("cuDNN's plans", tests, NULL, NULL);
}

/* Results that are known to the last bit, on one device:
 *
 *     test_kernel_bits [DEVICE [LEVEL]]
 *
 * Sums of pictures, in which every product and sum is rounded where ops.inc says; blends; whole
 * timesteps, as fp32 and as int32; losses with a weight of 1 and without one. Exit 77 if there is
 * no such device or level. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "kernels/backend.h"

enum { EXIT_SKIPPED = 77, N = 3, H = 5, W = 7, C = 3, COUNT = N * H * W * C, T = 4 };

static struct ddpm_device *device;
static const int timesteps[N] = {0, 3, 2};

/* Memory that a test has allocated; released at its end. */
static void *memory[128];
static int allocated;

static struct ddpm_tensor allocate(enum ddpm_dtype dtype, int64_t n, int64_t h, int64_t w,
                                   int64_t c)
{
    struct ddpm_tensor t = ddpm_tensor_make(dtype, n, h, w, c);
    assert_int_equal(device->backend->allocate(device, ddpm_tensor_bytes(&t), "a test", &t.data),
                     DDPM_OK);
    assert_true(allocated < (int)(sizeof memory / sizeof *memory));
    memory[allocated++] = t.data;
    return t;
}

static struct ddpm_tensor upload(struct ddpm_tensor t, const double *values)
{
    unsigned char *host = malloc(ddpm_tensor_bytes(&t));
    assert_non_null(host);
    for (int64_t i = 0; i < ddpm_tensor_count(&t); ++i)
        ddpm_store(host, t.dtype, i, values[i]);
    assert_int_equal(device->backend->upload(device, t.data, host, ddpm_tensor_bytes(&t)), DDPM_OK);
    assert_int_equal(device->backend->synchronize(device), DDPM_OK);
    free(host);
    return t;
}

/* A picture of normals; except in the first of the batch, with extremes. */
static struct ddpm_tensor picture(enum ddpm_dtype dtype, uint32_t number, double values[COUNT])
{
    static const double extremes[] = {1e30, -1e30, 3e-42, 0, (double)INFINITY, (double)NAN, 1, -1};
    for (int i = 0; i < COUNT; ++i) {
        const struct ddpm_random4 r = ddpm_philox(7, (uint32_t)i, number, 0, 0);
        uint64_t slot = 0;
        float normal[4];
        ddpm_normal4(r, normal);
        const bool extreme = i >= COUNT / N && r.v[3] % 5 == 0;
        ddpm_store(&slot, dtype, 0, extreme ? extremes[r.v[2] % 8] : (double)normal[0]);
        values[i] = ddpm_load(&slot, dtype, 0);
    }
    return upload(allocate(dtype, N, H, W, C), values);
}

static struct ddpm_tensor steps(enum ddpm_dtype dtype)
{
    double values[N];
    for (int i = 0; i < N; ++i)
        values[i] = timesteps[i];
    return upload(allocate(dtype, N, 1, 1, 1), values);
}

enum { COLUMNS = 5 };

/* Those of t = 0 belong to a last step: 1 and 0. */
static double coefficient(int t, int column)
{
    if (t == 0)
        return column == 1;
    const double value =
        (double)ddpm_uniform(ddpm_philox(9, (uint32_t)t, (uint32_t)column, 0, 0).v[0]);
    return column % 2 ? value + 0.3 : -value - 0.3;
}

static void run(struct ddpm_call call)
{
    call.device = device;
    call.label = "test";
    call.kernel = device->backend->find_kernel(device, &call);
    assert_non_null(call.kernel);
    if (call.kernel->prepare)
        assert_int_equal(call.kernel->prepare(&call), DDPM_OK);
    if (call.scratch_bytes)
        assert_int_equal(
            device->backend->allocate(device, call.scratch_bytes, "scratch", &call.scratch),
            DDPM_OK);
    assert_int_equal(call.kernel->run(&call), DDPM_OK);
    assert_int_equal(device->backend->synchronize(device), DDPM_OK);
    if (call.scratch)
        device->backend->release(device, call.scratch);
    if (call.kernel->release)
        call.kernel->release(&call);
}

static struct ddpm_tensor gather(void)
{
    const struct ddpm_tensor rows = allocate(DDPM_F32, N, 1, 1, COLUMNS);
    double values[T * COLUMNS];
    for (int i = 0; i < T * COLUMNS; ++i)
        values[i] = coefficient(i / COLUMNS, i % COLUMNS);
    const struct ddpm_tensor table = upload(allocate(DDPM_F32, T, 1, 1, COLUMNS), values);
    run((struct ddpm_call){
        .op = DDPM_OP_GATHER_ROWS, .in = {table, steps(DDPM_I32)}, .out = {rows}});
    return rows;
}

static void assert_same(struct ddpm_tensor a, struct ddpm_tensor b)
{
    const size_t bytes = ddpm_tensor_bytes(&a);
    unsigned char *first = malloc(bytes), *second = malloc(bytes);
    assert_int_equal(device->backend->download(device, first, a.data, bytes), DDPM_OK);
    assert_int_equal(device->backend->download(device, second, b.data, bytes), DDPM_OK);
    for (int64_t i = 0; i < ddpm_tensor_count(&a); ++i) {
        const double got = ddpm_load(second, b.dtype, i), want = ddpm_load(first, a.dtype, i);
        if (memcmp(&got, &want, sizeof got) && !(got != got && want != want))
            fail_msg("%s, element %lld: got %.9g, want %.9g", device->description, (long long)i,
                     got, want);
    }
    free(first);
    free(second);
}

enum { TERMS = 3 };

/* Element i of the sum of TERMS pictures, as a number of `dtype`. The reference sums in fp64; a GPU
 * fuses each product but the first with its sum, and the emulated one rounds both like the CPU. */
static double sum_of(double pictures[TERMS][COUNT], const int8_t *columns, int i, bool clip,
                     enum ddpm_dtype dtype)
{
    const bool fused =
        !strcmp(device->backend->name, "cuda") && !strstr(device->description, "emulated");
    double exact = 0;
    float sum = 0;
    for (int term = 0; term < TERMS; ++term) {
        const float k = (float)coefficient(timesteps[i / (COUNT / N)], columns[term]);
        const float x = (float)pictures[term][i], product = k * x;
        if (k == 0)
            continue;
        exact += (double)k * (double)x;
        sum = fused && term > 0 ? fmaf(k, x, sum) : sum + product;
    }
    uint64_t slot = 0;
    double result = strcmp(device->backend->name, "ref") ? (double)sum : exact;
    if (clip)
        result = result < -1 ? -1 : result > 1 ? 1 : result;
    ddpm_store(&slot, dtype, 0, result);
    return ddpm_load(&slot, dtype, 0);
}

/* Write to a separate picture, and in place of the first or second input. */
static void sums_round_where_it_is_said(void **unused)
{
    (void)unused;
    static const int8_t columns[TERMS] = {4, 1, 2};
    for (int variant = 0; variant < 12; ++variant) {
        const enum ddpm_dtype dtype = variant % 2 ? DDPM_BF16 : DDPM_F32;
        const bool clip = variant / 2 % 2;
        const int place = variant / 4;
        double pictures[TERMS][COUNT], values[COUNT];
        struct ddpm_call call = {.op = DDPM_OP_COMBINE, .attributes.clip = clip};
        memcpy(call.attributes.columns, columns, sizeof columns);
        call.in[0] = gather();
        for (uint32_t term = 0; term < TERMS; ++term)
            call.in[1 + term] = picture(term == 0 ? DDPM_F32 : dtype, term, pictures[term]);
        call.out[0] = place ? call.in[place] : allocate(dtype, N, H, W, C);
        for (int i = 0; i < COUNT; ++i)
            values[i] = sum_of(pictures, columns, i, clip, call.out[0].dtype);
        run(call);
        assert_same(upload(allocate(call.out[0].dtype, N, H, W, C), values), call.out[0]);
    }
}

/* Where the mask is 0 or 1 a pixel keeps its bits, whatever the other picture contains. Write to a
 * separate picture, and in place of either input. */
static void blends_keep_bits(void **unused)
{
    (void)unused;
    double mask[COUNT / C], a[COUNT], b[COUNT], values[COUNT];
    for (int p = 0; p < COUNT / C; ++p)
        mask[p] = p % 3 == 1;
    for (int place = 0; place < 3; ++place) {
        struct ddpm_call call = {.op = DDPM_OP_BLEND};
        call.in[0] = upload(allocate(DDPM_F32, N, H, W, 1), mask);
        call.in[1] = picture(DDPM_F32, 1, a);
        call.in[2] = picture(DDPM_F32, 2, b);
        call.out[0] = place ? call.in[place] : allocate(DDPM_F32, N, H, W, C);
        for (int i = 0; i < COUNT; ++i)
            values[i] = mask[i / C] > 0 ? a[i] : b[i];
        run(call);
        assert_same(upload(allocate(DDPM_F32, N, H, W, C), values), call.out[0]);
    }
}

static void whole_timesteps_embed_alike(void **unused)
{
    (void)unused;
    const struct ddpm_tensor whole = allocate(DDPM_F32, N, 1, 1, 34),
                             real = allocate(DDPM_F32, N, 1, 1, 34);
    double wide[N * 5] = {0};
    for (int n = 0; n < N; ++n)
        wide[5 * n] = timesteps[n];
    struct ddpm_tensor column = upload(allocate(DDPM_F32, N, 1, 1, 5), wide);
    column.c = 1;
    run((struct ddpm_call){.op = DDPM_OP_TIMESTEP_EMBEDDING,
                           .in = {steps(DDPM_I32)},
                           .out = {whole},
                           .attributes.theta = 10000});
    run((struct ddpm_call){.op = DDPM_OP_TIMESTEP_EMBEDDING,
                           .in = {column},
                           .out = {real},
                           .attributes.theta = 10000});
    assert_same(whole, real);
}

static void a_weight_of_one_changes_nothing(void **unused)
{
    (void)unused;
    double values[COUNT];
    const struct ddpm_tensor prediction = picture(DDPM_F32, 5, values),
                             target = picture(DDPM_F32, 6, values);
    const double ones[N * 2] = {1, 7, 1, 7, 1, 7};
    struct ddpm_tensor weight = upload(allocate(DDPM_F32, N, 1, 1, 2), ones);
    weight.c = 1;
    for (enum ddpm_op op = DDPM_OP_LOSS; op <= DDPM_OP_LOSS_BACKWARD; ++op)
        for (enum ddpm_loss loss = DDPM_LOSS_L2; loss <= DDPM_LOSS_L1; ++loss) {
            const bool one = op == DDPM_OP_LOSS;
            struct ddpm_tensor out[2];
            for (int i = 0; i < 2; ++i) {
                out[i] = allocate(DDPM_F32, N, one ? 1 : H, one ? 1 : W, one ? 1 : C);
                run((struct ddpm_call){
                    .op = op,
                    .in = {prediction, target, i ? weight : (struct ddpm_tensor){0}},
                    .out = {out[i]},
                    .attributes = {.loss = loss, .scale = 0.7f}});
            }
            assert_same(out[0], out[1]);
        }
}

static int release_all(void **unused)
{
    (void)unused;
    while (allocated)
        device->backend->release(device, memory[--allocated]);
    return 0;
}

int main(int count, char **arguments)
{
    const struct ddpm_device_options options = {.threads = 2,
                                                .level = count > 2 ? arguments[2] : NULL};
    if (ddpm_device_open(count > 1 ? arguments[1] : "cpu", &options, &device) != DDPM_OK) {
        fprintf(stderr, "test_kernel_bits: %s\n", ddpm_error_message());
        return EXIT_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sums_round_where_it_is_said, NULL, release_all),
        cmocka_unit_test_setup_teardown(blends_keep_bits, NULL, release_all),
        cmocka_unit_test_setup_teardown(whole_timesteps_embed_alike, NULL, release_all),
        cmocka_unit_test_setup_teardown(a_weight_of_one_changes_nothing, NULL, release_all),
    };
    const int failed = cmocka_run_group_tests_name("bits", tests, NULL, NULL);
    ddpm_device_close(&device);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* What must agree to the last bit, on one device:
 *
 *     test_kernel_bits [DEVICE [LEVEL]]
 *
 * Noising and the reverse step, as sums of pictures (combine) and as operations of their own; whole
 * timesteps, as fp32 and as int32; losses, with a weight of 1 and without one. Exit 77 where there
 * is no such device or level. */
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

/* What a test has allocated; released at its end. */
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

/* A picture of normals, with extremes where the coefficients are not 0. */
static struct ddpm_tensor picture(enum ddpm_dtype dtype, uint32_t number)
{
    static const double extremes[] = {1e30, -1e30, 3e-42, 0, (double)INFINITY, (double)NAN, 1, -1};
    double values[COUNT];
    for (int i = 0; i < COUNT; ++i) {
        const struct ddpm_random4 r = ddpm_philox(7, (uint32_t)i, number, 0, 0);
        float normal[4];
        ddpm_normal4(r, normal);
        const bool extreme = i >= COUNT / N && r.v[3] % 5 == 0;
        values[i] = extreme ? extremes[r.v[2] % 8] : (double)normal[0];
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

/* Columns of the one table that combine reads; the other operations have parts of it. */
enum { SIGNAL, NOISE, X, EPS, X0_X, X0_EPS, MEAN_X0, MEAN_X, SIGMA, COLUMNS };

static double coefficient(int t, int column)
{
    if (t == 0 && (column == MEAN_X || column == SIGMA))
        return 0;
    if (t == 0 && column == MEAN_X0)
        return 1;
    return (double)ddpm_uniform(ddpm_philox(9, (uint32_t)t, (uint32_t)column, 0, 0).v[0]) + 0.3;
}

static struct ddpm_tensor table_of(int first, int count, int columns, bool subtracted)
{
    double values[T * COLUMNS] = {0};
    for (int t = 0; t < T; ++t)
        for (int c = 0; c < count; ++c) {
            const bool negative = subtracted && (first + c == EPS || first + c == X0_EPS);
            values[t * columns + c] = coefficient(t, first + c) * (negative ? -1 : 1);
        }
    return upload(allocate(DDPM_F32, T, 1, 1, columns), values);
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
    run((struct ddpm_call){.op = DDPM_OP_GATHER_ROWS,
                           .in = {table_of(0, COLUMNS, COLUMNS, true), steps(DDPM_I32)},
                           .out = {rows}});
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

static void noising_is_a_sum(void **unused)
{
    (void)unused;
    const struct ddpm_tensor x0 = picture(DDPM_F32, 0), noise = picture(DDPM_F32, 1);
    for (enum ddpm_dtype dtype = DDPM_F32; dtype <= DDPM_BF16; ++dtype) {
        const struct ddpm_tensor want = allocate(dtype, N, H, W, C),
                                 got = allocate(dtype, N, H, W, C);
        run((struct ddpm_call){.op = DDPM_OP_Q_SAMPLE,
                               .in = {x0, noise, steps(DDPM_I32), table_of(SIGNAL, 2, 2, false)},
                               .out = {want}});
        run((struct ddpm_call){.op = DDPM_OP_COMBINE,
                               .in = {gather(), noise, x0},
                               .out = {got},
                               .attributes.columns = {NOISE, SIGNAL}});
        assert_same(want, got);
    }
}

/* The network's result comes before what it was given: a GPU rounds the first product by itself and
 * the others as it adds them, and that is where the old formulas round.
 *
 * x' of a reverse step as sums; the reference keeps x̂_0 as it computes it, in fp64. */
static struct ddpm_tensor reverse_sums(struct ddpm_tensor x, struct ddpm_tensor predicted,
                                       struct ddpm_tensor z, bool clip)
{
    if (!clip) {
        run((struct ddpm_call){.op = DDPM_OP_COMBINE,
                               .in = {gather(), predicted, x, z},
                               .out = {x},
                               .attributes.columns = {EPS, X, SIGMA}});
        return x;
    }
    const bool exact = !strcmp(device->backend->name, "ref");
    const struct ddpm_tensor x0 = allocate(exact ? DDPM_F64 : DDPM_F32, N, H, W, C);
    run((struct ddpm_call){.op = DDPM_OP_COMBINE,
                           .in = {gather(), predicted, x},
                           .out = {x0},
                           .attributes = {.columns = {X0_EPS, X0_X}, .clip = true}});
    run((struct ddpm_call){.op = DDPM_OP_COMBINE,
                           .in = {gather(), x0, x, z},
                           .out = {x},
                           .attributes.columns = {MEAN_X0, MEAN_X, SIGMA}});
    return x;
}

static void the_reverse_step_is_sums(void **unused)
{
    (void)unused;
    for (int variant = 0; variant < 4; ++variant) {
        const bool clip = variant % 2;
        const struct ddpm_tensor predicted = picture(variant < 2 ? DDPM_F32 : DDPM_BF16, 3);
        const struct ddpm_tensor z = picture(DDPM_F32, 4), want = allocate(DDPM_F32, N, H, W, C);
        run((struct ddpm_call){.op = DDPM_OP_REVERSE_STEP,
                               .in = {picture(DDPM_F32, 2), predicted, z, steps(DDPM_I32),
                                      table_of(X, 7, DDPM_REVERSE_COLUMNS, false)},
                               .out = {want},
                               .attributes.clip = clip});
        assert_same(want, reverse_sums(picture(DDPM_F32, 2), predicted, z, clip));
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
    const struct ddpm_tensor prediction = picture(DDPM_F32, 5), target = picture(DDPM_F32, 6);
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
        cmocka_unit_test_setup_teardown(noising_is_a_sum, NULL, release_all),
        cmocka_unit_test_setup_teardown(the_reverse_step_is_sums, NULL, release_all),
        cmocka_unit_test_setup_teardown(whole_timesteps_embed_alike, NULL, release_all),
        cmocka_unit_test_setup_teardown(a_weight_of_one_changes_nothing, NULL, release_all),
    };
    const int failed = cmocka_run_group_tests_name("bits", tests, NULL, NULL);
    ddpm_device_close(&device);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

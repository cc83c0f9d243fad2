/* Option coordinates: which coordinates the network is given, and what it does with them. */
#include "run_support.h"

#include <ddpm/likelihood.h>

#include "training/trainer_state.h"

enum { SIDE = 16, HALF = 8, CHANNELS = 3, COUNT = 5, PATCH = HALF * HALF * CHANNELS };

#define ON_PATCHES                                                                                 \
    "image-size=16 batch-size=2 steps=100 patches=2 dim=4 dim-mults=1 coordinates=on "

/* How many windows of the picture equal the patch, or the mirrored patch. `corner` receives the row
 * and column of the last one in the picture, mirrored like the patch. */
static int windows_of(const uint8_t *picture, const float *patch, bool mirrored, int corner[2])
{
    int found = 0;
    for (int top = 0; top <= SIDE - HALF; ++top)
        for (int left = 0; left <= SIDE - HALF; ++left) {
            bool same = true;
            for (int i = 0; i < PATCH && same; ++i) {
                const int y = i / (HALF * CHANNELS), x = i / CHANNELS % HALF, c = i % CHANNELS;
                const int column = mirrored ? HALF - 1 - x : x;
                const uint8_t byte = picture[((top + y) * SIDE + left + column) * CHANNELS + c];
                same = fabsf(patch[i] - ((float)byte / 127.5f - 1)) < 1e-5f;
            }
            found += same;
            if (same) {
                corner[0] = top;
                corner[1] = mirrored ? SIDE - HALF - left : left;
            }
        }
    return found;
}

/* The centres of a patch's first and last pixel. */
static void assert_coordinates(const float *of, const int corner[2])
{
    const float *last = of + (size_t)2 * (HALF * HALF - 1);
    for (int axis = 0; axis < 2; ++axis) { /* exact, because SIDE is a power of two */
        assert_true((double)of[axis] == (2 * corner[axis] + 1) / (double)SIDE - 1);
        assert_true((double)last[axis] == (2 * (corner[axis] + HALF) - 1) / (double)SIDE - 1);
    }
}

/* The patch is one window of all pictures. */
static void assert_window(const uint8_t *pictures, const float *patch, const float *coordinates,
                          int seen[COUNT][2])
{
    int found = 0, corner[2];
    for (int item = 0; item < COUNT; ++item)
        for (int mirrored = 0; mirrored < 2; ++mirrored) {
            const uint8_t *picture = pictures + item * SIDE * SIDE * CHANNELS;
            const int here = windows_of(picture, patch, mirrored, corner);
            seen[item][mirrored] += here;
            found += here;
        }
    assert_int_equal(found, 1);
    assert_coordinates(coordinates, corner);
}

static void patches_are_windows_with_their_coordinates(void **state)
{
    (void)state;
    char *folder = folder_with_windows(COUNT, SIDE);
    struct ddpm_npy npy;
    float x0[2 * PATCH], coordinates[2][HALF * HALF * 2];
    struct run run;
    int seen[COUNT][2] = {{0}};
    start(&run, folder, ON_PATCHES);
    assert_ok(ddpm_npy_open(&npy, in_folder(folder, "p.npy")));
    for (int step = 0; step < 30; ++step) {
        steps(&run, 1);
        assert_ok(ddpm_graph_read(run.trainer->graph, run.trainer->x0, x0));
        assert_ok(ddpm_graph_read(run.trainer->graph, run.trainer->coordinates, coordinates));
        for (int b = 0; b < 2; ++b)
            assert_window(npy.data, x0 + b * PATCH, coordinates[b], seen);
    }
    for (int item = 0; item < COUNT; ++item)
        assert_true(seen[item][0] > 0 && seen[item][1] > 0);
    ddpm_npy_close(&npy);
    end(&run);
    remove_folder(folder);
}

/* How many networks of the graph read this value as their coordinates. */
static int readers_of(const struct ddpm_graph *graph, const struct ddpm_value *coordinates)
{
    int readers = 0;
    for (size_t i = 0; i < graph->node_count; ++i)
        readers += graph->nodes[i]->op == DDPM_OP_CONCAT && graph->nodes[i]->in[1] == coordinates;
    return readers;
}

static void the_network_reads_the_coordinates_of_patches(void **state)
{
    (void)state;
    static const char *const options[] = {ON_PATCHES, ON_PATCHES "objective=v drawing-steps=2",
                                          ON_PATCHES "memory=low accumulate=2"};
    static const int networks[] = {1, 2, 1};
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        char *folder = folder_with_windows(COUNT, SIDE);
        struct run run;
        start(&run, folder, options[i]);
        steps(&run, 1);
        assert_non_null(run.trainer->coordinates);
        assert_int_equal(readers_of(run.trainer->graph, run.trainer->coordinates), networks[i]);
        steps(&run, 75);
        assert_null(run.trainer->coordinates); /* for whole pictures the network makes its own */
        end(&run);
        remove_folder(folder);
    }
}

enum { AREA = 8 * 8, FIRST = 7 * 7, DIM = 8 };

/* Copy the weights to a network that also reads coordinates, with 0 as their weights. */
static void copy_weights(const struct ddpm_network *from, struct ddpm_network *to)
{
    for (size_t i = 0; i < ddpm_network_parameter_count(from); ++i) {
        const struct ddpm_parameter_info info = ddpm_network_parameter(from, i);
        const struct ddpm_parameter_info wider = ddpm_network_parameter(to, i);
        const size_t count = (size_t)info.count, many = (size_t)wider.count;
        float *values = calloc(many, sizeof *values);
        assert_ok(ddpm_network_get(from, DDPM_WEIGHTS_MODEL, info.name, values, count));
        if (many > count) { /* [DIM, channels, 7, 7] */
            const size_t row = count / DIM, wide = row + (size_t)2 * FIRST;
            assert_int_equal(many, DIM * wide);
            for (size_t k = DIM; k-- > 0;) {
                memmove(values + k * wide, values + k * row, row * sizeof *values);
                memset(values + k * wide + row, 0, (wide - row) * sizeof *values);
            }
        }
        assert_ok(ddpm_network_set(to, DDPM_WEIGHTS_MODEL, info.name, values, many));
        free(values);
    }
}

static double bits_of(struct ddpm_network *network, int64_t channels)
{
    const struct ddpm_likelihood_options options = {
        .size = sizeof options, .method = DDPM_LIKELIHOOD_FLOW, .steps = 2, .batch = 2};
    uint8_t pictures[3 * AREA * 4];
    struct ddpm_likelihood *likelihood;
    const size_t bytes = 3 * AREA * (size_t)channels;
    for (uint32_t i = 0; i < sizeof pictures; ++i)
        pictures[i] = (uint8_t)ddpm_philox(9, i, 0, 0, DDPM_STREAM_BENCH).v[0];
    assert_ok(ddpm_likelihood_create(network, &options, &likelihood));
    assert_ok(ddpm_likelihood_add(likelihood, pictures, 3, bytes));
    const double bits = ddpm_likelihood_result(likelihood)->total.bits;
    ddpm_likelihood_destroy(&likelihood);
    return bits;
}

/* The gradient for x is a part of the gradient of the first convolution's input. */
static void coordinates_without_weight_change_no_likelihood(void **state)
{
    (void)state;
    static const char *const options[] = {"channels=3", "channels=1", "channels=4 precision=bf16",
                                          "channels=1 precision=bf16"};
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        char words[96];
        snprintf(words, sizeof words, "objective=flow %s", options[i]);
        struct ddpm_network *plain = tiny_network(words);
        strcat(words, " coordinates=on");
        struct ddpm_network *told = tiny_network(words);
        copy_weights(plain, told);
        const int64_t channels = option_of(plain, "channels");
        const double wanted = bits_of(plain, channels), got = bits_of(told, channels);
        assert_true(isfinite(wanted));
        assert_true(fabs(got - wanted) < (strstr(words, "bf16") ? 0.02 : 1e-4) * fabs(wanted));
        ddpm_network_destroy(&plain);
        ddpm_network_destroy(&told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_are_windows_with_their_coordinates),
        cmocka_unit_test(the_network_reads_the_coordinates_of_patches),
        cmocka_unit_test(coordinates_without_weight_change_no_likelihood),
    };
    if (!has_test_device())
        return EXIT_SKIPPED;
    return cmocka_run_group_tests_name("library_coordinates", tests, NULL, NULL);
}

/* Features of FID's Inception compared with pytorch-fid's, with weights that follow a formula, from
 * a file that the test writes. DDPM_TEST_INCEPTION names a file of the same weights written by
 * another program, to use instead. */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <ddpm/evaluate.h>

#include "evaluation/inception.h"

/* Promised: the features to 1e-4, relative to their norm and each relative to the largest. */
#define BOUND 1e-4

enum { PARTS = 5, MOST = PARTS * DDPM_INCEPTION_STEPS };

static char scratch[] = "/tmp/ddpm-inception-XXXXXX";

/* The tensors of the network's file. */
struct weights {
    struct ddpm_safetensors_entry entries[MOST];
    char names[MOST][80];
    float *values[MOST];
    size_t count;
};

/* make_inception_golden.py: weights() */
static void add(struct weights *to, const char *layer, const char *part, double scale,
                double middle, int rank, const int64_t *shape)
{
    int64_t count = 1;
    char *name = to->names[to->count];
    snprintf(name, sizeof to->names[0], "%s.%s", layer, part);
    for (int i = 0; i < rank; ++i)
        count *= shape[i];
    float *values = golden_formula(name, count, 1);
    for (int64_t i = 0; i < count; ++i)
        values[i] = (float)(middle + scale * (double)values[i]);
    struct ddpm_safetensors_entry *entry = &to->entries[to->count];
    *entry = (struct ddpm_safetensors_entry){
        .name = name, .dtype = DDPM_SAFETENSORS_F32, .rank = rank, .data = values};
    memcpy(entry->shape, shape, (size_t)rank * sizeof *shape);
    to->values[to->count++] = values;
}

static struct weights *make_weights(void)
{
    struct ddpm_inception_plan plan;
    struct weights *weights = calloc(1, sizeof *weights);
    assert_non_null(weights);
    ddpm_inception_plan(&plan);
    for (int i = 0; i < plan.count; ++i) {
        const struct ddpm_inception_step *step = &plan.steps[i];
        const int64_t shape[] = {step->output.channels, step->input.channels, step->kernel_h,
                                 step->kernel_w};
        if (step->kind != DDPM_INCEPTION_CONV)
            continue;
        const double depth = (double)(shape[1] * shape[2] * shape[3]);
        add(weights, step->name, "conv.weight", sqrt(6 / depth), 0, 4, shape);
        add(weights, step->name, "bn.weight", 0.25, 1, 1, shape);
        add(weights, step->name, "bn.bias", 0.1, 0, 1, shape);
        add(weights, step->name, "bn.running_mean", 0.1, 0, 1, shape);
        add(weights, step->name, "bn.running_var", 0.25, 1, 1, shape);
    }
    return weights;
}

static void free_weights(struct weights *weights)
{
    for (size_t i = 0; i < weights->count; ++i)
        free(weights->values[i]);
    free(weights);
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

static int write_weights(void **state)
{
    assert_non_null(mkdtemp(scratch));
    struct weights *weights = make_weights();
    assert_ok(ddpm_safetensors_write(path_of("inception.safetensors"), weights->entries,
                                     weights->count, NULL, 0));
    *state = weights;
    return 0;
}

static int remove_weights(void **state)
{
    free_weights(*state);
    return ddpm_directory_remove(scratch) == DDPM_OK ? 0 : -1;
}

static struct ddpm_feature_network *open_network(void)
{
    struct ddpm_feature_network *network;
    const char *other = getenv("DDPM_TEST_INCEPTION");
    assert_ok(
        ddpm_feature_network_open(other ? other : path_of("inception.safetensors"), &network));
    return network;
}

static struct ddpm_picture_set *make_set(const struct ddpm_feature_network *network,
                                         const int64_t *shape, int threads)
{
    struct ddpm_picture_set *set;
    const struct ddpm_picture_set_options options = {
        .size = sizeof options,
        .features = "inception",
        .height = (int)shape[0],
        .width = (int)shape[1],
        .channels = (int)shape[2],
        .threads = threads,
        .network = network,
    };
    assert_ok(ddpm_picture_set_create(&options, &set));
    return set;
}

/* The largest difference, relative to the largest feature; every feature must be finite. Without
 * that assertion in the loop, gcc 12.2 for 64-bit ARM fails with an internal error. */
static double worst(const float *got, const float *want)
{
    double difference = 0, size = 0;
    for (int i = 0; i < DDPM_INCEPTION_WIDTH; ++i) {
        assert_true(isfinite(got[i]));
        difference = fmax(difference, fabs((double)got[i] - (double)want[i]));
        size = fmax(size, fabs((double)want[i]));
    }
    return difference / size;
}

static void every_picture(void **state)
{
    (void)state;
    struct golden golden = golden_open("inception");
    struct ddpm_feature_network *network = open_network();
    const json_t *row, *pictures = json_object_get(golden.json, "pictures");
    size_t index;
    assert_int_equal(json_array_size(pictures), 5);
    json_array_foreach(pictures, index, row)
    {
        char key[64];
        int64_t width, count;
        const char *name = json_string_value(json_object_get(row, "name"));
        snprintf(key, sizeof key, "%s.picture", name);
        const struct ddpm_safetensors_tensor *pixels = ddpm_safetensors_find(golden.file, key);
        struct ddpm_picture_set *set = make_set(network, pixels->shape, 1);
        assert_ok(ddpm_picture_set_add(set, pixels->data, 1, pixels->bytes));
        const float *got = ddpm_picture_set_features(set, &width);
        snprintf(key, sizeof key, "%s.features", name);
        float *want = golden_values(&golden, key, &count);
        assert_int_equal(width, DDPM_INCEPTION_WIDTH);
        assert_int_equal(count, width);
        print_message("%s: %.2g of the norm, %.2g of the largest\n", name,
                      golden_error(got, want, count), worst(got, want));
        if (!(golden_error(got, want, count) <= BOUND) || !(worst(got, want) <= BOUND))
            fail_msg("%s: the features are %g off, %g at the worst, want %g", name,
                     golden_error(got, want, count), worst(got, want), BOUND);
        free(want);
        ddpm_picture_set_destroy(&set);
    }
    ddpm_feature_network_close(&network);
    golden_close(&golden);
}

/* The same bits with any number of threads, and for pictures together or one by one. */
static void the_same_bits(void **state)
{
    (void)state;
    enum { COUNT = 5, SIDE = 24, BYTES = SIDE * SIDE * 3 };
    static const int64_t shape[] = {SIDE, SIDE, 3};
    struct ddpm_feature_network *network = open_network();
    struct ddpm_picture_set *one = make_set(network, shape, 1),
                            *three = make_set(network, shape, 3);
    uint8_t pictures[COUNT * BYTES];
    float *noise = golden_formula("bytes", COUNT * BYTES, 127);
    for (int i = 0; i < COUNT * BYTES; ++i)
        pictures[i] = (uint8_t)(128 + noise[i]);
    assert_ok(ddpm_picture_set_add(three, pictures, COUNT, sizeof pictures));
    for (int i = 0; i < COUNT; ++i)
        assert_ok(ddpm_picture_set_add(one, pictures + i * BYTES, 1, BYTES));
    assert_memory_equal(ddpm_picture_set_features(one, NULL),
                        ddpm_picture_set_features(three, NULL),
                        COUNT * DDPM_INCEPTION_WIDTH * sizeof(float));
    free(noise);
    ddpm_picture_set_destroy(&one);
    ddpm_picture_set_destroy(&three);
    ddpm_feature_network_close(&network);
}

static void refused(const struct weights *weights, size_t count, ddpm_status want,
                    const char *words)
{
    struct ddpm_feature_network *network;
    const char *path = path_of("other.safetensors");
    assert_ok(ddpm_safetensors_write(path, weights->entries, count, NULL, 0));
    const ddpm_status got = ddpm_feature_network_open(path, &network);
    if (got != want || !strstr(ddpm_error_message(), words))
        fail_msg("got \"%s\", want \"%s\"", ddpm_error_message(), words);
    assert_non_null(strstr(ddpm_error_message(), path));
    assert_null(network);
}

/* The file ends after the first layer, the one that is wrong. */
static void wrong_weights(void **state)
{
    struct weights *weights = *state;
    struct ddpm_safetensors_entry *first = &weights->entries[0];
    refused(weights, PARTS, DDPM_ERROR_MISMATCH, "no tensor Conv2d_2a_3x3.conv.weight");
    refused(weights, PARTS - 1, DDPM_ERROR_MISMATCH, "no tensor Conv2d_1a_3x3.bn.running_var");
    first->shape[2] = 1;
    first->shape[3] = 9;
    refused(weights, PARTS, DDPM_ERROR_MISMATCH,
            "tensor Conv2d_1a_3x3.conv.weight: got the shape [32,3,1,9], want [32,3,3,3]");
    first->shape[2] = first->shape[3] = 3;
    first->dtype = DDPM_SAFETENSORS_I32;
    refused(weights, PARTS, DDPM_ERROR_MISMATCH, "got values of type I32");
    first->dtype = DDPM_SAFETENSORS_F32;
    weights->values[0][7] = INFINITY;
    refused(weights, PARTS, DDPM_ERROR_NOT_FINITE, "Conv2d_1a_3x3.conv.weight: got inf");
    weights->values[0][7] = 0;
    weights->values[4][0] = -1;
    refused(weights, PARTS, DDPM_ERROR_MISMATCH, "Conv2d_1a_3x3.bn.running_var: got -1");
    weights->values[4][0] = 1;
}

/* Finite weights with which the network computes numbers that are too large. */
static void features_overflow(void **state)
{
    struct weights *weights = *state;
    static const int64_t shape[] = {2, 2, 3};
    static const uint8_t picture[12] = {1, 2, 3, 40, 50, 60, 70, 80, 90, 200, 210, 220};
    struct ddpm_feature_network *network;
    const char *path = path_of("other.safetensors");
    for (int64_t i = 0; i < weights->entries[1].shape[0]; ++i)
        weights->values[1][i] = 1e38f;
    assert_ok(ddpm_safetensors_write(path, weights->entries, weights->count, NULL, 0));
    assert_ok(ddpm_feature_network_open(path, &network));
    struct ddpm_picture_set *set = make_set(network, shape, 1);
    assert_int_equal(ddpm_picture_set_add(set, picture, 1, sizeof picture), DDPM_ERROR_NOT_FINITE);
    assert_non_null(strstr(ddpm_error_message(), "as a feature of picture 0"));
    assert_int_equal(ddpm_picture_set_count(set), 0);
    ddpm_picture_set_destroy(&set);
    ddpm_feature_network_close(&network);
}

/* With a name as argument: write the weights there, for tests of the program. */
int main(int count, char **arguments)
{
    if (count > 1) {
        struct weights *weights = make_weights();
        const ddpm_status status =
            ddpm_safetensors_write(arguments[1], weights->entries, weights->count, NULL, 0);
        free_weights(weights);
        return status == DDPM_OK ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_picture),
        cmocka_unit_test(the_same_bits),
        cmocka_unit_test(wrong_weights),
        cmocka_unit_test(features_overflow),
    };
    return cmocka_run_group_tests(tests, write_weights, remove_weights);
}

/* Given features, compared with pytorch-fid, torch-fidelity and the papers' equations. */
#include "golden/golden.h"

#include <math.h>
#include <string.h>

#include <ddpm/evaluate.h>

#include "evaluation/matrix.h"

enum { GROUPS = 10 };

/* Promised: distances to 1e-5; shares and densities exactly. */
#define DISTANCE 1e-5
#define EXACT 1e-12

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("the golden file has no %s", key);
    return json_number_value(value);
}

static void near(const char *what, double got, double wanted, double bound)
{
    if (!(fabs(got - wanted) <= bound))
        fail_msg("%s: got %.15g, want %.15g within %g", what, got, wanted, bound);
}

static struct ddpm_picture_set *set_of(const struct golden *golden, const char *name,
                                       const char *side)
{
    struct ddpm_picture_set *set;
    const struct ddpm_picture_set_options options = {.size = sizeof options};
    char key[64];
    int64_t count;
    snprintf(key, sizeof key, "%s.%s", name, side);
    float *values = golden_values(golden, key, &count);
    const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_find(golden->file, key);
    assert_ok(ddpm_picture_set_create(&options, &set));
    assert_ok(
        ddpm_picture_set_give(set, values, tensor->shape[0], tensor->shape[1], (size_t)count));
    free(values);
    return set;
}

static struct ddpm_evaluation *compare(const struct ddpm_picture_set *generated,
                                       const struct ddpm_picture_set *real, int threads)
{
    struct ddpm_evaluation *found;
    const struct ddpm_evaluate_options options = {.size = sizeof options, .threads = threads};
    assert_ok(ddpm_evaluate(generated, real, &options, &found));
    return found;
}

/* The standard error from the values computed without each group. */
static double error_of(const json_t *row, const char *key)
{
    const json_t *without = json_object_get(json_object_get(row, "without"), key);
    double mean = 0, squares = 0;
    for (size_t g = 0; g < GROUPS; ++g)
        mean += json_number_value(json_array_get(without, g)) / GROUPS;
    for (size_t g = 0; g < GROUPS; ++g) {
        const double d = json_number_value(json_array_get(without, g)) - mean;
        squares += d * d;
    }
    return sqrt(squares * (GROUPS - 1) / GROUPS);
}

static void check(const json_t *row, const char *key, const struct ddpm_estimate *estimate,
                  double bound)
{
    if (estimate->missing)
        fail_msg("%s is missing: %s", key, estimate->missing);
    near(key, estimate->value, number(row, key), bound);
    assert_true(estimate->low <= estimate->value && estimate->value <= estimate->high);
    if (json_object_get(json_object_get(row, "without"), key))
        near("its error", estimate->error, error_of(row, key), bound);
}

static void every_case(void **state)
{
    (void)state;
    struct golden golden = golden_open("evaluation");
    size_t index;
    const json_t *row, *cases = json_object_get(golden.json, "cases");
    assert_true(json_array_size(cases) >= 3);
    json_array_foreach(cases, index, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        struct ddpm_picture_set *generated = set_of(&golden, name, "generated");
        struct ddpm_picture_set *real = set_of(&golden, name, "real");
        struct ddpm_evaluation *found = compare(generated, real, 1), *again;
        if (ddpm_lapack_found())
            check(row, "frechet", &found->frechet, DISTANCE * number(row, "frechet"));
        check(row, "kernel", &found->kernel, DISTANCE * fabs(number(row, "kernel")));
        check(row, "precision", &found->precision, EXACT);
        check(row, "recall", &found->recall, EXACT);
        check(row, "density", &found->density, EXACT);
        check(row, "coverage", &found->coverage, EXACT);
        assert_int_equal(found->features.same_own, 6); /* three exact duplicates in each set */
        assert_non_null(found->pixels.missing);

        again = compare(generated, real, 3); /* the same bits */
        assert_memory_equal(&found->frechet, &again->frechet, 6 * sizeof(struct ddpm_estimate));
        assert_memory_equal(found->features.real, again->features.real,
                            (size_t)found->features.count * sizeof *found->features.real);
        ddpm_evaluation_destroy(&again);
        ddpm_evaluation_destroy(&found);
        ddpm_picture_set_destroy(&generated);
        ddpm_picture_set_destroy(&real);
    }
    golden_close(&golden);
}

/* A file as written by pytorch-fid's --save-stats. */
static void a_file_of_pytorch_fid(void **state)
{
    (void)state;
#ifdef HAVE_LIBZIP
    struct golden golden = golden_open("evaluation");
    struct ddpm_picture_set *generated = set_of(&golden, "near", "generated"), *real;
    const json_t *row = json_array_get(json_object_get(golden.json, "cases"), 0);
    assert_ok(ddpm_picture_set_read_statistics(GOLDEN_DATA "evaluation_statistics.npz", &real));
    assert_int_equal(ddpm_picture_set_count(real), 0);
    struct ddpm_evaluation *found = compare(generated, real, 2);
    if (ddpm_lapack_found())
        check(row, "frechet", &found->frechet, DISTANCE * number(row, "frechet"));
    assert_non_null(strstr(found->kernel.missing, "mean and covariance"));
    assert_int_equal(found->real, 0);
    ddpm_evaluation_destroy(&found);
    ddpm_picture_set_destroy(&generated);
    ddpm_picture_set_destroy(&real);
    golden_close(&golden);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case),
        cmocka_unit_test(a_file_of_pytorch_fid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Shared by the golden tests: the formula for weights and pictures, the files, and comparing. See
 * README.md. */
#ifndef TESTS_GOLDEN_GOLDEN_H
#define TESTS_GOLDEN_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "config/config.h"
#include "formats/safetensors.h"
#include "graph/parameters.h"

#define GOLDEN_DATA "tests/golden/data/"

/* Fail the test with the library's error message. */
#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        ddpm_status status_ = (expression);                                                        \
        if (status_ != DDPM_OK)                                                                    \
            fail_msg("%s: %s", #expression, ddpm_error_message());                                 \
    } while (0)

/* An open file and the JSON of its metadata. */
struct golden {
    struct ddpm_safetensors *file;
    json_t *json;
};
struct golden golden_open(const char *name); /* "case_two_8_2" */
void golden_close(struct golden *golden);

/* The values of a tensor as floats; free() them. *count may be NULL. */
float *golden_values(const struct golden *golden, const char *name, int64_t *count);
int64_t *golden_integers(const struct golden *golden, const char *name, int64_t *count);

/* The configuration of a file's "config" (network, batch, picture size) over the defaults; *batch
 * may be NULL. The device is DDPM_TEST_DEVICE or the CPU; the precision is DDPM_TEST_PRECISION or
 * fp32. */
void golden_config(const struct golden *golden, struct ddpm_config *config, int64_t *batch);

/* The error bound for the precision under test. */
double golden_tolerance(double fp32, double bf16);

/* u(name, i) scaled, for i < count. Free with free(). */
float *golden_formula(const char *name, int64_t count, double scale);

/* One parameter's formula values in PyTorch's order; free() them. */
float *golden_parameter(const struct ddpm_parameter *parameter);

/* ‖a - b‖ / ‖b‖. */
double golden_error(const float *a, const float *b, int64_t count);

/* The worst error of a parameter's values in PyTorch's order, compared with "<kind>.<name>" and
 * "<kind>_stat.<name>". */
double golden_sampled_error(const struct golden *golden, const char *kind, const char *name,
                            const float *values, int64_t count);

/* The norm of a parameter's values, according to the file. */
double golden_norm(const struct golden *golden, const char *kind, const char *name);

#endif

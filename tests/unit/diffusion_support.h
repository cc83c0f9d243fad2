/* Shared by the tests of src/diffusion: schedules, and a distribution with an exact denoiser. */
#ifndef TESTS_UNIT_DIFFUSION_SUPPORT_H
#define TESTS_UNIT_DIFFUSION_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

/* Fail the test with the library's error text. */
#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        ddpm_status status_ = (expression);                                                        \
        if (status_ != DDPM_OK)                                                                    \
            fail_msg("%s: %s", #expression, ddpm_error_message());                                 \
    } while (0)

/* Expect DDPM_ERROR_ARGUMENT with `words` in its text. */
#define assert_refused(expression, words)                                                          \
    do {                                                                                           \
        assert_int_equal(expression, DDPM_ERROR_ARGUMENT);                                         \
        if (!strstr(ddpm_error_message(), words))                                                  \
            fail_msg("%s: got \"%s\", want \"%s\" in it", #expression, ddpm_error_message(),       \
                     words);                                                                       \
    } while (0)

/* A schedule's path; free with clear_path(). */
struct ddpm_diffusion_config schedule_config(int schedule, int64_t timesteps);
struct ddpm_path make_path(const struct ddpm_diffusion_config *config);
void clear_path(struct ddpm_path *path);

/* The turns of a sampler by name; free with ddpm_turns_clear(). */
struct ddpm_turns make_turns(const char *name, const struct ddpm_sampler_request *request);

/* The perfect network's output for a noised number drawn from N(MEAN, DEVIATION²): x̂_0 = slope·x +
 * offset. */
#define DATA_MEAN 0.3
#define DATA_DEVIATION 0.5
struct affine {
    double slope, offset;
};
struct affine exact_denoiser(const struct ddpm_level *level);

/* steps + 1 levels, even in λ, from sigma/alpha 80 to 0.002; either alpha is 1 or alpha² + sigma²
 * is. */
void even_levels(struct ddpm_level *levels, size_t steps, bool variance_preserving);

#endif

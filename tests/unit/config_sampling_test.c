/* Sampling options: their names, the meaning of a file without them, and which options a run may
 * not change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config_json.h"
#include "config/option.h"

static struct ddpm_config *fresh(void)
{
    struct ddpm_config *config;
    assert_int_equal(ddpm_config_create(&config), DDPM_OK);
    return config;
}

static void set(struct ddpm_config *config, const char *name, const char *value)
{
    assert_int_equal(ddpm_config_set(config, name, value), DDPM_OK);
}

static void read(struct ddpm_config *config, const char *json)
{
    if (ddpm_config_from_text(config, json, "x.json") != DDPM_OK)
        fail_msg("%s", ddpm_error_message());
}

static void names_are_those_of_the_tables(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    char text[64];
    assert_int_equal(config->sampling.sampler, DDPM_SAMPLER_AUTO);
    assert_int_equal(config->sampling.spacing, DDPM_SPACING_AUTO);
    assert_int_equal(config->sampling.steps, 0);
    set(config, "sampler", "dpmpp-sde");
    assert_int_equal(config->sampling.sampler, DDPM_SAMPLER_DPMPP_SDE);
    set(config, "sampler", "euler"); /* an alias, stored under the main name */
    assert_int_equal(config->sampling.sampler, DDPM_SAMPLER_DDIM);
    assert_int_equal(ddpm_config_get(config, "sampler", text, sizeof text), DDPM_OK);
    assert_string_equal(text, "ddim");
    set(config, "spacing", "karras");
    assert_int_equal(config->sampling.spacing, DDPM_SPACING_KARRAS);
    set(config, "spacing", "auto");
    assert_int_equal(config->sampling.spacing, DDPM_SPACING_AUTO);
    assert_int_equal(ddpm_config_set(config, "sampler", "eulr"), DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "consistency or auto; the nearest is \"euler\""));
    assert_int_equal(ddpm_config_set(config, "spacing", "nothing"), DDPM_ERROR_ARGUMENT);
    assert_null(strstr(ddpm_error_message(), "nearest"));
    ddpm_config_destroy(&config);
}

static void files_without_samplers(void **state)
{
    (void)state;
    static const char *const of_the_article[] = {
        "{\"trainer_config\": {\"save_and_sample_every\": 500}}",
        "{\"unet_config\": {\"batch_size\": 16}}",
        "{\"unet_config\": {\"batch_size\": 16}, \"sampling_config\": {}}",
    };
    struct ddpm_config *config = fresh();
    read(config, "{\"unet_config\": {\"input\": 16}}");
    assert_int_equal(config->sampling.sampler, DDPM_SAMPLER_AUTO);
    for (size_t i = 0; i < sizeof of_the_article / sizeof *of_the_article; ++i) {
        set(config, "sampler", "ddim");
        set(config, "eta", "0.5");
        set(config, "sampling-steps", "5");
        read(config, of_the_article[i]);
        assert_int_equal(config->sampling.sampler, DDPM_SAMPLER_ANCESTRAL);
        assert_int_equal(config->sampling.steps, 0);
        assert_true(config->sampling.eta == 0);
    }
    read(config, "{\"unet_config\": {\"batch_size\": 16}, "
                 "\"sampling_config\": {\"sampler\": \"unipc\", \"sampling_steps\": 9}}");
    assert_int_equal(config->sampling.sampler, DDPM_SAMPLER_UNIPC);
    assert_int_equal(config->sampling.steps, 9);
    ddpm_config_destroy(&config);
}

static void a_file_that_names_a_sampler_says_all(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    set(config, "sampler", "ddim");
    set(config, "eta", "0.5");
    set(config, "scale", "3");
    read(config, "{\"sampling_config\": {\"spacing\": \"linspace\"}}");
    assert_true(config->sampling.eta == 0.5);
    read(config, "{\"sampling_config\": {\"sampling_steps\": 8, \"sampler\": \"dpmpp\"}}");
    assert_true(config->sampling.eta == 0);
    assert_int_equal(config->sampling.steps, 8);
    assert_int_equal(config->sampling.spacing, DDPM_SPACING_AUTO);
    assert_int_equal(config->training.scale, 3);
    ddpm_config_destroy(&config);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh(), *again = fresh();
    char *text;
    set(config, "sampler", "heun");
    set(config, "sampling-steps", "18");
    set(config, "spacing", "karras");
    set(config, "churn", "40");
    set(config, "churn-min", "0.05");
    set(config, "churn-max", "50");
    set(config, "churn-noise", "1.003");
    set(config, "solver-order", "3");
    assert_int_equal(ddpm_config_to_text(config, &text), DDPM_OK);
    read(again, text);
    assert_memory_equal(config, again, sizeof *config);
    free(text);
    ddpm_config_destroy(&config);
    ddpm_config_destroy(&again);
}

/* In the order of state.json, which older versions read. */
static void options_that_a_run_keeps(void **state)
{
    (void)state;
    static const char *const kept[] = {
        "network",
        "dim",
        "init-dim",
        "out-dim",
        "dim-mults",
        "channels",
        "theta",
        "mult",
        "norm",
        "timesteps",
        "schedule",
        "image-size",
        "loss",
        "batch-size",
        "accumulate",
        "seed",
        "flip",
        "crop",
        "timestep-per-batch",
        "cosine-s", /* from here on since 0.2 */
        "sigmoid-start",
        "sigmoid-end",
        "sigmoid-tau",
        "attention", /* from here on with their defaults in checkpoints that lack them */
        "coordinates",
        "learned-variance",
        "zero-terminal-snr",
        "shift",
        "objective",
        "loss-weight",
        "min-snr-gamma",
        "offset-noise",
        "flow-times",
        "flow-mean",
        "flow-deviation",
        "sigma-data",
        "sigma-min",
        "sigma-max",
        "edm-mean",
        "edm-deviation",
        "drawing-steps",
        "drawing-level",
        "optimizer",
        "ema",
        "ema-length",
        "ema-second",
        "level-sampling",
        "noise-candidates",
        "patches",
        "rotate",
    };
    size_t found = 0;
    for (int lock = DDPM_LOCKED; lock < DDPM_LOCK_COUNT; ++lock)
        for (size_t i = 0; i < ddpm_options_count; ++i)
            if ((int)ddpm_options[i].locked == lock)
                assert_string_equal(ddpm_options[i].name, kept[found++]);
    assert_int_equal(found, sizeof kept / sizeof *kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_tables),
        cmocka_unit_test(files_without_samplers),
        cmocka_unit_test(a_file_that_names_a_sampler_says_all),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(options_that_a_run_keeps),
    };
    return cmocka_run_group_tests_name("sampling options", tests, NULL, NULL);
}

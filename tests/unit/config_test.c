/* Unit tests of src/config: the option table, values and ranges, JSON files, checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config_json.h"
#include "config/foreign.h"
#include "config/nearest.h"
#include "config/option.h"
#include "formats/file.h"

static struct ddpm_config *fresh(void)
{
    struct ddpm_config *config;
    assert_int_equal(ddpm_config_create(&config), DDPM_OK);
    return config;
}

static void assert_message_has(const char *part)
{
    if (!strstr(ddpm_error_message(), part))
        fail_msg("\"%s\" lacks \"%s\"", ddpm_error_message(), part);
}

static void defaults_are_the_article_s(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    assert_int_equal(config->network.network, DDPM_NETWORK_TWO_RES_UNET);
    assert_int_equal(config->network.dim, 64);
    assert_int_equal(config->network.levels, 4);
    assert_int_equal(config->network.dim_mults[3], 8);
    assert_true(config->network.norm);
    assert_int_equal(config->diffusion.timesteps, 1000);
    assert_int_equal(config->diffusion.image_height, 128);
    assert_int_equal(config->diffusion.image_width, 128);
    assert_true(config->diffusion.clip);
    assert_true(config->training.lr == 1e-4);
    assert_int_equal(config->training.steps, 37000);
    assert_int_equal(ddpm_config_check(config), DDPM_OK);
    ddpm_config_destroy(&config);
    assert_null(config);
}

/* Every row: unique name and key, a default that reads back as the same text or value, help. */
static void every_row_of_the_table_is_whole(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    assert_int_equal(ddpm_option_count(), ddpm_options_count);
    for (size_t i = 0; i < ddpm_option_count(); ++i) {
        struct ddpm_option_info info = ddpm_option_at(i);
        char text[DDPM_OPTION_BYTES];
        assert_true(info.help[0] && info.placeholder[0] && info.group[0]);
        assert_int_equal(ddpm_config_get(config, info.name, text, sizeof text), DDPM_OK);
        struct ddpm_config *other = fresh();
        assert_int_equal(ddpm_config_set(other, info.name, text), DDPM_OK);
        assert_true(ddpm_option_equal(&ddpm_options[i], config, other));
        assert_memory_equal(config, other, sizeof *config);
        ddpm_config_destroy(&other);
        for (size_t j = 0; j < i; ++j) {
            assert_string_not_equal(info.name, ddpm_options[j].name);
            assert_false(ddpm_options[i].group == ddpm_options[j].group &&
                         strcmp(ddpm_options[i].key, ddpm_options[j].key) == 0);
        }
    }
    assert_null(ddpm_option_at(ddpm_option_count()).name);
    ddpm_config_destroy(&config);
}

static void good_values_are_taken(void **state)
{
    (void)state;
    static const char *const pairs[][3] = {
        {"dim", "32", "32"},
        {"dim-mults", "1", "1"},
        {"dim_mults", "1,2,3,4,5,6,7,8", "1,2,3,4,5,6,7,8"},
        {"image-size", "96x128", "96x128"},
        {"image-size", "64x64", "64"},
        {"lr", "2.5e-4", "0.00025"},
        {"lr", "0.1", "0.1"},
        {"weight-decay", "0", "0"},
        {"sigmoid-start", "-2.5", "-2.5"},
        {"clip", "off", "off"},
        {"conv", "direct", "direct"},
        {"network", "OneResUNet", "OneResUNet"},
        {"seed", "9007199254740992", "9007199254740992"},
        {"data", "some folder/ä", "some folder/ä"},
    };
    struct ddpm_config *config = fresh();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; ++i) {
        char text[DDPM_OPTION_BYTES];
        assert_int_equal(ddpm_config_set(config, pairs[i][0], pairs[i][1]), DDPM_OK);
        assert_int_equal(ddpm_config_get(config, pairs[i][0], text, sizeof text), DDPM_OK);
        assert_string_equal(text, pairs[i][2]);
    }
    assert_true(config->run.direct);
    assert_int_equal(config->network.levels, 8);
    char tiny[3];
    assert_int_equal(ddpm_config_get(config, "network", tiny, sizeof tiny), DDPM_ERROR_ARGUMENT);
    ddpm_config_destroy(&config);
}

static void bad_values_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"dim", ""},
        {"dim", "x"},
        {"dim", "-64"},
        {"dim", "0"},
        {"dim", "64.0"},
        {"dim", "64 "},
        {"dim", " 64"},
        {"dim", "+64"},
        {"dim", "0x40"},
        {"dim", "6e1"},
        {"dim", "999999999999999999999999999"},
        {"dim", "5000"},
        {"dim-mults", ""},
        {"dim-mults", "1,,2"},
        {"dim-mults", "1,2,"},
        {"dim-mults", "0,2"},
        {"dim-mults", "1,2,3,4,5,6,7,8,9"},
        {"image-size", "0"},
        {"image-size", "64x"},
        {"image-size", "x64"},
        {"image-size", "64x64x3"},
        {"image-size", "-64x64"},
        {"image-size", "99999999"},
        {"lr", "nan"},
        {"lr", "inf"},
        {"lr", "-1e-4"},
        {"lr", "0"},
        {"lr", "1e999"},
        {"lr", "1e-4x"},
        {"lr", "1,5"},
        {"lr", ""},
        {"beta1", "1"},
        {"sigmoid-tau", "0"},
        {"clip", "maybe"},
        {"clip", ""},
        {"network", "UNet"},
        {"seed", "-1"},
        {"seed", "18446744073709551616"},
        {"timesteps", "0"},
        {"batch-size", "1000000000000"},
    };
    struct ddpm_config *config = fresh(), *before = NULL;
    assert_int_equal(ddpm_config_copy(config, &before), DDPM_OK);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; ++i) {
        if (ddpm_config_set(config, pairs[i][0], pairs[i][1]) != DDPM_ERROR_ARGUMENT)
            fail_msg("--%s \"%s\" was taken", pairs[i][0], pairs[i][1]);
        assert_message_has(pairs[i][0]);
        assert_message_has("got \"");
        assert_message_has("want ");
        assert_memory_equal(config, before, sizeof *config);
    }
    char long_text[5000];
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    assert_int_equal(ddpm_config_set(config, "data", long_text), DDPM_ERROR_ARGUMENT);
    assert_int_equal(ddpm_config_set(config, long_text, "1"), DDPM_ERROR_ARGUMENT);
    ddpm_config_destroy(&before);
    ddpm_config_destroy(&config);
}

static void unknown_names_name_the_nearest(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    assert_int_equal(ddpm_config_set(config, "dim-multz", "1"), DDPM_ERROR_ARGUMENT);
    assert_message_has("\"dim-mults\"");
    assert_int_equal(ddpm_config_set(config, "timestep", "1"), DDPM_ERROR_ARGUMENT);
    assert_message_has("\"timesteps\"");
    assert_int_equal(ddpm_edit_distance("abc", "abc"), 0);
    assert_int_equal(ddpm_edit_distance("abc", "acb"), 1);
    assert_int_equal(ddpm_edit_distance("", "abc"), 3);
    assert_int_equal(ddpm_edit_distance("kitten", "sitting"), 3);
    ddpm_config_destroy(&config);
}

/* NULL: nothing is near. */
static const char *nearest_of(const char *wanted)
{
    struct ddpm_nearest nearest = {.wanted = wanted};
    for (size_t i = 0; i < ddpm_options_count; ++i)
        ddpm_nearest_offer(&nearest, ddpm_options[i].name);
    return ddpm_nearest_name(&nearest);
}

static void far_names_are_no_suggestions(void **state)
{
    (void)state;
    static const char *const far[] = {
        "epochs", "num-steps", "learning-rate", "temperature", "",           "x", "lt",
        "-",      "rate",      "feed",          "prompt",      "batch_norm", "ä"};
    static const char *const near[][2] = {
        {"sedd", "seed"},          {"SEED", "seed"},
        {"timestep", "timesteps"}, {"batch_sise", "batch-size"},
        {"ema_dec", "ema-decay"},  {"sigmoid-strat", "sigmoid-start"}};
    for (size_t i = 0; i < sizeof far / sizeof *far; ++i)
        if (nearest_of(far[i]))
            fail_msg("\"%s\" is answered with \"%s\"", far[i], nearest_of(far[i]));
    for (size_t i = 0; i < sizeof near / sizeof *near; ++i) {
        assert_non_null(nearest_of(near[i][0]));
        assert_string_equal(nearest_of(near[i][0]), near[i][1]);
    }
    struct ddpm_nearest none = {.wanted = "x"};
    assert_null(ddpm_nearest_name(&none));
}

static void names_of_other_programs(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    assert_int_equal(ddpm_config_set(config, "learning_rate", "0.5"), DDPM_OK);
    assert_true(config->training.lr == 0.5);
    assert_int_equal(ddpm_config_set(config, "Train_Batch_Size", "3"), DDPM_OK);
    assert_int_equal(config->training.batch_size, 3);
    assert_int_equal(ddpm_config_set(config, "learning_rate", "x"), DDPM_ERROR_ARGUMENT);
    assert_message_has("option lr: got \"x\"");
    assert_int_equal(ddpm_config_set(config, "epochs", "3"), DDPM_ERROR_ARGUMENT);
    assert_message_has("--steps = epochs");
    assert_int_equal(ddpm_config_set(config, "time", "1m"), DDPM_ERROR_ARGUMENT);
    assert_message_has("ddpm train --time");
    assert_int_equal(ddpm_config_set(config, "output_dir", "x"), DDPM_ERROR_ARGUMENT);
    assert_message_has("no option is called \"output_dir\"");
    assert_null(ddpm_foreign_find("learning", 8));
    assert_null(ddpm_foreign_find("learning-rates", 14));
    assert_non_null(ddpm_foreign_find("learning-rates", 13));
    assert_null(ddpm_foreign_find("", 0));
    ddpm_config_destroy(&config);
}

static const char article[] =
    "{\"model_name\": \"oneres_128_1\","
    " \"trainer_config\": {\"train_batch_size\": 16, \"train_lr\": 1e-4, \"train_num_steps\": "
    "100000, \"save_and_sample_every\": 500, \"num_samples\": 4},"
    " \"unet_config\": {\"model_mapping\": \"OneResUNet\", \"input\": 64, \"batch_size\": 16, "
    "\"dim_mults\": [1,2,4,8], \"channels\": 3},"
    " \"diffusion_config\": {\"timesteps\": 1000, \"betas_scheduler\": \"linear\", "
    "\"image_size\": 128}}";

static void the_article_s_file_is_taken(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    assert_int_equal(ddpm_config_from_text(config, article, "article"), DDPM_OK);
    assert_string_equal(config->model_name, "oneres_128_1");
    assert_int_equal(config->network.network, DDPM_NETWORK_ONE_RES_UNET);
    assert_int_equal(config->training.steps, 100000);
    assert_int_equal(config->training.save_every, 500);
    assert_int_equal(config->training.sample_every, 500);
    ddpm_config_destroy(&config);
}

static void json_gives_back_what_was_written(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"network", "AttentionUNet"},
        {"dim", "12"},
        {"dim-mults", "1,3"},
        {"image-size", "8x16"},
        {"lr", "0.1234567890123456"},
        {"schedule", "sigmoid"},
        {"sigmoid-tau", "0.3"},
        {"cosine-s", "0.01"},
        {"norm", "off"},
        {"conv", "direct"},
        {"data", "a \"b\"\\c"},
        {"beta2", "0.98999999999999999"},
        {"seed", "123456789012"},
        {"model-name", "näme"},
        {"device", "cuda:1"},
        {"batch-size", "3"},
        {"sample-every", "7"},
        {"crop", "random"},
    };
    struct ddpm_config *config = fresh(), *other = fresh();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; ++i)
        assert_int_equal(ddpm_config_set(config, pairs[i][0], pairs[i][1]), DDPM_OK);
    char path[] = "/tmp/ddpm-config-XXXXXX";
    assert_true(close(mkstemp(path)) == 0);
    assert_int_equal(ddpm_config_write(config, path), DDPM_OK);
    assert_int_equal(ddpm_config_read(other, path), DDPM_OK);
    assert_memory_equal(config, other, sizeof *config);
    unlink(path);
    assert_int_equal(ddpm_config_read(other, path), DDPM_ERROR_IO);
    ddpm_config_destroy(&config);
    ddpm_config_destroy(&other);
}

static void bad_json_is_refused_by_place(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "not valid JSON"},
        {"{", "not valid JSON"},
        {"[]", "got an array, want an object"},
        {"{\"unet_confg\": {}}", "\"unet_config\""},
        {"{\"unet_config\": []}", "unet_config: got an array, want an object"},
        {"{\"unet_config\": {\"dim_mult\": [1]}}", "\"dim_mults\""},
        {"{\"unet_config\": {\"input\": \"64\"}}", "unet_config.input: option dim: got a string"},
        {"{\"unet_config\": {\"input\": 64.5}}", "unet_config.input"},
        {"{\"unet_config\": {\"input\": -1}}", "got \"-1\", want an integer in [4, 4096]"},
        {"{\"unet_config\": {\"input\": null}}", "got null"},
        {"{\"unet_config\": {\"dim_mults\": []}}", "unet_config.dim_mults"},
        {"{\"unet_config\": {\"dim_mults\": [1, \"2\"]}}", "unet_config.dim_mults"},
        {"{\"unet_config\": {\"dim_mults\": [1,1,1,1,1,1,1,1,1]}}", "unet_config.dim_mults"},
        {"{\"unet_config\": {\"batch_size\": 8}, \"trainer_config\": {\"train_batch_size\": 16}}",
         "batch_size"},
        {"{\"unet_config\": {\"batch_size\": \"8\"}}", "unet_config.batch_size"},
        {"{\"diffusion_config\": {\"image_size\": [64]}}", "diffusion_config.image_size"},
        {"{\"diffusion_config\": {\"image_size\": [64, 64, 3]}}", "diffusion_config.image_size"},
        {"{\"diffusion_config\": {\"schedule_fn_kwargs\": 3}}", "want an object"},
        {"{\"diffusion_config\": {\"schedule_fn_kwargs\": {\"strat\": 3}}}", "\"start\""},
        {"{\"diffusion_config\": {\"schedule_fn_kwargs\": {\"tau\": 0}}}", "tau"},
        {"{\"diffusion_config\": {\"betas_scheduler\": \"linaer\"}}", "linear, cosine or sigmoid"},
        {"{\"diffusion_config\": {\"clip\": 1}}", "off or on"},
        {"{\"trainer_config\": {\"train_lr\": 1e400}}", "not valid JSON"},
        {"{\"trainer_config\": {\"train_num_steps\": 99999999999999999999}}", "not valid JSON"},
        {"{\"model_name\": 3}", "model_name"},
        {"{\"model_name\": \"a\", \"model_name\": \"b\"}", "not valid JSON"},
    };
    struct ddpm_config *config = fresh(), *before = fresh();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        assert_int_equal(ddpm_config_from_text(config, cases[i][0], "x.json"), DDPM_ERROR_FORMAT);
        assert_message_has("x.json");
        assert_message_has(cases[i][1]);
        assert_memory_equal(config, before, sizeof *config);
    }
    assert_int_equal(ddpm_config_from_text(config,
                                           "{\"ddpm_version\": \"1\", \"data_fingerprint\": \"x\", "
                                           "\"unet_config\": {\"batch_size\": 8}}",
                                           "x.json"),
                     DDPM_OK);
    assert_int_equal(config->training.batch_size, 8);
    assert_int_equal(
        ddpm_config_from_text(config, "{\"data_config\": {\"validation\": 0.05}}", "x.json"),
        DDPM_OK);
    assert_string_equal(config->data.validation, "0.05");
    ddpm_config_destroy(&before);
    ddpm_config_destroy(&config);
}

static void options_that_do_not_fit_each_other(void **state)
{
    (void)state;
    static const struct {
        const char *settings[6];
        const char *message; /* NULL: they fit */
    } cases[] = {
        {{"image-size", "100"}, "96x96 and 104x104"},
        {{"image-size", "4x64"}, "8x64 and 8x64"},
        {{"image-size", "5", "dim-mults", "1"}, NULL},
        {{"image-size", "6x10", "dim-mults", "1,2"}, NULL},
        {{"dim", "63"}, "even"},
        {{"timesteps", "20"}, "21"},
        {{"timesteps", "21"}, NULL},
        {{"timesteps", "1", "schedule", "cosine"}, NULL},
        {{"schedule", "sigmoid", "sigmoid-start", "3"}, "sigmoid-start"},
        {{"schedule", "sigmoid"}, NULL},
        {{"lr-schedule", "cosine", "warmup", "10", "steps", "10"}, "warmup"},
        {{"device", "gpu"}, "cuda:N"},
        {{"device", "cuda:x"}, "cuda:N"},
        {{"device", "cuda:"}, "cuda:N"},
        {{"device", "cuda:3"}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        struct ddpm_config *config = fresh();
        for (int k = 0; k < 6 && cases[i].settings[k]; k += 2)
            assert_int_equal(
                ddpm_config_set(config, cases[i].settings[k], cases[i].settings[k + 1]), DDPM_OK);
        if (cases[i].message) {
            assert_int_equal(ddpm_config_check(config), DDPM_ERROR_ARGUMENT);
            assert_message_has(cases[i].message);
        } else {
            assert_int_equal(ddpm_config_check(config), DDPM_OK);
        }
        ddpm_config_destroy(&config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_article_s),
        cmocka_unit_test(every_row_of_the_table_is_whole),
        cmocka_unit_test(good_values_are_taken),
        cmocka_unit_test(bad_values_are_refused_and_change_nothing),
        cmocka_unit_test(unknown_names_name_the_nearest),
        cmocka_unit_test(far_names_are_no_suggestions),
        cmocka_unit_test(names_of_other_programs),
        cmocka_unit_test(the_article_s_file_is_taken),
        cmocka_unit_test(json_gives_back_what_was_written),
        cmocka_unit_test(bad_json_is_refused_by_place),
        cmocka_unit_test(options_that_do_not_fit_each_other),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}

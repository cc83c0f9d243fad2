/* Recipes: what they set, what overrides them, how they are written and read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config_json.h"
#include "config/option.h"
#include "config/recipes.h"
#include "formats/json.h"

static struct ddpm_config *fresh(void)
{
    struct ddpm_config *config;
    assert_int_equal(ddpm_config_create(&config), DDPM_OK);
    return config;
}

static void set(struct ddpm_config *config, const char *name, const char *value)
{
    if (ddpm_config_set(config, name, value) != DDPM_OK)
        fail_msg("%s", ddpm_error_message());
}

static void assert_value(const struct ddpm_config *config, const char *name, const char *wanted)
{
    char text[DDPM_OPTION_BYTES];
    assert_int_equal(ddpm_config_get(config, name, text, sizeof text), DDPM_OK);
    if (strcmp(text, wanted) != 0)
        fail_msg("%s is %s, want %s", name, text, wanted);
}

/* A value written differently from how the option prints it, such as 1e-3 for 0.001, is the
 * same. */
static void assert_setting(const struct ddpm_config *config, const char *name, const char *value)
{
    struct ddpm_config *other = fresh();
    set(other, name, value);
    assert_true(ddpm_option_equal(ddpm_option_find(name), config, other));
    ddpm_config_destroy(&other);
}

static void a_recipe_sets_what_it_says(void **state)
{
    (void)state;
    static const char *const names[] = {
#define RECIPE(id, name, ...) name,
#include "config/recipes.inc"
#undef RECIPE
    };
    const char *option, *value;
    for (int recipe = 0; recipe < DDPM_RECIPE_NONE; ++recipe) {
        struct ddpm_config *config = fresh();
        set(config, "recipe", names[recipe]);
        assert_value(config, "recipe", names[recipe]);
        assert_true(ddpm_recipe_help((enum ddpm_recipe)recipe)[0]);
        size_t count = 0;
        for (; ddpm_recipe_setting((enum ddpm_recipe)recipe, count, &option, &value); ++count) {
            assert_non_null(ddpm_option_find(option));
            assert_string_not_equal(option, "steps");
            assert_setting(config, option, value);
        }
        assert_true(count > 0);
        assert_int_equal(ddpm_config_check(config), DDPM_OK);
        ddpm_config_destroy(&config);
    }
}

/* The recipe `article` spells out the defaults. No recipe sets an option that `article` does not,
 * so nothing that another recipe set remains. */
static void one_recipe_leaves_nothing_of_another(void **state)
{
    (void)state;
    struct ddpm_config *defaults = fresh(), *config = fresh();
    const char *option, *value, *known, *ignored;
    for (int recipe = 0; recipe < DDPM_RECIPE_NONE; ++recipe)
        for (size_t i = 0; ddpm_recipe_setting((enum ddpm_recipe)recipe, i, &option, &value); ++i) {
            bool found = false;
            for (size_t k = 0; ddpm_recipe_setting(DDPM_RECIPE_ARTICLE, k, &known, &ignored); ++k)
                found |= strcmp(option, known) == 0;
            if (!found)
                fail_msg("recipe article does not mention %s", option);
        }
    set(config, "recipe", "best");
    set(config, "recipe", "article");
    set(defaults, "recipe", "article");
    assert_memory_equal(config, defaults, sizeof *config);
    config->training.recipe = DDPM_RECIPE_NONE;
    ddpm_config_destroy(&defaults);
    defaults = fresh();
    assert_memory_equal(config, defaults, sizeof *config);
    ddpm_config_destroy(&defaults);
    ddpm_config_destroy(&config);
}

static void what_is_given_after_a_recipe_wins(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    set(config, "recipe", "fast");
    set(config, "lr", "0.25");
    set(config, "recipe", "none"); /* a name only */
    assert_value(config, "lr", "0.25");
    assert_value(config, "objective", "v");
    ddpm_config_destroy(&config);
}

static void a_recipe_is_written_in_full(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh(), *again = fresh();
    char *text;
    set(config, "recipe", "fast");
    set(config, "lr", "0.25");
    set(config, "objective", "flow");
    assert_int_equal(ddpm_config_to_text(config, &text), DDPM_OK);
    assert_non_null(strstr(text, "\"recipe\": \"fast\""));
    set(again, "warmup", "7");
    assert_int_equal(ddpm_config_from_text(again, text, "text"), DDPM_OK);
    assert_int_equal(config->training.recipe_warmup, 100);
    assert_int_equal(again->training.recipe_warmup, 0); /* the only thing that is not written */
    config->training.recipe_warmup = 0;
    assert_memory_equal(config, again, sizeof *config);
    free(text);
    ddpm_config_destroy(&config);
    ddpm_config_destroy(&again);
}

/* In a file too, the other values win, wherever the recipe is. */
static void a_file_may_name_a_recipe(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    static const char text[] = "{\"trainer_config\": {\"train_lr\": 0.5}, \"recipe\": \"fast\"}";
    assert_int_equal(ddpm_config_from_text(config, text, "text"), DDPM_OK);
    assert_value(config, "recipe", "fast");
    assert_value(config, "lr", "0.5");
    assert_value(config, "objective", "v");
    ddpm_config_destroy(&config);
}

/* A run's own file is complete for its version: options that are newer, or that the recipe did not
 * set then, have their defaults. */
static void a_run_s_file_keeps_what_it_says(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    json_t *root = json_pack("{s:s, s:s, s:{s:f}}", "ddpm_version", "0.2.0", "recipe", "fast",
                             "trainer_config", "train_lr", 0.25);
    assert_non_null(root);
    assert_int_equal(ddpm_config_from_json(config, root, "config.json"), DDPM_OK);
    assert_value(config, "recipe", "fast");
    assert_value(config, "lr", "0.25");
    assert_value(config, "optimizer", "adamw");
    assert_value(config, "patches", "1");
    json_decref(root);
    ddpm_config_destroy(&config);
}

/* So is every file that the library writes, those in checkpoints among them. */
static void a_written_file_is_complete(void **state)
{
    (void)state;
    char path[] = "/tmp/ddpm-recipes-XXXXXX";
    struct ddpm_config *config = fresh(), *again = fresh();
    json_t *root;
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    set(config, "recipe", "fast");
    assert_int_equal(ddpm_config_write(config, path), DDPM_OK);
    assert_int_equal(ddpm_json_read(&root, path), DDPM_OK);
    /* as if optimizer were a newer option */
    assert_int_equal(json_object_del(json_object_get(root, "trainer_config"), "optimizer"), 0);
    assert_int_equal(ddpm_config_from_json(again, root, path), DDPM_OK);
    assert_value(again, "objective", "v");
    assert_value(again, "optimizer", "adamw");
    json_decref(root);
    unlink(path);
    ddpm_config_destroy(&config);
    ddpm_config_destroy(&again);
}

static void a_file_with_an_unknown_recipe_is_refused(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh(), *before = fresh();
    assert_int_equal(ddpm_config_from_text(config, "{\"recipe\": \"fats\"}", "x.json"),
                     DDPM_ERROR_FORMAT);
    assert_non_null(strstr(ddpm_error_message(), "x.json: recipe: option recipe: got \"fats\""));
    assert_int_equal(ddpm_config_from_text(config, "{\"recipe\": 3}", "x.json"), DDPM_ERROR_FORMAT);
    assert_memory_equal(config, before, sizeof *config);
    ddpm_config_destroy(&config);
    ddpm_config_destroy(&before);
}

static void the_article_s_file_is_of_its_recipe(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    static const char article[] =
        "{\"trainer_config\": {\"save_and_sample_every\": 5, \"train_lr\": 2e-4}}";
    assert_int_equal(ddpm_config_from_text(config, article, "text"), DDPM_OK);
    assert_value(config, "recipe", "article");
    assert_value(config, "lr", "0.0002");
    ddpm_config_destroy(&config);
    config = fresh();
    assert_int_equal(
        ddpm_config_from_text(config, "{\"trainer_config\": {\"train_lr\": 2e-4}}", ""), DDPM_OK);
    assert_value(config, "recipe", "none");
    ddpm_config_destroy(&config);
}

static void options_of_recipes_that_do_not_fit(void **state)
{
    (void)state;
    struct ddpm_config *config = fresh();
    set(config, "lr-schedule", "linear");
    set(config, "warmup", "37000");
    assert_int_equal(ddpm_config_check(config), DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "with the linear lr-schedule"));
    set(config, "warmup", "10");
    set(config, "ema-second", "0.0001");
    assert_int_equal(ddpm_config_check(config), DDPM_OK); /* has no effect without power */
    set(config, "ema", "power");
    assert_int_equal(ddpm_config_check(config), DDPM_ERROR_ARGUMENT);
    assert_non_null(strstr(ddpm_error_message(), "option ema-second: got 0.0001"));
    ddpm_config_destroy(&config);
}

static void a_recipe_s_warmup_is_at_most_a_tenth_of_the_steps(void **state)
{
    static const char file[] =
        "{\"recipe\": \"fast\", \"trainer_config\": {\"train_num_steps\": 60}}";
    (void)state;
    struct ddpm_config *config = fresh(), *copy;
    set(config, "recipe", "fast");
    set(config, "steps", "50");
    assert_value(config, "warmup", "5");
    assert_int_equal(ddpm_config_check(config), DDPM_OK);
    assert_int_equal(ddpm_config_copy(config, &copy), DDPM_OK);
    set(copy, "steps", "5000"); /* the recipe's own again */
    assert_value(copy, "warmup", "100");
    ddpm_config_destroy(&copy);
    set(config, "warmup", "40");
    set(config, "steps", "45");
    assert_value(config, "warmup", "40");
    set(config, "recipe", "best"); /* sets it again */
    assert_value(config, "warmup", "4");
    assert_int_equal(ddpm_config_from_text(config, file, "text"), DDPM_OK);
    assert_value(config, "warmup", "6");
    set(config, "recipe", "article"); /* has none */
    assert_value(config, "warmup", "0");
    ddpm_config_destroy(&config);
}

/* The values written are those used for training, and they stay if the run becomes longer. */
static void a_written_warmup_is_no_longer_the_recipe_s(void **state)
{
    (void)state;
    char *text;
    struct ddpm_config *config = fresh(), *read = fresh();
    set(config, "steps", "50");
    set(config, "recipe", "fast");
    assert_value(config, "warmup", "5");
    assert_int_equal(ddpm_config_to_text(config, &text), DDPM_OK);
    assert_int_equal(ddpm_config_from_text(read, text, "text"), DDPM_OK);
    set(read, "steps", "5000");
    assert_value(read, "warmup", "5");
    free(text);
    ddpm_config_destroy(&read);
    ddpm_config_destroy(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipe_sets_what_it_says),
        cmocka_unit_test(one_recipe_leaves_nothing_of_another),
        cmocka_unit_test(what_is_given_after_a_recipe_wins),
        cmocka_unit_test(a_recipe_is_written_in_full),
        cmocka_unit_test(a_file_may_name_a_recipe),
        cmocka_unit_test(a_run_s_file_keeps_what_it_says),
        cmocka_unit_test(a_written_file_is_complete),
        cmocka_unit_test(a_file_with_an_unknown_recipe_is_refused),
        cmocka_unit_test(the_article_s_file_is_of_its_recipe),
        cmocka_unit_test(options_of_recipes_that_do_not_fit),
        cmocka_unit_test(a_recipe_s_warmup_is_at_most_a_tenth_of_the_steps),
        cmocka_unit_test(a_written_warmup_is_no_longer_the_recipe_s),
    };
    return cmocka_run_group_tests_name("recipes", tests, NULL, NULL);
}

/* docs/options.md against the option table: this program makes the text of the tables between the
 * two marks. After a change of src/config/options.c, put the new tables between the marks:
 *
 *     test_docs_options --print
 *
 * Also checks docs/samplers.md: every sampler and spacing, and what auto means; and that the
 * config.json of docs/file-formats.md has every option. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/option.h"
#include "core/memory.h"
#include "diffusion/chain.h"

static const char begin_mark[] = "<!-- options: begin -->\n";
static const char end_mark[] = "<!-- options: end -->\n";

/* "an integer in [4, 4096]": the text that the table's own errors use. */
static const char *wanted(const struct ddpm_option *option)
{
    static const char want[] = ", want ";
    (void)ddpm_option_refuse(option, "x");
    const char *text = strstr(ddpm_error_message(), want);
    return text ? text + strlen(want) : "";
}

/* Escape text for a table cell, where bars would end it. */
static void print_cell(FILE *file, const char *text)
{
    for (; *text; ++text)
        fprintf(file, *text == '|' ? "\\|" : "%c", *text);
}

static void print_row(FILE *file, const struct ddpm_option *option)
{
    fprintf(file, "| `--%s ", option->name);
    print_cell(file, option->placeholder);
    if (*option->default_text)
        fprintf(file, "` | `%s` | ", option->default_text);
    else
        fprintf(file, "` | | ");
    print_cell(file, wanted(option));
    if (option->key[0] == '/')
        fprintf(file, " | `%s` | ", option->key + 1);
    else
        fprintf(file, " | `%s.%s` | ", ddpm_group_section(option->group), option->key);
    print_cell(file, option->help);
    fprintf(file, " |\n");
}

static void print_tables(FILE *file)
{
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        const struct ddpm_option *option = &ddpm_options[i];
        if (i == 0 || option->group != option[-1].group)
            fprintf(file,
                    "\n### %s\n\n| option | default | values | JSON key | meaning |\n"
                    "|---|---|---|---|---|\n",
                    ddpm_group_name(option->group));
        print_row(file, option);
    }
    fprintf(file, "\n");
}

static char *read_text(FILE *file)
{
    char *text = NULL;
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long bytes = ftell(file);
    assert_true(bytes > 0);
    rewind(file);
    assert_int_equal(ddpm_new_array((void **)&text, (size_t)bytes + 1, 1, "a text"), DDPM_OK);
    assert_int_equal(fread(text, 1, (size_t)bytes, file), (size_t)bytes);
    fclose(file);
    return text;
}

static void test_tables_are_those_of_the_program(void **state)
{
    (void)state;
    FILE *made = tmpfile();
    assert_non_null(made);
    print_tables(made);
    char *want = read_text(made), *text = read_text(fopen("docs/options.md", "r"));
    char *begin = strstr(text, begin_mark), *end = strstr(text, end_mark);
    assert_non_null(begin);
    assert_non_null(end);
    *end = '\0';
    if (strcmp(begin + strlen(begin_mark), want) != 0)
        fail_msg("docs/options.md: other tables than the program's; run "
                 "BUILD/tests/docs/test_docs_options --print");
    free(want);
    free(text);
}

static void test_the_configuration_file_is_complete(void **state)
{
    (void)state;
    char *text = read_text(fopen("docs/file-formats.md", "r"));
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        const char *key = ddpm_options[i].key;
        char words[80];
        const char *inner = key;
        for (const char *c = key; *c; ++c)
            if (*c == '/' || *c == '.')
                inner = c + 1;
        snprintf(words, sizeof words, "\"%s\": ", inner);
        if (!strstr(text, words))
            fail_msg("docs/file-formats.md: config.json lacks %s", words);
    }
    free(text);
}

static void assert_has(const char *text, const char *row)
{
    if (!strstr(text, row))
        fail_msg("docs/samplers.md lacks \"%s\"", row[0] == '\n' ? row + 1 : row);
}

static void test_samplers_are_described(void **state)
{
    (void)state;
    char *text = read_text(fopen("docs/samplers.md", "r")), row[160];
    for (size_t i = 0; i < ddpm_samplers_count; ++i) {
        snprintf(row, sizeof row, "\n| `%s`", ddpm_samplers[i].name);
        assert_has(text, row);
        snprintf(row, sizeof row, "**%s", ddpm_samplers[i].name);
        if (strcmp(ddpm_samplers[i].name, "dpmpp-sde") != 0) /* with dpmpp */
            assert_has(text, row);
    }
    for (size_t i = 0; i < ddpm_spacing_count; ++i) {
        snprintf(row, sizeof row, "\n| `%s` |", ddpm_spacings[i].name);
        assert_has(text, row);
    }
    const struct ddpm_sampling_config any = {.sampler = DDPM_SAMPLER_AUTO,
                                             .spacing = DDPM_SPACING_AUTO};
    for (size_t i = 0; i < DDPM_OBJECTIVE_COUNT; ++i) {
        const struct ddpm_chain chain =
            ddpm_chain_resolve(&any, (enum ddpm_objective_kind)i, 100000);
        const struct ddpm_diffusion_config model = {.objective = (int)i, .timesteps = 100000};
        struct ddpm_chain fitted = chain;
        ddpm_chain_start_fitted(&fitted, &any, &model, 10);
        snprintf(row, sizeof row, "\n| %s | `%s` | %lld | %lld | `%s` |", ddpm_objectives[i].name,
                 chain.kind->name, (long long)chain.steps, (long long)fitted.steps,
                 chain.spacing->name);
        assert_has(text, row);
    }
    free(text);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_are_those_of_the_program),
        cmocka_unit_test(test_the_configuration_file_is_complete),
        cmocka_unit_test(test_samplers_are_described),
    };
    if (count > 1 && strcmp(arguments[1], "--print") == 0) {
        print_tables(stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

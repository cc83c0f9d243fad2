/* The help texts of the verbs. */
#include "verb_help.h"

#include <stdio.h>
#include <string.h>

#include "recipe_help.h"
#include "shown_options.h"

enum { LEFT = 32, RIGHT = 100, HEADING_BYTES = 128 };

/* Display columns: bytes that start a UTF-8 character. */
static int columns(const char *text, size_t bytes)
{
    int shown = 0;
    for (size_t i = 0; i < bytes; ++i)
        shown += ((unsigned char)text[i] & 0xC0) != 0x80;
    return shown;
}

/* Print words, wrapped to columns LEFT to RIGHT; `column` is where the first one goes. */
static void print_wrapped(const char *text, int column)
{
    bool first = true;
    while (*text) {
        const size_t bytes = strcspn(text, " ");
        const int width = columns(text, bytes);
        if (!first && column + 1 + width > RIGHT) {
            printf("\n%*s", LEFT, "");
            column = LEFT;
            first = true;
        }
        printf("%s%.*s", first ? "" : " ", (int)bytes, text);
        column += width + (first ? 0 : 1);
        first = false;
        text += bytes + strspn(text + bytes, " ");
    }
    printf("\n");
}

/* "  -o, --out RUN                 folder …", wrapped. */
static void print_option(const struct ddpm_shown_option *option)
{
    char left[96], right[512];
    snprintf(left, sizeof left, "%c%c%s --%s%s%s", option->letter ? '-' : ' ',
             option->letter ? option->letter : ' ', option->letter ? "," : " ", option->name,
             option->placeholder ? " " : "", option->placeholder ? option->placeholder : "");
    const bool has_default = *option->fallback != 0;
    snprintf(right, sizeof right, "%s%s%s%s", option->help, has_default ? " (" : "",
             option->fallback, has_default ? ")" : "");
    int column = 2 + columns(left, strlen(left));
    const int gap = column + 2 <= LEFT ? LEFT - column : 2;
    printf("  %s%*s", left, gap, "");
    print_wrapped(right, column + gap);
}

static void print_heading(const char **heading)
{
    if (*heading)
        printf("\n%s:\n", *heading);
    *heading = NULL;
}

static void print_required(const struct ddpm_verb *verb, bool all)
{
    const char *heading = "Required";
    struct ddpm_shown_option option;
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i) {
        if (!option.required || (all && option.kind == DDPM_SHOWN_LIBRARY))
            continue;
        print_heading(&heading);
        print_option(&option);
    }
}

static const char *defaults_of(const struct ddpm_verb *verb)
{
    return ddpm_verb_has_model(verb) ? "the model's own values, or else those in brackets"

           : verb->every_setting ? "defaults in brackets"
                                 : "their defaults in brackets";
}

/* In the order of the verb's own list. */
static void print_listed(const struct ddpm_verb *verb)
{
    char text[HEADING_BYTES];
    const char *heading = text;
    struct ddpm_shown_option option;
    snprintf(text, sizeof text, "Common options (%s)", defaults_of(verb));
    for (size_t k = 0; verb->common[k]; ++k) {
        for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i) {
            if (option.required || strcmp(option.name, verb->common[k]) != 0)
                continue;
            print_heading(&heading);
            print_option(&option);
        }
    }
}

static void print_common(const struct ddpm_verb *verb)
{
    const char *heading = "Options";
    struct ddpm_shown_option option;
    if (verb->common) {
        print_listed(verb);
        return;
    }
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i) {
        if (option.required || option.kind == DDPM_SHOWN_GENERAL)
            continue;
        print_heading(&heading);
        print_option(&option);
    }
}

/* The verb's own options, then the library's; by group if it takes all of them. */
static void print_all(const struct ddpm_verb *verb)
{
    const char *heading = "Options", *group = "";
    struct ddpm_shown_option option;
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i) {
        char text[HEADING_BYTES];
        if (option.required && option.kind == DDPM_SHOWN_OWN)
            continue;
        if (option.kind == DDPM_SHOWN_GENERAL && strcmp(group, "general") != 0) {
            heading = "Options of every verb";
            group = "general";
        }
        if (option.group && verb->every_setting && strcmp(group, option.group) != 0) {
            snprintf(text, sizeof text, "Options of the %s (defaults in brackets)", option.group);
            heading = text;
            group = option.group;
        } else if (option.group && !*group) {
            snprintf(text, sizeof text, "Options of the library (%s)", defaults_of(verb));
            heading = text;
            group = option.group;
        }
        print_heading(&heading);
        print_option(&option);
    }
}

/* "--out RUN --data DIR|FILE.npy": options that are always required. */
static void print_usage(const struct ddpm_verb *verb)
{
    struct ddpm_shown_option option;
    printf("Usage: ddpm %s%s%s", verb->name, *verb->arguments ? " " : "", verb->arguments);
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i)
        if (option.required)
            printf(" --%s %s", option.name, option.placeholder);
    printf(" [OPTION…]\n%s\n", verb->summary);
}

void ddpm_verb_help(const struct ddpm_verb *verb, bool all)
{
    const bool has_more = ddpm_verb_has_more(verb) || verb->notes || verb->every_setting;
    print_usage(verb);
    print_required(verb, all);
    if (all)
        print_all(verb);
    else
        print_common(verb);
    if (all && verb->every_setting)
        ddpm_print_recipes();
    if (all && verb->notes)
        printf("\n%s", verb->notes);
    if (verb->examples)
        printf("\nExamples:\n%s", verb->examples);
    if (!all && has_more)
        printf("\nAll options: ddpm %s --help-all, or man ddpm-%s\n", verb->name, verb->name);
}

/* The manual pages. */
#include "man_page.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "config/option.h"
#include "config/recipes.h"
#include "shown_options.h"

/* Print one UTF-8 character in roff; returns what follows it. */
static const char *put_character(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    const int more = *c < 0x80 ? 0 : *c < 0xE0 ? 1 : *c < 0xF0 ? 2 : 3;
    unsigned code = more == 0 ? *c : *c & (0x3Fu >> more);
    for (int i = 1; i <= more && c[i]; ++i)
        code = code << 6 | (c[i] & 0x3Fu);
    if (code == 0x2026)
        printf("...");
    else if (code >= 0x80)
        printf("\\[u%04X]", code);
    else if (code == '\\')
        printf("\\e");
    else if (code == '-')
        printf("\\-");
    else
        putchar((int)code);
    return text + more + 1;
}

/* Text, escaped so that nothing in it is taken for a roff request. */
static void put_text(const char *text, size_t bytes)
{
    const char *end = text + bytes;
    printf("\\&");
    while (text < end)
        text = put_character(text);
}

static void put(const char *text)
{
    put_text(text, strlen(text));
}

static void put_section(const char *name)
{
    printf(".SH ");
    for (; *name; ++name)
        putchar(toupper((unsigned char)*name));
    printf("\n");
}

/* Indented lines are kept as they are; the others form paragraphs. */
static void put_lines(const char *lines)
{
    bool indented = false;
    while (*lines) {
        const size_t bytes = strcspn(lines, "\n");
        const bool indents = lines[0] == ' ';
        if (bytes == 0 || (indented && !indents))
            printf(".PP\n");
        else if (indents)
            printf(".IP \"\" 2\n");
        const size_t spaces = strspn(lines, " ");
        if (bytes > spaces) {
            put_text(lines + spaces, bytes - spaces);
            printf("\n");
        }
        indented = indents;
        lines += bytes + (lines[bytes] != 0);
    }
}

static void put_examples(const char *lines)
{
    put_section("examples");
    printf(".nf\n");
    while (*lines) {
        const size_t bytes = strcspn(lines, "\n"), spaces = strspn(lines, " ");
        put_text(lines + spaces, bytes - spaces);
        printf("\n");
        lines += bytes + (lines[bytes] != 0);
    }
    printf(".fi\n");
}

static void put_option(const struct ddpm_shown_option *option)
{
    printf(".TP\n");
    if (option->letter)
        printf("\\fB\\-%c\\fR, ", option->letter);
    printf("\\fB\\-\\-");
    put(option->name);
    printf("\\fR");
    if (option->placeholder) {
        printf(" \\fI");
        put(option->placeholder);
        printf("\\fR");
    }
    printf("\n");
    put(option->help);
    if (*option->fallback) {
        printf(" (");
        put(option->fallback);
        printf(")");
    }
    printf("\n");
    if (option->choices) {
        printf(".br\nValues:");
        for (size_t i = 0; option->choices[i]; ++i) {
            printf(i ? ", " : " ");
            put(option->choices[i]);
        }
        printf("\n");
    }
}

static const char *section_of(const struct ddpm_verb *verb, const struct ddpm_shown_option *option)
{
    static char text[64];
    if (option->kind == DDPM_SHOWN_GENERAL)
        return "options of every verb";
    if (option->required)
        return "required options";
    if (option->kind == DDPM_SHOWN_OWN)
        return "options";
    if (!verb->every_setting)
        return "options of the library";
    snprintf(text, sizeof text, "options of the %s", option->group);
    return text;
}

static void put_options(const struct ddpm_verb *verb)
{
    struct ddpm_shown_option option;
    char section[64] = "";
    for (int required = 1; required >= 0; --required) {
        for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i) {
            if (option.required != (required == 1))
                continue;
            const char *next = section_of(verb, &option);
            if (strcmp(section, next) != 0)
                put_section(next);
            snprintf(section, sizeof section, "%s", next);
            put_option(&option);
        }
    }
}

static void put_recipes(void)
{
    const char *const *names = ddpm_option_find("recipe")->choices;
    put_section("recipes");
    for (int i = 0; i < DDPM_RECIPE_NONE; ++i) {
        const char *option, *value;
        const enum ddpm_recipe recipe = (enum ddpm_recipe)i;
        printf(".TP\n\\fB%s\\fR\n", names[i]);
        put(ddpm_recipe_help(recipe));
        printf(".\n");
        for (size_t k = 0; ddpm_recipe_setting(recipe, k, &option, &value); ++k) {
            put("--");
            put(option);
            printf(" ");
            put(value);
            printf("\n");
        }
    }
}

static void put_head(const char *verb, const char *summary)
{
    printf(".\\\" Made by ddpm help --man.\n.TH DDPM");
    for (const char *c = verb; c && *c; ++c)
        printf("%s%c", c == verb ? "\\-" : "", toupper((unsigned char)*c));
    printf(" 1 \"\" \"ddpm %s\" \"User Commands\"\n.SH NAME\nddpm%s%s \\- ", ddpm_version(),
           verb ? "\\-" : "", verb ? verb : "");
    const size_t bytes = strlen(summary);
    put_text(summary, summary[bytes - 1] == '.' ? bytes - 1 : bytes);
    printf("\n");
}

static void put_exit_status(void)
{
    put_section("exit status");
    put_lines("0 done, 1 failed, 2 wrong usage, 128 + signal after a signal to stop.\n");
}

static void put_verb(const struct ddpm_verb *verb)
{
    struct ddpm_shown_option option;
    put_head(verb->name, verb->summary);
    printf(".SH SYNOPSIS\n\\fBddpm %s\\fR", verb->name);
    if (*verb->arguments) {
        printf(" \\fI");
        put(verb->arguments);
        printf("\\fR");
    }
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i) {
        if (!option.required)
            continue;
        printf(" \\fB");
        put("--");
        put(option.name);
        printf("\\fR \\fI");
        put(option.placeholder);
        printf("\\fR");
    }
    printf(" [\\fIOPTION\\fR...]\n.SH DESCRIPTION\n");
    put(verb->summary);
    printf("\n");
    if (verb->notes) {
        printf(".PP\n");
        put_lines(verb->notes);
    }
    put_options(verb);
    if (verb->every_setting)
        put_recipes();
    put_exit_status();
    if (verb->examples)
        put_examples(verb->examples);
    printf(".SH SEE ALSO\n.BR ddpm (1)\n");
}

/* The environment variables, as in docs/options.md. */
static const struct {
    const char *name, *meaning;
} variables[] = {
    {"DDPM_CPU",
     "generic, avx2, avx512, avx512bf16, amx, neon or neonbf16: the CPU kernels to use"},
    {"DDPM_CUDA_PLUGIN", "file of the CUDA plug-in, instead of looking for it"},
    {"DDPM_MPI_PLUGIN", "file of the plug-in for an MPI"},
    {"DDPM_NCCL", "NCCL's library, for --ranks nccl"},
    {"DDPM_RANKS_FILE", "where processes with NCCL but no MPI meet"},
    {"DDPM_CUDNN", "cuDNN's library; off: do not use cuDNN"},
    {"DDPM_CUDA_CONV", "auto, cudnn or own: which kernels serve convolutions on a GPU"},
    {"DDPM_CUDA_TRIALS", "seconds to look for better cuDNN plans (60)"},
    {"DDPM_CUDA_PLAN_THREADS", "how many threads make cuDNN plans (all processors, 8 at most)"},
    {"DDPM_CUDA_WGMMA", "on: our own convolutions use an H100's warpgroup instructions"},
    {"DDPM_CUDA_GRAPH", "off: launch every kernel instead of replaying recorded steps"},
    {"DDPM_CUDA_ASIDE", "off: gradients of weights wait for their turn"},
    {"DDPM_LOG", "debug: messages for people who work on the library"},
};

static void put_program(void)
{
    put_head(NULL, "train denoising diffusion models on pictures and draw new ones");
    printf(".SH SYNOPSIS\n\\fBddpm\\fR \\fIVERB\\fR [\\fIARGUMENT\\fR...] [\\fIOPTION\\fR...]\n"
           ".SH DESCRIPTION\n");
    put_lines("Every verb has a manual page of its own, such as ddpm-train(1). Options may be "
              "written --name value or --name=value.\n");
    put_section("verbs");
    for (size_t i = 0; i < ddpm_verb_count; ++i) {
        printf(".TP\n\\fB%s\\fR\n", ddpm_verbs[i]->name);
        put(ddpm_verbs[i]->summary);
        printf("\n");
    }
    put_section("options of every verb");
    struct ddpm_shown_option option;
    for (size_t i = 0; ddpm_shown_option(ddpm_verbs[0], i, &option); ++i)
        if (option.kind == DDPM_SHOWN_GENERAL)
            put_option(&option);
    put_exit_status();
    put_section("environment");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; ++i) {
        printf(".TP\n\\fB%s\\fR\n", variables[i].name);
        put(variables[i].meaning);
        printf("\n");
    }
    put_examples("  ddpm train --data pictures --out runs/first --image-size 32 --dim 32 --recipe "
                 "fast --time 10m\n"
                 "  ddpm sample runs/first --out drawn -n 16\n");
    printf(".SH SEE ALSO\n");
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        printf(".BR ddpm\\-%s (1)%s\n", ddpm_verbs[i]->name, i + 1 < ddpm_verb_count ? "," : "");
}

void ddpm_man_page(const struct ddpm_verb *verb)
{
    if (verb)
        put_verb(verb);
    else
        put_program();
}

/* The options of a verb as shown by help, manual pages and completion: its own, those of the
 * library that it takes, and those of every verb, in one list. */
#ifndef DDPM_PROGRAM_SHOWN_OPTIONS_H
#define DDPM_PROGRAM_SHOWN_OPTIONS_H

#include "program.h"

enum ddpm_shown_kind {
    DDPM_SHOWN_OWN,     /* of this verb alone */
    DDPM_SHOWN_LIBRARY, /* a row of the library's table */
    DDPM_SHOWN_GENERAL, /* of every verb: --help and others */
};

/* All strings are constants. */
struct ddpm_shown_option {
    enum ddpm_shown_kind kind;
    const char *name;
    char letter;             /* 'n' for -n; 0: none */
    const char *placeholder; /* NULL: a flag */
    const char *help;
    const char *fallback; /* the default as text, "" if there is none */
    const char *group;    /* for the library's options: "network"; NULL for others */
    bool required, common;
    const char *const
        *choices; /* possible values of one of the library's options, NULL at the end; NULL: any */
};

/* Option `index` of the verb: its own, then the library's in the order of the table, then those
 * of every verb. False after the last. */
bool ddpm_shown_option(const struct ddpm_verb *verb, size_t index, struct ddpm_shown_option *out);

/* The letter of an option of the verb's own. */
char ddpm_letter_of(const struct ddpm_verb *verb, const char *name);

/* Does it take a model, whose own values are the defaults of the library's options? */
bool ddpm_verb_has_model(const struct ddpm_verb *verb);

/* Does the short help omit any option? */
bool ddpm_verb_has_more(const struct ddpm_verb *verb);

/* The options that every verb takes. */
enum ddpm_general {
    DDPM_GENERAL_HELP,
    DDPM_GENERAL_HELP_ALL,
    DDPM_GENERAL_QUIET,
    DDPM_GENERAL_VERBOSE
};
extern const struct ddpm_verb_option ddpm_general_options[];
extern const size_t ddpm_general_count;

/* Possible values of an option or argument, derived from its placeholder: the words of
 * "ema|model" are values; DIR and RUN are folders; FILE, PICTURE and x.npy are files. */
enum ddpm_value_paths { DDPM_VALUE_NO_PATH, DDPM_VALUE_FOLDERS, DDPM_VALUE_FILES };
enum { DDPM_MOST_WORDS = 16, DDPM_WORD_BYTES = 32 };
struct ddpm_values {
    enum ddpm_value_paths paths;
    size_t count;
    char words[DDPM_MOST_WORDS][DDPM_WORD_BYTES];
};
void ddpm_values_of(const char *placeholder, const char *const *choices, struct ddpm_values *out);

#endif

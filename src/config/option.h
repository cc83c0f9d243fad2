/* The option table, one row per option: used by the command line, the JSON files, the help texts
 * and the metadata of checkpoints. To add an option: a field in config.h and a row in options.c. */
#ifndef DDPM_CONFIG_OPTION_H
#define DDPM_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "core/error.h"

/* How an option's text becomes the field at its offset. */
enum ddpm_option_type {
    DDPM_OPTION_INTEGER, /* "64": int64_t or uint64_t, in [least, most] */
    DDPM_OPTION_NUMBER,  /* "1e-4": double */
    DDPM_OPTION_SWITCH,  /* bool: choices[0] is false, choices[1] true */
    DDPM_OPTION_CHOICE,  /* int: index into choices */
    DDPM_OPTION_LIST,    /* "1,2,4,8": int64_t [DDPM_MAX_LEVELS], int count at second_offset */
    DDPM_OPTION_SIZE,    /* "128" or "96x128": int64_t height, int64_t width at second_offset */
    DDPM_OPTION_TEXT,    /* char [capacity] */
};

enum ddpm_option_group {
    DDPM_GROUP_NETWORK,
    DDPM_GROUP_DIFFUSION,
    DDPM_GROUP_SAMPLING,
    DDPM_GROUP_TRAINING,
    DDPM_GROUP_DATA,
    DDPM_GROUP_RUN,
    DDPM_GROUP_COUNT,
};

/* Bounds are included unless `open` has their bit. Integers stay below 2^53, so that doubles and
 * other JSON readers hold them exactly. */
enum { DDPM_OPEN_LEAST = 1, DDPM_OPEN_MOST = 2 };
struct ddpm_range {
    double least, most;
    int open;
};

/* May an option change when a run is resumed? Locked ones are in state.json, DDPM_LOCKED first.
 * The order has been the same since version 0.1. */
enum ddpm_lock {
    DDPM_UNLOCKED,
    DDPM_LOCKED,
    DDPM_LOCKED_LAST,
    DDPM_LOCKED_SINCE_0_2,  /* checkpoints of 0.1 do not contain them */
    DDPM_LOCKED_OR_DEFAULT, /* a checkpoint without it was made with its default */
    DDPM_LOCK_COUNT
};

struct ddpm_option {
    const char *name;        /* "dim-mults" */
    const char *placeholder; /* "N,N,…" */
    enum ddpm_option_type type;
    size_t offset, second_offset; /* into struct ddpm_config */
    size_t capacity;              /* of a text, with its terminating 0 */
    const char *default_text;
    struct ddpm_range range;
    const char *const *choices; /* ends with NULL */
    const char *const *aliases; /* other names for the choices, by index, NULL where there is none;
                                   NULL: no choice has one */
    enum ddpm_option_group group;
    const char *key; /* in the group's JSON section; "a.b" is key b of its object a; "/a" is key a
                        of the root */
    const char *help;
    enum ddpm_lock locked;
};

extern const struct ddpm_option ddpm_options[];
extern const size_t ddpm_options_count;

/* Off and on: switches with these choices are true and false in JSON. */
extern const char *const ddpm_off_on[];

/* "network" and "unet_config". */
const char *ddpm_group_name(enum ddpm_option_group group);
const char *ddpm_group_section(enum ddpm_option_group group);

/* The row of that name, or NULL. '_' counts as '-'. */
const struct ddpm_option *ddpm_option_find(const char *name);

/* Reset all options of a group to their defaults. */
ddpm_status ddpm_group_reset(enum ddpm_option_group group, struct ddpm_config *config);

/* Set the option's field from text. DDPM_ERROR_ARGUMENT "option dim: got "x", want an integer in
 * [4, 4096]" leaves the configuration unchanged. */
ddpm_status ddpm_option_parse(const struct ddpm_option *option, const char *text,
                              struct ddpm_config *config);

/* DDPM_ERROR_ARGUMENT "option dim: got …, want an integer in [4, 4096]". */
ddpm_status ddpm_option_refuse(const struct ddpm_option *option, const char *got);

/* The field as text, which ddpm_option_parse() reads back to the same value. DDPM_ERROR_ARGUMENT
 * if it does not fit. DDPM_OPTION_BYTES are enough for every option. */
#define DDPM_OPTION_BYTES (DDPM_MAX_PATH + 1)
ddpm_status ddpm_option_format(const struct ddpm_option *option, const struct ddpm_config *config,
                               char *buffer, size_t bytes);

/* Does the option have the same value in both configurations? */
bool ddpm_option_equal(const struct ddpm_option *option, const struct ddpm_config *a,
                       const struct ddpm_config *b);

#endif

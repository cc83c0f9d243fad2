/* Python's pickles of protocol 2, as torch.save writes them, read as plain values. A pickle is a
 * program for a small stack machine that may call anything by name. This reader calls nothing. It
 * accepts only the names in the caller's list and keeps a call as a value with its arguments; any
 * other name is an error.
 *
 * Values may refer to each other in any way, even in cycles, so code that walks them must limit its
 * depth. */
#ifndef DDPM_FORMATS_PICKLE_H
#define DDPM_FORMATS_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum ddpm_pickle_kind {
    DDPM_PICKLE_NONE,
    DDPM_PICKLE_BOOLEAN,
    DDPM_PICKLE_INTEGER,
    DDPM_PICKLE_LONG, /* more than 64 bits; `text` holds the bytes, little-endian */
    DDPM_PICKLE_REAL, /* its value is not kept */
    DDPM_PICKLE_TEXT,
    DDPM_PICKLE_TUPLE,
    DDPM_PICKLE_LIST,
    DDPM_PICKLE_DICT,
    DDPM_PICKLE_NAME,       /* `integer` is its place in the caller's list */
    DDPM_PICKLE_CALL,       /* the same; its only item is the tuple of arguments */
    DDPM_PICKLE_PERSISTENT, /* an object stored elsewhere; its only item says which */
};

/* A value. Its items are in a list of pairs; the first is number `first` - 1. */
struct ddpm_pickle_value {
    enum ddpm_pickle_kind kind;
    uint32_t first, last, count; /* items */
    int64_t integer;
    const char *text; /* in the caller's bytes, not 0-terminated */
    size_t length;
};

/* An accepted name. Calling one that makes a dict gives an empty dict. */
struct ddpm_pickle_name {
    const char *module, *name;
    bool makes_dict;
};

struct ddpm_pickle;

/* Read the pickle at the start of `data`; *used is its length. `data` must live as long as the
 * pickle. DDPM_ERROR_FORMAT for anything that is not a pickle of protocol 2, or that uses a name
 * not in the list; *out is then NULL. Close with ddpm_pickle_close(). */
ddpm_status ddpm_pickle_parse(struct ddpm_pickle **out, const uint8_t *data, size_t bytes,
                              const struct ddpm_pickle_name *names, size_t name_count,
                              size_t *used);
void ddpm_pickle_close(struct ddpm_pickle **pickle);

/* The pickle's result; and every value that occurs in it. */
const struct ddpm_pickle_value *ddpm_pickle_root(const struct ddpm_pickle *pickle);
size_t ddpm_pickle_count(const struct ddpm_pickle *pickle);
const struct ddpm_pickle_value *ddpm_pickle_at(const struct ddpm_pickle *pickle, size_t index);

/* Iterate over the items of a value: start with *next = value->first and continue while it is not
 * 0. *key is NULL except in a dict; key may be NULL. */
const struct ddpm_pickle_value *ddpm_pickle_next(const struct ddpm_pickle *pickle, uint32_t *next,
                                                 const struct ddpm_pickle_value **key);

/* Item `index`, or NULL. Takes time proportional to `index`. */
const struct ddpm_pickle_value *ddpm_pickle_item(const struct ddpm_pickle *pickle,
                                                 const struct ddpm_pickle_value *value,
                                                 uint32_t index);

/* "a dict", "an integer" and so on. */
const char *ddpm_pickle_kind_words(enum ddpm_pickle_kind kind);

/* Is the value a string equal to this text? */
bool ddpm_pickle_is_text(const struct ddpm_pickle_value *value, const char *text);

#endif

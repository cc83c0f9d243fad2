/* Python's pickles of protocol 2, as torch.save writes them, read as plain values. A pickle is a
 * program for a small stack machine that may call anything by name. This reader calls nothing: it
 * knows the few names that it was given, keeps a call as a value with its arguments, and refuses
 * every other name.
 *
 * Values may refer to each other in any way that the file likes, in circles too: who walks them
 * must not follow them without an end. */
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
    DDPM_PICKLE_LONG, /* more than 64 bits: their bytes, little-endian, are the text */
    DDPM_PICKLE_REAL, /* its value is not kept */
    DDPM_PICKLE_TEXT,
    DDPM_PICKLE_TUPLE,
    DDPM_PICKLE_LIST,
    DDPM_PICKLE_DICT,
    DDPM_PICKLE_NAME,       /* integer: its place in the caller's list */
    DDPM_PICKLE_CALL,       /* the same, and the tuple of arguments as the only item */
    DDPM_PICKLE_PERSISTENT, /* an object kept elsewhere; what tells which is the only item */
};

/* A value. Its items lie in a list of pairs, the first of which is number `first` - 1. */
struct ddpm_pickle_value {
    enum ddpm_pickle_kind kind;
    uint32_t first, last, count; /* items */
    int64_t integer;
    const char *text; /* in the caller's bytes, not ended by 0 */
    size_t length;
};

/* A name that may occur. Calling one that makes a dict gives an empty dict. */
struct ddpm_pickle_name {
    const char *module, *name;
    bool makes_dict;
};

struct ddpm_pickle;

/* Read the pickle that `data` begins with; *used is its length. `data` must live as long as the
 * pickle. DDPM_ERROR_FORMAT for anything that is no pickle of protocol 2, or has another name than
 * those given; *out is NULL then. Close with ddpm_pickle_close(). */
ddpm_status ddpm_pickle_parse(struct ddpm_pickle **out, const uint8_t *data, size_t bytes,
                              const struct ddpm_pickle_name *names, size_t name_count,
                              size_t *used);
void ddpm_pickle_close(struct ddpm_pickle **pickle);

/* What it stands for; and every value that occurs in it. */
const struct ddpm_pickle_value *ddpm_pickle_root(const struct ddpm_pickle *pickle);
size_t ddpm_pickle_count(const struct ddpm_pickle *pickle);
const struct ddpm_pickle_value *ddpm_pickle_at(const struct ddpm_pickle *pickle, size_t index);

/* The items of a value, one by one: start with *next = value->first and go on while it is not 0.
 * *key is NULL but in a dict; key may be NULL. */
const struct ddpm_pickle_value *ddpm_pickle_next(const struct ddpm_pickle *pickle, uint32_t *next,
                                                 const struct ddpm_pickle_value **key);

/* Item `index`, or NULL. Takes as long as there are items before it. */
const struct ddpm_pickle_value *ddpm_pickle_item(const struct ddpm_pickle *pickle,
                                                 const struct ddpm_pickle_value *value,
                                                 uint32_t index);

/* "a dict", "an integer" and so on. */
const char *ddpm_pickle_kind_words(enum ddpm_pickle_kind kind);

/* Is the value this text? */
bool ddpm_pickle_is_text(const struct ddpm_pickle_value *value, const char *text);

#endif

/* The stack machine that runs a pickle's opcodes: its stack, marks, memo, and the values it makes.
 * Values are referred to by their index in an array that only grows, so a file cannot make more of
 * them than it has bytes. */
#ifndef DDPM_FORMATS_PICKLE_MACHINE_H
#define DDPM_FORMATS_PICKLE_MACHINE_H

#include "formats/pickle.h"

/* Limit for values, items, marks and memo slots; a network of 10,000 tensors has about 200,000. */
#define DDPM_PICKLE_MOST ((uint32_t)1 << 20)
#define DDPM_PICKLE_NOTHING UINT32_MAX

/* An item of a list or tuple (key DDPM_PICKLE_NOTHING) or of a dict; `next` is the number of the
 * next one + 1, or 0. */
struct ddpm_pickle_pair {
    uint32_t key, value, next;
};

struct ddpm_pickle_numbers {
    uint32_t *at;
    size_t capacity;
    uint32_t count;
};

struct ddpm_pickle {
    struct ddpm_pickle_value *values;
    size_t value_capacity;
    uint32_t value_count;
    struct ddpm_pickle_pair *pairs;
    size_t pair_capacity;
    uint32_t pair_count;
    uint32_t root;
};

/* State while reading. */
struct ddpm_pickle_reader {
    struct ddpm_pickle *pickle;
    const uint8_t *data;
    size_t bytes, place;
    const struct ddpm_pickle_name *names;
    size_t name_count;
    struct ddpm_pickle_numbers stack, marks, memo;
    bool done;
};

/* DDPM_ERROR_FORMAT with the position and the problem. */
ddpm_status ddpm_pickle_damaged(const struct ddpm_pickle_reader *r, const char *what);

/* Read the next bytes, also as a little-endian number. All reading goes through here. */
ddpm_status ddpm_pickle_take(struct ddpm_pickle_reader *r, uint64_t bytes, const uint8_t **out);
ddpm_status ddpm_pickle_take_integer(struct ddpm_pickle_reader *r, size_t bytes, uint64_t *out);

ddpm_status ddpm_pickle_add_number(struct ddpm_pickle_reader *r, struct ddpm_pickle_numbers *to,
                                   uint32_t number);

/* Push a new value. */
ddpm_status ddpm_pickle_push(struct ddpm_pickle_reader *r, const struct ddpm_pickle_value *value);

/* Pop the top value, or look at it; it must then be a dict or a list. Values below the last mark,
 * [0, ddpm_pickle_floor()), are out of reach. */
ddpm_status ddpm_pickle_pop(struct ddpm_pickle_reader *r, uint32_t *out);
ddpm_status ddpm_pickle_top(struct ddpm_pickle_reader *r, enum ddpm_pickle_kind wanted,
                            uint32_t *out);
uint32_t ddpm_pickle_floor(const struct ddpm_pickle_reader *r);

/* Pop the last mark; *from is where the values above it start. */
ddpm_status ddpm_pickle_pop_mark(struct ddpm_pickle_reader *r, uint32_t *from);

/* Append an item to value `to`. */
ddpm_status ddpm_pickle_append(struct ddpm_pickle_reader *r, uint32_t to, uint32_t key,
                               uint32_t value);

#endif

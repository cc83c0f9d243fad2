/* Values of pickles, and the stack that makes them. */
#include "formats/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

ddpm_status ddpm_pickle_damaged(const struct ddpm_pickle_reader *r, const char *what)
{
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "pickle, byte %zu: %s: damaged, or not written by torch.save", r->place,
                      what);
}

ddpm_status ddpm_pickle_add_number(struct ddpm_pickle_reader *r, struct ddpm_pickle_numbers *to,
                                   uint32_t number)
{
    if (to->count >= DDPM_PICKLE_MOST)
        return ddpm_pickle_damaged(r, "more than a million values");
    DDPM_TRY(ddpm_grow_array((void **)&to->at, &to->capacity, (size_t)to->count + 1, sizeof *to->at,
                             "a pickle"));
    to->at[to->count++] = number;
    return DDPM_OK;
}

ddpm_status ddpm_pickle_push(struct ddpm_pickle_reader *r, const struct ddpm_pickle_value *value)
{
    struct ddpm_pickle *pickle = r->pickle;
    if (pickle->value_count >= DDPM_PICKLE_MOST)
        return ddpm_pickle_damaged(r, "more than a million values");
    DDPM_TRY(ddpm_grow_array((void **)&pickle->values, &pickle->value_capacity,
                             (size_t)pickle->value_count + 1, sizeof *pickle->values, "a pickle"));
    pickle->values[pickle->value_count] = *value;
    return ddpm_pickle_add_number(r, &r->stack, pickle->value_count++);
}

uint32_t ddpm_pickle_floor(const struct ddpm_pickle_reader *r)
{
    return r->marks.count > 0 ? r->marks.at[r->marks.count - 1] : 0;
}

ddpm_status ddpm_pickle_pop(struct ddpm_pickle_reader *r, uint32_t *out)
{
    if (r->stack.count <= ddpm_pickle_floor(r))
        return ddpm_pickle_damaged(r, "a value is missing");
    *out = r->stack.at[--r->stack.count];
    return DDPM_OK;
}

ddpm_status ddpm_pickle_top(struct ddpm_pickle_reader *r, enum ddpm_pickle_kind wanted,
                            uint32_t *out)
{
    DDPM_TRY(ddpm_pickle_pop(r, out));
    ++r->stack.count;
    if (r->pickle->values[*out].kind != wanted)
        return ddpm_pickle_damaged(r, wanted == DDPM_PICKLE_DICT ? "a dict is missing"
                                                                 : "a list is missing");
    return DDPM_OK;
}

ddpm_status ddpm_pickle_pop_mark(struct ddpm_pickle_reader *r, uint32_t *from)
{
    if (r->marks.count == 0)
        return ddpm_pickle_damaged(r, "a mark is missing");
    *from = r->marks.at[--r->marks.count];
    return DDPM_OK;
}

ddpm_status ddpm_pickle_append(struct ddpm_pickle_reader *r, uint32_t to, uint32_t key,
                               uint32_t value)
{
    struct ddpm_pickle *pickle = r->pickle;
    if (pickle->pair_count >= DDPM_PICKLE_MOST)
        return ddpm_pickle_damaged(r, "more than a million items");
    DDPM_TRY(ddpm_grow_array((void **)&pickle->pairs, &pickle->pair_capacity,
                             (size_t)pickle->pair_count + 1, sizeof *pickle->pairs, "a pickle"));
    pickle->pairs[pickle->pair_count++] = (struct ddpm_pickle_pair){key, value, 0};
    struct ddpm_pickle_value *owner = &pickle->values[to];
    if (owner->last)
        pickle->pairs[owner->last - 1].next = pickle->pair_count;
    else
        owner->first = pickle->pair_count;
    owner->last = pickle->pair_count;
    ++owner->count;
    return DDPM_OK;
}

ddpm_status ddpm_pickle_take(struct ddpm_pickle_reader *r, uint64_t bytes, const uint8_t **out)
{
    if (bytes > r->bytes - r->place)
        return ddpm_pickle_damaged(r, "ends too early");
    *out = r->data + r->place;
    r->place += (size_t)bytes;
    return DDPM_OK;
}

ddpm_status ddpm_pickle_take_integer(struct ddpm_pickle_reader *r, size_t bytes, uint64_t *out)
{
    const uint8_t *from = NULL;
    *out = 0;
    DDPM_TRY(ddpm_pickle_take(r, bytes, &from));
    for (size_t i = 0; i < bytes; ++i)
        *out |= (uint64_t)from[i] << 8 * i;
    return DDPM_OK;
}

static const char *const kind_words[] = {
    [DDPM_PICKLE_NONE] = "None",          [DDPM_PICKLE_BOOLEAN] = "a truth value",
    [DDPM_PICKLE_INTEGER] = "an integer", [DDPM_PICKLE_LONG] = "a long integer",
    [DDPM_PICKLE_REAL] = "a number",      [DDPM_PICKLE_TEXT] = "a string",
    [DDPM_PICKLE_TUPLE] = "a tuple",      [DDPM_PICKLE_LIST] = "a list",
    [DDPM_PICKLE_DICT] = "a dict",        [DDPM_PICKLE_NAME] = "a name",
    [DDPM_PICKLE_CALL] = "an object",     [DDPM_PICKLE_PERSISTENT] = "a storage",
};

const char *ddpm_pickle_kind_words(enum ddpm_pickle_kind kind)
{
    return kind_words[kind];
}

void ddpm_pickle_close(struct ddpm_pickle **pointer)
{
    struct ddpm_pickle *pickle = *pointer;
    *pointer = NULL;
    if (!pickle)
        return;
    free(pickle->values);
    free(pickle->pairs);
    free(pickle);
}

const struct ddpm_pickle_value *ddpm_pickle_root(const struct ddpm_pickle *pickle)
{
    return &pickle->values[pickle->root];
}

size_t ddpm_pickle_count(const struct ddpm_pickle *pickle)
{
    return pickle->value_count;
}

const struct ddpm_pickle_value *ddpm_pickle_at(const struct ddpm_pickle *pickle, size_t index)
{
    return &pickle->values[index];
}

const struct ddpm_pickle_value *ddpm_pickle_next(const struct ddpm_pickle *pickle, uint32_t *next,
                                                 const struct ddpm_pickle_value **key)
{
    const struct ddpm_pickle_pair *pair = &pickle->pairs[*next - 1];
    *next = pair->next;
    if (key)
        *key = pair->key == DDPM_PICKLE_NOTHING ? NULL : &pickle->values[pair->key];
    return &pickle->values[pair->value];
}

const struct ddpm_pickle_value *ddpm_pickle_item(const struct ddpm_pickle *pickle,
                                                 const struct ddpm_pickle_value *value,
                                                 uint32_t index)
{
    const struct ddpm_pickle_value *item = NULL;
    uint32_t next = value->first;
    if (index >= value->count)
        return NULL;
    for (uint32_t i = 0; i <= index; ++i)
        item = ddpm_pickle_next(pickle, &next, NULL);
    return item;
}

bool ddpm_pickle_is_text(const struct ddpm_pickle_value *value, const char *text)
{
    return value->kind == DDPM_PICKLE_TEXT && strlen(text) == value->length &&
           memcmp(value->text, text, value->length) == 0;
}

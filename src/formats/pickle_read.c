/* The opcodes of pickles, except those that would call something. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/pickle_machine.h"

static ddpm_status run_protocol(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    uint64_t version;
    (void)opcode;
    DDPM_TRY(ddpm_pickle_take_integer(r, 1, &version));
    if (version == 2)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "got a pickle of protocol %d, want 2, as torch.save "
                      "writes it",
                      (int)version);
}

static ddpm_status run_stop(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    (void)opcode;
    r->done = true;
    if (r->stack.count != 1 || r->marks.count != 0)
        return ddpm_pickle_damaged(r, "does not end with one value");
    return ddpm_pickle_pop(r, &r->pickle->root);
}

static ddpm_status run_constant(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    struct ddpm_pickle_value value = {.kind =
                                          opcode == 'N' ? DDPM_PICKLE_NONE : DDPM_PICKLE_BOOLEAN};
    value.integer = opcode == 0x88;
    return ddpm_pickle_push(r, &value);
}

static ddpm_status run_integer(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    uint64_t bits;
    DDPM_TRY(ddpm_pickle_take_integer(r, opcode == 'J' ? 4 : opcode == 'M' ? 2 : 1, &bits));
    const struct ddpm_pickle_value value = {
        .kind = DDPM_PICKLE_INTEGER,
        .integer = opcode == 'J' ? (int64_t)(int32_t)(uint32_t)bits : (int64_t)bits,
    };
    return ddpm_pickle_push(r, &value);
}

static ddpm_status run_long(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    struct ddpm_pickle_value value = {.kind = DDPM_PICKLE_INTEGER};
    uint64_t length, bits = 0;
    const uint8_t *from;
    (void)opcode;
    DDPM_TRY(ddpm_pickle_take_integer(r, 1, &length));
    DDPM_TRY(ddpm_pickle_take(r, length, &from));
    for (size_t i = 0; i < length && i < 8; ++i)
        bits |= (uint64_t)from[i] << 8 * i;
    if (length > 8) {
        value.kind = DDPM_PICKLE_LONG;
        value.text = (const char *)from;
        value.length = (size_t)length;
    } else if (length > 0 && length < 8 && from[length - 1] >= 0x80) {
        bits |= UINT64_MAX << 8 * length;
    }
    memcpy(&value.integer, &bits, sizeof bits);
    return ddpm_pickle_push(r, &value);
}

static ddpm_status run_real(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    const struct ddpm_pickle_value value = {.kind = DDPM_PICKLE_REAL};
    const uint8_t *from;
    (void)opcode;
    DDPM_TRY(ddpm_pickle_take(r, 8, &from));
    return ddpm_pickle_push(r, &value);
}

static ddpm_status run_text(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    struct ddpm_pickle_value value = {.kind = DDPM_PICKLE_TEXT};
    uint64_t length;
    const uint8_t *from;
    DDPM_TRY(ddpm_pickle_take_integer(r, opcode == 'U' ? 1 : 4, &length));
    DDPM_TRY(ddpm_pickle_take(r, length, &from));
    value.text = (const char *)from;
    value.length = (size_t)length;
    return ddpm_pickle_push(r, &value);
}

static ddpm_status run_empty(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    const struct ddpm_pickle_value value = {.kind = opcode == '}'   ? DDPM_PICKLE_DICT
                                                    : opcode == ']' ? DDPM_PICKLE_LIST
                                                                    : DDPM_PICKLE_TUPLE};
    return ddpm_pickle_push(r, &value);
}

static ddpm_status run_mark(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    (void)opcode;
    return ddpm_pickle_add_number(r, &r->marks, r->stack.count);
}

/* Make a tuple of the last one, two or three values, or of all above the mark. */
static ddpm_status run_tuple(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    const struct ddpm_pickle_value value = {.kind = DDPM_PICKLE_TUPLE};
    uint32_t from;
    if (opcode == 't') {
        DDPM_TRY(ddpm_pickle_pop_mark(r, &from));
    } else {
        const uint32_t count = (uint32_t)opcode - 0x84;
        if (r->stack.count < ddpm_pickle_floor(r) + count)
            return ddpm_pickle_damaged(r, "a value is missing");
        from = r->stack.count - count;
    }
    const uint32_t end = r->stack.count;
    DDPM_TRY(ddpm_pickle_push(r, &value));
    const uint32_t tuple = r->stack.at[end];
    for (uint32_t i = from; i < end; ++i)
        DDPM_TRY(ddpm_pickle_append(r, tuple, DDPM_PICKLE_NOTHING, r->stack.at[i]));
    r->stack.at[from] = tuple;
    r->stack.count = from + 1;
    return DDPM_OK;
}

/* Put one item, or all above the mark, into the list or dict below. */
static ddpm_status run_append(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    const bool dict = opcode == 's' || opcode == 'u', many = opcode == 'e' || opcode == 'u';
    const uint32_t width = dict ? 2 : 1;
    uint32_t from, to, end = r->stack.count;
    if (many) {
        DDPM_TRY(ddpm_pickle_pop_mark(r, &from));
    } else {
        if (end < ddpm_pickle_floor(r) + width)
            return ddpm_pickle_damaged(r, "a value is missing");
        from = end - width;
    }
    if ((end - from) % width != 0)
        return ddpm_pickle_damaged(r, "a key without a value");
    r->stack.count = from;
    DDPM_TRY(ddpm_pickle_top(r, dict ? DDPM_PICKLE_DICT : DDPM_PICKLE_LIST, &to));
    for (uint32_t i = from; i < end; i += width)
        DDPM_TRY(ddpm_pickle_append(r, to, dict ? r->stack.at[i] : DDPM_PICKLE_NOTHING,
                                    r->stack.at[i + width - 1]));
    return DDPM_OK;
}

static ddpm_status run_put(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    uint64_t place;
    uint32_t value;
    DDPM_TRY(ddpm_pickle_take_integer(r, opcode == 'q' ? 1 : 4, &place));
    if (place >= DDPM_PICKLE_MOST)
        return ddpm_pickle_damaged(r, "a place of the memo beyond a million");
    DDPM_TRY(ddpm_pickle_pop(r, &value));
    ++r->stack.count;
    while (r->memo.count <= place)
        DDPM_TRY(ddpm_pickle_add_number(r, &r->memo, DDPM_PICKLE_NOTHING));
    r->memo.at[place] = value;
    return DDPM_OK;
}

static ddpm_status run_get(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    uint64_t place;
    DDPM_TRY(ddpm_pickle_take_integer(r, opcode == 'h' ? 1 : 4, &place));
    if (place >= r->memo.count || r->memo.at[place] == DDPM_PICKLE_NOTHING)
        return ddpm_pickle_damaged(r, "an empty place of the memo");
    return ddpm_pickle_add_number(r, &r->stack, r->memo.at[place]);
}

/* A line without its line feed. */
static ddpm_status take_line(struct ddpm_pickle_reader *r, const char **line, size_t *length)
{
    const uint8_t *from = r->data + r->place, *end;
    end = r->place < r->bytes ? memchr(from, '\n', r->bytes - r->place) : NULL;
    if (!end)
        return ddpm_pickle_damaged(r, "ends too early");
    *line = (const char *)from;
    *length = (size_t)(end - from);
    r->place += *length + 1;
    return DDPM_OK;
}

static bool same(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static ddpm_status run_name(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    struct ddpm_pickle_value value = {.kind = DDPM_PICKLE_NAME};
    const char *module = NULL, *name = NULL;
    size_t module_length = 0, length = 0;
    (void)opcode;
    DDPM_TRY(take_line(r, &module, &module_length));
    DDPM_TRY(take_line(r, &name, &length));
    for (size_t i = 0; i < r->name_count; ++i)
        if (same(module, module_length, r->names[i].module) &&
            same(name, length, r->names[i].name)) {
            value.integer = (int64_t)i;
            return ddpm_pickle_push(r, &value);
        }
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "got an object of %.*s.%.*s, want only tensors; nothing in the file is "
                      "executed",
                      module_length < 80 ? (int)module_length : 80, module,
                      length < 80 ? (int)length : 80, name);
}

static ddpm_status run_call(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    struct ddpm_pickle_value value = {.kind = DDPM_PICKLE_CALL};
    uint32_t arguments, callee;
    (void)opcode;
    DDPM_TRY(ddpm_pickle_pop(r, &arguments));
    DDPM_TRY(ddpm_pickle_pop(r, &callee));
    const struct ddpm_pickle_value *function = &r->pickle->values[callee];
    if (function->kind != DDPM_PICKLE_NAME)
        return ddpm_pickle_damaged(r, "a call of something that is not a name");
    value.integer = function->integer;
    if (!r->names[function->integer].makes_dict) {
        DDPM_TRY(ddpm_pickle_push(r, &value));
        return ddpm_pickle_append(r, r->stack.at[r->stack.count - 1], DDPM_PICKLE_NOTHING,
                                  arguments);
    }
    if (r->pickle->values[arguments].count != 0)
        return ddpm_pickle_damaged(r, "a dict built from a value");
    value.kind = DDPM_PICKLE_DICT;
    return ddpm_pickle_push(r, &value);
}

/* Ignore an object's attributes, such as _metadata of a state dict: they say nothing about
 * tensors. */
static ddpm_status run_build(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    uint32_t state, object;
    (void)opcode;
    DDPM_TRY(ddpm_pickle_pop(r, &state));
    DDPM_TRY(ddpm_pickle_pop(r, &object));
    ++r->stack.count;
    return DDPM_OK;
}

static ddpm_status run_persistent(struct ddpm_pickle_reader *r, uint8_t opcode)
{
    const struct ddpm_pickle_value value = {.kind = DDPM_PICKLE_PERSISTENT};
    uint32_t item;
    (void)opcode;
    DDPM_TRY(ddpm_pickle_pop(r, &item));
    DDPM_TRY(ddpm_pickle_push(r, &value));
    return ddpm_pickle_append(r, r->stack.at[r->stack.count - 1], DDPM_PICKLE_NOTHING, item);
}

typedef ddpm_status opcode_function(struct ddpm_pickle_reader *r, uint8_t opcode);

/* The opcodes that torch.save emits, with their names from pickletools.py. */
static opcode_function *const opcodes[256] = {
    [0x80] = run_protocol,  ['.'] = run_stop,    ['N'] = run_constant, [0x88] = run_constant,
    [0x89] = run_constant,  ['J'] = run_integer, ['K'] = run_integer,  ['M'] = run_integer,
    [0x8a] = run_long,      ['G'] = run_real,    ['X'] = run_text,     ['T'] = run_text,
    ['U'] = run_text,       ['}'] = run_empty,   [']'] = run_empty,    [')'] = run_empty,
    ['('] = run_mark,       ['t'] = run_tuple,   [0x85] = run_tuple,   [0x86] = run_tuple,
    [0x87] = run_tuple,     ['a'] = run_append,  ['e'] = run_append,   ['s'] = run_append,
    ['u'] = run_append,     ['q'] = run_put,     ['r'] = run_put,      ['h'] = run_get,
    ['j'] = run_get,        ['c'] = run_name,    ['R'] = run_call,     ['b'] = run_build,
    ['Q'] = run_persistent,
};

static ddpm_status run(struct ddpm_pickle_reader *r)
{
    const uint8_t *opcode;
    while (!r->done) {
        DDPM_TRY(ddpm_pickle_take(r, 1, &opcode));
        if (!opcodes[*opcode])
            return ddpm_raise(DDPM_ERROR_FORMAT,
                              "pickle, byte %zu: got the opcode 0x%02X, want those that torch.save "
                              "writes",
                              r->place - 1, (unsigned)*opcode);
        DDPM_TRY(opcodes[*opcode](r, *opcode));
    }
    return DDPM_OK;
}

ddpm_status ddpm_pickle_parse(struct ddpm_pickle **out, const uint8_t *data, size_t bytes,
                              const struct ddpm_pickle_name *names, size_t name_count, size_t *used)
{
    struct ddpm_pickle_reader r = {
        .data = data, .bytes = bytes, .names = names, .name_count = name_count};
    *out = NULL;
    DDPM_TRY(DDPM_NEW(&r.pickle, "a pickle"));
    ddpm_status status = run(&r);
    free(r.stack.at);
    free(r.marks.at);
    free(r.memo.at);
    if (status != DDPM_OK)
        ddpm_pickle_close(&r.pickle);
    *used = r.place;
    *out = r.pickle;
    return status;
}

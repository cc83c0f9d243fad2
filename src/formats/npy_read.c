/* Reading .npy files. The parser knows the three keys of the Python dict and no other Python. */
#include "formats/npy.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are mapped as they lie on disk");

static const struct {
    const char *code, *name;
    size_t bytes;
} dtypes[] = {
    [DDPM_NPY_U8] = {"|u1", "uint8", 1},    [DDPM_NPY_I32] = {"<i4", "int32", 4},
    [DDPM_NPY_I64] = {"<i8", "int64", 8},   [DDPM_NPY_F32] = {"<f4", "float32", 4},
    [DDPM_NPY_F64] = {"<f8", "float64", 8}, [DDPM_NPY_BOOL] = {"|b1", "bool", 1},
    [DDPM_NPY_I8] = {"|i1", "int8", 1},     [DDPM_NPY_U16] = {"<u2", "uint16", 2},
    [DDPM_NPY_I16] = {"<i2", "int16", 2},   [DDPM_NPY_U32] = {"<u4", "uint32", 4},
    [DDPM_NPY_U64] = {"<u8", "uint64", 8},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* Types that NumPy writes and that are not read. */
static const struct {
    const char *code, *name;
} others[] = {
    {"<f2", "float16"},   {"<c8", "complex64"}, {"<c16", "complex128"},
    {"<f16", "float128"}, {"|O", "object"},
};

size_t ddpm_npy_dtype_bytes(enum ddpm_npy_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *ddpm_npy_dtype_code(enum ddpm_npy_dtype dtype)
{
    return dtypes[dtype].code;
}

const char *ddpm_npy_dtype_name(enum ddpm_npy_dtype dtype)
{
    return dtypes[dtype].name;
}

/* The part of the header that is not parsed yet. */
struct cursor {
    const char *at;
    const char *end;
    const char *label;
};

static ddpm_status bad_header(const struct cursor *c, const char *want)
{
    int shown = (int)(c->end - c->at < 20 ? c->end - c->at : 20);
    return ddpm_raise(DDPM_ERROR_FORMAT, "%s: bad .npy header at \"%.*s\", want %s", c->label,
                      shown, c->at, want);
}

static void skip_spaces(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        ++c->at;
}

/* Consume `character` if it comes next, after spaces. */
static bool take(struct cursor *c, char character)
{
    skip_spaces(c);
    if (c->at == c->end || *c->at != character)
        return false;
    ++c->at;
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t length = strlen(word);
    skip_spaces(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

/* Parse a quoted string without escapes into `out` of `room` bytes. */
static ddpm_status take_string(struct cursor *c, char *out, size_t room)
{
    skip_spaces(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return bad_header(c, "a quoted string");
    const char *begin = c->at + 1;
    const char *close = memchr(begin, *c->at, (size_t)(c->end - begin));
    if (!close || (size_t)(close - begin) >= room || memchr(begin, '\\', (size_t)(close - begin)))
        return bad_header(c, "a short quoted string");
    memcpy(out, begin, (size_t)(close - begin));
    out[close - begin] = 0;
    c->at = close + 1;
    return DDPM_OK;
}

/* The error for values of a type that is not read for any purpose. */
static ddpm_status refuse_type(const char *label, const char *code)
{
    char little[16] = "";
    if (code[0] == '>') {
        snprintf(little, sizeof little, "<%s", code + 1);
        for (int i = 0; i < DTYPES; ++i)
            if (strcmp(little, dtypes[i].code) == 0)
                return ddpm_raise(DDPM_ERROR_FORMAT,
                                  "%s: got big-endian %s values '%s', want little-endian ones: "
                                  "save a.astype('%s')",
                                  label, dtypes[i].name, code, little);
    }
    const char *name = code;
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        if (strcmp(code, others[i].code) == 0)
            name = others[i].name;
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "%s: got values of type %s, want integers, float32 or float64: save "
                      "a.astype('float32')",
                      label, name);
}

static ddpm_status take_descr(struct cursor *c, enum ddpm_npy_dtype *dtype)
{
    char code[16];
    skip_spaces(c);
    if (c->at < c->end && *c->at == '[')
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got an array of records, want integers, float32 or float64",
                          c->label);
    DDPM_TRY(take_string(c, code, sizeof code));
    for (int i = 0; i < DTYPES; ++i)
        if (strcmp(code, dtypes[i].code) == 0 || (i == DDPM_NPY_U8 && strcmp(code, "<u1") == 0)) {
            *dtype = (enum ddpm_npy_dtype)i;
            return DDPM_OK;
        }
    return refuse_type(c->label, code);
}

static ddpm_status take_order(struct cursor *c)
{
    if (take_word(c, "False"))
        return DDPM_OK;
    if (take_word(c, "True"))
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got an array in Fortran order, want C order: save "
                          "numpy.ascontiguousarray(array)",
                          c->label);
    return bad_header(c, "True or False");
}

static ddpm_status take_dimension(struct cursor *c, int64_t *dimension)
{
    skip_spaces(c);
    if (c->at == c->end || *c->at < '0' || *c->at > '9')
        return bad_header(c, "a dimension");
    *dimension = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; ++c->at)
        if (__builtin_mul_overflow(*dimension, 10, dimension) ||
            __builtin_add_overflow(*dimension, *c->at - '0', dimension))
            return bad_header(c, "a dimension below 2^63");
    (void)take(c, 'L'); /* Python 2's long integers */
    return DDPM_OK;
}

/* "()", "(3,)", "(3, 4)", "(3, 4,)". */
static ddpm_status take_shape(struct cursor *c, struct ddpm_npy *npy)
{
    if (!take(c, '('))
        return bad_header(c, "a tuple");
    while (!take(c, ')')) {
        if (npy->rank == DDPM_NPY_MAX_RANK)
            return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got more than %d dimensions, want at most %d",
                              c->label, DDPM_NPY_MAX_RANK, DDPM_NPY_MAX_RANK);
        DDPM_TRY(take_dimension(c, &npy->shape[npy->rank++]));
        if (take(c, ','))
            continue;
        if (npy->rank == 1 || !take(c, ')'))
            return bad_header(c, "a comma");
        break;
    }
    return DDPM_OK;
}

/* Parse the dict with its three keys in any order, then spaces. */
static ddpm_status parse_dict(struct cursor *c, struct ddpm_npy *npy)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    unsigned seen = 0;
    if (!take(c, '{'))
        return bad_header(c, "a dict");
    while (!take(c, '}')) {
        char key[16];
        unsigned k = 0;
        struct cursor start = *c;
        DDPM_TRY(take_string(c, key, sizeof key));
        while (k < 3 && strcmp(key, keys[k]) != 0)
            ++k;
        if (k == 3 || seen & 1u << k)
            return bad_header(&start, "'descr', 'fortran_order' and 'shape', once each");
        seen |= 1u << k;
        if (!take(c, ':'))
            return bad_header(c, "a colon");
        DDPM_TRY(k == 0 ? take_descr(c, &npy->dtype) : k == 1 ? take_order(c) : take_shape(c, npy));
        if (take(c, ','))
            continue;
        if (!take(c, '}'))
            return bad_header(c, "a comma or a closing brace");
        break;
    }
    if (seen != 7)
        return bad_header(c, "'descr', 'fortran_order' and 'shape' before the end of the dict");
    skip_spaces(c);
    return c->at == c->end ? DDPM_OK : bad_header(c, "nothing but spaces after the dict");
}

/* Compute count and bytes from the shape, and check them against the file's size. */
static ddpm_status measure(struct ddpm_npy *npy, size_t there, const char *label)
{
    int64_t nonzero = (int64_t)dtypes[npy->dtype].bytes;
    npy->count = 1;
    /* The product of the nonzero dimensions must not overflow either: strides are computed from
     * it. */
    for (int i = 0; i < npy->rank; ++i) {
        npy->count = npy->shape[i] == 0 ? 0 : npy->count;
        if (npy->shape[i] && __builtin_mul_overflow(nonzero, npy->shape[i], &nonzero))
            return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got a shape of more than 2^63 bytes", label);
    }
    int64_t bytes = npy->count ? nonzero : 0;
    npy->count = bytes / (int64_t)dtypes[npy->dtype].bytes;
    if ((uint64_t)bytes != there)
        return ddpm_raise(
            DDPM_ERROR_FORMAT,
            "%s: got %zu bytes of values, want %" PRId64 " for its shape: the file is %s", label,
            there, bytes, (uint64_t)bytes > there ? "truncated" : "longer than one array");
    npy->bytes = (size_t)bytes;
    return DDPM_OK;
}

ddpm_status ddpm_npy_parse_head(struct ddpm_npy *out, const void *head, size_t head_bytes,
                                size_t bytes, const char *label)
{
    const uint8_t *at = head;
    *out = (struct ddpm_npy){0};
    if (bytes < 10 || memcmp(at, "\x93NUMPY", 6) != 0)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: not a .npy file: it does not begin with \\x93NUMPY", label);
    if (at[6] < 1 || at[6] > 3 || at[7] != 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got .npy version %d.%d, want 1.0, 2.0 or 3.0",
                          label, at[6], at[7]);
    size_t prefix = at[6] == 1 ? 10 : 12;
    if (bytes < prefix)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: truncated .npy header", label);
    size_t length = at[8] | (size_t)at[9] << 8;
    if (at[6] > 1)
        length |= (size_t)at[10] << 16 | (size_t)at[11] << 24;
    if (length > bytes - prefix)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got a .npy header of %zu bytes in a file of %zu: truncated", label,
                          length, bytes);
    if (length > head_bytes - prefix)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got a .npy header of %zu bytes, want at most %zu",
                          label, length, head_bytes - prefix);
    const char *text = (const char *)at + prefix;
    struct ddpm_npy npy = {.start = prefix + length};
    DDPM_TRY(parse_dict(&(struct cursor){text, text + length, label}, &npy));
    DDPM_TRY(measure(&npy, bytes - prefix - length, label));
    *out = npy;
    return DDPM_OK;
}

ddpm_status ddpm_npy_parse(struct ddpm_npy *out, const void *data, size_t bytes, const char *label)
{
    DDPM_TRY(ddpm_npy_parse_head(out, data, bytes, bytes, label));
    out->data = (const uint8_t *)data + out->start;
    return DDPM_OK;
}

ddpm_status ddpm_npy_open(struct ddpm_npy *out, const char *path)
{
    struct ddpm_mapping mapping;
    *out = (struct ddpm_npy){0};
    DDPM_TRY(ddpm_mapping_open(&mapping, path));
    ddpm_status status = ddpm_npy_parse(out, mapping.data, mapping.bytes, path);
    if (status == DDPM_OK)
        out->mapping = mapping;
    else
        ddpm_mapping_close(&mapping);
    return status;
}

void ddpm_npy_add_channel(struct ddpm_npy *npy)
{
    if (npy->rank == 3)
        npy->shape[npy->rank++] = 1;
}

bool ddpm_npy_channels_first(const struct ddpm_npy *npy)
{
    const int64_t *shape = npy->shape;
    return npy->rank == 4 && shape[1] <= 64 && 4 * shape[1] <= shape[2] && 4 * shape[1] <= shape[3];
}

void ddpm_npy_close(struct ddpm_npy *npy)
{
    ddpm_mapping_close(&npy->mapping);
    *npy = (struct ddpm_npy){0};
}

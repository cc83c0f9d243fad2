/* Reading safetensors files. Opening a file checks everything except the values. */
#include "formats/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/json.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are mapped as they lie on disk");

struct ddpm_safetensors {
    struct ddpm_mapping mapping;
    json_t *header; /* owns names and texts */
    struct ddpm_safetensors_tensor *tensors;
    const struct ddpm_safetensors_tensor **by_name;
    size_t count;
    struct ddpm_safetensors_text *texts;
    size_t text_count;
};

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [DDPM_SAFETENSORS_BOOL] = {"BOOL", 1}, [DDPM_SAFETENSORS_U8] = {"U8", 1},
    [DDPM_SAFETENSORS_F16] = {"F16", 2},   [DDPM_SAFETENSORS_BF16] = {"BF16", 2},
    [DDPM_SAFETENSORS_I32] = {"I32", 4},   [DDPM_SAFETENSORS_F32] = {"F32", 4},
    [DDPM_SAFETENSORS_F64] = {"F64", 8},   [DDPM_SAFETENSORS_I64] = {"I64", 8},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

size_t ddpm_safetensors_dtype_bytes(enum ddpm_safetensors_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *ddpm_safetensors_dtype_name(enum ddpm_safetensors_dtype dtype)
{
    return dtypes[dtype].name;
}

static ddpm_status parse_dtype(enum ddpm_safetensors_dtype *dtype, const json_t *info)
{
    const char *name;
    DDPM_TRY(ddpm_json_get_string(info, "dtype", &name));
    for (int i = 0; i < DTYPES; ++i)
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype = (enum ddpm_safetensors_dtype)i;
            return DDPM_OK;
        }
    return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                      "got values of type %s, want F32, F64, F16, BF16, I64, I32, U8 or BOOL",
                      name);
}

/* Parse rank, shape, count and bytes. */
static ddpm_status parse_shape(struct ddpm_safetensors_tensor *tensor, const json_t *info)
{
    json_t *shape;
    DDPM_TRY(ddpm_json_get_array(info, "shape", &shape));
    if (json_array_size(shape) > DDPM_SAFETENSORS_MAX_RANK)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "got %zu dimensions, want at most %d",
                          json_array_size(shape), DDPM_SAFETENSORS_MAX_RANK);
    int64_t bytes = (int64_t)dtypes[tensor->dtype].bytes;
    int has_zero = 0;
    tensor->rank = (int)json_array_size(shape);
    for (int i = 0; i < tensor->rank; ++i) {
        const json_t *value = json_array_get(shape, (size_t)i);
        int64_t dimension = json_integer_value(value);
        if (!json_is_integer(value) || dimension < 0)
            return ddpm_raise(
                DDPM_ERROR_FORMAT, "got %s as dimension %d, want an integer of 0 or more",
                json_is_integer(value) ? "a negative number" : ddpm_json_type_name(value), i);
        tensor->shape[i] = dimension;
        has_zero |= dimension == 0;
        /* Skip zeros, so that strides cannot overflow either. */
        if (dimension && __builtin_mul_overflow(bytes, dimension, &bytes))
            return ddpm_raise(DDPM_ERROR_FORMAT, "got a shape of more than 2^63 bytes");
    }
    tensor->bytes = has_zero ? 0 : (size_t)bytes;
    tensor->count = (int64_t)(tensor->bytes / dtypes[tensor->dtype].bytes);
    return DDPM_OK;
}

static ddpm_status parse_tensor(struct ddpm_safetensors_tensor *tensor, const json_t *info,
                                const uint8_t *values, size_t value_bytes)
{
    json_t *offsets;
    if (!json_is_object(info))
        return ddpm_raise(DDPM_ERROR_FORMAT, "got %s, want an object", ddpm_json_type_name(info));
    DDPM_TRY(parse_dtype(&tensor->dtype, info));
    DDPM_TRY(parse_shape(tensor, info));
    DDPM_TRY(ddpm_json_get_array(info, "data_offsets", &offsets));
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return ddpm_raise(DDPM_ERROR_FORMAT, "data_offsets: want two integers");
    if (json_object_size(info) != 3)
        return ddpm_raise(DDPM_ERROR_FORMAT, "got %zu keys, want dtype, shape and data_offsets",
                          json_object_size(info));
    int64_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin || (uint64_t)end > value_bytes)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "got data_offsets [%" PRId64 ", %" PRId64
                          "], want them within the %zu bytes of values: the file is damaged or "
                          "truncated",
                          begin, end, value_bytes);
    if ((size_t)(end - begin) != tensor->bytes)
        return ddpm_raise(DDPM_ERROR_FORMAT, "got %" PRId64 " bytes, want %zu for its shape",
                          end - begin, tensor->bytes);
    tensor->data = values + begin;
    return DDPM_OK;
}

static ddpm_status parse_metadata(struct ddpm_safetensors *file, const json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return ddpm_raise(DDPM_ERROR_FORMAT, "__metadata__: got %s, want an object",
                          ddpm_json_type_name(metadata));
    DDPM_TRY(ddpm_new_array((void **)&file->texts, json_object_size(metadata), sizeof *file->texts,
                            "metadata"));
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value))
            return ddpm_raise(DDPM_ERROR_FORMAT, "__metadata__: key \"%s\": got %s, want a string",
                              key, ddpm_json_type_name(value));
        file->texts[file->text_count++] =
            (struct ddpm_safetensors_text){key, json_string_value(value)};
    }
    return DDPM_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct ddpm_safetensors_tensor *left = a, *right = b;
    if (left->data != right->data)
        return (const uint8_t *)left->data < (const uint8_t *)right->data ? -1 : 1;
    /* Empty tensors share their offset with the next one. */
    if ((left->bytes == 0) != (right->bytes == 0))
        return left->bytes == 0 ? -1 : 1;
    return strcmp(left->name, right->name);
}

static int compare_names(const void *a, const void *b)
{
    const struct ddpm_safetensors_tensor *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* Sort by offset. The tensors must follow each other without gap or overlap and fill all the
 * bytes. */
static ddpm_status check_places(struct ddpm_safetensors *file, const uint8_t *values, size_t bytes)
{
    const uint8_t *expected = values;
    if (file->count)
        qsort(file->tensors, file->count, sizeof *file->tensors, compare_places);
    for (size_t i = 0; i < file->count; ++i) {
        const struct ddpm_safetensors_tensor *tensor = &file->tensors[i];
        if (tensor->data != expected)
            return ddpm_raise(DDPM_ERROR_FORMAT,
                              "tensor \"%s\": got values at byte %td, want %td: tensors overlap or "
                              "leave a gap",
                              tensor->name, (const uint8_t *)tensor->data - values,
                              expected - values);
        expected += tensor->bytes;
    }
    if (expected != values + bytes)
        return ddpm_raise(DDPM_ERROR_FORMAT, "got %zu bytes of values, want %td for all tensors",
                          bytes, expected - values);
    return DDPM_OK;
}

static ddpm_status parse_header(struct ddpm_safetensors *file, const uint8_t *values, size_t bytes)
{
    const char *name;
    json_t *info;
    size_t members = json_object_size(file->header);
    DDPM_TRY(ddpm_new_array((void **)&file->tensors, members, sizeof *file->tensors, "tensors"));
    DDPM_TRY(ddpm_new_array((void **)&file->by_name, members, sizeof *file->by_name, "tensors"));
    json_object_foreach(file->header, name, info)
    {
        if (strcmp(name, "__metadata__") == 0) {
            DDPM_TRY(parse_metadata(file, info));
            continue;
        }
        struct ddpm_safetensors_tensor *tensor = &file->tensors[file->count++];
        tensor->name = name;
        ddpm_status status = parse_tensor(tensor, info, values, bytes);
        if (status != DDPM_OK)
            return ddpm_raise_context(status, "tensor \"%s\": ", name);
    }
    DDPM_TRY(check_places(file, values, bytes));
    for (size_t i = 0; i < file->count; ++i)
        file->by_name[i] = &file->tensors[i];
    if (file->count)
        qsort(file->by_name, file->count, sizeof *file->by_name, compare_names);
    return DDPM_OK;
}

/* The length of the JSON header, checked against the file. */
static ddpm_status header_length(size_t *length, const uint8_t *data, size_t bytes)
{
    uint64_t stated = 0;
    if (bytes < 8)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "got %zu bytes, want at least 8: not a safetensors file, or truncated",
                          bytes);
    memcpy(&stated, data, sizeof stated);
    if (stated > DDPM_SAFETENSORS_MAX_HEADER)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "got a header of %" PRIu64
                          " bytes, want at most %zu: not a safetensors file",
                          stated, DDPM_SAFETENSORS_MAX_HEADER);
    if (stated > bytes - 8)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "got a header of %" PRIu64 " bytes in a file of %zu: truncated", stated,
                          bytes);
    if (stated == 0 || data[8] != '{')
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "the header does not begin with {: not a safetensors file");
    *length = (size_t)stated;
    return DDPM_OK;
}

ddpm_status ddpm_safetensors_parse(struct ddpm_safetensors **out, const void *data, size_t bytes,
                                   const char *label)
{
    struct ddpm_safetensors *file;
    const uint8_t *start = data;
    size_t length = 0;
    ddpm_status status;
    *out = NULL;
    DDPM_TRY(DDPM_NEW(&file, "an open safetensors file"));
    DDPM_TRY_GOTO(fail, header_length(&length, start, bytes));
    DDPM_TRY_GOTO(fail, ddpm_json_parse(&file->header, start + 8, length, "header"));
    DDPM_TRY_GOTO(fail, parse_header(file, start + 8 + length, bytes - 8 - length));
    *out = file;
    return DDPM_OK;
fail:
    ddpm_safetensors_close(&file);
    return ddpm_raise_context(status, "%s: ", label);
}

ddpm_status ddpm_safetensors_open(struct ddpm_safetensors **out, const char *path)
{
    struct ddpm_mapping mapping;
    *out = NULL;
    DDPM_TRY(ddpm_mapping_open(&mapping, path));
    ddpm_status status = ddpm_safetensors_parse(out, mapping.data, mapping.bytes, path);
    if (status == DDPM_OK)
        (*out)->mapping = mapping;
    else
        ddpm_mapping_close(&mapping);
    return status;
}

void ddpm_safetensors_close(struct ddpm_safetensors **pointer)
{
    struct ddpm_safetensors *file = *pointer;
    *pointer = NULL;
    if (!file)
        return;
    ddpm_mapping_close(&file->mapping);
    json_decref(file->header);
    free(file->tensors);
    free(file->by_name);
    free(file->texts);
    free(file);
}

size_t ddpm_safetensors_count(const struct ddpm_safetensors *file)
{
    return file->count;
}

const struct ddpm_safetensors_tensor *ddpm_safetensors_at(const struct ddpm_safetensors *file,
                                                          size_t index)
{
    return &file->tensors[index];
}

const struct ddpm_safetensors_tensor *ddpm_safetensors_find(const struct ddpm_safetensors *file,
                                                            const char *name)
{
    struct ddpm_safetensors_tensor wanted = {.name = name};
    const struct ddpm_safetensors_tensor *key = &wanted, **found = NULL;
    if (file->count)
        found = bsearch(&key, file->by_name, file->count, sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

void ddpm_safetensors_forget(const struct ddpm_safetensors *file,
                             const struct ddpm_safetensors_tensor *tensor)
{
    if (file->mapping.bytes)
        ddpm_mapping_forget(&file->mapping,
                            (size_t)((const uint8_t *)tensor->data - file->mapping.data),
                            tensor->bytes);
}

const char *ddpm_safetensors_metadata(const struct ddpm_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->text_count; ++i)
        if (strcmp(file->texts[i].key, key) == 0)
            return file->texts[i].value;
    return NULL;
}

size_t ddpm_safetensors_metadata_count(const struct ddpm_safetensors *file)
{
    return file->text_count;
}

struct ddpm_safetensors_text ddpm_safetensors_metadata_at(const struct ddpm_safetensors *file,
                                                          size_t index)
{
    return file->texts[index];
}

/* Files of torch.save. They hold a pickle in which a tensor is a call
 *
 *     torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)
 *
 * and its storage is kept elsewhere, identified by ('storage', torch.FloatStorage, KEY, device,
 * numel):
 *
 *     zip file      archive/data.pkl, and archive/data/KEY for each storage
 *     older form    pickles: a magic number, 1001, facts about the machine, the tensors, a list of
 *                   keys; then for each key the number of values (u64) and the values */
#include "formats/torch_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/torch_storage.h"

static const uint8_t magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
enum { PROTOCOL = 1001 };

struct ddpm_torch_file {
    struct ddpm_pickle *pickle;
    struct ddpm_torch_storages storages;
    struct ddpm_tensor_entry *entries;
    size_t count;
    char *texts; /* names of the entries */
};

/* --- tensors --- */

static ddpm_status bad_tensor(const struct ddpm_tensor_entry *entry, const char *what)
{
    return ddpm_raise(DDPM_ERROR_FORMAT, "tensor \"%.200s\": %s", entry->name, what);
}

/* A tuple of at most DDPM_SAFETENSORS_MAX_RANK integers of 0 or more. */
static ddpm_status read_sizes(const struct ddpm_pickle *pickle,
                              const struct ddpm_tensor_entry *entry,
                              const struct ddpm_pickle_value *tuple, int64_t *out)
{
    if (!tuple || tuple->kind != DDPM_PICKLE_TUPLE || tuple->count > DDPM_SAFETENSORS_MAX_RANK)
        return bad_tensor(entry, "its shape or strides are not a tuple of at most 8 integers");
    uint32_t next = tuple->first;
    while (next) {
        const struct ddpm_pickle_value *value = ddpm_pickle_next(pickle, &next, NULL);
        if (value->kind != DDPM_PICKLE_INTEGER || value->integer < 0)
            return bad_tensor(entry, "its shape or strides are not all integers of 0 or more");
        *out++ = value->integer;
    }
    return DDPM_OK;
}

/* Count the values and check that all of them are inside the storage. */
static ddpm_status check_bounds(struct ddpm_tensor_entry *entry,
                                const struct ddpm_torch_storage *storage, int64_t offset)
{
    int64_t last = offset, step;
    bool fits = offset >= 0, empty = false;
    entry->count = 1;
    for (int i = 0; i < entry->rank; ++i)
        empty |= entry->shape[i] == 0;
    for (int i = 0; i < entry->rank && fits && !empty; ++i)
        fits = !__builtin_mul_overflow(entry->shape[i] - 1, entry->strides[i], &step) &&
               !__builtin_add_overflow(last, step, &last) &&
               !__builtin_mul_overflow(entry->count, entry->shape[i], &entry->count);
    if (empty)
        entry->count = 0;
    /* With strides of 0, one value could stand for any number of values. */
    if (!fits || (!empty && last >= storage->count) || entry->count > storage->count)
        return bad_tensor(entry, "it reaches past the end of its storage");
    const size_t size = ddpm_safetensors_dtype_bytes(storage->dtype);
    entry->data = empty ? storage->data : storage->data + (size_t)offset * size;
    return DDPM_OK;
}

/* The arguments of the call that makes a tensor; NULL if the value is not such a call. */
static const struct ddpm_pickle_value *tensor_arguments(const struct ddpm_pickle *pickle,
                                                        const struct ddpm_pickle_value *value)
{
    if (value->kind == DDPM_PICKLE_CALL && value->integer == DDPM_TORCH_PARAMETER)
        value = ddpm_pickle_item(pickle, ddpm_pickle_item(pickle, value, 0), 0);
    if (!value || value->kind != DDPM_PICKLE_CALL || value->integer != DDPM_TORCH_TENSOR)
        return NULL;
    return ddpm_pickle_item(pickle, value, 0);
}

static ddpm_status read_tensor(struct ddpm_torch_file *file, struct ddpm_torch_zip *zip,
                               const struct ddpm_pickle_value *arguments,
                               struct ddpm_tensor_entry *entry)
{
    const struct ddpm_pickle *pickle = file->pickle;
    const struct ddpm_pickle_value *from = ddpm_pickle_item(pickle, arguments, 0);
    const struct ddpm_pickle_value *offset = ddpm_pickle_item(pickle, arguments, 1);
    const struct ddpm_pickle_value *shape = ddpm_pickle_item(pickle, arguments, 2);
    const struct ddpm_pickle_value *strides = ddpm_pickle_item(pickle, arguments, 3);
    struct ddpm_torch_storage about = {0};
    if (!from || from->kind != DDPM_PICKLE_PERSISTENT || !offset ||
        offset->kind != DDPM_PICKLE_INTEGER)
        return bad_tensor(entry, "it has no storage or no offset");
    DDPM_TRY(read_sizes(pickle, entry, shape, entry->shape));
    DDPM_TRY(read_sizes(pickle, entry, strides, entry->strides));
    if (shape->count != strides->count)
        return bad_tensor(entry, "it has different numbers of strides and dimensions");
    entry->rank = (int)shape->count;
    DDPM_TRY(ddpm_torch_storage_read(pickle, from, &about));
    struct ddpm_torch_storage *storage =
        ddpm_torch_storages_find(&file->storages, about.key, about.length);
    entry->dtype = storage->dtype;
    ddpm_status status = ddpm_torch_storage_fetch(storage, zip);
    if (status != DDPM_OK)
        return ddpm_raise_context(status, "tensor \"%.200s\": ", entry->name);
    return check_bounds(entry, storage, offset->integer);
}

/* The dict of tensors: the root, or one of its members. */
static ddpm_status find_state(const struct ddpm_pickle *pickle,
                              const struct ddpm_pickle_value **out)
{
    const struct ddpm_pickle_value *root = ddpm_pickle_root(pickle), *key;
    *out = root;
    if (root->kind != DDPM_PICKLE_DICT)
        return ddpm_raise(DDPM_ERROR_FORMAT, "got %s, want a dict of tensors",
                          ddpm_pickle_kind_words(root->kind));
    for (uint32_t next = root->first; next;) {
        const struct ddpm_pickle_value *value = ddpm_pickle_next(pickle, &next, &key);
        if (value->kind == DDPM_PICKLE_DICT &&
            (ddpm_pickle_is_text(key, "state_dict") || ddpm_pickle_is_text(key, "model")))
            *out = value;
    }
    return DDPM_OK;
}

/* Room for the entries of a dict, and for their names. */
static ddpm_status make_room(struct ddpm_torch_file *file, const struct ddpm_pickle_value *state)
{
    const struct ddpm_pickle_value *key;
    size_t bytes = 1;
    for (uint32_t next = state->first; next;) {
        ddpm_pickle_next(file->pickle, &next, &key);
        bytes += key->kind == DDPM_PICKLE_TEXT ? key->length + 1 : 0;
        if (bytes > DDPM_SAFETENSORS_MAX_HEADER)
            return ddpm_raise(DDPM_ERROR_FORMAT, "got names of more than %zu bytes",
                              DDPM_SAFETENSORS_MAX_HEADER);
    }
    DDPM_TRY(ddpm_new_array((void **)&file->entries, state->count, sizeof *file->entries,
                            "a list of tensors"));
    return ddpm_new_array((void **)&file->texts, bytes, 1, "names of tensors");
}

/* Skip what is not a tensor: epoch counts, settings. */
static ddpm_status list_tensors(struct ddpm_torch_file *file, struct ddpm_torch_zip *zip)
{
    const struct ddpm_pickle_value *state, *key;
    DDPM_TRY(find_state(file->pickle, &state));
    DDPM_TRY(make_room(file, state));
    char *text = file->texts;
    for (uint32_t next = state->first; next;) {
        const struct ddpm_pickle_value *value = ddpm_pickle_next(file->pickle, &next, &key);
        const struct ddpm_pickle_value *arguments = tensor_arguments(file->pickle, value);
        if (!arguments)
            continue;
        if (key->kind != DDPM_PICKLE_TEXT || memchr(key->text, 0, key->length))
            return ddpm_raise(DDPM_ERROR_FORMAT, "got a tensor whose name is %s, want a string",
                              key->kind == DDPM_PICKLE_TEXT ? "a string with a 0 in it"
                                                            : ddpm_pickle_kind_words(key->kind));
        struct ddpm_tensor_entry *entry = &file->entries[file->count++];
        memcpy(text, key->text, key->length);
        entry->name = text;
        text += key->length + 1;
        DDPM_TRY(read_tensor(file, zip, arguments, entry));
    }
    return DDPM_OK;
}

/* --- the two forms --- */

static ddpm_status read_zip(struct ddpm_torch_file *file, struct ddpm_torch_zip *zip,
                            uint8_t **pickle)
{
    uint8_t *order;
    size_t bytes, used;
    DDPM_TRY(ddpm_torch_zip_read(zip, "byteorder", true, &order, &bytes));
    const bool little = !order || (bytes == 6 && memcmp(order, "little", 6) == 0);
    free(order);
    if (!little)
        return ddpm_raise(DDPM_ERROR_FORMAT, "byteorder: want \"little\"");
    DDPM_TRY(ddpm_torch_zip_read(zip, "data.pkl", false, pickle, &bytes));
    DDPM_TRY(ddpm_pickle_parse(&file->pickle, *pickle, bytes, ddpm_torch_names, DDPM_TORCH_NAMES,
                               &used));
    DDPM_TRY(ddpm_torch_storages_list(&file->storages, file->pickle));
    return list_tensors(file, zip);
}

/* A short pickle before the tensors. */
static ddpm_status pass_over(const uint8_t **data, size_t *bytes, struct ddpm_pickle **out)
{
    size_t used;
    DDPM_TRY(ddpm_pickle_parse(out, *data, *bytes, ddpm_torch_names, DDPM_TORCH_NAMES, &used));
    *data += used;
    *bytes -= used;
    return DDPM_OK;
}

static bool is_magic(const struct ddpm_pickle_value *value)
{
    return value->kind == DDPM_PICKLE_LONG && value->length == sizeof magic &&
           memcmp(value->text, magic, sizeof magic) == 0;
}

static bool is_protocol(const struct ddpm_pickle_value *value)
{
    return value->kind == DDPM_PICKLE_INTEGER && value->integer == PROTOCOL;
}

/* {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {…}} */
static bool is_little_endian(const struct ddpm_pickle *facts)
{
    const struct ddpm_pickle_value *root = ddpm_pickle_root(facts), *key;
    for (uint32_t next = root->kind == DDPM_PICKLE_DICT ? root->first : 0; next;) {
        const struct ddpm_pickle_value *value = ddpm_pickle_next(facts, &next, &key);
        if (ddpm_pickle_is_text(key, "little_endian"))
            return value->kind == DDPM_PICKLE_BOOLEAN && value->integer == 1;
    }
    return false;
}

static ddpm_status read_head(const uint8_t **data, size_t *bytes)
{
    struct ddpm_pickle *pickle;
    bool good = true;
    for (int i = 0; i < 3 && good; ++i) {
        DDPM_TRY(pass_over(data, bytes, &pickle));
        const struct ddpm_pickle_value *root = ddpm_pickle_root(pickle);
        good = i == 0 ? is_magic(root) : i == 1 ? is_protocol(root) : is_little_endian(pickle);
        ddpm_pickle_close(&pickle);
    }
    return good ? DDPM_OK
                : ddpm_raise(DDPM_ERROR_FORMAT,
                             "got a pickle without the header that torch.save writes on a "
                             "little-endian machine");
}

static ddpm_status read_older(struct ddpm_torch_file *file, const uint8_t *data, size_t bytes)
{
    struct ddpm_pickle *keys;
    DDPM_TRY(read_head(&data, &bytes));
    DDPM_TRY(pass_over(&data, &bytes, &file->pickle));
    DDPM_TRY(ddpm_torch_storages_list(&file->storages, file->pickle));
    DDPM_TRY(pass_over(&data, &bytes, &keys));
    ddpm_status status = ddpm_torch_storages_place(&file->storages, keys, data, bytes);
    ddpm_pickle_close(&keys);
    return status == DDPM_OK ? list_tensors(file, NULL) : status;
}

ddpm_status ddpm_torch_parse(struct ddpm_torch_file **out, const uint8_t *data, size_t bytes,
                             bool zip, const char *label)
{
    struct ddpm_torch_file *file;
    struct ddpm_torch_zip *archive = NULL;
    uint8_t *pickle = NULL;
    *out = NULL;
    DDPM_TRY(DDPM_NEW(&file, "an open file of torch.save"));
    ddpm_status status = zip ? ddpm_torch_zip_open(&archive, data, bytes) : DDPM_OK;
    if (status == DDPM_OK)
        status = zip ? read_zip(file, archive, &pickle) : read_older(file, data, bytes);
    ddpm_torch_zip_close(&archive);
    ddpm_pickle_close(&file->pickle); /* frees the keys of storages too */
    free(pickle);
    if (status != DDPM_OK) {
        ddpm_torch_close(&file);
        return ddpm_raise_context(status, "%s: ", label);
    }
    *out = file;
    return DDPM_OK;
}

void ddpm_torch_close(struct ddpm_torch_file **pointer)
{
    struct ddpm_torch_file *file = *pointer;
    *pointer = NULL;
    if (!file)
        return;
    ddpm_torch_storages_free(&file->storages);
    free(file->entries);
    free(file->texts);
    free(file);
}

void ddpm_torch_entries(const struct ddpm_torch_file *file,
                        const struct ddpm_tensor_entry **entries, size_t *count)
{
    *entries = file->entries;
    *count = file->count;
}

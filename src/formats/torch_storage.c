/* Storages of torch.save. */
#include "formats/torch_storage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* The accepted names. Storages come first, in the order of `storage_dtypes`. */
const struct ddpm_pickle_name ddpm_torch_names[DDPM_TORCH_NAMES] = {
    {"torch", "FloatStorage", false},
    {"torch", "DoubleStorage", false},
    {"torch", "HalfStorage", false},
    {"torch", "BFloat16Storage", false},
    {"torch", "LongStorage", false},
    {"torch", "IntStorage", false},
    {"torch", "ByteStorage", false},
    {"torch", "BoolStorage", false},
    {"collections", "OrderedDict", true},
    {"torch._utils", "_rebuild_tensor_v2", false},
    {"torch._utils", "_rebuild_parameter", false},
};
static const enum ddpm_safetensors_dtype storage_dtypes[] = {
    DDPM_SAFETENSORS_F32, DDPM_SAFETENSORS_F64, DDPM_SAFETENSORS_F16, DDPM_SAFETENSORS_BF16,
    DDPM_SAFETENSORS_I64, DDPM_SAFETENSORS_I32, DDPM_SAFETENSORS_U8,  DDPM_SAFETENSORS_BOOL,
};

static int compare_keys(const void *a, const void *b)
{
    const struct ddpm_torch_storage *left = a, *right = b;
    const size_t shorter = left->length < right->length ? left->length : right->length;
    const int order = memcmp(left->key, right->key, shorter);
    return order != 0                      ? order
           : left->length == right->length ? 0
           : left->length < right->length  ? -1
                                           : 1;
}

static ddpm_status no_storage(const char *what)
{
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "got %s, want ('storage', type, key, device, count): damaged, or not written "
                      "by torch.save",
                      what);
}

/* Parse what a persistent value says about its storage. */
ddpm_status ddpm_torch_storage_read(const struct ddpm_pickle *pickle,
                                    const struct ddpm_pickle_value *value,
                                    struct ddpm_torch_storage *out)
{
    const struct ddpm_pickle_value *tuple = ddpm_pickle_item(pickle, value, 0);
    if (tuple->kind != DDPM_PICKLE_TUPLE || tuple->count < 5 || tuple->count > 6)
        return no_storage("a storage without its five fields");
    const struct ddpm_pickle_value *type = ddpm_pickle_item(pickle, tuple, 1);
    const struct ddpm_pickle_value *key = ddpm_pickle_item(pickle, tuple, 2);
    const struct ddpm_pickle_value *count = ddpm_pickle_item(pickle, tuple, 4);
    const struct ddpm_pickle_value *view = ddpm_pickle_item(pickle, tuple, 5);
    if (!ddpm_pickle_is_text(ddpm_pickle_item(pickle, tuple, 0), "storage"))
        return no_storage("something that is not a storage");
    if (type->kind != DDPM_PICKLE_NAME || type->integer >= DDPM_TORCH_STORAGES)
        return no_storage("a storage without a type");
    if (key->kind != DDPM_PICKLE_TEXT || key->length == 0 || count->kind != DDPM_PICKLE_INTEGER)
        return no_storage("a storage without key or count");
    if (view && view->kind != DDPM_PICKLE_NONE)
        return no_storage("a storage that is part of another one");
    out->key = key->text;
    out->length = key->length;
    out->dtype = storage_dtypes[type->integer];
    out->count = count->integer;
    if (count->integer < 0 ||
        __builtin_mul_overflow((uint64_t)count->integer, ddpm_safetensors_dtype_bytes(out->dtype),
                               &out->bytes))
        return ddpm_raise(DDPM_ERROR_FORMAT, "got a storage of %" PRId64 " values", out->count);
    return DDPM_OK;
}

/* Collect all storages that are mentioned, each once. */
ddpm_status ddpm_torch_storages_list(struct ddpm_torch_storages *storages,
                                     const struct ddpm_pickle *pickle)
{
    const size_t values = ddpm_pickle_count(pickle);
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < values; ++i)
        count += ddpm_pickle_at(pickle, i)->kind == DDPM_PICKLE_PERSISTENT;
    DDPM_TRY(ddpm_new_array((void **)&storages->at, count, sizeof *storages->at, "storages"));
    for (size_t i = 0; i < values; ++i) {
        const struct ddpm_pickle_value *value = ddpm_pickle_at(pickle, i);
        if (value->kind == DDPM_PICKLE_PERSISTENT)
            DDPM_TRY(ddpm_torch_storage_read(pickle, value, &storages->at[storages->count++]));
    }
    if (count)
        qsort(storages->at, count, sizeof *storages->at, compare_keys);
    for (size_t i = 0; i < count; ++i) {
        struct ddpm_torch_storage *storage = &storages->at[i];
        const struct ddpm_torch_storage *before = kept > 0 ? &storages->at[kept - 1] : NULL;
        if (!before || compare_keys(before, storage) != 0)
            storages->at[kept++] = *storage;
        else if (before->dtype != storage->dtype || before->count != storage->count)
            return ddpm_raise(DDPM_ERROR_FORMAT, "storage %.*s: got two types or sizes, want one",
                              storage->length < 40 ? (int)storage->length : 40, storage->key);
    }
    storages->count = kept;
    return DDPM_OK;
}

struct ddpm_torch_storage *ddpm_torch_storages_find(const struct ddpm_torch_storages *storages,
                                                    const char *key, size_t length)
{
    const struct ddpm_torch_storage wanted = {.key = key, .length = length};
    if (storages->count == 0)
        return NULL;
    return bsearch(&wanted, storages->at, storages->count, sizeof wanted, compare_keys);
}

ddpm_status ddpm_torch_storage_fetch(struct ddpm_torch_storage *storage, struct ddpm_torch_zip *zip)
{
    char *path;
    size_t bytes;
    if (storage->data)
        return DDPM_OK;
    if (!zip)
        return ddpm_raise(DDPM_ERROR_FORMAT, "its storage is not in the file");
    DDPM_TRY(ddpm_format(&path, "data/%.*s", (int)(storage->length < 80 ? storage->length : 80),
                         storage->key));
    ddpm_status status = ddpm_torch_zip_read(zip, path, false, &storage->copy, &bytes);
    free(path);
    DDPM_TRY(status);
    storage->data = storage->copy;
    if (bytes != storage->bytes)
        return ddpm_raise(DDPM_ERROR_FORMAT, "its storage has %zu bytes, want %zu", bytes,
                          storage->bytes);
    return DDPM_OK;
}

/* Find the storages in the order of their keys in `keys`. */
ddpm_status ddpm_torch_storages_place(struct ddpm_torch_storages *storages,
                                      const struct ddpm_pickle *keys, const uint8_t *data,
                                      size_t bytes)
{
    const struct ddpm_pickle_value *list = ddpm_pickle_root(keys);
    if (list->kind != DDPM_PICKLE_LIST)
        return ddpm_raise(DDPM_ERROR_FORMAT, "got %s, want a list of storages",
                          ddpm_pickle_kind_words(list->kind));
    for (uint32_t next = list->first; next;) {
        const struct ddpm_pickle_value *key = ddpm_pickle_next(keys, &next, NULL);
        struct ddpm_torch_storage *storage =
            key->kind == DDPM_PICKLE_TEXT
                ? ddpm_torch_storages_find(storages, key->text, key->length)
                : NULL;
        uint64_t count = 0;
        if (!storage || storage->data)
            return ddpm_raise(DDPM_ERROR_FORMAT,
                              "the list of storages has one that no tensor uses, or one twice");
        if (bytes >= sizeof count)
            memcpy(&count, data, sizeof count);
        if (bytes < sizeof count || count != (uint64_t)storage->count ||
            storage->bytes > bytes - sizeof count)
            return ddpm_raise(DDPM_ERROR_FORMAT,
                              "storage of %" PRId64 " values: the file is damaged or truncated",
                              storage->count);
        storage->data = data + sizeof count;
        data += sizeof count + storage->bytes;
        bytes -= sizeof count + storage->bytes;
    }
    return DDPM_OK;
}

void ddpm_torch_storages_free(struct ddpm_torch_storages *storages)
{
    for (size_t i = 0; i < storages->count; ++i)
        free(storages->at[i].copy);
    free(storages->at);
    *storages = (struct ddpm_torch_storages){0};
}

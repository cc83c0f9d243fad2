/* Hashes of the pictures' content, kept in a file for when the run is resumed. */
#include "data/content.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "data/source_kinds.h"
#include "formats/file.h"
#include "formats/npy.h"

enum { PIECE_BYTES = 1 << 16, ITEMS_AT_ONCE = 16, WORTH_SAYING = 20000 };

/* The finalizer of splitmix64 (Steele et al. 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

struct hashing {
    struct ddpm_source *source;
    struct ddpm_content *contents;
    const struct ddpm_content *kept; /* [count] or NULL */
    pthread_mutex_t lock;
    ddpm_status status; /* the first failure */
    char *message;
};

static ddpm_status hash_item(struct hashing *hashing, int64_t index, void *buffer)
{
    const struct ddpm_source *source = hashing->source;
    struct ddpm_content *content = &hashing->contents[index];
    uint64_t hash;
    DDPM_TRY(source->kind->stamp(source, index, &content->stamp));
    if (hashing->kept && hashing->kept[index].stamp == content->stamp) {
        content->hash = hashing->kept[index].hash;
        return DDPM_OK;
    }
    ddpm_status status = source->kind->hash(source, index, buffer, PIECE_BYTES, &hash);
    if (status != DDPM_OK && !ddpm_source_is_pictures_fault(source, status))
        return status;
    content->hash = mix(status == DDPM_OK ? hash : content->stamp);
    return DDPM_OK;
}

static void keep_failure(struct hashing *hashing, ddpm_status status)
{
    pthread_mutex_lock(&hashing->lock);
    if (hashing->status == DDPM_OK) {
        hashing->status = status;
        if (ddpm_copy_string(&hashing->message, ddpm_error_message()) != DDPM_OK)
            hashing->message = NULL;
    }
    pthread_mutex_unlock(&hashing->lock);
}

static void hash_range(void *context, int64_t begin, int64_t end, int thread)
{
    struct hashing *hashing = context;
    void *buffer = NULL;
    (void)thread;
    ddpm_status status = ddpm_new_array(&buffer, PIECE_BYTES, 1, "a piece of a picture");
    for (int64_t i = begin; i < end && status == DDPM_OK; ++i)
        status = hash_item(hashing, i, buffer);
    if (status != DDPM_OK)
        keep_failure(hashing, status);
    free(buffer);
}

static ddpm_status hash_all(struct hashing *hashing)
{
    struct ddpm_source *source = hashing->source;
    if (!hashing->kept && source->count >= WORTH_SAYING)
        ddpm_log(DDPM_LOG_INFO,
                 "%s: reading all %lld pictures once, to set some aside by their contents",
                 source->path, (long long)source->count);
    pthread_mutex_init(&hashing->lock, NULL);
    ddpm_parallel_for(source->options.threads, source->count, ITEMS_AT_ONCE, hash_range, hashing);
    pthread_mutex_destroy(&hashing->lock);
    if (hashing->status != DDPM_OK)
        ddpm_raise(hashing->status, "%s", hashing->message ? hashing->message : "no memory");
    free(hashing->message);
    return hashing->status;
}

/* Read the kept hashes of this many pictures, or NULL. A file with any other content will be
 * rewritten. */
static ddpm_status read_kept(struct ddpm_content **out, const char *path, int64_t count)
{
    struct ddpm_npy npy;
    *out = NULL;
    if (!path || !ddpm_path_exists(path))
        return DDPM_OK;
    ddpm_status status = ddpm_npy_open(&npy, path);
    if (status != DDPM_OK)
        return status == DDPM_ERROR_MEMORY ? status : DDPM_OK;
    if (npy.dtype == DDPM_NPY_I64 && npy.rank == 2 && npy.shape[0] == count && npy.shape[1] == 2)
        status = ddpm_new_array((void **)out, (size_t)count, sizeof **out, "hashes of pictures");
    if (*out)
        memcpy(*out, npy.data, npy.bytes); /* the source may be unaligned */
    ddpm_npy_close(&npy);
    return status;
}

ddpm_status ddpm_contents_make(struct ddpm_content **out, struct ddpm_source *source,
                               const char *kept)
{
    struct ddpm_content *known = NULL;
    struct hashing hashing = {.source = source};
    *out = NULL;
    DDPM_TRY(read_kept(&known, kept, source->count));
    hashing.kept = known;
    ddpm_status status = ddpm_new_array((void **)&hashing.contents, (size_t)source->count,
                                        sizeof *hashing.contents, "hashes of pictures");
    if (status == DDPM_OK)
        status = hash_all(&hashing);
    free(known);
    if (status != DDPM_OK)
        free(hashing.contents);
    else
        *out = hashing.contents;
    return status;
}

ddpm_status ddpm_contents_keep(const struct ddpm_content *contents, int64_t count, const char *path)
{
    return ddpm_npy_write(path, DDPM_NPY_I64, 2, (const int64_t[]){count, 2}, contents);
}

bool ddpm_content_is_set_aside(uint64_t hash, double fraction)
{
    return (double)(hash >> 11) * 0x1p-53 < fraction;
}

static int by_hash(const void *a, const void *b)
{
    const struct ddpm_hashed_item *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

ddpm_status ddpm_contents_sort(struct ddpm_hashed_item **out, int64_t *out_count,
                               const struct ddpm_content *contents, int64_t count, double fraction,
                               bool aside)
{
    struct ddpm_hashed_item *items;
    int64_t found = 0, kept = 0;
    DDPM_TRY(ddpm_new_array((void **)&items, (size_t)count, sizeof *items, "a list of pictures"));
    for (int64_t i = 0; i < count; ++i)
        if (ddpm_content_is_set_aside(contents[i].hash, fraction) == aside)
            items[found++] = (struct ddpm_hashed_item){contents[i].hash, i};
    if (found > 0)
        qsort(items, (size_t)found, sizeof *items, by_hash);
    for (int64_t i = 0; i < found; ++i)
        if (kept == 0 || items[i].hash != items[kept - 1].hash)
            items[kept++] = items[i];
    *out = items;
    *out_count = kept;
    return DDPM_OK;
}

int64_t ddpm_contents_common(const struct ddpm_hashed_item *a, int64_t a_count,
                             const struct ddpm_hashed_item *b, int64_t b_count)
{
    int64_t common = 0;
    for (int64_t i = 0, k = 0; i < a_count && k < b_count;) {
        common += a[i].hash == b[k].hash;
        if (a[i].hash <= b[k].hash)
            ++i;
        else
            ++k;
    }
    return common;
}

/* .npz files through libzip. */
#include "formats/npz.h"

#include <stdlib.h>

#ifdef HAVE_LIBZIP

#include <string.h>

#include <zip.h>

#include "core/memory.h"

/* Deflate compresses at most by this factor. */
enum { MOST_DEFLATED = 1032 };

/* The name of a member in the archive. */
struct name {
    char text[64];
};

static ddpm_status name_of(const struct ddpm_npz_array *array, struct name *out)
{
    return ddpm_path_format(out->text, sizeof out->text, "%s.npy", array->name);
}

static ddpm_status raise_zip(const char *path, const char *what, zip_error_t *error)
{
    const ddpm_status status = ddpm_raise(
        zip_error_code_zip(error) == ZIP_ER_MEMORY ? DDPM_ERROR_MEMORY : DDPM_ERROR_FORMAT,
        "%s: %s: %s", path, what, zip_error_strerror(error));
    zip_error_fini(error);
    return status;
}

/* Raise an archive's error and discard its changes. */
static ddpm_status raise_archive(const char *path, const char *what, zip_t *archive)
{
    return ddpm_raise(DDPM_ERROR_FORMAT, "%s: %s: %s", path, what, zip_strerror(archive));
}

static ddpm_status add_member(zip_t *archive, const char *path, const struct ddpm_npz_array *array)
{
    char header[DDPM_NPY_HEADER_BYTES];
    struct name name;
    uint8_t *bytes;
    DDPM_TRY(name_of(array, &name));
    const size_t head = ddpm_npy_header(header, DDPM_NPY_F64, array->rank, array->shape);
    size_t values = sizeof(double);
    for (int i = 0; i < array->rank; ++i)
        values *= (size_t)array->shape[i];
    DDPM_TRY(ddpm_new_array((void **)&bytes, head + values, 1, "a member of a .npz file"));
    memcpy(bytes, header, head);
    memcpy(bytes + head, array->values, values);
    zip_source_t *source = zip_source_buffer(archive, bytes, head + values, 1);
    if (!source) {
        free(bytes);
        return ddpm_raise_memory(head + values, "a member of a .npz file");
    }
    const zip_int64_t place = zip_file_add(archive, name.text, source, ZIP_FL_ENC_UTF_8);
    if (place < 0) {
        zip_source_free(source); /* frees the bytes too */
        return raise_archive(path, "cannot make a .npz file", archive);
    }
    /* 1980-01-01, the first date of a zip file, as NumPy has it. */
    if (zip_set_file_compression(archive, (zip_uint64_t)place, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive, (zip_uint64_t)place, 0, 0x21, 0) != 0)
        return raise_archive(path, "cannot make a .npz file", archive);
    return DDPM_OK;
}

/* Copy what the archive wrote to `source` into a file. */
static ddpm_status write_source(const char *path, zip_source_t *source)
{
    uint8_t *bytes = NULL;
    zip_stat_t about;
    ddpm_status status = DDPM_OK;
    if (zip_source_stat(source, &about) != 0 || zip_source_open(source) != 0)
        return raise_zip(path, "cannot make a .npz file", zip_source_error(source));
    status = ddpm_new_array((void **)&bytes, (size_t)about.size, 1, "a .npz file");
    if (status == DDPM_OK && zip_source_read(source, bytes, about.size) != (zip_int64_t)about.size)
        status = raise_zip(path, "cannot make a .npz file", zip_source_error(source));
    if (status == DDPM_OK)
        status = ddpm_file_write_whole(path, bytes, (size_t)about.size);
    zip_source_close(source);
    free(bytes);
    return status;
}

ddpm_status ddpm_npz_write(const char *path, const struct ddpm_npz_array *arrays, size_t count)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(NULL, 0, 0, &error);
    if (!source)
        return raise_zip(path, "cannot make a .npz file", &error);
    zip_t *archive = zip_open_from_source(source, ZIP_TRUNCATE, &error);
    if (!archive) {
        zip_source_free(source);
        return raise_zip(path, "cannot make a .npz file", &error);
    }
    zip_source_keep(source); /* beyond the archive's life */
    ddpm_status status = DDPM_OK;
    for (size_t i = 0; i < count && status == DDPM_OK; ++i)
        status = add_member(archive, path, &arrays[i]);
    if (status == DDPM_OK && zip_close(archive) != 0)
        status = raise_archive(path, "cannot make a .npz file", archive);
    else if (status == DDPM_OK)
        archive = NULL;
    if (archive)
        zip_discard(archive);
    if (status == DDPM_OK)
        status = write_source(path, source);
    zip_source_free(source);
    return status;
}

/* The values of a parsed member as doubles. */
static ddpm_status take_values(const struct ddpm_npy *npy, const char *label,
                               struct ddpm_npz_array *out)
{
    if (npy->dtype != DDPM_NPY_F64 && npy->dtype != DDPM_NPY_F32)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got values of type %s, want float64 or float32",
                          label, ddpm_npy_dtype_name(npy->dtype));
    DDPM_TRY(ddpm_new_array((void **)&out->values, (size_t)npy->count, sizeof(double), "an array"));
    for (int64_t i = 0; i < npy->count; ++i) {
        float f32;
        if (npy->dtype == DDPM_NPY_F64) {
            memcpy(&out->values[i], (const char *)npy->data + (size_t)i * sizeof(double),
                   sizeof(double));
            continue;
        }
        memcpy(&f32, (const char *)npy->data + (size_t)i * sizeof f32, sizeof f32);
        out->values[i] = (double)f32;
    }
    out->rank = npy->rank;
    memcpy(out->shape, npy->shape, sizeof out->shape);
    return DDPM_OK;
}

/* Read a whole member. It states its size; having fewer bytes is an error. */
static ddpm_status read_bytes(zip_t *archive, const char *path, const char *name, uint8_t **out,
                              size_t *bytes)
{
    zip_stat_t about;
    *out = NULL;
    if (zip_stat(archive, name, 0, &about) != 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: has no member %s, want one", path, name);
    const zip_uint64_t wanted = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if ((about.valid & wanted) != wanted || about.size > DDPM_NPZ_LIMIT ||
        about.size / MOST_DEFLATED > about.comp_size)
        return ddpm_raise(
            DDPM_ERROR_FORMAT,
            "%s: member %s claims to unpack %llu bytes to %llu, want at most %zu, and "
            "at most %d times as many",
            path, name, (unsigned long long)about.comp_size, (unsigned long long)about.size,
            DDPM_NPZ_LIMIT, MOST_DEFLATED);
    zip_file_t *member = zip_fopen(archive, name, 0);
    if (!member)
        return raise_archive(path, name, archive);
    *bytes = (size_t)about.size;
    ddpm_status status = ddpm_new_array((void **)out, *bytes + 1, 1, "a member of a .npz file");
    /* libzip checks the checksum when a read reaches the end. */
    if (status == DDPM_OK && (zip_fread(member, *out, about.size) != (zip_int64_t)about.size ||
                              zip_fread(member, *out + *bytes, 1) != 0))
        status = ddpm_raise(DDPM_ERROR_FORMAT, "%s: member %s is damaged: %s", path, name,
                            zip_file_strerror(member));
    zip_fclose(member);
    return status;
}

static ddpm_status read_member(zip_t *archive, const char *path, struct ddpm_npz_array *array)
{
    struct name name;
    struct ddpm_npy npy;
    uint8_t *bytes;
    char *label = NULL;
    size_t count = 0;
    DDPM_TRY(name_of(array, &name));
    ddpm_status status = read_bytes(archive, path, name.text, &bytes, &count);
    if (status == DDPM_OK)
        status = ddpm_format(&label, "%s, member %s", path, name.text);
    if (status == DDPM_OK)
        status = ddpm_npy_parse(&npy, bytes, count, label);
    if (status == DDPM_OK)
        status = take_values(&npy, label, array);
    free(label);
    free(bytes);
    return status;
}

ddpm_status ddpm_npz_parse(const void *bytes, size_t size, const char *label,
                           struct ddpm_npz_array *arrays, size_t count)
{
    zip_error_t error;
    ddpm_status status = DDPM_OK;
    for (size_t i = 0; i < count; ++i)
        arrays[i].values = NULL;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(bytes, size, 0, &error);
    zip_t *archive =
        source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    if (!archive) {
        zip_source_free(source);
        return raise_zip(label, "not a .npz file", &error);
    }
    for (size_t i = 0; i < count && status == DDPM_OK; ++i)
        status = read_member(archive, label, &arrays[i]);
    for (size_t i = 0; i < count && status != DDPM_OK; ++i) {
        free(arrays[i].values);
        arrays[i].values = NULL;
    }
    zip_discard(archive);
    return status;
}

#else

static ddpm_status refuse(const char *path)
{
    return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: this build has no libzip, which .npz needs",
                      path);
}

ddpm_status ddpm_npz_write(const char *path, const struct ddpm_npz_array *arrays, size_t count)
{
    (void)arrays;
    (void)count;
    return refuse(path);
}

ddpm_status ddpm_npz_parse(const void *bytes, size_t size, const char *label,
                           struct ddpm_npz_array *arrays, size_t count)
{
    (void)bytes;
    (void)size;
    for (size_t i = 0; i < count; ++i)
        arrays[i].values = NULL;
    return refuse(label);
}

#endif

ddpm_status ddpm_npz_read(const char *path, struct ddpm_npz_array *arrays, size_t count)
{
    void *bytes;
    size_t size;
    for (size_t i = 0; i < count; ++i)
        arrays[i].values = NULL;
    DDPM_TRY(ddpm_file_read_whole(&bytes, &size, path, DDPM_NPZ_LIMIT));
    ddpm_status status = ddpm_npz_parse(bytes, size, path, arrays, count);
    free(bytes);
    return status;
}

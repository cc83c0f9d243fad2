/* Zip files of torch.save. */
#include "formats/torch_zip.h"

#include <stdlib.h>

#ifdef HAVE_LIBZIP

#include <string.h>

#include <zip.h>

#include "core/memory.h"

struct ddpm_torch_zip {
    zip_t *archive;
    char *folder;  /* with the slash */
    uint64_t left; /* bytes that members may still hold */
};

/* If the file has "archive/data.pkl", the folder is "archive/". */
static ddpm_status find_folder(struct ddpm_torch_zip *zip)
{
    static const char end[] = "/data.pkl";
    const zip_int64_t count = zip_get_num_entries(zip->archive, 0);
    for (zip_int64_t i = 0; i < count; ++i) {
        const char *name = zip_get_name(zip->archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        const size_t length = name ? strlen(name) : 0;
        if (length > strlen(end) && strcmp(name + length - strlen(end), end) == 0 &&
            strchr(name, '/') == name + length - strlen(end))
            return ddpm_format(&zip->folder, "%.*s/", (int)(length - strlen(end)), name);
    }
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "got a zip file without data.pkl, want one written by torch.save");
}

static ddpm_status open_archive(struct ddpm_torch_zip *zip, const uint8_t *data, size_t bytes)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(data, bytes, 0, &error);
    zip->archive = source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    if (zip->archive)
        return find_folder(zip);
    const ddpm_status status = ddpm_raise(
        zip_error_code_zip(&error) == ZIP_ER_MEMORY ? DDPM_ERROR_MEMORY : DDPM_ERROR_FORMAT,
        "not a zip file, or damaged: %s", zip_error_strerror(&error));
    zip_error_fini(&error);
    zip_source_free(source);
    return status;
}

ddpm_status ddpm_torch_zip_open(struct ddpm_torch_zip **out, const uint8_t *data, size_t bytes)
{
    struct ddpm_torch_zip *zip;
    *out = NULL;
    DDPM_TRY(DDPM_NEW(&zip, "an open zip file"));
    zip->left = bytes;
    ddpm_status status = open_archive(zip, data, bytes);
    if (status != DDPM_OK)
        ddpm_torch_zip_close(&zip);
    *out = zip;
    return status;
}

static ddpm_status read_bytes(struct ddpm_torch_zip *zip, const char *path, zip_uint64_t size,
                              uint8_t **out)
{
    zip_file_t *member = zip_fopen(zip->archive, path, 0);
    if (!member)
        return ddpm_raise(DDPM_ERROR_FORMAT, "member %s: %s", path, zip_strerror(zip->archive));
    ddpm_status status =
        ddpm_new_array((void **)out, (size_t)size + 1, 1, "a member of a zip file");
    /* libzip checks the checksum when a read reaches the end. */
    if (status == DDPM_OK && (zip_fread(member, *out, size) != (zip_int64_t)size ||
                              zip_fread(member, *out + size, 1) != 0))
        status = ddpm_raise(DDPM_ERROR_FORMAT, "member %s is damaged: %s", path,
                            zip_file_strerror(member));
    zip_fclose(member);
    return status;
}

ddpm_status ddpm_torch_zip_read(struct ddpm_torch_zip *zip, const char *name, bool optional,
                                uint8_t **out, size_t *bytes)
{
    const zip_uint64_t wanted = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    zip_stat_t about;
    char *path;
    *out = NULL;
    *bytes = 0;
    DDPM_TRY(ddpm_format(&path, "%s%s", zip->folder, name));
    ddpm_status status = DDPM_OK;
    if (zip_stat(zip->archive, path, ZIP_FL_ENC_RAW, &about) != 0) {
        if (!optional)
            status = ddpm_raise(DDPM_ERROR_FORMAT, "has no member %.200s, want one", path);
    } else if ((about.valid & wanted) != wanted || about.comp_method != ZIP_CM_STORE ||
               about.size != about.comp_size || about.size > zip->left) {
        status = ddpm_raise(DDPM_ERROR_FORMAT,
                            "member %.200s is compressed or larger than the file, want it stored, "
                            "as torch.save does",
                            path);
    } else {
        zip->left -= about.size;
        *bytes = (size_t)about.size;
        status = read_bytes(zip, path, about.size, out);
    }
    if (status != DDPM_OK) {
        free(*out);
        *out = NULL;
    }
    free(path);
    return status;
}

void ddpm_torch_zip_close(struct ddpm_torch_zip **pointer)
{
    struct ddpm_torch_zip *zip = *pointer;
    *pointer = NULL;
    if (!zip)
        return;
    if (zip->archive)
        zip_discard(zip->archive);
    free(zip->folder);
    free(zip);
}

#else

ddpm_status ddpm_torch_zip_open(struct ddpm_torch_zip **out, const uint8_t *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    *out = NULL;
    return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                      "this build has no libzip, which the zip files of torch.save need; "
                      ".safetensors and torch.save's older form are read without it");
}

ddpm_status ddpm_torch_zip_read(struct ddpm_torch_zip *zip, const char *name, bool optional,
                                uint8_t **out, size_t *bytes)
{
    (void)zip;
    (void)optional;
    *out = NULL;
    *bytes = 0;
    return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: this build has no libzip", name);
}

void ddpm_torch_zip_close(struct ddpm_torch_zip **zip)
{
    *zip = NULL;
}

#endif

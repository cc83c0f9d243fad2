/* What values a file contains, and whether they are sound. */
#include "health.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "program.h"
#include "streams.h"

struct statistics {
    int64_t count, bad; /* bad: not finite */
    double least, most, sum, squares;
    char first_bad[256];
};

static void take(struct statistics *s, double value)
{
    ++s->count;
    if (!isfinite(value)) {
        ++s->bad;
        return;
    }
    if (s->count - s->bad == 1)
        s->least = s->most = value;
    s->least = value < s->least ? value : s->least;
    s->most = value > s->most ? value : s->most;
    s->sum += value;
    s->squares += value * value;
}

static void print_statistics(const struct statistics *s)
{
    const double good = (double)(s->count - s->bad);
    if (good > 0)
        printf("  values    %.5g … %.5g, mean %.5g, root mean square %.5g\n", s->least, s->most,
               s->sum / good, sqrt(s->squares / good));
    if (s->bad == 0) {
        printf("  health    every value is finite\n");
    } else {
        printf("  health    BAD: %" PRId64 " of %" PRId64 " values are not finite", s->bad,
               s->count);
        ddpm_print_text(*s->first_bad ? ", first in " : "", s->first_bad, "\n");
    }
}

static ddpm_status take_tensor(struct statistics *s, const struct ddpm_safetensors_tensor *tensor)
{
    float *values;
    const int64_t bad = s->bad;
    DDPM_TRY(
        ddpm_new_array((void **)&values, (size_t)tensor->count + 1, sizeof *values, "a tensor"));
    ddpm_status status = ddpm_safetensors_read_f32(tensor, values, tensor->count);
    for (int64_t i = 0; status == DDPM_OK && i < tensor->count; ++i)
        take(s, (double)values[i]);
    if (bad == 0 && s->bad > 0)
        snprintf(s->first_bad, sizeof s->first_bad, "%s", tensor->name);
    free(values);
    return status;
}

static ddpm_status print_tensors(const struct ddpm_safetensors *file)
{
    struct statistics s = {0};
    char text[DDPM_TEXT_BYTES];
    const size_t count = ddpm_safetensors_count(file);
    for (size_t i = 0; i < ddpm_safetensors_metadata_count(file); ++i) {
        struct ddpm_safetensors_text note = ddpm_safetensors_metadata_at(file, i);
        ddpm_print_note("  note      ", note.key, note.value);
    }
    for (size_t i = 0; i < count; ++i)
        DDPM_TRY(take_tensor(&s, ddpm_safetensors_at(file, i)));
    printf("  tensors   %zu of type %s, %s parameters\n", count,
           count ? ddpm_safetensors_dtype_name(ddpm_safetensors_at(file, 0)->dtype) : "none",
           ddpm_count_text(text, s.count));
    print_statistics(&s);
    return DDPM_OK;
}

ddpm_status ddpm_print_weights(const char *path)
{
    struct ddpm_safetensors *file;
    DDPM_TRY(ddpm_safetensors_open(&file, path));
    ddpm_print_text("  file      ", path, "\n");
    ddpm_status status = print_tensors(file);
    ddpm_safetensors_close(&file);
    return status;
}

const char *ddpm_kinds_text(char buffer[DDPM_KINDS_TEXT_BYTES],
                            const int64_t kinds[DDPM_PICTURE_KINDS])
{
    static const char *const names[DDPM_PICTURE_KINDS] = {
        [DDPM_PICTURE_BLACK] = "black",
        [DDPM_PICTURE_WHITE] = "white",
        [DDPM_PICTURE_ONE_COLOUR] = "of one colour",
        [DDPM_PICTURE_SATURATED] = "saturated",
        [DDPM_PICTURE_NOISE] = "of pure noise",
    };
    size_t used = 0;
    snprintf(buffer, DDPM_KINDS_TEXT_BYTES, "none empty");
    for (int i = 0; i < DDPM_PICTURE_KINDS; ++i)
        if (names[i] && kinds[i] > 0)
            used += (size_t)snprintf(buffer + used, DDPM_KINDS_TEXT_BYTES - used,
                                     "%s%" PRId64 " %s", used ? ", " : "", kinds[i], names[i]);
    return buffer;
}

bool ddpm_kinds_any(const int64_t kinds[DDPM_PICTURE_KINDS])
{
    int64_t any = 0;
    for (int i = 0; i < DDPM_PICTURE_KINDS; ++i)
        any += i == DDPM_PICTURE_USUAL ? 0 : kinds[i];
    return any > 0;
}

/* Counts of empty pictures among uint8 [N, H, W, C]. */
static void print_kinds(const struct ddpm_npy *npy)
{
    const int64_t height = npy->shape[1], width = npy->shape[2], channels = npy->shape[3];
    int64_t kinds[DDPM_PICTURE_KINDS] = {0};
    char text[DDPM_KINDS_TEXT_BYTES];
    if (npy->count == 0 || height > INT_MAX || width > INT_MAX || channels > 4)
        return;
    for (int64_t i = 0; i < npy->shape[0]; ++i)
        ++kinds[ddpm_picture_kind_of((const uint8_t *)npy->data + i * height * width * channels,
                                     (int)height, (int)width, (int)channels)];
    printf("  of these  %s\n", ddpm_kinds_text(text, kinds));
}

static double value_at(const struct ddpm_npy *npy, int64_t index)
{
    const char *place = (const char *)npy->data + (size_t)index * ddpm_npy_dtype_bytes(npy->dtype);
#define CASE(dtype, type)                                                                          \
    case dtype: {                                                                                  \
        type value;                                                                                \
        memcpy(&value, place, sizeof value);                                                       \
        return (double)value;                                                                      \
    }
    switch (npy->dtype) {
        CASE(DDPM_NPY_U8, uint8_t)
        CASE(DDPM_NPY_I32, int32_t)
        CASE(DDPM_NPY_I64, int64_t)
        CASE(DDPM_NPY_F32, float)
        CASE(DDPM_NPY_F64, double)
        CASE(DDPM_NPY_BOOL, uint8_t)
        CASE(DDPM_NPY_I8, int8_t)
        CASE(DDPM_NPY_U16, uint16_t)
        CASE(DDPM_NPY_I16, int16_t)
        CASE(DDPM_NPY_U32, uint32_t)
        CASE(DDPM_NPY_U64, uint64_t)
    }
#undef CASE
    return 0;
}

/* Grey pictures so narrow are more likely one picture with this many channels. */
enum { MOST_CHANNELS_OF_ONE = 7 };

ddpm_status ddpm_print_array(const char *path)
{
    struct ddpm_npy npy;
    struct statistics s = {0};
    char text[DDPM_TEXT_BYTES];
    DDPM_TRY(ddpm_npy_open(&npy, path));
    printf("array of %s, shape [", ddpm_npy_dtype_name(npy.dtype));
    for (int i = 0; i < npy.rank; ++i)
        printf("%s%" PRId64, i ? ", " : "", npy.shape[i]);
    printf("], %s\n", ddpm_bytes_text(text, (double)npy.bytes));
    const bool is_one = npy.rank == 3 && npy.shape[2] <= MOST_CHANNELS_OF_ONE;
    if (npy.dtype == DDPM_NPY_U8)
        ddpm_npy_add_channel(&npy);
    if (npy.dtype == DDPM_NPY_U8 && npy.rank == 4) {
        printf("  pictures  %s of %" PRId64 "x%" PRId64 " with %" PRId64 " channel%s%s\n",
               ddpm_count_text(text, npy.shape[0]), npy.shape[1], npy.shape[2], npy.shape[3],
               npy.shape[3] == 1 ? "" : "s",
               ddpm_npy_channels_first(&npy)
                   ? "; or is that [N,channels,height,width]? want [N,height,width,channels]"
               : is_one ? "; or is that one picture [height,width,channels]? want "
                          "[N,height,width,channels]"
                        : "");
        print_kinds(&npy);
    } else if (npy.dtype != DDPM_NPY_U8 && (npy.rank == 3 || npy.rank == 4)) {
        printf("  pictures  none: ddpm train reads uint8 [N,height,width,channels]; to convert "
               "data, see \"Rasters\" in docs/handbook.md\n");
    }
    for (int64_t i = 0; i < npy.count; ++i)
        take(&s, value_at(&npy, i));
    print_statistics(&s);
    ddpm_npy_close(&npy);
    return DDPM_OK;
}

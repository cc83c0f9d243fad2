/* Pictures and folders of them, for ddpm info. */
#include "info_pictures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/folder.h"
#include "data/noticed.h"
#include "data/picture.h"
#include "data/reasons.h"
#include "formats/png_write.h"
#include "from_pictures.h"
#include "program.h"
#include "run_pictures.h"
#include "streams.h"

/* How many pictures of a folder to decode, spread evenly over it: enough to see what it is, in a
 * second or two. */
enum { MOST_LOOKED_AT = 200, MOST_FORMATS = 8 };

static const char *format_of(const char *path)
{
    unsigned char head[DDPM_PICTURE_MAGIC_BYTES];
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    const size_t got = fread(head, 1, sizeof head, file);
    (void)fclose(file);
    return ddpm_picture_format(head, got);
}

static ddpm_status print_texts(const char *path)
{
    struct ddpm_png_text *texts;
    size_t count;
    DDPM_TRY(ddpm_png_read_text(&texts, &count, path));
    if (count > 0)
        printf(", %zu text%s", count, count == 1 ? "" : "s");
    printf("\n");
    for (size_t i = 0; i < count; ++i)
        ddpm_print_note("", texts[i].key, texts[i].value);
    ddpm_png_text_free(texts, count);
    return DDPM_OK;
}

/* ", 1 channel of 16 bits with values within 0 to 4095, 30 pages (only the first is used)". */
static void print_stored(const struct ddpm_picture_stored *stored)
{
    printf(", %d channel%s of %d bit%s", stored->channels, stored->channels == 1 ? "" : "s",
           stored->bits, stored->bits == 1 ? "" : "s");
    if (stored->bits > 8)
        printf(" with values within %d to %d (only the upper 8 bits are used)", stored->least << 8,
               (stored->most << 8) + 255);
    if (stored->pages > 1)
        printf(", %" PRId64 " pages (only the first is used)", stored->pages);
}

ddpm_status ddpm_info_picture(const char *path)
{
    struct ddpm_picture picture = {0};
    const char *format = format_of(path);
    ddpm_status status = ddpm_picture_load(&picture, path, 3, 0);
    if (status == DDPM_OK) {
        printf("%s picture of %dx%d pixels (height x width)", format ? format : "unknown",
               picture.height, picture.width);
        print_stored(&picture.stored);
        if (picture.remark)
            printf(", %s", picture.remark);
        if (format && strcmp(format, "PNG") == 0)
            status = print_texts(path);
        else
            printf("\n");
    }
    ddpm_picture_free(&picture);
    return status;
}

/* Summary of the pictures that were looked at. */
struct survey {
    int64_t looked_at, bad;
    int least_height, least_width, most_height, most_width;
    const char *formats[MOST_FORMATS];
    int64_t counts[MOST_FORMATS];
    struct ddpm_noticed noticed;
    struct ddpm_reasons reasons; /* why pictures are bad */
};

static void count_format(struct survey *survey, const char *format)
{
    int place = 0;
    while (place < MOST_FORMATS && survey->formats[place] && survey->formats[place] != format)
        ++place;
    if (!format || place == MOST_FORMATS)
        return;
    survey->formats[place] = format;
    ++survey->counts[place];
}

static void take_size(struct survey *survey, const struct ddpm_picture *picture)
{
    const bool first = survey->looked_at == survey->bad;
    const int height = picture->height, width = picture->width;
    if (first || height < survey->least_height)
        survey->least_height = height;
    if (first || width < survey->least_width)
        survey->least_width = width;
    if (first || height > survey->most_height)
        survey->most_height = height;
    if (first || width > survey->most_width)
        survey->most_width = width;
}

static ddpm_status look_at_file(struct survey *survey, struct ddpm_picture *picture,
                                const char *path, const char *name)
{
    if (ddpm_picture_load(picture, path, 3, 0) != DDPM_OK) {
        ++survey->looked_at;
        ++survey->bad;
        ddpm_log(DDPM_LOG_DEBUG, "bad: %s", ddpm_error_message());
        return ddpm_reasons_add(&survey->reasons, name, ddpm_error_message());
    }
    take_size(survey, picture);
    ++survey->looked_at;
    count_format(survey, format_of(path));
    ddpm_notice(&survey->noticed, &picture->stored, picture->pixels,
                (int64_t)picture->height * picture->width, picture->channels);
    return DDPM_OK;
}

static ddpm_status look_at(struct survey *survey, const struct ddpm_folder *folder)
{
    struct ddpm_picture picture = {0};
    ddpm_status status = DDPM_OK;
    const size_t wanted = folder->count < MOST_LOOKED_AT ? folder->count : MOST_LOOKED_AT;
    for (size_t i = 0; i < wanted && status == DDPM_OK; ++i) {
        char *path;
        status = ddpm_folder_file_path(folder, i * folder->count / wanted, &path);
        if (status != DDPM_OK)
            break;
        status =
            look_at_file(survey, &picture, path, folder->files[i * folder->count / wanted].name);
        free(path);
    }
    ddpm_picture_free(&picture);
    return status;
}

static void print_channels(const struct ddpm_noticed *noticed)
{
    const char *comma = "channels    ";
    char count[DDPM_TEXT_BYTES];
    for (int i = 0; i <= DDPM_NOTICED_CHANNELS; ++i) {
        const int channels = (i + 1) % (DDPM_NOTICED_CHANNELS + 1); /* the many, [0], come last */
        const int64_t pictures = noticed->channels[channels];
        if (pictures == 0)
            continue;
        if (channels == 0)
            printf("%smore than %d", comma, DDPM_NOTICED_CHANNELS);
        else
            printf("%s%d", comma, channels);
        if (pictures < noticed->looked_at)
            printf(" in %s pictures", ddpm_count_text(count, pictures));
        comma = ", ";
    }
    printf("\n");
}

/* What training would say about them. */
static void print_noticed(const struct ddpm_noticed *noticed)
{
    char text[DDPM_NOTICED_BYTES];
    bool severe;
    print_channels(noticed);
    if (noticed->wide > 0)
        printf("bits        %s\n", ddpm_noticed_bits(text, noticed, &severe));
    if (noticed->paged > 0)
        printf("pages       up to %" PRId64 " in %" PRId64
               " of them; the first page of each is used\n",
               noticed->most_pages, noticed->paged);
    if (ddpm_noticed_empty(noticed) > 0)
        printf("empty       %" PRId64 " black, %" PRId64 " white, %" PRId64 " of one colour\n",
               noticed->kinds[DDPM_PICTURE_BLACK], noticed->kinds[DDPM_PICTURE_WHITE],
               noticed->kinds[DDPM_PICTURE_ONE_COLOUR]);
}

static void print_bad(void *user, const char *line)
{
    (void)user;
    ddpm_print_text("bad         ", line, "\n");
}

static void print_survey(const struct survey *survey)
{
    char count[DDPM_TEXT_BYTES];
    ddpm_reasons_say(&survey->reasons, print_bad, NULL);
    printf("looked at   %" PRId64 " of them: %" PRId64 " bad", survey->looked_at, survey->bad);
    for (int i = 0; i < MOST_FORMATS && survey->formats[i]; ++i)
        printf(", %s %s", ddpm_count_text(count, survey->counts[i]), survey->formats[i]);
    printf("\n");
    if (survey->looked_at == survey->bad)
        return;
    printf("sizes       %d to %d pixels high, %d to %d wide\n", survey->least_height,
           survey->most_height, survey->least_width, survey->most_width);
    print_noticed(&survey->noticed);
}

/* The folder is no run, no checkpoint, and holds no picture. */
static ddpm_status refuse_folder(const struct ddpm_folder *folder)
{
    char text[512];
    const bool any = ddpm_endings_text(&folder->ignored, text, sizeof text)[0];
    return ddpm_raise(
        DDPM_ERROR_FORMAT,
        "%s: got a folder with %s%s, want a run, a checkpoint, or pictures: files that "
        "end in " DDPM_PICTURE_ENDINGS,
        folder->path, any ? "no pictures but " : "nothing to read in it", text);
}

static ddpm_status print_pictures(const struct ddpm_folder *folder, struct survey *survey)
{
    char count[DDPM_TEXT_BYTES], bytes[DDPM_TEXT_BYTES], ignored[512];
    double all = 0;
    for (size_t i = 0; i < folder->count; ++i)
        all += (double)folder->files[i].bytes;
    printf("folder of pictures\npictures    %s, %s together\n",
           ddpm_count_text(count, (int64_t)folder->count), ddpm_bytes_text(bytes, all));
    if (ddpm_endings_text(&folder->ignored, ignored, sizeof ignored)[0])
        ddpm_print_text("ignored     ", ignored, "\n");
    DDPM_TRY(look_at(survey, folder));
    print_survey(survey);
    if (survey->looked_at == survey->bad)
        printf("to train    nothing: none of the pictures looked at can be read\n");
    else if ((int64_t)folder->count < DDPM_FEW_PICTURES)
        printf("to train    " DDPM_FEW_PICTURES_TEXT "\n");
    return DDPM_OK;
}

ddpm_status ddpm_info_picture_folder(const char *path)
{
    struct ddpm_folder folder;
    struct survey survey = {0};
    DDPM_TRY(ddpm_folder_scan(&folder, path));
    ddpm_status status = ddpm_leave_out_grid(&folder);
    if (status == DDPM_OK)
        status = folder.count == 0 ? refuse_folder(&folder) : print_pictures(&folder, &survey);
    ddpm_reasons_free(&survey.reasons);
    ddpm_folder_free(&folder);
    return status;
}

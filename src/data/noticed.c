/* Counting what pictures are like, and saying what is unusual. */
#include "data/noticed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"

/* Large pictures are judged by some of their pixels. */
enum { ENOUGH_PIXELS = 1 << 16 };

/* Of the 256 levels; with fewer, pictures look flat or turn black. */
enum { FEW_LEVELS = 64 };

static enum ddpm_picture_kind kind_of(const uint8_t *values, int64_t pixels, int channels)
{
    const int64_t step = pixels / ENOUGH_PIXELS + 1, taken = pixels / step;
    if (step == 1)
        return ddpm_picture_kind(values, pixels, channels);
    uint8_t *some = malloc((size_t)taken * (size_t)channels);
    if (!some) /* it is only a remark */
        return DDPM_PICTURE_USUAL;
    for (int64_t i = 0; i < taken; ++i)
        memcpy(some + i * channels, values + i * step * channels, (size_t)channels);
    const enum ddpm_picture_kind kind = ddpm_picture_kind(some, taken, channels);
    free(some);
    return kind;
}

static void take_stored(struct ddpm_noticed *noticed, const struct ddpm_picture_stored *stored)
{
    const int channels = stored->channels;
    ++noticed->channels[channels <= DDPM_NOTICED_CHANNELS ? channels : 0];
    noticed->extra += stored->extra;
    noticed->paged += stored->pages > 1;
    if (stored->pages > noticed->most_pages)
        noticed->most_pages = stored->pages;
    if (stored->bits <= 8)
        return;
    if (noticed->wide == 0 || stored->least < noticed->least)
        noticed->least = stored->least;
    if (noticed->wide == 0 || stored->most > noticed->most)
        noticed->most = stored->most;
    ++noticed->wide;
}

void ddpm_notice(struct ddpm_noticed *noticed, const struct ddpm_picture_stored *stored,
                 const uint8_t *values, int64_t pixels, int channels)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const enum ddpm_picture_kind kind = kind_of(values, pixels, channels);
    pthread_mutex_lock(&lock);
    ++noticed->looked_at;
    ++noticed->kinds[kind];
    if (stored)
        take_stored(noticed, stored);
    pthread_mutex_unlock(&lock);
}

int64_t ddpm_noticed_empty(const struct ddpm_noticed *noticed)
{
    return noticed->kinds[DDPM_PICTURE_BLACK] + noticed->kinds[DDPM_PICTURE_WHITE] +
           noticed->kinds[DDPM_PICTURE_ONE_COLOUR];
}

const char *ddpm_noticed_bits(char buffer[DDPM_NOTICED_BYTES], const struct ddpm_noticed *noticed,
                              bool *severe)
{
    const int levels = noticed->most - noticed->least + 1;
    *severe = levels < FEW_LEVELS;
    char many[80] = "";
    if (noticed->looked_at > 1)
        snprintf(many, sizeof many, " in %lld of the %lld pictures looked at",
                 (long long)noticed->wide, (long long)noticed->looked_at);
    const int used = snprintf(buffer, DDPM_NOTICED_BYTES,
                              "16 bits per value%s (only the upper 8 are used)", many);
    if (*severe)
        snprintf(
            buffer + used, DDPM_NOTICED_BYTES - (size_t)used,
            "; the values lie within %d to %d, so %d of 256 levels remain%s: stretch them to 0 "
            "to 65535 first, see \"Rasters\" in docs/handbook.md",
            noticed->least << 8, (noticed->most << 8) + 255, levels,
            noticed->most == 0 ? " and all is black" : "");
    return buffer;
}

void ddpm_noticed_say(const struct ddpm_noticed *noticed, const char *path, int channels)
{
    char text[DDPM_NOTICED_BYTES];
    const long long all = noticed->looked_at;
    bool severe;
    if (noticed->wide > 0) {
        (void)ddpm_noticed_bits(text, noticed, &severe);
        ddpm_log(severe ? DDPM_LOG_WARNING : DDPM_LOG_INFO, "%s: %s", path, text);
    }
    if (noticed->paged > 0)
        ddpm_log(DDPM_LOG_WARNING,
                 "%s: %lld of the %lld pictures looked at have several pages, up to %lld; the "
                 "first page of each is used",
                 path, (long long)noticed->paged, all, (long long)noticed->most_pages);
    if (noticed->extra > 0 && channels < 4)
        ddpm_log(DDPM_LOG_INFO,
                 "%s: %lld of the %lld pictures looked at have alpha or another channel besides "
                 "the colours, which is ignored; --channels 4 trains on alpha",
                 path, (long long)noticed->extra, all);
    const int64_t empty = ddpm_noticed_empty(noticed);
    if (empty > 0 && 10 * empty >= noticed->looked_at)
        ddpm_log(DDPM_LOG_WARNING,
                 "%s: %lld of the %lld pictures looked at show nothing: %lld black, %lld white, "
                 "%lld of one colour",
                 path, (long long)empty, all, (long long)noticed->kinds[DDPM_PICTURE_BLACK],
                 (long long)noticed->kinds[DDPM_PICTURE_WHITE],
                 (long long)noticed->kinds[DDPM_PICTURE_ONE_COLOUR]);
}

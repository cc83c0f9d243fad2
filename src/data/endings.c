/* Endings of file names. */
#include "data/endings.h"

#include <stdio.h>
#include <string.h>

#include "core/text.h"

/* How many kinds are listed by name; the others are one count. */
enum { LISTED = 8 };

static const char *ending_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name && dot[1] ? dot : "";
}

/* Only A to Z, whatever the locale. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool ddpm_is_picture_name(const char *name)
{
    static const char *const endings[] = {".jpg",  ".jpeg", ".jpe", ".jfif", ".png",
                                          ".webp", ".bmp",  ".tif", ".tiff"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; ++i)
        if (ddpm_same_word(ending_of(name), endings[i]))
            return true;
    return false;
}

void ddpm_endings_count(struct ddpm_endings *endings, const char *name)
{
    char text[DDPM_ENDING_BYTES] = "";
    const char *ending = ending_of(name);
    if (strlen(ending) < sizeof text)
        for (size_t i = 0; ending[i]; ++i)
            text[i] = lower(ending[i]);
    size_t at = 0;
    while (at < endings->count && strcmp(endings->kept[at].text, text) != 0)
        ++at;
    if (at == DDPM_ENDINGS_KEPT) {
        ++endings->others;
        return;
    }
    if (at == endings->count)
        memcpy(endings->kept[endings->count++].text, text, sizeof text);
    ++endings->kept[at].count;
}

/* The most frequent kind not in `told` yet; endings->count if there is none. */
static size_t next(const struct ddpm_endings *endings, const bool *told)
{
    size_t best = endings->count;
    for (size_t i = 0; i < endings->count; ++i)
        if (!told[i] &&
            (best == endings->count || endings->kept[i].count > endings->kept[best].count))
            best = i;
    return best;
}

char *ddpm_endings_text(const struct ddpm_endings *endings, char *out, size_t bytes)
{
    bool told[DDPM_ENDINGS_KEPT] = {false};
    size_t used = 0, others = endings->others;
    out[0] = 0;
    for (size_t n = 0, at; (at = next(endings, told)) < endings->count; ++n) {
        const char *ending = endings->kept[at].text;
        told[at] = true;
        if (n >= LISTED)
            others += endings->kept[at].count;
        else if (used < bytes)
            used += (size_t)snprintf(out + used, bytes - used, "%s%zu %s%s", used ? ", " : "",
                                     endings->kept[at].count, *ending ? ending : "file",
                                     *ending                        ? ""
                                     : endings->kept[at].count == 1 ? " without an extension"
                                                                    : "s without an extension");
    }
    if (others > 0 && used < bytes)
        (void)snprintf(out + used, bytes - used, ", %zu other%s", others, others == 1 ? "" : "s");
    return out;
}

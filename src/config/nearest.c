/* Which known name is most like a mistyped one. */
#include "config/nearest.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 63 };

static char fold(char c)
{
    return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t ddpm_edit_distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    size_t a_length = strnlen(a, LONGEST), b_length = strnlen(b, LONGEST);
    for (size_t j = 0; j <= b_length; ++j)
        before[j] = last[j] = j;
    for (size_t i = 1; i <= a_length; ++i) {
        now[0] = i;
        for (size_t j = 1; j <= b_length; ++j) {
            size_t differs = fold(a[i - 1]) != fold(b[j - 1]);
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + differs);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                now[j] = least(now[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[b_length];
}

/* "sched" of "schedule". */
static bool is_beginning(const char *wanted, const char *name)
{
    size_t length = 0;
    for (; wanted[length]; ++length)
        if (fold(wanted[length]) != fold(name[length]))
            return false;
    return length >= 3;
}

void ddpm_nearest_offer(struct ddpm_nearest *nearest, const char *name)
{
    size_t distance = ddpm_edit_distance(nearest->wanted, name);
    if (distance > 1 && is_beginning(nearest->wanted, name))
        distance = 1;
    if (nearest->best && nearest->distance <= distance)
        return;
    nearest->best = name;
    nearest->distance = distance;
}

const char *ddpm_nearest_name(const struct ddpm_nearest *nearest)
{
    if (!nearest->best)
        return NULL;
    const size_t length = strlen(nearest->wanted);
    const size_t most = length < 3 ? 0 : length < 7 ? 1 : length < 11 ? 2 : 3;
    /* Many short words are one letter apart, but people rarely get the first letter wrong. */
    const bool same_start = fold(nearest->wanted[0]) == fold(nearest->best[0]);
    if (nearest->distance > most || (length < 5 && !same_start))
        return NULL;
    return nearest->best;
}

const char *ddpm_nearest_text(const struct ddpm_nearest *nearest, const char *mark,
                              char buffer[DDPM_NEAREST_BYTES])
{
    const char *name = ddpm_nearest_name(nearest), *quote = *mark ? "" : "\"";
    buffer[0] = 0;
    if (name)
        snprintf(buffer, DDPM_NEAREST_BYTES, "; the nearest is %s%s%s%s", quote, mark, name, quote);
    return buffer;
}

ddpm_status ddpm_nearest_refuse(const struct ddpm_nearest *nearest, const char *kind,
                                const char *all)
{
    char text[DDPM_NEAREST_BYTES];
    const bool near = *ddpm_nearest_text(nearest, "", text);
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "unknown %s \"%s\"%s%s", kind, nearest->wanted,
                      near ? text : "; want ", near ? "" : all);
}

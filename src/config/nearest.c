/* The known name that is most like a mistyped one. */
#include "config/nearest.h"

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

void ddpm_nearest_offer(struct ddpm_nearest *nearest, const char *name)
{
    size_t distance = ddpm_edit_distance(nearest->wanted, name);
    if (nearest->best && nearest->distance <= distance)
        return;
    nearest->best = name;
    nearest->distance = distance;
}

/* Grouping the reasons why pictures cannot be read. */
#include "data/reasons.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/escape.h"
#include "core/memory.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Are two texts equal but for their numbers, such as the bytes of a truncated file? */
static bool same_kind(const char *a, const char *b)
{
    while (*a && *b) {
        if (is_digit(*a) && is_digit(*b)) {
            a += strspn(a, "0123456789");
            b += strspn(b, "0123456789");
        } else if (*a++ != *b++) {
            return false;
        }
    }
    return *a == *b;
}

static const char *after_name(const char *message, const char *name)
{
    char shown[DDPM_REASON_BYTES]; /* messages are escaped, names are not */
    const size_t length = strlen(ddpm_escape(shown, sizeof shown, name));
    const char *at = length ? strstr(message, shown) : NULL;
    return at && strncmp(at + length, ": ", 2) == 0 ? at + length + 2 : message;
}

/* The group of a text, or one past the last. */
static int find(const struct ddpm_reasons *reasons, const char *text)
{
    int place = 0;
    while (place < reasons->count && !same_kind(reasons->groups[place].text, text))
        ++place;
    return place;
}

ddpm_status ddpm_reasons_add(struct ddpm_reasons *reasons, const char *name, const char *message)
{
    const int place = find(reasons, after_name(message, name));
    if (place == DDPM_REASONS_GROUPS) {
        ++reasons->others;
        return DDPM_OK;
    }
    struct ddpm_reason *group = &reasons->groups[place];
    if (group->count < DDPM_REASONS_NAMES) {
        char *kept = NULL;
        DDPM_TRY(ddpm_copy_string(&kept, message));
        group->messages[group->count] = kept;
        if (group->count == 0)
            group->text = after_name(kept, name);
        reasons->count = place == reasons->count ? place + 1 : reasons->count;
        DDPM_TRY(ddpm_copy_string(&group->names[group->count], name));
    }
    ++group->count;
    return DDPM_OK;
}

bool ddpm_reasons_are_many(const struct ddpm_reasons *reasons, const char *name,
                           const char *message)
{
    const int place = find(reasons, after_name(message, name));
    return place == reasons->count || reasons->groups[place].count > DDPM_REASONS_NAMES;
}

static void say_group(const struct ddpm_reason *reason, ddpm_reason_say *say, void *user)
{
    char line[DDPM_REASON_BYTES];
    if (reason->count <= DDPM_REASONS_NAMES) {
        for (int i = 0; i < reason->count; ++i)
            say(user, reason->messages[i]);
        return;
    }
    snprintf(line, sizeof line, "%lld files: %s: %s, %s, %s and %lld more",
             (long long)reason->count, reason->text, reason->names[0], reason->names[1],
             reason->names[2], (long long)reason->count - DDPM_REASONS_NAMES);
    say(user, line);
}

void ddpm_reasons_say(const struct ddpm_reasons *reasons, ddpm_reason_say *say, void *user)
{
    char line[64];
    for (int i = 0; i < reasons->count; ++i)
        say_group(&reasons->groups[i], say, user);
    if (reasons->others == 0)
        return;
    snprintf(line, sizeof line, "%lld files for other reasons", (long long)reasons->others);
    say(user, line);
}

const char *ddpm_reasons_usual(const struct ddpm_reasons *reasons)
{
    const struct ddpm_reason *usual = NULL;
    for (int i = 0; i < reasons->count; ++i)
        if (!usual || reasons->groups[i].count > usual->count)
            usual = &reasons->groups[i];
    return usual ? usual->messages[0] : NULL;
}

void ddpm_reasons_free(struct ddpm_reasons *reasons)
{
    for (int i = 0; i < reasons->count; ++i)
        for (int k = 0; k < DDPM_REASONS_NAMES; ++k) {
            free(reasons->groups[i].messages[k]);
            free(reasons->groups[i].names[k]);
        }
    memset(reasons, 0, sizeof *reasons);
}

/* Text in the C locale. */
#include "core/text.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t made = PTHREAD_ONCE_INIT;
static locale_t c_locale; /* never freed: threads may still use it at exit */

/* The C library has this locale built in and allocates nothing for it. */
static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* If we have no locale object, uselocale() changes nothing and numbers follow the host's locale. */
locale_t ddpm_enter_c_locale(void)
{
    pthread_once(&made, make_c_locale);
    return uselocale(c_locale);
}

void ddpm_leave_c_locale(locale_t before)
{
    uselocale(before);
}

double ddpm_parse_double(const char *text, char **end)
{
    const locale_t before = ddpm_enter_c_locale();
    const double value = strtod(text, end);
    ddpm_leave_c_locale(before);
    return value;
}

int ddpm_vprint(char *buffer, size_t bytes, const char *format, va_list arguments)
{
    const locale_t before = ddpm_enter_c_locale();
    const int used = vsnprintf(buffer, bytes, format, arguments);
    ddpm_leave_c_locale(before);
    return used;
}

int ddpm_print(char *buffer, size_t bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int used = ddpm_vprint(buffer, bytes, format, arguments);
    va_end(arguments);
    return used;
}

const char *ddpm_system_words(int error)
{
    pthread_once(&made, make_c_locale);
    return c_locale ? strerror_l(error, c_locale) : strerror(error);
}

static unsigned char small(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool ddpm_same_word(const char *a, const char *b)
{
    while (*a && small(*a) == small(*b)) {
        ++a;
        ++b;
    }
    return small(*a) == small(*b);
}

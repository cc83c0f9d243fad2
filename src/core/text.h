/* Text in the C locale, whatever locale the host program uses: 0.5 is "0.5" here even if the host's
 * printf writes "0,5", and "I" is the capital of "i" in Turkish too. The locale belongs to the
 * process or thread and is not ours to change. These functions switch only the calling thread to
 * the C locale and switch it back. */
#ifndef DDPM_CORE_TEXT_H
#define DDPM_CORE_TEXT_H

#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* strtod(): *end is where the number ends, or `text` if there is none. */
double ddpm_parse_double(const char *text, char **end);

/* snprintf() and vsnprintf(), for text that may hold a number with a decimal point. */
int ddpm_print(char *buffer, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int ddpm_vprint(char *buffer, size_t bytes, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* Switch to the C locale around calls of another library that reads or writes numbers. Pair every
 * enter with a leave on the same thread, which takes what enter returned. */
locale_t ddpm_enter_c_locale(void);
void ddpm_leave_c_locale(locale_t before);

/* The system's message for an errno, in English like the rest of the error text. */
const char *ddpm_system_words(int error);

/* Are the two equal, ignoring the case of the letters A to Z? */
bool ddpm_same_word(const char *a, const char *b);

#endif

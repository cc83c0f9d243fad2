/* Text in C's form, whatever locale the host program has chosen: 0.5 is "0.5" to us where it is
 * "0,5" to the host's own printf, and "I" is the capital of "i" in Turkey too. The locale is a
 * property of the process or of a thread, and not ours to change: these functions put C's in force
 * for the calling thread alone, and put back what they found. */
#ifndef DDPM_CORE_TEXT_H
#define DDPM_CORE_TEXT_H

#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* strtod(): *end is where the number ends, `text` when there is none. */
double ddpm_parse_double(const char *text, char **end);

/* snprintf() and vsnprintf(), wherever a text may hold a number with a point. */
int ddpm_print(char *buffer, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int ddpm_vprint(char *buffer, size_t bytes, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* C's locale for calls of another library that reads or writes numbers. Every enter wants its
 * leave, on the same thread, with what it returned. */
locale_t ddpm_enter_c_locale(void);
void ddpm_leave_c_locale(locale_t before);

/* The system's words for an errno, in English: the rest of the sentence is, too. */
const char *ddpm_system_words(int error);

/* The same but for the case of the letters A to Z? */
bool ddpm_same_word(const char *a, const char *b);

#endif

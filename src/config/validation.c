/* Option validation: a word, a number or a path. */
#include "config/validation.h"

#include <string.h>

#include "core/text.h"

ddpm_status ddpm_validation_parse(const char *text, struct ddpm_validation_choice *out)
{
    char *end;
    *out = (struct ddpm_validation_choice){.kind = DDPM_VALIDATION_OFF};
    if (strcmp(text, "off") == 0)
        return DDPM_OK;
    out->kind = DDPM_VALIDATION_AUTO;
    if (strcmp(text, "auto") == 0)
        return DDPM_OK;
    out->kind = DDPM_VALIDATION_PICTURES;
    if (*text && text[strspn(text, "0123456789.+-eE")])
        return DDPM_OK;
    out->kind = DDPM_VALIDATION_PART;
    out->part = ddpm_parse_double(text, &end);
    if (*text && !*end && out->part > 0 && out->part <= 0.5)
        return DDPM_OK;
    return ddpm_raise(
        DDPM_ERROR_ARGUMENT,
        "option validation: got \"%.80s\", want auto, off, a fraction in (0, 0.5] such as 0.05, "
        "or a folder or packed file of other pictures",
        text);
}

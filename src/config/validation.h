/* What option validation says. */
#ifndef DDPM_CONFIG_VALIDATION_H
#define DDPM_CONFIG_VALIDATION_H

#include "config/config.h"
#include "core/error.h"

enum ddpm_validation_kind {
    DDPM_VALIDATION_OFF,
    DDPM_VALIDATION_AUTO,     /* off or a part, decided when the pictures are known */
    DDPM_VALIDATION_PART,     /* of the training pictures */
    DDPM_VALIDATION_PICTURES, /* a folder or packed file of others */
};

struct ddpm_validation_choice {
    enum ddpm_validation_kind kind;
    double part;
};

/* "auto" is this part, of this many pictures or more. */
#define DDPM_VALIDATION_AUTO_PART "0.05"
enum { DDPM_VALIDATION_AUTO_LEAST = 200 };

/* What is written like a number is one: a folder of that name is "./0.05". DDPM_ERROR_ARGUMENT for
 * a part that is not in (0, 0.5]. */
ddpm_status ddpm_validation_parse(const char *text, struct ddpm_validation_choice *out);

#endif

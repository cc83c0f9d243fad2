/* The value of option validation. */
#ifndef DDPM_CONFIG_VALIDATION_H
#define DDPM_CONFIG_VALIDATION_H

#include "config/config.h"
#include "core/error.h"

enum ddpm_validation_kind {
    DDPM_VALIDATION_OFF,
    DDPM_VALIDATION_AUTO,     /* off or a fraction, decided once the pictures are known */
    DDPM_VALIDATION_PART,     /* of the training pictures */
    DDPM_VALIDATION_PICTURES, /* a folder or packed file of others */
};

struct ddpm_validation_choice {
    enum ddpm_validation_kind kind;
    double part;
};

/* "auto" means this fraction, if there are at least this many pictures. */
#define DDPM_VALIDATION_AUTO_PART "0.05"
enum { DDPM_VALIDATION_AUTO_LEAST = 200 };

/* Anything written like a number is a number; a folder of that name is "./0.05".
 * DDPM_ERROR_ARGUMENT for a fraction outside (0, 0.5]. */
ddpm_status ddpm_validation_parse(const char *text, struct ddpm_validation_choice *out);

#endif

/* What is unusual about pictures that decode well but would teach a model something the user did
 * not intend. Sources count it while they open. */
#ifndef DDPM_DATA_NOTICED_H
#define DDPM_DATA_NOTICED_H

#include "data/picture.h"
#include "data/picture_kind.h"

enum { DDPM_NOTICED_CHANNELS = 8 };

struct ddpm_noticed {
    int64_t looked_at;
    int64_t wide;        /* with 16 bits per value */
    uint8_t least, most; /* of the upper 8 bits, in all of these */
    int64_t paged, most_pages;
    int64_t extra;                               /* with alpha or other samples besides colours */
    int64_t channels[DDPM_NOTICED_CHANNELS + 1]; /* by the number of channels; [0]: more */
    int64_t kinds[DDPM_PICTURE_KINDS];           /* noise is not looked for */
};

/* Count a picture [pixels, channels]. `stored` is what its file holds; NULL in a packed file.
 * Several threads may call it at once. */
void ddpm_notice(struct ddpm_noticed *noticed, const struct ddpm_picture_stored *stored,
                 const uint8_t *values, int64_t pixels, int channels);

/* How many show nothing: black, white or of one colour. */
int64_t ddpm_noticed_empty(const struct ddpm_noticed *noticed);

/* "16 bits per value in 200 of 200 pictures looked at (only the upper 8 are used); …". Returns
 * `buffer`. *severe: so few levels remain that something must be done. */
#define DDPM_NOTICED_BYTES 320
const char *ddpm_noticed_bits(char buffer[DDPM_NOTICED_BYTES], const struct ddpm_noticed *noticed,
                              bool *severe);

/* Log what is unusual; `channels` are those that the pictures are read as. */
void ddpm_noticed_say(const struct ddpm_noticed *noticed, const char *path, int channels);

#endif

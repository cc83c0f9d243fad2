/* Pictures of a set as bytes, for a set with the same options in another process of the same
 * program. */
#ifndef DDPM_EVALUATION_ROWS_H
#define DDPM_EVALUATION_ROWS_H

#include <ddpm/evaluate.h>

/* Bytes of a picture: its kind, its small copy and its features. */
size_t ddpm_picture_set_row_bytes(const struct ddpm_picture_set *set);

/* Copy all pictures of the set to `rows`, which has room for them, and empty the set. */
void ddpm_picture_set_take_rows(struct ddpm_picture_set *set, void *rows);

/* Append `count` pictures from `rows`. */
ddpm_status ddpm_picture_set_append_rows(struct ddpm_picture_set *set, const void *rows,
                                         int64_t count);

#endif

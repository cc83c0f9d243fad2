/* A set of pictures that several processes fill. They go in rounds: in each, every process computes
 * the features of the chunk that is its turn, and the one that leads gets them all, in order. Alone
 * a round is a chunk. */
#ifndef DDPM_PROGRAM_SHARED_SET_H
#define DDPM_PROGRAM_SHARED_SET_H

#include <ddpm/evaluate.h>

struct ddpm_shared_set {
    struct ddpm_picture_set *whole; /* borrowed; only the one that leads fills it */
    struct ddpm_picture_set *own;   /* this process's chunk; alone the whole set */
    int64_t total, done;            /* pictures of all rounds, and of those that are over */
    int64_t taken;                  /* alone: pictures of the set that are accounted for */
    int64_t chunk;                  /* at most, of a process */
    size_t beside;                  /* bytes that go with a picture */
    char *messages;                 /* of the one that leads: of every process; else its own */
    size_t stride;                  /* of a message */
};

/* Plan `total` pictures, in chunks of at most `chunk`, for an empty set of these options. `status`:
 * how this process has fared so far. A failure of one is everyone's, and so is a `total` that is
 * not the same: `what`, "real pictures", names it. */
ddpm_status ddpm_shared_set_begin(struct ddpm_shared_set *shared, ddpm_status status,
                                  const struct ddpm_picture_set_options *options, const char *what);

/* This process's turn in the round that comes: *count pictures from place *offset on; none where
 * nothing is left for it. */
void ddpm_shared_set_turn(const struct ddpm_shared_set *shared, int64_t *offset, int64_t *count);

/* What goes with the pictures of this process's chunk: bytes [chunk, beside], to be filled. */
void *ddpm_shared_set_beside(struct ddpm_shared_set *shared);

/* Called where the set is filled, with what goes with `count` pictures from `place` of it on. */
typedef void ddpm_shared_set_take(void *user, int64_t place, int64_t count, const void *beside);

/* The end of a round, in which this process has added its pictures to shared->own, and fared as
 * `status` says. A failure or signal of one ends all. */
ddpm_status ddpm_shared_set_add(struct ddpm_shared_set *shared, ddpm_status status,
                                ddpm_shared_set_take *take, void *user);

void ddpm_shared_set_clear(struct ddpm_shared_set *shared);

#endif

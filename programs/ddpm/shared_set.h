/* A set of pictures that several processes fill, in rounds: in each, every process computes the
 * features of its chunk, and the leader gets all of them, in order. Alone, a round is one chunk. */
#ifndef DDPM_PROGRAM_SHARED_SET_H
#define DDPM_PROGRAM_SHARED_SET_H

#include <ddpm/evaluate.h>

struct ddpm_shared_set {
    struct ddpm_picture_set *whole; /* borrowed; only the leader fills it */
    struct ddpm_picture_set *own;   /* this process's chunk; alone the whole set */
    int64_t total, done;            /* pictures in all rounds, and in finished ones */
    int64_t taken;                  /* alone: pictures of the set already accounted for */
    int64_t chunk;                  /* per process, at most */
    size_t beside;                  /* bytes that go with a picture */
    char *messages;                 /* on the leader: of every process; otherwise its own */
    size_t stride;                  /* of a message */
};

/* Plan `total` pictures, in chunks of at most `chunk`, for an empty set with these options.
 * `status`: how this process is doing so far. A failure of one is a failure of all, and so is a
 * `total` that differs; `what` names it: "real pictures". */
ddpm_status ddpm_shared_set_begin(struct ddpm_shared_set *shared, ddpm_status status,
                                  const struct ddpm_picture_set_options *options, const char *what);

/* This process's turn in the next round: *count pictures from number *offset on; none if nothing is
 * left for it. */
void ddpm_shared_set_turn(const struct ddpm_shared_set *shared, int64_t *offset, int64_t *count);

/* The bytes that go with the pictures of this process's chunk: [chunk, beside], to be filled in. */
void *ddpm_shared_set_beside(struct ddpm_shared_set *shared);

/* Called on the process that fills the set, with the bytes that go with `count` of its pictures,
 * starting at number `place`. */
typedef void ddpm_shared_set_take(void *user, int64_t place, int64_t count, const void *beside);

/* End a round in which this process added its pictures to shared->own. `status`: how that went. A
 * failure or signal of one process ends all. */
ddpm_status ddpm_shared_set_add(struct ddpm_shared_set *shared, ddpm_status status,
                                ddpm_shared_set_take *take, void *user);

void ddpm_shared_set_clear(struct ddpm_shared_set *shared);

#endif

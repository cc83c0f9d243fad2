/* The interface between source.c and source_sweep.c: the state of each item. */
#ifndef DDPM_DATA_SOURCE_ITEMS_H
#define DDPM_DATA_SOURCE_ITEMS_H

#include <stdatomic.h>

#include "data/source_kinds.h"

enum ddpm_item_state {
    DDPM_ITEM_UNKNOWN,  /* not decoded yet */
    DDPM_ITEM_DECODING, /* a thread is putting it into the cache */
    DDPM_ITEM_GOOD,     /* decodes */
    DDPM_ITEM_CACHED,   /* decodes, and is in the cache */
    DDPM_ITEM_BAD,
};

struct ddpm_source_items {
    _Atomic unsigned char *state; /* [count] of enum ddpm_item_state */
    uint8_t *cache;               /* [count, item_bytes] or NULL */
    atomic_llong bad, enlarged, remarked;
    int64_t told; /* how many bad ones the last summary counted */
    atomic_bool enlarged_logged;
    char *reason; /* why most of the bad ones were bad when they were last checked, or NULL */
    bool quiet;   /* while all items are being checked: log messages wait until the end, to be in
                   order */
};

/* Record the current error text as the reason why an item is bad. */
void ddpm_source_mark_bad(struct ddpm_source *source, int64_t index);

/* Log a remark on a picture that decodes although its file has a problem. */
void ddpm_source_note_remark(struct ddpm_source *source, int64_t index, const char *remark);

/* The error if more than half of the items are bad. */
ddpm_status ddpm_source_judge(const struct ddpm_source *source);

/* Check `count` items, evenly chosen, in parallel: cheaply, or by decoding them. Then log what is
 * wrong with them, in order. */
ddpm_status ddpm_source_sweep(struct ddpm_source *source, bool decode, int64_t count);

/* Decode all pictures of a small folder, some of any other source, and say what they are like. */
ddpm_status ddpm_source_notice(struct ddpm_source *source);

#endif

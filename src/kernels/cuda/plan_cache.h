/* Measured choices of kernels, stored on disk: "for this convolution use that"; and the chosen
 * plans, if they took long to make.
 *
 *     $XDG_CACHE_HOME/ddpm/cuda-<hash of the identity>.plans      (or ~/.cache/ddpm/…)
 *     $XDG_CACHE_HOME/ddpm/cuda-<hash of the identity>-<hash of the key>.plan
 *
 * The first is a text file: a first line with the identity (device, driver, versions), then one
 * line per choice, key and value separated by a tab. The second holds the text of one compiled plan
 * after a first line of identity, key, value, number of bytes and their checksum. Files are written
 * atomically. A file that is missing, damaged or of a different identity counts as empty; a failure
 * here is never an error for the program.
 *
 * The file's content wins: a process that has measured the same convolution at the same time uses
 * what the file says, so that a resumed run computes the same bits. */
#ifndef DDPM_KERNELS_CUDA_PLAN_CACHE_H
#define DDPM_KERNELS_CUDA_PLAN_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#define DDPM_PLAN_TEXT_BYTES 256

struct ddpm_plan_cache;

/* NULL if there is no place to store anything. `identity` is one line. */
void ddpm_plan_cache_open(const char *identity, struct ddpm_plan_cache **out);
void ddpm_plan_cache_close(struct ddpm_plan_cache **cache);

/* While it is locked, no other process measures or writes. Locking first reads what others have
 * written. If locking fails, continue without it. */
void ddpm_plan_cache_lock(struct ddpm_plan_cache *cache);
void ddpm_plan_cache_unlock(struct ddpm_plan_cache *cache);

/* The value stored for a key, or NULL; valid until the next call of lock or put. */
const char *ddpm_plan_cache_get(const struct ddpm_plan_cache *cache, const char *key);

/* Store a value, replacing one that turned out to be useless. False if the file could not be
 * written: then only this process knows the value. */
bool ddpm_plan_cache_put(struct ddpm_plan_cache *cache, const char *key, const char *value);

/* Put this around everything that cuDNN does with a plan for the first time in a process, while the
 * cache is locked. If the process ends in between (it crashed, or was killed because it hung), the
 * next one to lock the cache finds out, and from then on treats the plan as one that crashes.
 * `trial`, from 0 to DDPM_PLAN_TRIALS - 1, tells threads apart: each may have a trial in progress.
 * If the process ends, all plans whose trials have not ended count as crashing. */
enum { DDPM_PLAN_TRIALS = 9 };
void ddpm_plan_cache_begin_trial(const struct ddpm_plan_cache *cache, int trial, const char *key,
                                 const char *name);
void ddpm_plan_cache_end_trial(const struct ddpm_plan_cache *cache, int trial);
bool ddpm_plan_cache_crashed(const struct ddpm_plan_cache *cache, const char *key,
                             const char *name);

/* The plan stored for a key whose value is `value`, or NULL; free() it. */
char *ddpm_plan_cache_read_plan(const struct ddpm_plan_cache *cache, const char *key,
                                const char *value, size_t *bytes);

/* Store a plan, replacing that of the key; false if it could not be written. */
bool ddpm_plan_cache_write_plan(const struct ddpm_plan_cache *cache, const char *key,
                                const char *value, const char *plan, size_t bytes);

#endif

/* Choices of kernels that were measured, kept on disk: "for this convolution take that"; and what
 * was chosen, where it took long to make.
 *
 *     $XDG_CACHE_HOME/ddpm/cuda-<hash of the identity>.plans      (or ~/.cache/ddpm/…)
 *     $XDG_CACHE_HOME/ddpm/cuda-<hash of the identity>-<hash of the key>.plan
 *
 * The first is a text file: a first line with the identity (device, driver, versions), then one
 * line per choice, key and value with a tab between. The second holds the text of one compiled
 * plan behind a first line of identity, key, value, the number of bytes and their checksum. A file
 * appears whole or not at all. One that is missing, damaged or of another identity is an empty one;
 * no failure here is an error of the program.
 *
 * What is in the file stays: a process that has measured the same convolution at the same time
 * takes what the file says, so that a run that is resumed computes the same bits. */
#ifndef DDPM_KERNELS_CUDA_PLAN_CACHE_H
#define DDPM_KERNELS_CUDA_PLAN_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#define DDPM_PLAN_TEXT_BYTES 256

struct ddpm_plan_cache;

/* NULL where there is no place to keep anything. `identity` is one line. */
void ddpm_plan_cache_open(const char *identity, struct ddpm_plan_cache **out);
void ddpm_plan_cache_close(struct ddpm_plan_cache **cache);

/* While it is locked no other process measures or writes; what others have written before is read
 * first. A lock that cannot be had is done without. */
void ddpm_plan_cache_lock(struct ddpm_plan_cache *cache);
void ddpm_plan_cache_unlock(struct ddpm_plan_cache *cache);

/* The value kept for a key, or NULL; valid until the next call of lock or put. */
const char *ddpm_plan_cache_get(const struct ddpm_plan_cache *cache, const char *key);

/* Keep a value, replacing one that turned out to be of no use. False where the file could not be
 * written: the value is then known to this process alone. */
bool ddpm_plan_cache_put(struct ddpm_plan_cache *cache, const char *key, const char *value);

/* Around everything that cuDNN does with a plan for the first time in a process, while the cache is
 * locked. Where the process ends in between (it crashed, or was killed because it hung) the next
 * one that locks the cache finds that out, and knows the plan from then on as one that crashed. */
void ddpm_plan_cache_begin_trial(struct ddpm_plan_cache *cache, const char *key, const char *name);
void ddpm_plan_cache_end_trial(struct ddpm_plan_cache *cache);
bool ddpm_plan_cache_crashed(const struct ddpm_plan_cache *cache, const char *key,
                             const char *name);

/* The plan kept for a key whose value is `value`, or NULL; free() it. */
char *ddpm_plan_cache_read_plan(const struct ddpm_plan_cache *cache, const char *key,
                                const char *value, size_t *bytes);

/* Keep a plan, replacing that of the key; false where it could not be written. */
bool ddpm_plan_cache_write_plan(const struct ddpm_plan_cache *cache, const char *key,
                                const char *value, const char *plan, size_t bytes);

#endif

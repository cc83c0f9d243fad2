/* How many processors this process may use. */
#ifndef DDPM_CORE_PROCESSORS_H
#define DDPM_CORE_PROCESSORS_H

/* Processors this process may use, at least 1: those of its affinity, or fewer if control groups
 * grant less processor time. */
int ddpm_processor_count(void);

/* Limit ddpm_processor_count() to `most`, at least 1, because other processes use the same
 * processors. */
void ddpm_limit_processors(int most);

#endif

/* ddpm.c: everything. See README.md and docs/reading-guide.md. */
#ifndef DDPM_DDPM_H
#define DDPM_DDPM_H

#include <ddpm/config.h>
#include <ddpm/log.h>
#include <ddpm/network.h>
#include <ddpm/sampler.h>
#include <ddpm/status.h>
#include <ddpm/trainer.h>

#endif

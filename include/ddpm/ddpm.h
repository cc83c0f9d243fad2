/** @file
 * ddpm.c, the whole interface.
 *
 *     status.h    status codes, error texts, version
 *     log.h       remarks
 *     config.h    options by name, from and to JSON
 *     network.h   devices; weights by name, the forward pass, files
 *     sampler.h   drawing pictures
 *     trainer.h   pictures to train on, training, checkpoints
 *     evaluate.h  how close pictures are to others
 *     likelihood.h  how likely a network holds pictures to be
 *
 * README.md has a program that draws pictures; examples/ has larger ones. */
#ifndef DDPM_DDPM_H
#define DDPM_DDPM_H

#include <ddpm/config.h>
#include <ddpm/evaluate.h>
#include <ddpm/likelihood.h>
#include <ddpm/log.h>
#include <ddpm/network.h>
#include <ddpm/sampler.h>
#include <ddpm/status.h>
#include <ddpm/trainer.h>

#endif

/** @file
 * The whole public interface of ddpm.c. */

/** @mainpage ddpm.c
 *
 * A library that trains denoising diffusion models on pictures and draws new ones.
 *
 *     status.h    status codes, error texts, version
 *     log.h       log messages
 *     config.h    options by name, from and to JSON
 *     network.h   devices; weights by name, the forward pass, files
 *     sampler.h   drawing pictures
 *     trainer.h   pictures to train on, training, checkpoints
 *     evaluate.h  comparing drawn pictures with real ones
 *     likelihood.h  how likely pictures are under a network
 *
 * README.md has a short program that draws pictures; examples/ has longer ones. */
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

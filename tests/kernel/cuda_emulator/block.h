/* Interface between the emulated runtime and the emulated multiprocessor. */
#ifndef DDPM_EMULATOR_BLOCK_H
#define DDPM_EMULATOR_BLOCK_H

#include <cuda_runtime.h>

/* Run every block of a launch, one after another; false if a device would reject the launch. */
bool emulator_run_grid(const struct cudaLaunchConfig_t *config,
                       const std::function<void()> &kernel);

#endif

/* What the tests of the choice of a convolution's kernel share: a folder for the choices, calls,
 * and the switches and counters of the stand-in for cuDNN (cuda_emulator/fake_cudnn.c). */
#ifndef DDPM_TESTS_CHOICE_SUPPORT_H
#define DDPM_TESTS_CHOICE_SUPPORT_H

#include "kernels/backend.h"

/* Fixtures: an empty $XDG_CACHE_HOME, and DDPM_CUDA_CONV=auto. */
int choice_make_folder(void **unused);
int choice_remove_folder(void **unused);
const char *choice_folder(void);

/* The path and the text of the only file of choices. */
void choice_read(char *path, size_t path_bytes, char *text, size_t text_bytes);

/* A 3×3 convolution of 4×4 pixels with 16 filters. */
struct ddpm_call choice_call(enum ddpm_op op, enum ddpm_dtype dtype, int64_t channels);

/* A counter or switch of the stand-in. */
int *choice_counter(const char *name);

/* 0, or 77 without an emulated device or a stand-in, saying so. */
int choice_can_run(const char *test);

#endif

/* See choice_support.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>

#include "choice_support.h"

enum { EXIT_SKIPPED = 77 };

static char folder[64];

int choice_make_folder(void **unused)
{
    (void)unused;
    snprintf(folder, sizeof folder, "/tmp/ddpm-choice-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("DDPM_CUDA_CONV", "auto", 1), 0);
    return setenv("XDG_CACHE_HOME", folder, 1);
}

int choice_remove_folder(void **unused)
{
    char command[512];
    (void)unused;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

const char *choice_folder(void)
{
    return folder;
}

void choice_read(char *path, size_t path_bytes, char *text, size_t text_bytes)
{
    char command[512];
    snprintf(command, sizeof command, "ls %s/ddpm/cuda-*.plans", folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, (int)path_bytes, list));
    pclose(list);
    path[strcspn(path, "\n")] = '\0';
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, text_bytes - 1, file)] = '\0';
    fclose(file);
}

struct ddpm_call choice_call(enum ddpm_op op, enum ddpm_dtype dtype, int64_t channels)
{
    struct ddpm_call call = {
        .op = op, .attributes = {.kernel_h = 3, .kernel_w = 3, .stride = 1, .padding = 1}};
    struct ddpm_tensor x = ddpm_tensor_make(dtype, 1, 4, 4, channels);
    struct ddpm_tensor y = ddpm_tensor_make(dtype, 1, 4, 4, 16);
    struct ddpm_tensor w = ddpm_tensor_make(DDPM_F32, 16, 3, 3, channels);
    struct ddpm_tensor bias = ddpm_tensor_make(DDPM_F32, 1, 1, 1, 16);
    if (op == DDPM_OP_CONV2D) {
        call.in[0] = x, call.in[1] = w, call.in[2] = bias, call.in[3] = y, call.out[0] = y;
    } else if (op == DDPM_OP_CONV2D_BACKWARD_DATA) {
        call.in[0] = y, call.in[1] = w, call.out[0] = x;
    } else {
        call.in[0] = x, call.in[1] = y, call.out[0] = w, call.out[1] = bias;
    }
    return call;
}

int *choice_counter(const char *name)
{
    void *library = dlopen(getenv("DDPM_CUDNN"), RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    int *number = dlsym(library, name);
    assert_non_null(number);
    return number;
}

int choice_can_run(const char *test)
{
    struct ddpm_device *device;
    if (!getenv("DDPM_CUDNN") ||
        ddpm_device_open("cuda", &(struct ddpm_device_options){0}, &device) != DDPM_OK) {
        fprintf(stderr, "%s: %s\n", test, ddpm_error_message());
        return EXIT_SKIPPED;
    }
    ddpm_device_close(&device);
    return 0;
}

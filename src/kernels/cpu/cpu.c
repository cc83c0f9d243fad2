/* The CPU backend: one table of SIMD kernels per level (table.simd.c). The best level that the
 * processor supports is chosen when the device is opened. */
#include "kernels/cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/processors.h"
#include "kernels/host_memory.h"

static const ddpm_cpu_table *const tables[DDPM_CPU_LEVEL_COUNT] = {
    [DDPM_CPU_GENERIC] = &ddpm_cpu_table_generic,
#if defined(__x86_64__) || defined(__i386__)
    [DDPM_CPU_AVX2] = &ddpm_cpu_table_avx2,
    [DDPM_CPU_AVX512] = &ddpm_cpu_table_avx512,
    [DDPM_CPU_AVX512BF16] = &ddpm_cpu_table_avx512bf16,
#if defined(__x86_64__)
    [DDPM_CPU_AMX] = &ddpm_cpu_table_amx,
#endif
#elif defined(__aarch64__)
    [DDPM_CPU_NEON] = &ddpm_cpu_table_neon,
    [DDPM_CPU_NEONBF16] = &ddpm_cpu_table_neonbf16,
#endif
};

static bool multiplies_bf16(enum ddpm_cpu_level level)
{
    return level == DDPM_CPU_AVX512BF16 || level == DDPM_CPU_AMX || level == DDPM_CPU_NEONBF16;
}

static ddpm_status cpu_open(const struct ddpm_device_options *options, struct ddpm_device **out)
{
    struct ddpm_cpu_device *device;
    enum ddpm_cpu_level level;
    *out = NULL;
    DDPM_TRY(ddpm_cpu_choose_level(options->level, &level));
    if (!tables[level])
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "this build has no kernels of level \"%s\"",
                          ddpm_cpu_level_name(level));
    DDPM_TRY(DDPM_NEW(&device, "the CPU device"));
    device->base.backend = &ddpm_backend_cpu;
    device->base.threads = options->threads > 0 ? options->threads : ddpm_processor_count();
    device->base.direct = options->direct;
    device->base.preferred = multiplies_bf16(level) ? DDPM_BF16 : DDPM_F32;
    device->level = level;
    snprintf(device->base.description, sizeof device->base.description, "CPU, %s, %d thread%s",
             ddpm_cpu_level_name(level), device->base.threads,
             device->base.threads == 1 ? "" : "s");
    *out = &device->base;
    return DDPM_OK;
}

static void cpu_close(struct ddpm_device *device)
{
    free(device);
}

static const struct ddpm_kernel *first_row(const ddpm_cpu_table *table,
                                           const struct ddpm_call *call)
{
    const struct ddpm_kernel *const *row = (*table)[call->op];
    for (; row && *row; ++row)
        if (!(*row)->supports || (*row)->supports(call))
            return *row;
    return NULL;
}

static const struct ddpm_kernel *cpu_find_kernel(struct ddpm_device *device,
                                                 const struct ddpm_call *call)
{
    const struct ddpm_cpu_device *cpu = (const struct ddpm_cpu_device *)device;
    struct ddpm_call question = *call;
    question.device = device; /* rows look at it to see if `direct` is set */
    const struct ddpm_kernel *kernel = first_row(tables[cpu->level], &question);
    if (!kernel && cpu->level == DDPM_CPU_AMX)
        kernel = first_row(tables[DDPM_CPU_AVX512BF16], &question);
    return kernel;
}

const struct ddpm_backend ddpm_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    DDPM_HOST_MEMORY_ROWS,
    .find_kernel = cpu_find_kernel,
    .measure_peak = ddpm_cpu_measure_peak,
};

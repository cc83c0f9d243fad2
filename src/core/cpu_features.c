/* The instruction-set levels of this processor. The compiler's builtin also asks the operating
 * system whether it saves the wide registers. */
#include "core/cpu_features.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const names[DDPM_CPU_LEVEL_COUNT] = {"generic", "avx2", "avx512",  "avx512bf16",
                                                        "amx",     "neon", "neonbf16"};

const char *ddpm_cpu_level_name(enum ddpm_cpu_level level)
{
    return names[level];
}

#if defined(__x86_64__)
/* CPUID leaf 7: AMX-TILE and AMX-BF16. */
static bool has_amx(void)
{
    const unsigned wanted = 1u << 24 | 1u << 22;
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & wanted) == wanted;
}

/* Linux saves the tiles (8 KB) only for processes that ask for them. */
static bool request_tiles(void)
{
#if defined(__linux__) && defined(SYS_arch_prctl)
    const long request_permission = 0x1023, tile_data = 18; /* asm/prctl.h, from Linux 5.16 on */
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}
#endif

#if defined(__aarch64__)
static bool has_neon_bf16(void)
{
#if defined(__linux__)
    const unsigned long bf16 = 1ul << 14; /* HWCAP2_BF16, which older headers lack */
    return (getauxval(AT_HWCAP2) & bf16) != 0;
#else
    return false;
#endif
}
#endif

bool ddpm_cpu_supports(enum ddpm_cpu_level level)
{
    switch (level) {
    case DDPM_CPU_GENERIC:
        return true;
#if defined(__x86_64__) || defined(__i386__)
    case DDPM_CPU_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case DDPM_CPU_AVX512:
        return ddpm_cpu_supports(DDPM_CPU_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    case DDPM_CPU_AVX512BF16:
        return ddpm_cpu_supports(DDPM_CPU_AVX512) && __builtin_cpu_supports("avx512bf16");
#endif
#if defined(__x86_64__)
    case DDPM_CPU_AMX:
        return ddpm_cpu_supports(DDPM_CPU_AVX512BF16) && has_amx() && request_tiles();
#endif
#if defined(__aarch64__)
    case DDPM_CPU_NEON:
        return true;
    case DDPM_CPU_NEONBF16:
        return has_neon_bf16();
#endif
    default:
        return false;
    }
}

static enum ddpm_cpu_level best_level(void)
{
    int level = DDPM_CPU_LEVEL_COUNT - 1;
    while (level > DDPM_CPU_GENERIC && !ddpm_cpu_supports((enum ddpm_cpu_level)level))
        --level;
    return (enum ddpm_cpu_level)level;
}

ddpm_status ddpm_cpu_choose_level(const char *name, enum ddpm_cpu_level *out)
{
    const char *source = name ? "the CPU level" : "the environment variable DDPM_CPU";
    enum ddpm_cpu_level best = best_level();
    if (!name)
        name = getenv("DDPM_CPU");
    *out = best;
    if (!name || !*name)
        return DDPM_OK;
    for (int level = 0; level < DDPM_CPU_LEVEL_COUNT; ++level) {
        if (strcmp(name, names[level]) != 0)
            continue;
        if (!ddpm_cpu_supports((enum ddpm_cpu_level)level))
            return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                              "%s is \"%s\", which this processor lacks; its best is \"%s\"",
                              source, name, names[best]);
        *out = (enum ddpm_cpu_level)level;
        return DDPM_OK;
    }
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "%s is \"%s\", want generic, avx2, avx512, avx512bf16, amx, neon or neonbf16",
                      source, name);
}

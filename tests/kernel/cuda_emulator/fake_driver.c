/* A stand-in for the NVIDIA driver's library. cuDNN 9.19 needs these functions before it compiles a
 * plan. It accepts any kernel's code and refuses everything else, so that cuDNN's compiling engines
 * can be tested for a device that is only described; nothing ever runs. */
#include <stddef.h>

enum { SUCCESS = 0, UNKNOWN_ERROR = 999 };

#define EXPORT __attribute__((visibility("default")))
#define REFUSE(name)                                                                               \
    EXPORT int name(void);                                                                         \
    int name(void)                                                                                 \
    {                                                                                              \
        return UNKNOWN_ERROR;                                                                      \
    }

REFUSE(cuCtxGetCurrent)
REFUSE(cuCtxGetLimit)
REFUSE(cuCtxPopCurrent)
REFUSE(cuCtxPushCurrent)
REFUSE(cuDeviceGet)
REFUSE(cuDeviceGetCount)
REFUSE(cuKernelGetAttribute)
REFUSE(cuKernelSetAttribute)
REFUSE(cuLaunchCooperativeKernel)
REFUSE(cuLaunchKernel)
REFUSE(cuLaunchKernelEx)
REFUSE(cuLibraryLoadFromFile)
REFUSE(cuLinkAddData)
REFUSE(cuLinkComplete)
REFUSE(cuLinkCreate)
REFUSE(cuLinkDestroy)
REFUSE(cuOccupancyMaxPotentialClusterSize)
REFUSE(cuStreamGetCtx)

EXPORT int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
    *version = 13000;
    return SUCCESS;
}

EXPORT int cuGetErrorName(int error, const char **text);
int cuGetErrorName(int error, const char **text)
{
    *text = error ? "an error of the fake driver" : "no error";
    return SUCCESS;
}

EXPORT int cuGetErrorString(int error, const char **text);
int cuGetErrorString(int error, const char **text)
{
    return cuGetErrorName(error, text);
}

/* How many kernels were loaded; for tests. */
EXPORT int fake_driver_libraries;

EXPORT int cuLibraryLoadData(void **library);
int cuLibraryLoadData(void **library)
{
    *library = &fake_driver_libraries;
    __atomic_add_fetch(&fake_driver_libraries, 1, __ATOMIC_RELAXED); /* threads compile */
    return SUCCESS;
}

EXPORT int cuLibraryUnload(void *library);
int cuLibraryUnload(void *library)
{
    return library == &fake_driver_libraries ? SUCCESS : UNKNOWN_ERROR;
}

EXPORT int cuLibraryGetKernel(void **kernel, void *library);
int cuLibraryGetKernel(void **kernel, void *library)
{
    *kernel = library;
    return SUCCESS;
}

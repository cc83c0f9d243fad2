/* NCCL's library, loaded at run time; its headers are not needed to build. These are the
 * declarations of nccl.h that we use, valid since NCCL 2.14. */
#ifndef DDPM_RANKS_NCCL_LIBRARY_H
#define DDPM_RANKS_NCCL_LIBRARY_H

#include <stddef.h>

#include "ranks/nccl.h"

typedef struct ncclComm *ncclComm_t;
typedef struct {
    char internal[DDPM_NCCL_ID_BYTES];
} ncclUniqueId;

/* Results, types and operations: only the values that are used. */
typedef int ncclResult_t;
enum {
    ncclSuccess = 0,
    ncclSystemError = 2,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7
};
typedef int ncclDataType_t;
enum { ncclUint8 = 1, ncclFloat32 = 7 };
typedef int ncclRedOp_t;
enum { ncclSum = 0 };

/* As of NCCL 2.14. Later versions have more members; `version` tells NCCL that these are absent. */
typedef struct {
    size_t size;
    unsigned magic, version;
    int blocking;
} ncclConfig_t;
enum { DDPM_NCCL_CONFIG_VERSION = 21400, DDPM_NCCL_LEAST_VERSION = 21400 };
#define DDPM_NCCL_CONFIG_MAGIC 0xcafebeefu

/* A stream is a void * here; to the ABI a cudaStream_t is the same. */
#define DDPM_NCCL_FUNCTIONS(F)                                                                     \
    F(ncclGetVersion, (int *version))                                                              \
    F(ncclGetUniqueId, (ncclUniqueId * id))                                                        \
    F(ncclCommInitRankConfig,                                                                      \
      (ncclComm_t * comm, int count, ncclUniqueId id, int rank, ncclConfig_t *config))             \
    F(ncclCommGetAsyncError, (ncclComm_t comm, ncclResult_t * result))                             \
    F(ncclCommFinalize, (ncclComm_t comm))                                                         \
    F(ncclCommDestroy, (ncclComm_t comm))                                                          \
    F(ncclCommAbort, (ncclComm_t comm))                                                            \
    F(ncclAllReduce, (const void *send, void *receive, size_t count, ncclDataType_t type,          \
                      ncclRedOp_t operation, ncclComm_t comm, void *stream))                       \
    F(ncclAllGather, (const void *send, void *receive, size_t count, ncclDataType_t type,          \
                      ncclComm_t comm, void *stream))                                              \
    F(ncclBroadcast, (const void *send, void *receive, size_t count, ncclDataType_t type,          \
                      int root, ncclComm_t comm, void *stream))                                    \
    F(ncclSend, (const void *send, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,   \
                 void *stream))                                                                    \
    F(ncclRecv,                                                                                    \
      (void *receive, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, void *stream)) \
    F(ncclGroupStart, (void))                                                                      \
    F(ncclGroupEnd, (void))

struct ddpm_nccl_library {
#define DDPM_NCCL_MEMBER(name, parameters) ncclResult_t(*name) parameters;
    DDPM_NCCL_FUNCTIONS(DDPM_NCCL_MEMBER)
#undef DDPM_NCCL_MEMBER
    const char *(*ncclGetErrorString)(ncclResult_t result);
    const char *(*ncclGetLastError)(ncclComm_t comm); /* NULL: not in this NCCL */
    char description[32];                             /* "NCCL 2.27.3" */
};

#ifdef __cplusplus
extern "C" {
#endif

/* Load the library into `out`. If it is missing or too old, raises DDPM_ERROR_UNSUPPORTED. */
ddpm_status ddpm_nccl_load_library(struct ddpm_nccl_library *out, ddpm_transport_raise *raise);

#ifdef __cplusplus
}
#endif
#endif

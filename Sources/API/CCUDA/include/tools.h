// SPDX-License-Identifier: Apache-2.0
// The C types of the error log, core dumps, notifications and what links can do, written from the public interface
// (names, values and layouts of cuda.h 13.5).
#pragma once
#include "ccuda.h"

typedef enum CUlogLevel {
    CU_LOG_LEVEL_ERROR = 0,
    CU_LOG_LEVEL_WARNING = 1,
} CUlogLevel;

typedef struct CUlogsCallbackEntry_st *CUlogsCallbackHandle;
typedef void (*CUlogsCallback)(void *data, CUlogLevel logLevel, char *message, size_t length);
typedef unsigned int CUlogIterator;

typedef enum CUcoredumpSettings {
    CU_COREDUMP_ENABLE_ON_EXCEPTION = 1,
    CU_COREDUMP_TRIGGER_HOST,
    CU_COREDUMP_LIGHTWEIGHT,
    CU_COREDUMP_ENABLE_USER_TRIGGER,
    CU_COREDUMP_FILE,
    CU_COREDUMP_PIPE,
    CU_COREDUMP_GENERATION_FLAGS,
    CU_COREDUMP_MAX
} CUcoredumpSettings;

typedef enum CUCoredumpGenerationFlags {
    CU_COREDUMP_DEFAULT_FLAGS = 0,
    CU_COREDUMP_SKIP_NONRELOCATED_ELF_IMAGES = (1 << 0),
    CU_COREDUMP_SKIP_GLOBAL_MEMORY = (1 << 1),
    CU_COREDUMP_SKIP_SHARED_MEMORY = (1 << 2),
    CU_COREDUMP_SKIP_LOCAL_MEMORY = (1 << 3),
    CU_COREDUMP_SKIP_ABORT = (1 << 4),
    CU_COREDUMP_SKIP_CONSTBANK_MEMORY = (1 << 5),
    CU_COREDUMP_GZIP_COMPRESS = (1 << 6),
    CU_COREDUMP_FAULTED_CONTEXTS_ONLY = (1 << 7),
    CU_COREDUMP_SKIP_TENSOR_MEMORY = (1 << 8),
} CUCoredumpGenerationFlags;

#define CU_COREDUMP_NO_ERRBAR_AT_EXIT_BIT (1u << 30)
#define CU_COREDUMP_LOG_ONLY_BIT (1u << 31)

typedef struct CUcoredumpCallbackEntry_st *CUcoredumpCallbackHandle;
typedef void (*CUcoredumpStatusCallback)(void *userData, int pid, CUdevice dev);

typedef struct CUasyncCallbackEntry_st *CUasyncCallbackHandle;

typedef enum CUasyncNotificationType {
    CU_ASYNC_NOTIFICATION_TYPE_OVER_BUDGET = 0x1,
} CUasyncNotificationType;

typedef struct CUasyncNotificationInfo {
    CUasyncNotificationType type;
    union {
        struct {
            unsigned long long bytesOverBudget;
        } overBudget;
    } info;
} CUasyncNotificationInfo;

typedef void (*CUasyncCallback)(CUasyncNotificationInfo *info, void *userData, CUasyncCallbackHandle callback);

typedef enum CUatomicOperation {
    CU_ATOMIC_OPERATION_INTEGER_ADD = 0,
    CU_ATOMIC_OPERATION_INTEGER_MIN = 1,
    CU_ATOMIC_OPERATION_INTEGER_MAX = 2,
    CU_ATOMIC_OPERATION_INTEGER_INCREMENT = 3,
    CU_ATOMIC_OPERATION_INTEGER_DECREMENT = 4,
    CU_ATOMIC_OPERATION_AND = 5,
    CU_ATOMIC_OPERATION_OR = 6,
    CU_ATOMIC_OPERATION_XOR = 7,
    CU_ATOMIC_OPERATION_EXCHANGE = 8,
    CU_ATOMIC_OPERATION_CAS = 9,
    CU_ATOMIC_OPERATION_FLOAT_ADD = 10,
    CU_ATOMIC_OPERATION_FLOAT_MIN = 11,
    CU_ATOMIC_OPERATION_FLOAT_MAX = 12,
    CU_ATOMIC_OPERATION_MAX
} CUatomicOperation;

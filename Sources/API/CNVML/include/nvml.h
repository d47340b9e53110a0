// SPDX-License-Identifier: Apache-2.0
// The part of NVML (NVIDIA Management Library) whose values we look into: result codes and structures of its public
// interface, written from NVIDIA's public documentation of it. Sources/API/NVMLDescription has its functions.
#pragma once

enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NO_PERMISSION = 4,
    NVML_ERROR_ALREADY_INITIALIZED = 5,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_INSUFFICIENT_POWER = 8,
    NVML_ERROR_DRIVER_NOT_LOADED = 9,
    NVML_ERROR_TIMEOUT = 10,
    NVML_ERROR_IRQ_ISSUE = 11,
    NVML_ERROR_LIBRARY_NOT_FOUND = 12,
    NVML_ERROR_FUNCTION_NOT_FOUND = 13,
    NVML_ERROR_CORRUPTED_INFOROM = 14,
    NVML_ERROR_GPU_IS_LOST = 15,
    NVML_ERROR_RESET_REQUIRED = 16,
    NVML_ERROR_OPERATING_SYSTEM = 17,
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18,
    NVML_ERROR_IN_USE = 19,
    NVML_ERROR_MEMORY = 20,
    NVML_ERROR_NO_DATA = 21,
    NVML_ERROR_VGPU_ECC_NOT_SUPPORTED = 22,
    NVML_ERROR_INSUFFICIENT_RESOURCES = 23,
    NVML_ERROR_FREQ_NOT_SUPPORTED = 24,
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
    NVML_ERROR_DEPRECATED = 26,
    NVML_ERROR_NOT_READY = 27,
    NVML_ERROR_GPU_NOT_FOUND = 28,
    NVML_ERROR_INVALID_STATE = 29,
    NVML_ERROR_UNKNOWN = 999
};

typedef struct {
    char busIdLegacy[16];  // "0000:10:00.0"
    unsigned int domain;
    unsigned int bus;
    unsigned int device;
    unsigned int pciDeviceId;  // device in the high half, vendor in the low half
    unsigned int pciSubSystemId;
    char busId[32];  // "00000000:10:00.0"
} nvmlPciInfo_t;

typedef struct {
    unsigned long long total;  // bytes, as are the others
    unsigned long long free;
    unsigned long long used;
} nvmlMemory_t;

typedef struct {
    unsigned int version;  // size of the structure | 2 << 24, set by the caller
    unsigned long long total;
    unsigned long long reserved;
    unsigned long long free;
    unsigned long long used;
} nvmlMemory_v2_t;

typedef struct {
    unsigned int gpu;     // percent of time a kernel was running
    unsigned int memory;  // percent of time memory was being read or written
} nvmlUtilization_t;

// One of several values that are asked for at once.
typedef struct {
    unsigned int fieldId;
    unsigned int scopeId;
    long long timestamp;    // microseconds
    long long latencyUsec;
    unsigned int valueType;
    unsigned int nvmlReturn;  // of this field alone
    unsigned long long value;
} nvmlFieldValue_t;

// A running process in the lists of the first form, and in those of the second and the third.
typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
} nvmlProcessInfo_v1_t;
typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
    unsigned int gpuInstanceId;  // all ones for none, as the next
    unsigned int computeInstanceId;
} nvmlProcessInfo_t;

// A running process in the list that names its kind.
typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
    unsigned int gpuInstanceId;
    unsigned int computeInstanceId;
    unsigned long long usedGpuCcProtectedMemory;
} nvmlProcessDetail_v1_t;
typedef struct {
    unsigned int version;  // size of the structure | 1 << 24, set by the caller
    unsigned int mode;     // 0 compute, 1 graphics, 2 compute through MPS
    unsigned int numProcArrayEntries;
    nvmlProcessDetail_v1_t *procArray;
} nvmlProcessDetailList_v1_t;

// How much a process has used a GPU, in percent of the time since the sample before.
typedef struct {
    unsigned int pid;
    unsigned long long timeStamp;  // microseconds of the wall clock
    unsigned int smUtil;
    unsigned int memUtil;
    unsigned int encUtil;
    unsigned int decUtil;
} nvmlProcessUtilizationSample_t;

// The same in the list that says its version.
typedef struct {
    unsigned long long timeStamp;
    unsigned int pid;
    unsigned int smUtil;
    unsigned int memUtil;
    unsigned int encUtil;
    unsigned int decUtil;
    unsigned int jpgUtil;
    unsigned int ofaUtil;
} nvmlProcessUtilizationInfo_v1_t;
typedef struct {
    unsigned int version;  // size of the structure | 1 << 24, set by the caller
    unsigned int processSamplesCount;
    unsigned long long lastSeenTimeStamp;
    nvmlProcessUtilizationInfo_v1_t *procUtilArray;
} nvmlProcessesUtilizationInfo_v1_t;

// An event, in the first form without the last two.
typedef struct {
    void *device;
    unsigned long long eventType;
    unsigned long long eventData;  // the Xid of an Xid event
    unsigned int gpuInstanceId;    // all ones for none, as the next
    unsigned int computeInstanceId;
} nvmlEventData_t;

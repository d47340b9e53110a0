// SPDX-License-Identifier: Apache-2.0

let devicesFunctions: [Function] = [
    Function("cuDeviceCanAccessPeer", 4000, "int *canAccessPeer, CUdevice dev, CUdevice peerDev"),
    Function("cuDeviceComputeCapability", 2000, "int *major, int *minor, CUdevice dev"),
    Function("cuDeviceGet", 2000, "CUdevice *device, int ordinal"),
    Function("cuDeviceGetAttribute", 2000, "int *pi, CUdevice_attribute attrib, CUdevice dev"),
    Function("cuDeviceGetByPCIBusId", 4010, "CUdevice *dev, const char *pciBusId"),
    Function("cuDeviceGetCliqueCount", 13040, absent: .fabric),
    Function("cuDeviceGetCliqueInfo", 13040, absent: .fabric),
    Function("cuDeviceGetCount", 2000, "int *count"),
    Function("cuDeviceGetDefaultMemPool", 11020, "CUmemoryPool *pool_out, CUdevice dev"),
    Function("cuDeviceGetExecAffinitySupport", 11040, "int *pi, CUexecAffinityType type, CUdevice dev"),
    Function("cuDeviceGetFabricClusterUuid", 13040, absent: .fabric),
    Function("cuDeviceGetGraphMemAttribute", 11040, "CUdevice device, CUgraphMem_attribute attr, void *value"),
    Function(
        "cuDeviceGetHostAtomicCapabilities", 13000,
        "unsigned int *capabilities, const CUatomicOperation *operations, unsigned int count, CUdevice dev"),
    Function("cuDeviceGetLuid", 10000, absent: .windows),
    Function("cuDeviceGetMemPool", 11020, "CUmemoryPool *pool, CUdevice dev"),
    Function("cuDeviceGetName", 2000, "char *name, int len, CUdevice dev"),
    Function("cuDeviceGetNvSciSyncAttributes", 10020, absent: .nvSciSync),
    Function(
        "cuDeviceGetP2PAtomicCapabilities", 13000,
        "unsigned int *capabilities, const CUatomicOperation *operations, unsigned int count, CUdevice srcDevice, CUdevice dstDevice"
    ),
    Function(
        "cuDeviceGetP2PAttribute", 8000,
        "int* value, CUdevice_P2PAttribute attrib, CUdevice srcDevice, CUdevice dstDevice"),
    Function("cuDeviceGetPCIBusId", 4010, "char *pciBusId, int len, CUdevice dev"),
    Function("cuDeviceGetProperties", 2000, "CUdevprop *prop, CUdevice dev"),
    Function(
        "cuDeviceGetTexture1DLinearMaxWidth", 11010,
        "size_t *maxWidthInElements, CUarray_format format, unsigned int numChannels, CUdevice dev"),
    Function("cuDeviceGetUuid", 9020, "CUuuid *uuid, CUdevice dev"),
    Function("cuDeviceGetUuid_v2", 11040, "CUuuid *uuid, CUdevice dev"),
    Function("cuDeviceGraphMemTrim", 11040, "CUdevice device"),
    Function(
        "cuDeviceRegisterAsyncNotification", 12040,
        "CUdevice device, CUasyncCallback callbackFunc, void *userData, CUasyncCallbackHandle *callback"),
    Function("cuDeviceSetGraphMemAttribute", 11040, "CUdevice device, CUgraphMem_attribute attr, void *value"),
    Function("cuDeviceSetMemPool", 11020, "CUdevice dev, CUmemoryPool pool"),
    Function("cuDeviceTotalMem", 2000, absent: .thirtyTwoBit),
    Function("cuDeviceTotalMem_v2", 3020, "size_t *bytes, CUdevice dev"),
    Function("cuDeviceUnregisterAsyncNotification", 12040, "CUdevice device, CUasyncCallbackHandle callback"),
]

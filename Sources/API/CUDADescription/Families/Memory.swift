// SPDX-License-Identifier: Apache-2.0

let memoryFunctions: [Function] = [
    Function("cuMemAlloc", 2000, absent: .thirtyTwoBit),
    Function("cuMemAllocHost", 2000, absent: .thirtyTwoBit),
    Function("cuMemAllocHost_v2", 3020, "void **pp, size_t bytesize"),
    Function("cuMemAllocPitch", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemAllocPitch_v2", 3020,
        "CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes, size_t Height, unsigned int ElementSizeBytes"),
    Function("cuMemAlloc_v2", 3020, "CUdeviceptr *dptr, size_t bytesize"),
    Function("cuMemFree", 2000, absent: .thirtyTwoBit),
    Function("cuMemFreeHost", 2000, "void *p"),
    Function("cuMemFree_v2", 3020, "CUdeviceptr dptr"),
    Function("cuMemGetAddressRange", 2000, absent: .thirtyTwoBit),
    Function("cuMemGetAddressRange_v2", 3020, "CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr"),
    Function("cuMemGetInfo", 2000, absent: .thirtyTwoBit),
    Function("cuMemGetInfo_v2", 3020, "size_t *free, size_t *total"),
    Function("cuMemHostAlloc", 2020, "void **pp, size_t bytesize, unsigned int Flags"),
    Function("cuMemHostGetDevicePointer", 2020, absent: .thirtyTwoBit),
    Function("cuMemHostGetDevicePointer_v2", 3020, "CUdeviceptr *pdptr, void *p, unsigned int Flags"),
    Function("cuMemHostGetFlags", 2030, "unsigned int *pFlags, void *p"),
    Function("cuMemHostRegister", 4000, sameAs: "cuMemHostRegister_v2"),
    Function("cuMemHostRegister_v2", 6050, "void *p, size_t bytesize, unsigned int Flags"),
    Function("cuMemHostUnregister", 4000, "void *p"),
]

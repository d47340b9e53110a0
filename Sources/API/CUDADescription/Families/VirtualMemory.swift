// SPDX-License-Identifier: Apache-2.0

let virtualMemoryFunctions: [Function] = [
    Function("cuLogicalEndpointAddDevice", 13030, absent: .fabric),
    Function("cuLogicalEndpointBindAddr", 13030, absent: .fabric),
    Function("cuLogicalEndpointBindMem", 13030, absent: .fabric),
    Function("cuLogicalEndpointCreate", 13030, absent: .fabric),
    Function("cuLogicalEndpointDestroy", 13030, absent: .fabric),
    Function("cuLogicalEndpointExport", 13030, absent: .fabric),
    Function("cuLogicalEndpointGetLimits", 13030, absent: .fabric),
    Function("cuLogicalEndpointIdRelease", 13030, absent: .fabric),
    Function("cuLogicalEndpointIdReserve", 13030, absent: .fabric),
    Function("cuLogicalEndpointImport", 13030, absent: .fabric),
    Function("cuLogicalEndpointQuery", 13030, absent: .fabric),
    Function("cuLogicalEndpointUnbind", 13030, absent: .fabric),
    Function("cuMemAddressFree", 10020, "CUdeviceptr ptr, size_t size"),
    Function(
        "cuMemAddressReserve", 10020,
        "CUdeviceptr *ptr, size_t size, size_t alignment, CUdeviceptr addr, unsigned long long flags"),
    Function(
        "cuMemCreate", 10020,
        "CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop, unsigned long long flags"),
    Function(
        "cuMemExportToShareableHandle", 10020,
        "void *shareableHandle, CUmemGenericAllocationHandle handle, CUmemAllocationHandleType handleType, unsigned long long flags"
    ),
    Function("cuMemGetAccess", 10020, "unsigned long long *flags, const CUmemLocation *location, CUdeviceptr ptr"),
    Function(
        "cuMemGetAllocationGranularity", 10020,
        "size_t *granularity, const CUmemAllocationProp *prop, CUmemAllocationGranularity_flags option"),
    Function(
        "cuMemGetAllocationPropertiesFromHandle", 10020,
        "CUmemAllocationProp *prop, CUmemGenericAllocationHandle handle"),
    Function("cuMemGetHandleForAddressRange", 11070, absent: .serverKernel),
    Function(
        "cuMemImportFromShareableHandle", 10020,
        "CUmemGenericAllocationHandle *handle, void *osHandle, CUmemAllocationHandleType shHandleType"),
    Function(
        "cuMemMap", 10020,
        "CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags"),
    Function("cuMemMapArrayAsync", 11010, absent: .sparse, perThread: .ptsz(11010)),
    Function("cuMemRelease", 10020, "CUmemGenericAllocationHandle handle"),
    Function("cuMemRetainAllocationHandle", 11000, "CUmemGenericAllocationHandle *handle, void *addr"),
    Function("cuMemSetAccess", 10020, "CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count"),
    Function("cuMemUnmap", 10020, "CUdeviceptr ptr, size_t size"),
    Function("cuMulticastAddDevice", 12010, "CUmemGenericAllocationHandle mcHandle, CUdevice dev"),
    Function(
        "cuMulticastBindAddr", 12010,
        "CUmemGenericAllocationHandle mcHandle, size_t mcOffset, CUdeviceptr memptr, size_t size, unsigned long long flags"
    ),
    Function(
        "cuMulticastBindAddr_v2", 13010,
        "CUmemGenericAllocationHandle mcHandle, CUdevice dev, size_t mcOffset, CUdeviceptr memptr, size_t size, unsigned long long flags"
    ),
    Function(
        "cuMulticastBindMem", 12010,
        "CUmemGenericAllocationHandle mcHandle, size_t mcOffset, CUmemGenericAllocationHandle memHandle, size_t memOffset, size_t size, unsigned long long flags"
    ),
    Function(
        "cuMulticastBindMem_v2", 13010,
        "CUmemGenericAllocationHandle mcHandle, CUdevice dev, size_t mcOffset, CUmemGenericAllocationHandle memHandle, size_t memOffset, size_t size, unsigned long long flags"
    ),
    Function(
        "cuMulticastCreate", 12010, "CUmemGenericAllocationHandle *mcHandle, const CUmulticastObjectProp *prop"),
    Function(
        "cuMulticastGetGranularity", 12010,
        "size_t *granularity, const CUmulticastObjectProp *prop, CUmulticastGranularity_flags option"),
    Function(
        "cuMulticastUnbind", 12010,
        "CUmemGenericAllocationHandle mcHandle, CUdevice dev, size_t mcOffset, size_t size"),
]

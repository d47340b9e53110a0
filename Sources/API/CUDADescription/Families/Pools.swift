// SPDX-License-Identifier: Apache-2.0

let poolsFunctions: [Function] = [
    Function(
        "cuMemAllocAsync", 11020,
        "CUdeviceptr *dptr, size_t bytesize, CUstream hStream", perThread: .ptsz(11020)),
    Function(
        "cuMemAllocFromPoolAsync", 11020,
        "CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool, CUstream hStream", perThread: .ptsz(11020)),
    Function("cuMemFreeAsync", 11020, "CUdeviceptr dptr, CUstream hStream", perThread: .ptsz(11020)),
    Function(
        "cuMemGetDefaultMemPool", 13000, "CUmemoryPool *pool_out, CUmemLocation *location, CUmemAllocationType type"),
    Function("cuMemGetMemPool", 13000, "CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type"),
    Function("cuMemPoolCreate", 11020, "CUmemoryPool *pool, const CUmemPoolProps *poolProps"),
    Function("cuMemPoolDestroy", 11020, "CUmemoryPool pool"),
    Function("cuMemPoolExportPointer", 11020, "CUmemPoolPtrExportData *shareData_out, CUdeviceptr ptr"),
    Function(
        "cuMemPoolExportToShareableHandle", 11020,
        "void *handle_out, CUmemoryPool pool, CUmemAllocationHandleType handleType, unsigned long long flags"),
    Function("cuMemPoolGetAccess", 11020, "CUmemAccess_flags *flags, CUmemoryPool memPool, CUmemLocation *location"),
    Function("cuMemPoolGetAttribute", 11020, "CUmemoryPool pool, CUmemPool_attribute attr, void *value"),
    Function(
        "cuMemPoolImportFromShareableHandle", 11020,
        "CUmemoryPool *pool_out, void *handle, CUmemAllocationHandleType handleType, unsigned long long flags"),
    Function(
        "cuMemPoolImportPointer", 11020,
        "CUdeviceptr *ptr_out, CUmemoryPool pool, CUmemPoolPtrExportData *shareData"),
    Function("cuMemPoolSetAccess", 11020, "CUmemoryPool pool, const CUmemAccessDesc *map, size_t count"),
    Function("cuMemPoolSetAttribute", 11020, "CUmemoryPool pool, CUmemPool_attribute attr, void *value"),
    Function("cuMemPoolTrimTo", 11020, "CUmemoryPool pool, size_t minBytesToKeep"),
    Function("cuMemSetMemPool", 13000, "CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool"),
]

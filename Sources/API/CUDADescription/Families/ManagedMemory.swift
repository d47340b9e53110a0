// SPDX-License-Identifier: Apache-2.0

let managedMemoryFunctions: [Function] = [
    Function("cuMemAdvise", 8000, "CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUdevice device"),
    Function("cuMemAdvise_v2", 12020, "CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUmemLocation location"),
    Function("cuMemAllocManaged", 6000, "CUdeviceptr *dptr, size_t bytesize, unsigned int flags"),
    Function("cuMemBatchDecompressAsync", 12060, absent: .decompression, perThread: .ptsz(12060)),
    Function(
        "cuMemDiscardAndPrefetchBatchAsync", 13000,
        "CUdeviceptr *dptrs, size_t *sizes, size_t count, CUmemLocation *prefetchLocs, size_t *prefetchLocIdxs, size_t numPrefetchLocs, unsigned long long flags, CUstream hStream",
        perThread: .ptsz(13000)),
    Function(
        "cuMemDiscardBatchAsync", 13000,
        "CUdeviceptr *dptrs, size_t *sizes, size_t count, unsigned long long flags, CUstream hStream",
        perThread: .ptsz(13000)),
    Function(
        "cuMemGetLocationInfo", 13040,
        "CUdeviceptr ptr, size_t size, size_t summaryGranularity, size_t samplingGranularity, CUmemLocation *location_out"
    ),
    Function(
        "cuMemPrefetchAsync", 8000, "CUdeviceptr devPtr, size_t count, CUdevice dstDevice, CUstream hStream",
        perThread: .ptsz(8000)),
    Function(
        "cuMemPrefetchAsync_v2", 12020,
        "CUdeviceptr devPtr, size_t count, CUmemLocation location, unsigned int flags, CUstream hStream",
        perThread: .ptsz(12020)),
    Function(
        "cuMemPrefetchBatchAsync", 13000,
        "CUdeviceptr *dptrs, size_t *sizes, size_t count, CUmemLocation *prefetchLocs, size_t *prefetchLocIdxs, size_t numPrefetchLocs, unsigned long long flags, CUstream hStream",
        perThread: .ptsz(13000)),
    Function(
        "cuMemRangeGetAttribute", 8000,
        "void *data, size_t dataSize, CUmem_range_attribute attribute, CUdeviceptr devPtr, size_t count"),
    Function(
        "cuMemRangeGetAttributes", 8000,
        "void **data, size_t *dataSizes, CUmem_range_attribute *attributes, size_t numAttributes, CUdeviceptr devPtr, "
            + "size_t count"),
]

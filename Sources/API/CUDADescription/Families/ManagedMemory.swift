// SPDX-License-Identifier: Apache-2.0

let managedMemoryFunctions: [Function] = [
    Function("cuMemAdvise", 8000, absent: .later),
    Function("cuMemAdvise_v2", 12020, absent: .later),
    Function("cuMemAllocManaged", 6000, absent: .later),
    Function("cuMemBatchDecompressAsync", 12060, absent: .later, perThread: .ptsz(12060)),
    Function("cuMemDiscardAndPrefetchBatchAsync", 13000, absent: .later, perThread: .ptsz(13000)),
    Function("cuMemDiscardBatchAsync", 13000, absent: .later, perThread: .ptsz(13000)),
    Function("cuMemGetLocationInfo", 13040, absent: .later),
    Function("cuMemPrefetchAsync", 8000, absent: .later, perThread: .ptsz(8000)),
    Function("cuMemPrefetchAsync_v2", 12020, absent: .later, perThread: .ptsz(12020)),
    Function("cuMemPrefetchBatchAsync", 13000, absent: .later, perThread: .ptsz(13000)),
    Function("cuMemRangeGetAttribute", 8000, absent: .later),
    Function("cuMemRangeGetAttributes", 8000, absent: .later),
]

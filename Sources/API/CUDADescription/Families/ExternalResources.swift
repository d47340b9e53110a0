// SPDX-License-Identifier: Apache-2.0

let externalResourcesFunctions: [Function] = [
    Function("cuDestroyExternalMemory", 10000, absent: .graphics),
    Function("cuDestroyExternalSemaphore", 10000, absent: .graphics),
    Function("cuExternalMemoryGetMappedBuffer", 10000, absent: .graphics),
    Function("cuExternalMemoryGetMappedMipmappedArray", 10000, absent: .graphics),
    Function("cuImportExternalMemory", 10000, absent: .graphics),
    Function("cuImportExternalSemaphore", 10000, absent: .graphics),
    Function("cuSignalExternalSemaphoresAsync", 10000, absent: .graphics, perThread: .ptsz(10000)),
    Function("cuWaitExternalSemaphoresAsync", 10000, absent: .graphics, perThread: .ptsz(10000)),
]

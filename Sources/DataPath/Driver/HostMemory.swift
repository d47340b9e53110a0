// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A driver whose devices reach all of the process's memory needs no memory of a special kind.
extension Driver {
    package func cuMemAllocHost_v2(
        _ context: ContextHandle, bytesize: Int
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        guard let memory = aligned_alloc(4096, (max(1, bytesize) + 4095) & ~4095) else { throw .outOfMemory }
        return UnsafeMutableRawBufferPointer(start: memory, count: bytesize)
    }

    package func cuMemFreeHost(_ context: ContextHandle, _ memory: UnsafeMutableRawBufferPointer) {
        free(memory.baseAddress)
    }
}

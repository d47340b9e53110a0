// SPDX-License-Identifier: Apache-2.0

/// A driver whose devices reach all of the process's memory needs no memory of a special kind.
extension Driver {
    package func cuMemAllocHost_v2(
        _ context: ContextHandle, bytesize: Int
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer.allocate(byteCount: bytesize, alignment: 4096)
    }

    package func cuMemFreeHost(_ context: ContextHandle, _ memory: UnsafeMutableRawBufferPointer) {
        memory.deallocate()
    }
}

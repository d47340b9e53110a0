// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Device memory.
extension Shim {
    /// How often an allocation whose addresses have host memory in this process is tried elsewhere.
    private static var placementTriesMax: Int { 32 }

    func cuMemAlloc_v2(_ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ bytesize: Int) throws(CUDAError) {
        let active = try activeContext()
        try checkIsSafeInCapture()
        guard dptr != nil, bytesize != 0 else { throw .invalidValue }
        guard bytesize > 0 else { throw .outOfMemory }
        let address = try place(bytesize, in: active.context, pool: nil) { () throws(CUDAError) in
            try driver.cuMemAlloc_v2(active.handle, bytesize: bytesize)
        } free: { address throws(CUDAError) in
            try driver.cuMemFree_v2(active.handle, dptr: address)
        }
        try write(address, to: dptr)
    }

    func cuMemAllocPitch_v2(
        _ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ pPitch: UnsafeMutablePointer<Int>?, _ WidthInBytes: Int,
        _ Height: Int, _ ElementSizeBytes: UInt32
    ) throws(CUDAError) {
        let active = try activeContext()
        try checkIsSafeInCapture()
        guard dptr != nil, pPitch != nil, WidthInBytes != 0, Height != 0, [4, 8, 16].contains(ElementSizeBytes) else {
            throw .invalidValue
        }
        guard WidthInBytes > 0, Height > 0, !WidthInBytes.multipliedReportingOverflow(by: Height).overflow else {
            throw .outOfMemory
        }
        // The pitch is the same for every try: it depends on the width alone.
        var pitch = 0
        let address = try place(nil, in: active.context, pool: nil) { () throws(CUDAError) in
            let rows = try driver.cuMemAllocPitch_v2(
                active.handle, widthInBytes: WidthInBytes, height: Height, elementSizeBytes: ElementSizeBytes)
            pitch = rows.pPitch
            return rows.dptr
        } free: { address throws(CUDAError) in
            try driver.cuMemFree_v2(active.handle, dptr: address)
        } byteCount: {
            pitch * Height
        }
        try write(pitch, to: pPitch)
        try write(address, to: dptr)
    }

    func cuMemFree_v2(_ dptr: CUdeviceptr) throws(CUDAError) {
        _ = try activeContext()
        try checkIsSafeInCapture()
        if dptr == 0 { return }
        if let allocation = graphAllocation(at: dptr) { return try free(allocation) }
        guard let allocation = memory.find(dptr), allocation.base == dptr, !allocation.isFreePending else {
            throw .invalidValue
        }
        if isOfClientPool(allocation) { return try freeOfClientPool(allocation) }
        guard allocation.kind.isFreeable, let context = contexts[allocation.contextBits] else { throw .invalidValue }
        if allocation.kind == .managed { memoryAdvice.withLock { $0[allocation.id] = nil } }
        guard endImport(allocation) else { return }
        if allocation.deviceBase != 0 { return try free(managed: allocation, try context.handle) }
        // The addresses are given up after the driver gave up the memory: until then they must stay free of host
        // memory.
        try driver.cuMemFree_v2(try context.handle, dptr: dptr)
        memory.remove(dptr) { $0.id == allocation.id }
    }

    func cuMemGetInfo_v2(
        _ free: UnsafeMutablePointer<Int>?, _ total: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let info = try driver.cuMemGetInfo_v2(try activeContext().handle)
        free?.pointee = info.free
        total?.pointee = info.total
    }

    func cuMemGetAddressRange_v2(
        _ pbase: UnsafeMutablePointer<CUdeviceptr>?, _ psize: UnsafeMutablePointer<Int>?, _ dptr: CUdeviceptr
    ) throws(CUDAError) {
        guard let allocation = memory.find(dptr) else { throw .notFound }
        pbase?.pointee = allocation.base
        psize?.pointee = allocation.byteCount
    }

    /// Allocates device memory and makes it known, in a place where this process has no memory of its own.
    ///
    /// Where device memory is outside this process its addresses may coincide with host memory. Then the allocation is
    /// made again while the unsuitable ones still hold their places.
    func place(
        _ byteCount: Int?, in context: Context, pool: Pool?,
        allocate: () throws(CUDAError) -> CUdeviceptr, free: (CUdeviceptr) throws(CUDAError) -> Void,
        byteCount measure: () -> Int = { 0 }
    ) throws(CUDAError) -> CUdeviceptr {
        var unsuitable: [CUdeviceptr] = []
        // Failing to free memory that nobody has seen is of no interest to the application.
        defer { for address in unsuitable { try? free(address) } }
        while unsuitable.count < Self.placementTriesMax {
            let address = try allocate()
            let byteCount = byteCount ?? measure()
            guard memory.reserve(address, byteCount) else {
                unsuitable.append(address)
                continue
            }
            memory.insert(
                Allocation(
                    base: address, byteCount: byteCount, kind: .device, contextBits: context.bits,
                    device: (pool?.device ?? context.device).ordinal, id: nextID(), poolBits: pool?.bits ?? 0))
            return address
        }
        throw .outOfMemory
    }
}

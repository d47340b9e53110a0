// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver
import Synchronization

/// A part of another driver: some of its devices, and on each at most so many bytes of memory.
///
/// Whatever hands out device memory is counted here, before the driver is asked, so that an application cannot take
/// more than its partition, and what it is told of free and total memory is its partition's.
package final class PartitionedDriver: Driver {
    let driver: any Driver
    /// The driver's number of each device, by the partition's.
    private let devices: [Int32]
    private let bytesMax: Int?
    private let state = Mutex(State())

    private struct State {
        /// Allocated bytes by device of the partition.
        var used: [Int32: Int] = [:]
        var allocations: [CUdeviceptr: Allocation] = [:]
        var deviceOfContext: [ContextHandle: Int32] = [:]
    }

    private struct Allocation {
        let device: Int32
        let byteCount: Int
        let context: ContextHandle
    }

    /// Makes a part of a driver.
    ///
    /// - Parameters:
    ///   - driver: The whole.
    ///   - devices: The driver's numbers of the devices of the partition, in the order in which they appear.
    ///   - bytesMax: The most that may be allocated on each; nil for all there is.
    package init(_ driver: any Driver, devices: [Int], bytesMax: Int?) {
        self.driver = driver
        self.devices = devices.map(Int32.init)
        self.bytesMax = bytesMax
    }

    private func driverDevice(_ device: Int32) throws(CUDAError) -> Int32 {
        guard devices.indices.contains(Int(device)) else { throw .invalidDevice }
        return devices[Int(device)]
    }

    package func describe() throws(CUDAError) -> DriverDescription {
        var description = try driver.describe()
        let all = description.devices
        description.devices = []
        for device in devices {
            guard all.indices.contains(Int(device)) else { throw .invalidDevice }
            var part = all[Int(device)]
            if let bytesMax { part.totalBytes = min(part.totalBytes, bytesMax) }
            part.canAccessPeer = devices.map { part.canAccessPeer[Int($0)] }
            description.devices.append(part)
        }
        return description
    }

    package func cuMemAllocHost_v2(
        _ context: ContextHandle, bytesize: Int
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        try driver.cuMemAllocHost_v2(context, bytesize: bytesize)
    }

    package func cuMemFreeHost(_ context: ContextHandle, _ memory: UnsafeMutableRawBufferPointer) {
        driver.cuMemFreeHost(context, memory)
    }

    package func cuDevicePrimaryCtxRetain(dev: Int32) throws(CUDAError) -> ContextHandle {
        let context = try driver.cuDevicePrimaryCtxRetain(dev: driverDevice(dev))
        state.withLock { $0.deviceOfContext[context] = dev }
        return context
    }

    package func cuDevicePrimaryCtxRelease_v2(dev: Int32, context: ContextHandle) throws(CUDAError) {
        try driver.cuDevicePrimaryCtxRelease_v2(dev: driverDevice(dev), context: context)
        forget(context)
    }

    package func cuDevicePrimaryCtxSetFlags_v2(dev: Int32, flags: UInt32) throws(CUDAError) {
        try driver.cuDevicePrimaryCtxSetFlags_v2(dev: driverDevice(dev), flags: flags)
    }

    package func cuCtxCreate_v2(flags: UInt32, dev: Int32) throws(CUDAError) -> ContextHandle {
        let context = try driver.cuCtxCreate_v2(flags: flags, dev: driverDevice(dev))
        state.withLock { $0.deviceOfContext[context] = dev }
        return context
    }

    package func cuCtxDestroy_v2(ctx: ContextHandle) throws(CUDAError) {
        try driver.cuCtxDestroy_v2(ctx: ctx)
        forget(ctx)
    }

    /// A context has ended, and its memory with it.
    private func forget(_ context: ContextHandle) {
        state.withLock { state in
            for (address, allocation) in state.allocations where allocation.context == context {
                state.allocations[address] = nil
                state.used[allocation.device, default: 0] -= allocation.byteCount
            }
            state.deviceOfContext[context] = nil
        }
    }

    package func cuMemAlloc_v2(_ context: ContextHandle, bytesize: Int) throws(CUDAError) -> CUdeviceptr {
        try allocate(context, bytesize) { () throws(CUDAError) in
            (try driver.cuMemAlloc_v2(context, bytesize: bytesize), bytesize)
        }
    }

    package func cuMemAllocPitch_v2(
        _ context: ContextHandle, widthInBytes: Int, height: Int, elementSizeBytes: UInt32
    ) throws(CUDAError) -> (dptr: CUdeviceptr, pPitch: Int) {
        var pitch = 0
        let (product, overflow) = widthInBytes.multipliedReportingOverflow(by: height)
        guard !overflow, product >= 0 else { throw .invalidValue }
        let address = try allocate(context, product) { () throws(CUDAError) in
            let made = try driver.cuMemAllocPitch_v2(
                context, widthInBytes: widthInBytes, height: height, elementSizeBytes: elementSizeBytes)
            pitch = made.pPitch
            return (made.dptr, made.pPitch * height)
        }
        return (address, pitch)
    }

    package func cuMemAllocAsync(
        _ context: ContextHandle, bytesize: Int, hStream: StreamHandle
    ) throws(CUDAError) -> CUdeviceptr {
        try allocate(context, bytesize) { () throws(CUDAError) in
            (try driver.cuMemAllocAsync(context, bytesize: bytesize, hStream: hStream), bytesize)
        }
    }

    package func cuMemAllocFromPoolAsync(
        _ context: ContextHandle, bytesize: Int, pool: MemoryPoolHandle, hStream: StreamHandle
    ) throws(CUDAError) -> CUdeviceptr {
        try allocate(context, bytesize) { () throws(CUDAError) in
            (try driver.cuMemAllocFromPoolAsync(context, bytesize: bytesize, pool: pool, hStream: hStream), bytesize)
        }
    }

    /// Counts an allocation first, so that two threads cannot both take the last bytes, and corrects the count after
    /// it.
    private func allocate(
        _ context: ContextHandle, _ byteCount: Int, _ body: () throws(CUDAError) -> (CUdeviceptr, Int)
    ) throws(CUDAError) -> CUdeviceptr {
        guard byteCount >= 0 else { throw .invalidValue }
        let device = state.withLock { state -> Int32? in
            let device = state.deviceOfContext[context] ?? 0
            let used = state.used[device, default: 0]
            if let bytesMax, byteCount > bytesMax - used { return nil }
            state.used[device] = used + byteCount
            return device
        }
        guard let device else { throw .outOfMemory }
        do throws(CUDAError) {
            let (address, taken) = try body()
            let fits = state.withLock { state in
                let used = state.used[device, default: 0] - byteCount + taken
                if let bytesMax, used > bytesMax {
                    state.used[device, default: 0] -= byteCount
                    return false
                }
                state.used[device] = used
                state.allocations[address] = Allocation(device: device, byteCount: taken, context: context)
                return true
            }
            if fits { return address }
            try driver.cuMemFree_v2(context, dptr: address)
        } catch {
            state.withLock { $0.used[device, default: 0] -= byteCount }
            throw error
        }
        throw .outOfMemory
    }

    package func cuMemFree_v2(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) {
        try driver.cuMemFree_v2(context, dptr: dptr)
        freed(dptr)
    }

    package func cuMemFreeAsync(
        _ context: ContextHandle, dptr: CUdeviceptr, hStream: StreamHandle
    ) throws(CUDAError) {
        try driver.cuMemFreeAsync(context, dptr: dptr, hStream: hStream)
        freed(dptr)
    }

    private func freed(_ address: CUdeviceptr) {
        state.withLock { state in
            guard let allocation = state.allocations.removeValue(forKey: address) else { return }
            state.used[allocation.device, default: 0] -= allocation.byteCount
        }
    }

    package func cuMemGetInfo_v2(_ context: ContextHandle) throws(CUDAError) -> (free: Int, total: Int) {
        let whole = try driver.cuMemGetInfo_v2(context)
        guard let bytesMax else { return whole }
        let used = state.withLock { $0.used[$0.deviceOfContext[context] ?? 0, default: 0] }
        let total = min(bytesMax, whole.total)
        return (min(total - used, whole.free), total)
    }

    package func cuMemPoolCreate(device: Int32, maxSize: Int) throws(CUDAError) -> MemoryPoolHandle {
        try driver.cuMemPoolCreate(device: driverDevice(device), maxSize: maxSize)
    }

    package func cuDeviceGetDefaultMemPool(dev: Int32) throws(CUDAError) -> MemoryPoolHandle {
        try driver.cuDeviceGetDefaultMemPool(dev: driverDevice(dev))
    }
}

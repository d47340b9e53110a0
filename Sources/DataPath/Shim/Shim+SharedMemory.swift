// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// How memory that host and device use by turns is found and handed over; see ``SharedMemory``.
extension Shim {
    /// Whether a launch has to look for such memory: when there is any, or when there is pinned memory, which kernels
    /// may use without having asked for it.
    @inline(__always)
    var usesSharedMemory: Bool { memory.reservesAddresses && (shared.isUsed || memory.hasHostMemory) }

    /// Launches a kernel that may use any of the memory.
    func launchWithSharedMemory(
        _ function: FunctionHandle, _ geometry: LaunchGeometry, _ target: StreamTarget,
        _ parameters: UnsafeMutableRawBufferPointer
    ) throws(CUDAError) {
        try replaceHostPointers(in: parameters)
        guard shared.isUsed else { return try enqueue(function, geometry, target, parameters) }
        try shared.whileOnDevice(target) { () throws(CUDAError) in
            try enqueue(function, geometry, target, parameters)
        }
    }

    private func enqueue(
        _ function: FunctionHandle, _ geometry: LaunchGeometry, _ target: StreamTarget,
        _ parameters: UnsafeMutableRawBufferPointer
    ) throws(CUDAError) {
        try driver.cuLaunchKernel(
            target.context, f: function, geometry, stream: target.stream,
            parameters: UnsafeRawBufferPointer(parameters))
    }

    /// Gives a kernel the device's address of pinned memory where it was given the host's.
    ///
    /// Both are the same to a program on a machine with a GPU. Pointers inside the memory that a kernel reads are not
    /// found.
    func replaceHostPointers(in parameters: UnsafeMutableRawBufferPointer) throws(CUDAError) {
        guard memory.hasHostMemory else { return }
        var offset = 0
        while offset + 8 <= parameters.count {
            let word = parameters.load(fromByteOffset: offset, as: CUdeviceptr.self)
            if memory.mayBeHostMemory(word), let allocation = memory.find(word), allocation.kind == .host {
                let shared = try shareHostMemory(allocation)
                parameters.storeBytes(of: shared.deviceAddress(word), toByteOffset: offset, as: CUdeviceptr.self)
            }
            offset += 8
        }
    }

    /// The device's address of memory; the same as the application's for all but shared host memory.
    func deviceAddress(_ address: CUdeviceptr) -> CUdeviceptr {
        memory.find(address)?.deviceAddress(address) ?? address
    }

    /// Hands parts of shared memory over, and performs a piece of work that uses them.
    ///
    /// Work that changes them only enqueues; other work may wait, and is performed when others may go on.
    func whileOnDevice(
        _ parts: [(address: CUdeviceptr, side: Side, byteCount: Int)], _ stream: StreamTarget, isChanged: Bool,
        _ body: () throws(CUDAError) -> Void
    ) throws(CUDAError) {
        let ranges = parts.filter { $0.side == .shared }.map { part in
            let start = UInt(memory.find(part.address)?.hostAddress(part.address) ?? part.address)
            return start..<start + UInt(part.byteCount)
        }
        if isChanged { return try shared.whileOnDevice(ranges, stream, body) }
        try shared.whileOnDevice(ranges, stream) {}
        try body()
    }

    /// Waits for work that changes managed memory of this process, after a function that is not asynchronous there.
    ///
    /// Where the device is in another process, whoever touches the memory waits.
    func waitIfManaged(_ address: CUdeviceptr, _ stream: StreamTarget) throws(CUDAError) {
        guard !memory.reservesAddresses, memory.find(address)?.kind == .managed else { return }
        try driver.cuStreamSynchronize(stream.context, hStream: stream.stream)
    }

    /// Returns the failure of earlier work that a touch of shared memory had to learn.
    @inline(__always)
    func throwLearntFailure() throws(CUDAError) {
        if shared.isUsed, let failure = shared.takeFailure() { throw failure }
    }

    // MARK: Managed memory

    /// Allocates memory that the host uses at the device's addresses.
    ///
    /// It has pages of its own: the host's access changes by pages.
    func allocateManaged(_ byteCount: Int, in active: ActiveContext) throws(CUDAError) -> CUdeviceptr {
        guard memory.reservesAddresses else {
            // The device's memory is this process's own.
            let address = try place(byteCount, in: active.context, pool: nil) { () throws(CUDAError) in
                try driver.cuMemAlloc_v2(active.handle, bytesize: byteCount)
            } free: { address throws(CUDAError) in
                try driver.cuMemFree_v2(active.handle, dptr: address)
            }
            _ = memory.update(address) { $0.kind = .managed }
            return address
        }
        let (pages, isTooLong) = byteCount.addingReportingOverflow(SharedRange.pageBytes - 1)
        guard !isTooLong else { throw .outOfMemory }
        let pageBytes = pages / SharedRange.pageBytes * SharedRange.pageBytes
        var driverBases: [CUdeviceptr: CUdeviceptr] = [:]
        let address = try place(pageBytes, in: active.context, pool: nil) { () throws(CUDAError) in
            let (base, address) = try allocatePages(pageBytes, in: active.handle)
            driverBases[address] = base
            return address
        } free: { address throws(CUDAError) in
            try driver.cuMemFree_v2(active.handle, dptr: driverBases[address] ?? address)
        }
        do throws(CUDAError) {
            try shared.insert(in: active.handle) {
                SharedRange(
                    hostBase: UInt(address), byteCount: pageBytes, deviceBase: address,
                    driverBase: driverBases[address] ?? address, context: active.handle,
                    contextBits: active.context.bits, parts: [0..<byteCount], initial: .untouched)
            }
        } catch {
            memory.remove(address)
            try? driver.cuMemFree_v2(active.handle, dptr: driverBases[address] ?? address)
            throw error
        }
        _ = memory.update(address) { allocation in
            allocation.kind = .managed
            allocation.deviceBase = address
            allocation.byteCount = byteCount
        }
        return address
    }

    /// Allocates device memory that begins on a page: its address, and the beginning of the whole pages in it.
    private func allocatePages(
        _ byteCount: Int, in context: ContextHandle
    ) throws(CUDAError) -> (base: CUdeviceptr, address: CUdeviceptr) {
        let page = CUdeviceptr(SharedRange.pageBytes)
        let first = try driver.cuMemAlloc_v2(context, bytesize: byteCount)
        if first % page == 0 { return (first, first) }
        try driver.cuMemFree_v2(context, dptr: first)
        let base = try driver.cuMemAlloc_v2(context, bytesize: byteCount + SharedRange.pageBytes)
        return (base, (base + page - 1) / page * page)
    }

    /// Frees managed memory of a device in another process.
    func free(managed allocation: Allocation, _ context: ContextHandle) throws(CUDAError) {
        // Nobody frees a module's variable.
        guard shared.withRange(at: UInt(allocation.base), { $0.driverBase }) ?? 0 != 0 else { throw .invalidValue }
        let base = shared.remove(at: UInt(allocation.base)) { range in
            range.giveUpAddresses()
            return range.driverBase
        }
        guard let base else { throw .invalidValue }
        try driver.cuMemFree_v2(context, dptr: base)
        memory.remove(allocation.base) { $0.id == allocation.id }
    }

    /// Makes a managed variable of a module usable by the host.
    func share(managedVariable address: CUdeviceptr, _ byteCount: Int, in context: Context) throws(CUDAError) {
        guard byteCount > 0, memory.find(address)?.kind == .global else { return }
        if memory.reservesAddresses {
            guard memory.reserve(address, byteCount) else { throw .outOfMemory }
            try watchPages(of: UInt(address)..<UInt(address) + UInt(byteCount), in: context)
        }
        _ = memory.update(address) { allocation in
            allocation.kind = .managed
            if memory.reservesAddresses { allocation.deviceBase = address }
        }
    }

    /// Makes a variable a part of the ranges that its pages belong to, and ranges of those that belong to none.
    private func watchPages(of variable: Range<UInt>, in context: Context) throws(CUDAError) {
        let handle = try context.handle
        var page = Self.page(of: variable.lowerBound)
        while page < variable.upperBound {
            if let end = shared.withRange(at: page, { range in range.add(variable) }) {
                page = end
                continue
            }
            let first = page
            repeat {
                page += UInt(SharedRange.pageBytes)
            } while page < variable.upperBound && shared.withRange(at: page, { _ in true }) == nil
            let part = variable.clamped(to: first..<page)
            try shared.insert(in: handle) {
                SharedRange(
                    hostBase: first, byteCount: Int(page - first), deviceBase: CUdeviceptr(first), driverBase: 0,
                    context: handle, contextBits: context.bits,
                    parts: [Int(part.lowerBound - first)..<Int(part.upperBound - first)], initial: .device)
            }
        }
    }

    private static func page(of address: UInt) -> UInt {
        address / UInt(SharedRange.pageBytes) * UInt(SharedRange.pageBytes)
    }

    /// A module's variable ends, and with it the others of its pages, which belong to the same module.
    func forget(variable address: CUdeviceptr) {
        guard let variable = memory.find(address), variable.base == address else { return }
        var page = Self.page(of: UInt(address))
        while variable.deviceBase != 0, page < UInt(variable.end) {
            guard let start = shared.withRange(at: page, { $0.hostBase }) else { break }
            page =
                shared.remove(at: start) { range in
                    range.giveUpAddresses()
                    return range.hostEnd
                } ?? UInt(variable.end)
        }
        memory.remove(address)
    }

    // MARK: Host memory

    /// Lets kernels use host memory of this library; does nothing when they can already.
    func shareHostMemory(_ allocation: Allocation) throws(CUDAError) -> Allocation {
        guard memory.reservesAddresses, allocation.deviceBase == 0 else { return allocation }
        guard let context = contexts[allocation.contextBits] else { throw .contextIsDestroyed }
        let handle = try context.handle
        let pageBytes =
            (allocation.byteCount + SharedRange.pageBytes - 1) / SharedRange.pageBytes * SharedRange.pageBytes
        // What is still to be copied into it must be there before it can be taken away.
        try driver.cuCtxSynchronize(handle)
        var bases: [CUdeviceptr: CUdeviceptr] = [:]
        let address = try place(pageBytes, in: context, pool: nil) { () throws(CUDAError) in
            let (base, address) = try allocatePages(pageBytes, in: handle)
            bases[address] = base
            return address
        } free: { address throws(CUDAError) in
            try driver.cuMemFree_v2(handle, dptr: bases[address] ?? address)
        }
        do throws(CUDAError) {
            try shared.insert(in: handle) {
                let start = UnsafeMutableRawPointer(bitPattern: UInt(allocation.base))
                // Whoever writes it meanwhile waits, and writes what takes its place.
                mprotect(start, pageBytes, PROT_READ)
                return SharedRange(
                    hostBase: UInt(allocation.base), byteCount: pageBytes, deviceBase: address,
                    driverBase: bases[address] ?? address, context: handle, contextBits: context.bits,
                    parts: [0..<allocation.byteCount], initial: .dirty,
                    contents: UnsafeRawBufferPointer(start: start, count: allocation.byteCount))
            }
        } catch {
            mprotect(UnsafeMutableRawPointer(bitPattern: UInt(allocation.base)), pageBytes, PROT_READ | PROT_WRITE)
            memory.remove(address)
            try? driver.cuMemFree_v2(handle, dptr: bases[address] ?? address)
            throw error
        }
        _ = memory.update(address) { view in
            view.kind = .view
            view.deviceBase = address
            view.hostBase = allocation.base
            view.byteCount = allocation.byteCount
        }
        _ = memory.update(allocation.base) { $0.deviceBase = address }
        var shared = allocation
        shared.deviceBase = address
        return shared
    }

    /// Frees what a device has of host memory that is freed.
    func unshareHostMemory(_ allocation: Allocation, inOrder: Bool) {
        guard allocation.deviceBase != 0,
            let (base, context) = shared.remove(at: UInt(allocation.base), { ($0.driverBase, $0.context) })
        else { return }
        // The context may have ended, and the memory with it.
        if inOrder {
            try? driver.cuMemFreeAsync(context, dptr: base, hStream: .legacyDefault)
        } else {
            try? driver.cuMemFree_v2(context, dptr: base)
        }
        memory.remove(allocation.deviceBase) { $0.kind == .view }
    }
}

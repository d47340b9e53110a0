// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSystem
import Driver
import Glibc

/// Host memory that CUDA allocates or registers. It is this process's own memory, and copies use it like any other.
/// Where the device is in another process, kernels reach what this library has allocated through ``SharedMemory``, from
/// the moment on at which the application asks for its device address or passes it to a kernel.
extension Shim {
    /// CU_MEMHOSTALLOC_PORTABLE, DEVICEMAP and WRITECOMBINED.
    private static var allocationFlags: UInt32 { 0x7 }
    /// CU_MEMHOSTREGISTER_PORTABLE, DEVICEMAP, IOMEMORY and READ_ONLY.
    private static var registrationFlags: UInt32 { 0xf }

    func cuMemAllocHost_v2(_ pp: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ bytesize: Int) throws(CUDAError) {
        try cuMemHostAlloc(pp, bytesize, 0)
    }

    func cuMemHostAlloc(
        _ pp: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ bytesize: Int, _ Flags: UInt32
    ) throws(CUDAError) {
        let active = try activeContext()
        try checkIsSafeInCapture()
        guard let pp, bytesize != 0, Flags & ~Self.allocationFlags == 0 else { throw .invalidValue }
        pp.pointee = try allocateHostMemory(bytesize, Flags, in: active.context)
    }

    /// Allocates host memory, of a pool and on a node of the host if these are given.
    func allocateHostMemory(
        _ byteCount: Int, _ flags: UInt32, in context: Context, pool: Pool? = nil
    ) throws(CUDAError) -> UnsafeMutableRawPointer {
        guard byteCount > 0, byteCount <= Int.max - Self.pageBytes,
            let address = mmap(
                nil, Self.wholePages(byteCount), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            address != MAP_FAILED
        else { throw .outOfMemory }
        // A wish: on a node that has no more, memory of another one does.
        if let node = pool?.client?.place.node { csystem_prefer_node(address, Self.wholePages(byteCount), node) }
        var allocation = hostMemory(address, byteCount, .host, flags, context)
        allocation.poolBits = pool?.bits ?? 0
        memory.insert(host: allocation)
        return address
    }

    func cuMemFreeHost(_ p: UnsafeMutableRawPointer?) throws(CUDAError) {
        try checkIsSafeInCapture()
        guard memory.find(Self.address(p))?.poolBits == 0 else { throw .invalidValue }
        try freeHostMemory(Self.address(p))
    }

    /// Frees host memory of this library that begins at an address.
    ///
    /// What a device has of it goes when all its work is done, or in the order of its default stream, so that nobody
    /// waits.
    func freeHostMemory(_ address: CUdeviceptr, inOrder: Bool = false) throws(CUDAError) {
        guard let freed = memory.remove(host: address) else { throw .invalidValue }
        unshareHostMemory(freed, inOrder: inOrder)
        munmap(UnsafeMutableRawPointer(bitPattern: UInt(address)), Self.wholePages(freed.byteCount))
    }

    func cuMemHostRegister_v2(_ p: UnsafeMutableRawPointer?, _ bytesize: Int, _ Flags: UInt32) throws(CUDAError) {
        let active = try activeContext()
        guard let p, bytesize > 0, Flags & ~Self.registrationFlags == 0,
            !Self.address(p).addingReportingOverflow(CUdeviceptr(bytesize)).overflow
        else { throw .invalidValue }
        // Memory of devices outside this process cannot be mapped for them.
        if Flags & 0x4 != 0 { throw .notSupported }
        guard memory.insertIfFree(hostMemory(p, bytesize, .registered, Flags, active.context)) else {
            throw CUDAError(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED)
        }
    }

    func cuMemHostUnregister(_ p: UnsafeMutableRawPointer?) throws(CUDAError) {
        guard let p else { throw .invalidValue }
        guard memory.remove(Self.address(p), where: { $0.kind == .registered }) != nil else {
            throw CUDAError(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)
        }
    }

    func cuMemHostGetDevicePointer_v2(
        _ pdptr: UnsafeMutablePointer<CUdeviceptr>?, _ p: UnsafeMutableRawPointer?, _ Flags: UInt32
    ) throws(CUDAError) {
        let allocation = try hostAllocation(p)
        guard Flags == 0 else { throw .invalidValue }
        // The application's own pages cannot be taken away from it: kernels cannot use this address.
        if allocation.kind == .registered { return try write(Self.address(p), to: pdptr) }
        try write(try shareHostMemory(allocation).deviceAddress(Self.address(p)), to: pdptr)
    }

    func cuMemHostGetFlags(
        _ pFlags: UnsafeMutablePointer<UInt32>?, _ p: UnsafeMutableRawPointer?
    ) throws(CUDAError) {
        // All host memory is portable and has a device address, since host and devices share one address space.
        try write(try hostAllocation(p).hostFlags | 0x3, to: pFlags)
    }

    private func hostAllocation(_ p: UnsafeMutableRawPointer?) throws(CUDAError) -> Allocation {
        guard let p, let allocation = memory.find(Self.address(p)), !allocation.kind.isOnDevice else {
            throw .invalidValue
        }
        return allocation
    }

    private func hostMemory(
        _ address: UnsafeMutableRawPointer, _ byteCount: Int, _ kind: Allocation.Kind, _ flags: UInt32,
        _ context: Context
    ) -> Allocation {
        Allocation(
            base: Self.address(address), byteCount: byteCount, kind: kind, contextBits: context.bits,
            device: context.device.ordinal, id: nextID(), hostFlags: flags)
    }

    private static var pageBytes: Int { 4096 }

    private static func wholePages(_ byteCount: Int) -> Int { (byteCount + pageBytes - 1) / pageBytes * pageBytes }

    static func address(_ pointer: UnsafeRawPointer?) -> CUdeviceptr { CUdeviceptr(UInt(bitPattern: pointer)) }
}

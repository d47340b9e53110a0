// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What the file behind an exported descriptor says of a pool.
private struct ExportedPool: BitwiseCopyable {
    /// "BFPOOLF1".
    static let magicValue: UInt64 = 0x3146_4C4F_4F50_4642

    var magic = magicValue
    var uuid: (UInt64, UInt64) = (0, 0)
    var handle = CUmemPoolPtrExportData()
}

/// Pools whose memory other processes use: the pool by a descriptor, and then each allocation by 64 bytes.
extension Shim {
    func cuMemPoolExportToShareableHandle(
        _ handle_out: UnsafeMutableRawPointer?, _ pool: OpaquePointer?, _ handleType: CUmemAllocationHandleType,
        _ flags: UInt64
    ) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard let handle_out, flags == 0, !pool.isImported, handleType != CU_MEM_HANDLE_TYPE_NONE,
            pool.handleTypes & handleType.rawValue == handleType.rawValue
        else { throw .invalidValue }
        let exported = try driver.cuMemPoolExportToShareableHandle(pool: pool.handle)
        let descriptor = try DescriptorFile.make(
            ExportedPool(uuid: Self.uuid(of: pool.device), handle: exported.value(as: CUmemPoolPtrExportData.self)))
        handle_out.storeBytes(of: descriptor, as: Int32.self)
    }

    /// The descriptor stays the application's.
    func cuMemPoolImportFromShareableHandle(
        _ pool_out: UnsafeMutablePointer<OpaquePointer?>?, _ handle: UnsafeMutableRawPointer?,
        _ handleType: CUmemAllocationHandleType, _ flags: UInt64
    ) throws(CUDAError) {
        guard pool_out != nil, flags == 0 else { throw .invalidValue }
        guard handleType == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR else { throw .notSupported }
        var contents = ExportedPool()
        guard DescriptorFile.read(Int32(truncatingIfNeeded: Int(bitPattern: handle)), into: &contents),
            contents.magic == ExportedPool.magicValue, let device = device(uuid: contents.uuid)
        else { throw .invalidValue }
        let imported = try driver.cuMemPoolImportFromShareableHandle(handle: ShareableHandle(bytesOf: contents.handle))
        let made = try pools.insert { bits in
            Pool(bits: bits, handle: imported, device: device, isImported: true)
        }
        try write(handle: made.bits, to: pool_out)
    }

    func cuMemPoolExportPointer(
        _ shareData_out: UnsafeMutablePointer<CUmemPoolPtrExportData>?, _ ptr: CUdeviceptr
    ) throws(CUDAError) {
        guard shareData_out != nil, let allocation = memory.find(ptr), allocation.base == ptr,
            allocation.poolBits != 0, allocation.openCount == 0, let context = contexts[allocation.contextBits]
        else { throw .invalidValue }
        let data = try driver.cuMemPoolExportPointer(try context.handle, ptr: ptr)
        try write(data.value(as: CUmemPoolPtrExportData.self), to: shareData_out)
    }

    /// An allocation that is open already keeps its address, and is freed when it has been freed as often as opened.
    func cuMemPoolImportPointer(
        _ ptr_out: UnsafeMutablePointer<CUdeviceptr>?, _ pool: OpaquePointer?,
        _ shareData: UnsafeMutablePointer<CUmemPoolPtrExportData>?
    ) throws(CUDAError) {
        let active = try activeContext()
        let pool = try self.pool(pool)
        guard ptr_out != nil, let shareData, pool.isImported else { throw .invalidValue }
        let data = ShareableHandle(bytesOf: shareData.pointee)
        // Threads that open the same at once need the same address.
        let address = try poolImports.withLock { imports throws(CUDAError) in
            if let known = imports[data], memory.find(known)?.poolBits == pool.bits,
                memory.update(known, { $0.openCount += 1 })
            {
                return known
            }
            var byteCount = 0
            let opened = try place(nil, in: active.context, pool: pool) { () throws(CUDAError) in
                let opened = try driver.cuMemPoolImportPointer(active.handle, pool: pool.handle, shareData: data)
                byteCount = opened.bytesize
                return opened.ptr
            } free: { address throws(CUDAError) in
                try driver.cuMemFree_v2(active.handle, dptr: address)
            } byteCount: {
                byteCount
            }
            _ = memory.update(opened) { $0.openCount = 1 }
            imports[data] = opened
            return opened
        }
        try write(address, to: ptr_out)
    }

    /// Takes a use of another process's memory away, before it is freed.
    ///
    /// False if it is still open, and only the use ends. True for all other memory.
    func endImport(_ allocation: Allocation) -> Bool {
        guard allocation.openCount > 0 else { return true }
        return poolImports.withLock { imports in
            guard let open = memory.find(allocation.base), open.id == allocation.id, open.openCount > 1 else {
                imports = imports.filter { $0.value != allocation.base }
                return true
            }
            _ = memory.update(allocation.base) { $0.openCount -= 1 }
            return false
        }
    }
}

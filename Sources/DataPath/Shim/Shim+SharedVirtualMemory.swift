// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// What the file behind an exported descriptor says of memory.
private struct ExportedMemory: BitwiseCopyable {
    /// "BFMEMFD1".
    static let magicOfMemory: UInt64 = 0x3144_464D_454D_4642
    /// "BFMCAST1".
    static let magicOfMulticast: UInt64 = 0x3154_5341_434D_4642

    var magic = magicOfMemory
    var byteCount: UInt64 = 0
    var allocFlags: UInt64 = 0
    var handleTypes: UInt64 = 0
    var uuid: (UInt64, UInt64) = (0, 0)
    var handle = CUipcMemHandle()
}

/// Memory of cuMemCreate, and multicast objects, that other processes use.
extension Shim {
    /// The descriptor is of a file that says how to import the memory; it may be passed on as any other.
    func cuMemExportToShareableHandle(
        _ shareableHandle: UnsafeMutableRawPointer?, _ handle: CUmemGenericAllocationHandle,
        _ handleType: CUmemAllocationHandleType, _ flags: UInt64
    ) throws(CUDAError) {
        let memory = try held(handle)
        guard let shareableHandle, flags == 0 else { throw .invalidValue }
        guard handleType == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR else { throw .notSupported }
        guard memory.handleTypes & handleType.rawValue != 0 else { throw .invalidValue }
        let exported = try driver.cuMemExportToShareableHandle(handle: memory.handle)
        let descriptor = try DescriptorFile.make(
            ExportedMemory(
                magic: memory.isMulticast ? ExportedMemory.magicOfMulticast : ExportedMemory.magicOfMemory,
                byteCount: UInt64(memory.byteCount), allocFlags: memory.allocFlags,
                handleTypes: UInt64(memory.handleTypes), uuid: Self.uuid(of: memory.device),
                handle: exported.value(as: CUipcMemHandle.self)))
        shareableHandle.storeBytes(of: descriptor, as: Int32.self)
    }

    /// The descriptor stays the application's.
    func cuMemImportFromShareableHandle(
        _ handle: UnsafeMutablePointer<CUmemGenericAllocationHandle>?, _ osHandle: UnsafeMutableRawPointer?,
        _ shHandleType: CUmemAllocationHandleType
    ) throws(CUDAError) {
        guard handle != nil else { throw .invalidValue }
        guard shHandleType == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR else { throw .notSupported }
        var contents = ExportedMemory()
        guard DescriptorFile.read(Int32(truncatingIfNeeded: Int(bitPattern: osHandle)), into: &contents),
            [ExportedMemory.magicOfMemory, ExportedMemory.magicOfMulticast].contains(contents.magic),
            let byteCount = Int(exactly: contents.byteCount), byteCount > 0, let device = device(uuid: contents.uuid)
        else { throw .invalidValue }
        let made = try driver.cuMemImportFromShareableHandle(
            shareableHandle: ShareableHandle(bytesOf: contents.handle))
        try write(
            keep(
                made, byteCount, device, UInt32(truncatingIfNeeded: contents.handleTypes), contents.allocFlags,
                isMulticast: contents.magic == ExportedMemory.magicOfMulticast),
            to: handle)
    }
}

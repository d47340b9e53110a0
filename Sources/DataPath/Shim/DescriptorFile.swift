// SPDX-License-Identifier: Apache-2.0
import CSystem
import Driver
import Glibc

/// What is behind a descriptor that the application passes to another process: a sealed file that says how to import
/// what was exported.
///
/// `Contents` begins with a number that tells the kinds apart, and has no padding.
enum DescriptorFile<Contents: BitwiseCopyable> {
    /// Makes a file; CUDA_ERROR_OUT_OF_MEMORY if the process may not have another.
    static func make(_ contents: Contents) throws(CUDAError) -> Int32 {
        var contents = contents
        let size = MemoryLayout<Contents>.size
        let descriptor = csystem_sealed_memory_file("device memory", size)
        guard descriptor >= 0 else { throw .outOfMemory }
        guard pwrite(descriptor, &contents, size, 0) == size else {
            close(descriptor)
            throw .outOfMemory
        }
        return descriptor
    }

    /// Reads a file over `contents`; false if the descriptor is of another file, or of none.
    static func read(_ descriptor: Int32, into contents: inout Contents) -> Bool {
        let size = MemoryLayout<Contents>.size
        return csystem_sealed_size(descriptor) == size && pread(descriptor, &contents, size, 0) == size
    }
}

extension Shim {
    /// A device by what all processes know it by.
    func device(uuid: (UInt64, UInt64)) -> Device? { devices.first { Self.uuid(of: $0) == uuid } }

    static func uuid(of device: Device) -> (UInt64, UInt64) {
        device.description.uuid.withUnsafeBytes { bytes in
            guard bytes.count == 16 else { return (0, 0) }
            return (
                bytes.loadUnaligned(as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            )
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CSystem
import Driver
import Glibc

/// Pages that another process can map: a file in memory of fixed size.
///
/// A page behind the contents says what the file is, with a random number. A handle says where the file is and repeats
/// that page, so that a handle that was made up, or one of a file that is gone, opens nothing.
final class SharedFile: Sendable {
    /// What may be in it.
    enum Contents: UInt64 {
        case memory = 1
        case event
        case physicalMemory
        /// Nothing but what the pool is.
        case pool
        case poolMemory
    }

    /// "SOFTSHR1".
    private static let magic: UInt64 = 0x3152_4853_5446_4F53
    static let pageBytes = 4096

    let descriptor: Int32
    /// The bytes of the contents, whole pages.
    let mappedBytes: Int
    /// The bytes that were asked for.
    let byteCount: Int
    let device: Int
    let handle: ShareableHandle

    /// Makes a file of zeros; CUDA_ERROR_OUT_OF_MEMORY if the process may not have another.
    ///
    /// Files of one family are told from others by ``family``.
    init(
        _ contents: Contents, byteCount: Int, device: Int, family: UInt64 = UInt64.random(in: 0...UInt64.max)
    ) throws(CUDAError) {
        let mappedBytes = (byteCount + Self.pageBytes - 1) / Self.pageBytes * Self.pageBytes
        let descriptor = csystem_sealed_memory_file("device memory", mappedBytes + Self.pageBytes)
        guard descriptor >= 0 else { throw .outOfMemory }
        let place = UInt64(UInt32(bitPattern: getpid())) << 32 | UInt64(UInt32(bitPattern: descriptor))
        let made = ShareableHandle(
            words: (
                Self.magic, contents.rawValue, place, UInt64(mappedBytes), UInt64(byteCount), UInt64(device),
                family, UInt64.random(in: 0...UInt64.max)
            ))
        let written = made.bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, mappedBytes) }
        guard written == ShareableHandle.byteCount else {
            close(descriptor)
            throw .outOfMemory
        }
        self.descriptor = descriptor
        self.mappedBytes = mappedBytes
        self.byteCount = byteCount
        self.device = device
        handle = made
    }

    /// Opens another process's file.
    ///
    /// CUDA_ERROR_INVALID_HANDLE for a handle that is not of such a file, or no longer.
    init(opening handle: ShareableHandle, _ contents: Contents) throws(CUDAError) {
        guard handle[0] == Self.magic, handle[1] == contents.rawValue, let mappedBytes = Int(exactly: handle[3]),
            let byteCount = Int(exactly: handle[4]), let device = Int(exactly: handle[5]), byteCount > 0,
            byteCount <= mappedBytes, mappedBytes < 1 << 48, mappedBytes % Self.pageBytes == 0
        else { throw .invalidHandle }
        let path = "/proc/\(handle[2] >> 32)/fd/\(handle[2] & 0xffff_ffff)"
        let opened = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard opened >= 0 else { throw .invalidHandle }
        var found = [UInt8](repeating: 0, count: ShareableHandle.byteCount)
        let isThis =
            csystem_sealed_size(opened) == mappedBytes + Self.pageBytes
            && pread(opened, &found, found.count, mappedBytes) == found.count && found == handle.bytes
        guard isThis else {
            close(opened)
            throw .invalidHandle
        }
        descriptor = opened
        self.mappedBytes = mappedBytes
        self.byteCount = byteCount
        self.device = device
        self.handle = handle
    }

    /// A random number that a pool and its memory have in common.
    var family: UInt64 { handle[6] }

    /// Whether this process has made it.
    var isOwn: Bool { handle[2] >> 32 == UInt64(UInt32(bitPattern: getpid())) }

    deinit { close(descriptor) }

    /// Maps a part of the contents in place of what is at an address; false if the process may not have it.
    func map(at address: UInt64, offset: Int = 0, byteCount: Int, access: Int32 = PROT_READ | PROT_WRITE) -> Bool {
        let flags = MAP_SHARED | MAP_FIXED
        return mmap(pointer(address), byteCount, access, flags, descriptor, offset) != MAP_FAILED
    }
}

extension SharedFile {
    /// Bytes that are copied at a time, so that untouched parts stay without pages.
    private static let stepBytes = 2 << 20

    /// Fills the file with what is at an address.
    func take(from address: UInt64) -> Bool {
        var offset = 0
        while offset < mappedBytes {
            let count = min(Self.stepBytes, mappedBytes - offset)
            let start = pointer(address + UInt64(offset))
            if !csystem_is_untouched(start, count), pwrite(descriptor, start, count, offset) != count { return false }
            offset += count
        }
        return true
    }
}

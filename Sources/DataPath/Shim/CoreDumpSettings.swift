// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// What an application says of core dumps of the GPU.
///
/// No dump is written: it would be a file of the server's process, at a path that the client chooses. So everything can
/// be set and read back but the two settings that would promise a dump: those are CUDA_ERROR_NOT_PERMITTED.
struct CoreDumpSettings: Sendable, Equatable {
    var isHostTriggered = true
    var flags: UInt32 = 0
    var file: String
    var pipe: String

    /// Bytes of a path with its NUL.
    static let pathBytesMax = 1024

    static func ofProcess() -> CoreDumpSettings {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = name.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        return CoreDumpSettings(file: "core.cuda.\(host).\(getpid())", pipe: "corepipe.cuda.\(host).\(getpid())")
    }

    private static let knownFlags: UInt32 =
        CU_COREDUMP_SKIP_NONRELOCATED_ELF_IMAGES.rawValue | CU_COREDUMP_SKIP_GLOBAL_MEMORY.rawValue
        | CU_COREDUMP_SKIP_SHARED_MEMORY.rawValue | CU_COREDUMP_SKIP_LOCAL_MEMORY.rawValue
        | CU_COREDUMP_SKIP_ABORT.rawValue | CU_COREDUMP_SKIP_CONSTBANK_MEMORY.rawValue
        | CU_COREDUMP_GZIP_COMPRESS.rawValue | CU_COREDUMP_FAULTED_CONTEXTS_ONLY.rawValue
        | CU_COREDUMP_SKIP_TENSOR_MEMORY.rawValue | CU_COREDUMP_NO_ERRBAR_AT_EXIT_BIT | CU_COREDUMP_LOG_ONLY_BIT

    private static let lightweightFlags: UInt32 =
        CU_COREDUMP_SKIP_NONRELOCATED_ELF_IMAGES.rawValue | CU_COREDUMP_SKIP_GLOBAL_MEMORY.rawValue
        | CU_COREDUMP_SKIP_SHARED_MEMORY.rawValue | CU_COREDUMP_SKIP_LOCAL_MEMORY.rawValue
        | CU_COREDUMP_SKIP_CONSTBANK_MEMORY.rawValue | CU_COREDUMP_SKIP_TENSOR_MEMORY.rawValue

    /// Bytes of an attribute's value.
    private static func byteCount(_ attribute: CUcoredumpSettings) throws(CUDAError) -> Int {
        switch attribute {
        case CU_COREDUMP_ENABLE_ON_EXCEPTION, CU_COREDUMP_TRIGGER_HOST, CU_COREDUMP_LIGHTWEIGHT,
            CU_COREDUMP_ENABLE_USER_TRIGGER:
            MemoryLayout<Bool>.size
        case CU_COREDUMP_FILE, CU_COREDUMP_PIPE: pathBytesMax
        case CU_COREDUMP_GENERATION_FLAGS: MemoryLayout<UInt32>.size
        default: throw .invalidValue
        }
    }

    // MARK: Reading and changing

    /// Writes an attribute; without a place for it, the bytes that it needs.
    func get(
        _ attribute: CUcoredumpSettings, _ value: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let byteCount = try Self.byteCount(attribute)
        guard let size else { throw .invalidValue }
        guard let value else {
            size.pointee = byteCount
            return
        }
        switch attribute {
        case CU_COREDUMP_FILE: try write(file, to: value, size)
        case CU_COREDUMP_PIPE: try write(pipe, to: value, size)
        case CU_COREDUMP_GENERATION_FLAGS:
            guard size.pointee >= byteCount else { throw .invalidValue }
            value.storeBytes(of: flags, as: UInt32.self)
        default:
            guard size.pointee >= byteCount else { throw .invalidValue }
            value.storeBytes(of: switched(attribute), as: Bool.self)
        }
    }

    private func switched(_ attribute: CUcoredumpSettings) -> Bool {
        switch attribute {
        case CU_COREDUMP_TRIGGER_HOST: isHostTriggered
        case CU_COREDUMP_LIGHTWEIGHT: flags & Self.lightweightFlags == Self.lightweightFlags
        default: false
        }
    }

    private func write(
        _ path: String, to value: UnsafeMutableRawPointer, _ size: UnsafeMutablePointer<Int>
    ) throws(CUDAError) {
        let bytes = Array(path.utf8) + [0]
        guard size.pointee >= bytes.count else { throw .invalidValue }
        value.copyMemory(from: bytes, byteCount: bytes.count)
    }

    mutating func set(
        _ attribute: CUcoredumpSettings, _ value: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let byteCount = try Self.byteCount(attribute)
        guard let size else { throw .invalidValue }
        guard let value else {
            size.pointee = byteCount
            return
        }
        switch attribute {
        case CU_COREDUMP_FILE: file = try path(at: value, size.pointee)
        case CU_COREDUMP_PIPE: pipe = try path(at: value, size.pointee)
        case CU_COREDUMP_GENERATION_FLAGS:
            guard size.pointee >= byteCount else { throw .invalidValue }
            let flags = value.loadUnaligned(as: UInt32.self)
            guard flags & ~Self.knownFlags == 0 else { throw .invalidValue }
            self.flags = flags
        default:
            guard size.pointee >= byteCount else { throw .invalidValue }
            try set(attribute, value.loadUnaligned(as: UInt8.self) != 0)
        }
    }

    private mutating func set(_ attribute: CUcoredumpSettings, _ isOn: Bool) throws(CUDAError) {
        switch attribute {
        case CU_COREDUMP_TRIGGER_HOST: isHostTriggered = isOn
        case CU_COREDUMP_LIGHTWEIGHT:
            flags = isOn ? flags | Self.lightweightFlags : flags & ~Self.lightweightFlags
        default: if isOn { throw CUDAError(CUDA_ERROR_NOT_PERMITTED) }
        }
    }

    private func path(at value: UnsafeMutableRawPointer, _ byteCount: Int) throws(CUDAError) -> String {
        guard byteCount > 0, byteCount <= Self.pathBytesMax else { throw .invalidValue }
        let bytes = UnsafeRawBufferPointer(start: value, count: byteCount).prefix { $0 != 0 }
        guard bytes.count < Self.pathBytesMax else { throw .invalidValue }
        return String(decoding: bytes, as: UTF8.self)
    }
}

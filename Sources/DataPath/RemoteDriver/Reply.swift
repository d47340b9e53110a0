// SPDX-License-Identifier: Apache-2.0
import Driver
import Wire

/// The values of a reply.
///
/// Few are kept in place; an array is made for many only.
struct Reply {
    /// As much as most calls answer.
    static let smallBytesMax = 64

    private var small = InlineArray<8, UInt64>(repeating: 0)
    private var large: [UInt8] = []
    private var byteCount = 0
    private var next = 0

    init() {}

    init(_ bytes: [UInt8]) {
        large = bytes
        byteCount = bytes.count
    }

    /// Receives a small reply; false when that fails.
    mutating func fill(_ count: Int, from receive: (UnsafeMutableRawBufferPointer) -> Bool) -> Bool {
        byteCount = count
        guard count > 0 else { return true }
        return withUnsafeMutableBytes(of: &small) { receive(UnsafeMutableRawBufferPointer(rebasing: $0[..<count])) }
    }

    private func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if !large.isEmpty { return try large.span.bytes.withUnsafeBytes(body) }
        return try withUnsafeBytes(of: small) { bytes throws(Failure) in
            try body(UnsafeRawBufferPointer(rebasing: bytes[..<byteCount]))
        }
    }

    var isEmpty: Bool { byteCount == 0 }

    /// The next value.
    ///
    /// A reply that is too short reads as zeros: the server is ours, of the same version.
    mutating func read<Value: FixedWidthInteger & BitwiseCopyable>(_ type: Value.Type) -> Value {
        guard next + MemoryLayout<Value>.size <= byteCount else { return 0 }
        defer { next += MemoryLayout<Value>.size }
        return withBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: next, as: Value.self)) }
    }

    mutating func read(_ type: ShareableHandle.Type) -> ShareableHandle {
        func word() -> UInt64 { read(UInt64.self) }
        return ShareableHandle(words: (word(), word(), word(), word(), word(), word(), word(), word()))
    }

    mutating func read(_ type: Float.Type) -> Float { Float(bitPattern: read(UInt32.self)) }

    /// Decodes structured values; a malformed reply is CUDA_ERROR_UNKNOWN.
    func decode<Value>(_ body: (inout WireReader) throws(WireError) -> Value) throws(CUDAError) -> Value {
        do throws(WireError) {
            return try withBytes { bytes throws(WireError) in
                var reader = WireReader(RawSpan(_unsafeBytes: bytes))
                return try body(&reader)
            }
        } catch { throw .unknown }
    }
}

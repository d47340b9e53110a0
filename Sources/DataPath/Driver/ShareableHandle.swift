// SPDX-License-Identifier: Apache-2.0

/// What one process gives another to open its memory or event: 64 bytes that only drivers understand.
package struct ShareableHandle: Hashable, Sendable {
    package static let byteCount = 64

    package let bytes: [UInt8]

    /// Nil if there are not ``byteCount`` bytes.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// A handle of eight numbers.
    package init(words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)) {
        bytes = withUnsafeBytes(of: words) { Array($0) }
    }

    /// The bytes of a value of that size.
    package init<Value: BitwiseCopyable>(bytesOf value: Value) {
        precondition(MemoryLayout<Value>.size == Self.byteCount, "a handle has \(Self.byteCount) bytes")
        bytes = withUnsafeBytes(of: value) { Array($0) }
    }

    /// The handle as a value of that size.
    package func value<Value: BitwiseCopyable>(as type: Value.Type) -> Value {
        precondition(MemoryLayout<Value>.size == Self.byteCount, "a handle has \(Self.byteCount) bytes")
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: type) }
    }

    /// One of its eight numbers.
    package subscript(word: Int) -> UInt64 {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self) }
    }
}

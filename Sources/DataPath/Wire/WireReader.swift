// SPDX-License-Identifier: Apache-2.0

/// Reads little-endian values from the payload of a frame, in place.
///
/// Never reads past the end: a short payload throws ``WireError/truncated(needed:available:)``.
package struct WireReader: ~Escapable {
    private var rest: RawSpan

    @_lifetime(copy bytes)
    package init(_ bytes: RawSpan) { rest = bytes }

    package var byteCount: Int { rest.byteCount }

    @inline(__always)
    @_lifetime(self: copy self)
    package mutating func read<Value: FixedWidthInteger & BitwiseCopyable>(
        _ type: Value.Type = Value.self
    ) throws(WireError) -> Value {
        let bytes = try read(count: MemoryLayout<Value>.size)
        return Value(littleEndian: bytes.unsafeLoadUnaligned(as: Value.self))
    }

    @_lifetime(self: copy self)
    package mutating func read(_ type: Float.Type) throws(WireError) -> Float {
        Float(bitPattern: try read(UInt32.self))
    }

    @inline(__always)
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    package mutating func read(count: Int) throws(WireError) -> RawSpan {
        guard count >= 0, count <= rest.byteCount else {
            throw .truncated(needed: count, available: rest.byteCount)
        }
        let taken = rest.extracting(first: count)
        rest = rest.extracting(droppingFirst: count)
        return taken
    }

    /// Everything that is left: the block at the end of a frame.
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    package mutating func readBlock() throws(WireError) -> RawSpan {
        try read(count: rest.byteCount)
    }

    /// A length in front of that many bytes, at most `limit`.
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    package mutating func readBytes(limit: Int) throws(WireError) -> RawSpan {
        let count = Int(try read(UInt32.self))
        guard count <= limit else { throw .tooLong(count, limit: limit) }
        return try read(count: count)
    }

    @_lifetime(self: copy self)
    package mutating func readText() throws(WireError) -> String {
        let bytes = try readBytes(limit: Limits.textBytesMax)
        let text = bytes.withUnsafeBytes { String(validating: $0, as: UTF8.self) }
        guard let text else { throw .notText }
        return text
    }

    /// The count in front of a list.
    @_lifetime(self: copy self)
    package mutating func readCount() throws(WireError) -> Int {
        let count = Int(try read(UInt32.self))
        guard count <= Limits.listCountMax else { throw .tooLong(count, limit: Limits.listCountMax) }
        return count
    }

    /// Refuses a frame longer than its call, before the call runs.
    package func finish() throws(WireError) {
        guard rest.byteCount == 0 else { throw .trailingBytes(rest.byteCount) }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Writes little-endian values into room that was reserved for exactly the bytes that follow.
///
/// SAFETY: made by the command stream, which reserves the payload's length; a writer that is asked for more than that
/// stops the program, because the two numbers come from the same description.
package struct FrameWriter {
    private var next: UnsafeMutableRawPointer
    private let end: UnsafeMutableRawPointer

    @inline(__always)
    package init(_ start: UnsafeMutableRawPointer, byteCount: Int) {
        next = start
        end = start + byteCount
    }

    package var isAtEnd: Bool { next == end }

    @inline(__always)
    package mutating func write<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        precondition(end - next >= MemoryLayout<Value>.size, "the payload is longer than was reserved")
        next.storeBytes(of: value.littleEndian, as: Value.self)
        next += MemoryLayout<Value>.size
    }

    package mutating func write(_ value: Float) { write(value.bitPattern) }

    package mutating func write(bytes: UnsafeRawBufferPointer) {
        precondition(end - next >= bytes.count, "the payload is longer than was reserved")
        if let source = bytes.baseAddress { next.copyMemory(from: source, byteCount: bytes.count) }
        next += bytes.count
    }

    /// A text with its length in front, as ``textByteCount(_:)`` counts it.
    package mutating func write(text: String) {
        var text = text
        text.withUTF8 { bytes in
            write(UInt32(bytes.count))
            write(bytes: UnsafeRawBufferPointer(bytes))
        }
    }
}

/// Bytes that a text takes in a frame.
package func textByteCount(_ text: String) -> Int { 4 + text.utf8.count }

/// Collects a payload whose length is not known before: replies and lists.
package struct PayloadWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    package mutating func write<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func write(_ value: Float) { write(value.bitPattern) }

    package mutating func write(text: String) {
        write(UInt32(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    package mutating func write(block: [UInt8]) {
        write(UInt32(block.count))
        bytes.append(contentsOf: block)
    }
}

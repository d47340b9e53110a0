// SPDX-License-Identifier: Apache-2.0

/// What answers questions about GPUs: the machine's management library, a remote one, or that of the software GPU.
///
/// Devices are numbered from 0 in the source's own order. Questions come one at a time.
package protocol ManagementSource: AnyObject {
    func answer(_ question: ManagementQuestion) -> ManagementAnswer
}

/// Carries a source through C.
package final class ManagementSourceBox {
    package let source: any ManagementSource
    package init(_ source: any ManagementSource) { self.source = source }
}

/// A call and what the caller gives it, in the order of the C function.
///
/// A device is its number (`UInt32`); a value has its C size; a text, or a structure that holds its own size, has its
/// length (`UInt32`) in front; a structure of fixed size is its bytes. A buffer for a text and a block are the room for
/// them, a list is the number of elements that there is room for, each a `UInt32`. Places for results are left out.
package struct ManagementQuestion: Hashable, Sendable {
    package let call: ManagementCall
    package let bytes: [UInt8]

    package init(_ call: ManagementCall, bytes: [UInt8]) {
        self.call = call
        self.bytes = bytes
    }
}

/// A result code and what the call returns, in the order of the C function.
///
/// A device is its number; a result and a structure of fixed size are their bytes; a text, a block, or a structure that
/// holds its own size, has its length in front; a list is the number of its elements and then each of its arrays. With
/// NVML_ERROR_INSUFFICIENT_SIZE there are only the numbers of elements of lists; with other codes there is nothing.
package struct ManagementAnswer: Hashable, Sendable {
    package let status: UInt32
    package let bytes: [UInt8]

    package init(_ status: UInt32, bytes: [UInt8] = []) {
        self.status = status
        self.bytes = bytes
    }
}

/// A question or an answer that is not in the form of its call.
package struct MalformedQuestion: Error {
    package init() {}
}

/// Reads the values of a question or an answer.
///
/// Never reads past the end.
package struct ValueReader {
    private let bytes: [UInt8]
    private var next = 0

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    package mutating func bytes(_ count: Int) throws(MalformedQuestion) -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.count - next else { throw MalformedQuestion() }
        defer { next += count }
        return bytes[next..<next + count]
    }

    package mutating func value<Value: FixedWidthInteger>(_ type: Value.Type) throws(MalformedQuestion) -> Value {
        try bytes(MemoryLayout<Value>.size).reversed().reduce(0) { $0 << 8 | Value(truncatingIfNeeded: $1) }
    }

    /// Bytes with their length in front.
    package mutating func counted(limit: Int) throws(MalformedQuestion) -> ArraySlice<UInt8> {
        let count = Int(try value(UInt32.self))
        guard count <= limit else { throw MalformedQuestion() }
        return try bytes(count)
    }

    package mutating func text() throws(MalformedQuestion) -> String {
        String(decoding: try counted(limit: ManagementLimits.textBytesMax), as: UTF8.self)
    }

    package func finish() throws(MalformedQuestion) {
        guard next == bytes.count else { throw MalformedQuestion() }
    }
}

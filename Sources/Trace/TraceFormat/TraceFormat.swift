// SPDX-License-Identifier: Apache-2.0

/// The file of a call trace, as docs/tracing.md describes it: what the recording libraries and the reader agree on.
///
/// A header of 64 bytes, then blocks, each written at once. Integers of fixed size are little-endian; numbers in
/// records are groups of seven bits, the lowest first, as in Protocol Buffers.
package enum TraceFormat {
    /// "BFTRACE\n".
    package static let magic: [UInt8] = [0x42, 0x46, 0x54, 0x52, 0x41, 0x43, 0x45, 0x0A]
    package static let version: UInt16 = 1
    package static let headerByteCount = 64
    /// "BFTB".
    package static let blockMagic: UInt32 = 0x4254_4642
    package static let blockHeaderByteCount = 24
    /// A block is one buffer of a recording library.
    package static let blockBytesMax = 64 << 10
    /// A record has place for all arguments of the longest call, and two texts.
    package static let recordBytesMax = 1 << 10
    /// Longer texts are cut.
    package static let textBytesMax = 200
    /// More calls than both libraries export.
    package static let callsMax = 4096
    /// A call's name and those of its parameters.
    package static let definitionBytesMax = 512
    package static let argumentsMax = 32

    /// What a record is, by its first number; from `firstCall` on it is a call's number.
    package static let threadChange: UInt64 = 0
    package static let definition: UInt64 = 1
    package static let firstCall: UInt64 = 2

    /// The libraries that record.
    package enum Library: UInt8, Sendable {
        case driver = 0
        case management = 1
    }

    /// The form of an argument: a byte before it.
    package enum Tag: UInt8, Sendable {
        /// A structure; nothing follows.
        case opaque = 0
        /// A number in zigzag form.
        case signed = 1
        case unsigned = 2
        /// A handle, an address or a pointer.
        case hexadecimal = 3
        /// Four bytes, an IEEE number.
        case float = 4
        /// A length and UTF-8.
        case text = 5
        /// A text that was cut.
        case cutText = 6
        /// The pointer to a place, and the handle or address that the call put there.
        case made = 7
        /// The pointer to a place, and the number that the call put there, in zigzag form.
        case result = 8
        /// The record had no place for the rest.
        case cut = 9
    }
}

/// The first 64 bytes of a trace.
package struct TraceHeader: Sendable, Equatable {
    package var processID: UInt32
    /// The same for all processes of an allocation, and 0 without one.
    package var run: UInt64
    /// Nanoseconds since 1970 at the time `monotonicNanoseconds` of the clock of the records.
    package var realNanoseconds: UInt64
    package var monotonicNanoseconds: UInt64
    package var programName: String

    private static let nameByteCount = 20

    package init(
        processID: UInt32, run: UInt64, realNanoseconds: UInt64, monotonicNanoseconds: UInt64, programName: String
    ) {
        self.processID = processID
        self.run = run
        self.realNanoseconds = realNanoseconds
        self.monotonicNanoseconds = monotonicNanoseconds
        self.programName = programName
    }

    package var bytes: [UInt8] {
        var bytes = TraceFormat.magic
        bytes.append(integer: TraceFormat.version)
        bytes.append(integer: UInt16(0))
        bytes.append(integer: processID)
        bytes.append(integer: run)
        bytes.append(integer: realNanoseconds)
        bytes.append(integer: monotonicNanoseconds)
        bytes += programName.utf8.prefix(TraceHeader.nameByteCount)
        bytes += repeatElement(0, count: TraceFormat.headerByteCount - bytes.count)
        return bytes
    }

    /// Nil when the bytes are no header of this version.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == TraceFormat.headerByteCount, bytes.starts(with: TraceFormat.magic),
            TraceHeader.version(of: bytes) == TraceFormat.version
        else { return nil }
        processID = bytes.integer(at: 12)
        run = bytes.integer(at: 16)
        realNanoseconds = bytes.integer(at: 24)
        monotonicNanoseconds = bytes.integer(at: 32)
        programName = String(decoding: bytes[40..<60].prefix { $0 != 0 }, as: UTF8.self)
    }

    /// The version that a header of any version names.
    package static func version(of bytes: [UInt8]) -> UInt16? {
        bytes.count == TraceFormat.headerByteCount && bytes.starts(with: TraceFormat.magic)
            ? bytes.integer(at: 8) : nil
    }
}

/// The first 24 bytes of a block.
package struct TraceBlockHeader: Sendable, Equatable {
    package var payloadByteCount: UInt32
    /// The time to which the records' times are relative.
    package var baseNanoseconds: UInt64
    package var processID: UInt32
    package var library: TraceFormat.Library

    package init(
        payloadByteCount: UInt32, baseNanoseconds: UInt64, processID: UInt32, library: TraceFormat.Library
    ) {
        self.payloadByteCount = payloadByteCount
        self.baseNanoseconds = baseNanoseconds
        self.processID = processID
        self.library = library
    }

    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(integer: TraceFormat.blockMagic)
        bytes.append(integer: payloadByteCount)
        bytes.append(integer: baseNanoseconds)
        bytes.append(integer: processID)
        bytes += [library.rawValue, 0, 0, 0]
        return bytes
    }

    /// Nil when the bytes are no header of a block.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == TraceFormat.blockHeaderByteCount, bytes.integer(at: 0) == TraceFormat.blockMagic,
            let library = TraceFormat.Library(rawValue: bytes[20])
        else { return nil }
        payloadByteCount = bytes.integer(at: 4)
        baseNanoseconds = bytes.integer(at: 8)
        processID = bytes.integer(at: 16)
        self.library = library
        guard payloadByteCount <= UInt32(TraceFormat.blockBytesMax) else { return nil }
    }
}

extension [UInt8] {
    package mutating func append<Value: FixedWidthInteger & UnsignedInteger>(integer value: Value) {
        for shift in stride(from: 0, to: Value.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    fileprivate func integer<Value: FixedWidthInteger & UnsignedInteger>(at offset: Int) -> Value {
        self[offset..<offset + Value.bitWidth / 8].reversed().reduce(0) { $0 << 8 | Value($1) }
    }
}

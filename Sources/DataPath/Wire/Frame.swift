// SPDX-License-Identifier: Apache-2.0

/// The head of every request frame, 32 bytes, little-endian: payload length `u32`, call `u16`, flags `u16`, sequence
/// `u64`, context `u64`, reserved `u64` (0).
package struct FrameHeader: Sendable, Equatable, BitwiseCopyable {
    package static let byteCount = 32

    package struct Flags: OptionSet, Sendable, BitwiseCopyable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }
        /// The client waits for a reply with this sequence number.
        package static let wantsReply = Self(rawValue: 1)
        /// Not a call: a host function has returned; the payload is its number.
        package static let hostFunctionReturned = Self(rawValue: 2)
    }

    /// Bytes after the header.
    package var payloadByteCount: UInt32
    package var call: UInt16
    package var flags: Flags
    /// 1 for the first frame of a session, and one more for each.
    package var sequence: UInt64
    /// The client's number of the context in which the call runs, 0 for none.
    package var context: UInt64

    package init(payloadByteCount: UInt32, call: UInt16, flags: Flags, sequence: UInt64, context: UInt64) {
        self.payloadByteCount = payloadByteCount
        self.call = call
        self.flags = flags
        self.sequence = sequence
        self.context = context
    }

    /// Reads a header from at least ``byteCount`` bytes.
    ///
    /// SAFETY: the caller has checked that so many are there.
    @inline(__always)
    package init(at start: UnsafeRawPointer) {
        payloadByteCount = UInt32(littleEndian: start.loadUnaligned(as: UInt32.self))
        call = UInt16(littleEndian: start.loadUnaligned(fromByteOffset: 4, as: UInt16.self))
        flags = Flags(rawValue: UInt16(littleEndian: start.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
        sequence = UInt64(littleEndian: start.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        context = UInt64(littleEndian: start.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    }

    /// SAFETY: the caller has room for ``byteCount`` bytes there.
    @inline(__always)
    package func store(at start: UnsafeMutableRawPointer) {
        start.storeBytes(of: payloadByteCount.littleEndian, as: UInt32.self)
        start.storeBytes(of: call.littleEndian, toByteOffset: 4, as: UInt16.self)
        start.storeBytes(of: flags.rawValue.littleEndian, toByteOffset: 6, as: UInt16.self)
        start.storeBytes(of: sequence.littleEndian, toByteOffset: 8, as: UInt64.self)
        start.storeBytes(of: context.littleEndian, toByteOffset: 16, as: UInt64.self)
        start.storeBytes(of: 0, toByteOffset: 24, as: UInt64.self)
    }
}

/// The head of every frame from the server, 24 bytes, little-endian: payload length `u32`, status `u32`, sequence
/// `u64`, kind `u32`, reserved `u32` (0).
package struct ReplyHeader: Sendable, Equatable, BitwiseCopyable {
    package static let byteCount = 24

    package enum Kind: UInt32, Sendable, BitwiseCopyable {
        /// Answers the frame with this sequence number; status is a CUresult.
        case reply = 0
        /// Text for the application's standard output (device printf).
        case output = 1
        /// Text for the application's standard error (device assert).
        case errorOutput = 2
        /// A host function is due; `sequence` is its number.
        case hostFunction = 3
    }

    package var payloadByteCount: UInt32
    package var status: UInt32
    package var sequence: UInt64
    package var kind: UInt32

    package init(payloadByteCount: UInt32, status: UInt32, sequence: UInt64, kind: Kind) {
        self.payloadByteCount = payloadByteCount
        self.status = status
        self.sequence = sequence
        self.kind = kind.rawValue
    }

    /// Reads a header from at least ``byteCount`` bytes.
    ///
    /// SAFETY: the caller has checked that so many are there.
    package init(at start: UnsafeRawPointer) {
        payloadByteCount = UInt32(littleEndian: start.loadUnaligned(as: UInt32.self))
        status = UInt32(littleEndian: start.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        sequence = UInt64(littleEndian: start.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        kind = UInt32(littleEndian: start.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
    }

    /// SAFETY: the caller has room for ``byteCount`` bytes there.
    package func store(at start: UnsafeMutableRawPointer) {
        start.storeBytes(of: payloadByteCount.littleEndian, as: UInt32.self)
        start.storeBytes(of: status.littleEndian, toByteOffset: 4, as: UInt32.self)
        start.storeBytes(of: sequence.littleEndian, toByteOffset: 8, as: UInt64.self)
        start.storeBytes(of: kind.littleEndian, toByteOffset: 16, as: UInt32.self)
        start.storeBytes(of: 0, toByteOffset: 20, as: UInt32.self)
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TraceFormat

/// Why a file cannot be read as a trace.
package enum TraceError: Error, Equatable {
    case notATrace
    case otherVersion(UInt16)

    /// What to say behind the file's name.
    package var message: String {
        switch self {
        case .notATrace: "is not a call trace"
        case .otherVersion(let version): "is a call trace of version \(version); this program reads version 1"
        }
    }
}

/// Reads a trace block by block, so that its size does not matter.
package struct TraceReader {
    /// How the file ends.
    package enum Ending: Sendable, Equatable {
        case whole
        /// The last block is not complete: the program was killed, or the disk was full.
        case cutOff(atByte: Int)
        /// Something that is no block, behind which nothing is read, or a block with something that is no record.
        case damaged(atByte: Int)

        /// What to say behind the file's name; nil when it is whole.
        package var notice: String? {
            switch self {
            case .whole: nil
            case .cutOff(let byte): "is cut off at byte \(byte); what comes before is used"
            case .damaged(let byte): "is damaged at byte \(byte); what can be read is used"
            }
        }
    }

    /// More definitions than the processes of one file can have.
    private static let definitionsMax = 1 << 16

    private struct CallKey: Hashable {
        let processID: UInt32
        let library: TraceFormat.Library
        let number: UInt64
    }

    package let header: TraceHeader
    private let read: (Int) -> [UInt8]
    private var offset = TraceFormat.headerByteCount
    private var names: [CallKey: (name: String, parameters: [String])] = [:]
    private var damagedAt: Int?

    /// `read` returns as many bytes as are asked for, or what is left of the file.
    package init(_ read: @escaping (Int) -> [UInt8]) throws(TraceError) {
        let bytes = read(TraceFormat.headerByteCount)
        guard let version = TraceHeader.version(of: bytes) else { throw .notATrace }
        guard version == TraceFormat.version, let header = TraceHeader(bytes) else { throw .otherVersion(version) }
        self.header = header
        self.read = read
    }

    /// Calls `body` for every call, in the order of the file: in order for one thread only.
    package mutating func forEachCall(_ body: (TracedCall) throws -> Void) rethrows -> Ending {
        while true {
            let head = read(TraceFormat.blockHeaderByteCount)
            if head.isEmpty { return damagedAt.map { .damaged(atByte: $0) } ?? .whole }
            guard head.count == TraceFormat.blockHeaderByteCount else { return .cutOff(atByte: offset) }
            guard let block = TraceBlockHeader(head) else { return .damaged(atByte: offset) }
            let payload = read(Int(block.payloadByteCount))
            let isCut = payload.count < Int(block.payloadByteCount)
            let isWhole = try forEachCall(in: payload, of: block, body)
            if isCut { return .cutOff(atByte: offset) }
            // The next block's place is known: what it holds is not lost with this one.
            if !isWhole && damagedAt == nil { damagedAt = offset }
            offset += TraceFormat.blockHeaderByteCount + payload.count
        }
    }

    /// False when the block ends in something that is no record.
    private mutating func forEachCall(
        in payload: [UInt8], of block: TraceBlockHeader, _ body: (TracedCall) throws -> Void
    ) rethrows -> Bool {
        var record = RecordReader(payload)
        var thread: UInt32 = 0
        while !record.isAtEnd {
            guard let kind = record.number() else { return false }
            switch kind {
            case TraceFormat.threadChange:
                guard let number = record.number(), let known = UInt32(exactly: number) else { return false }
                thread = known
            case TraceFormat.definition:
                guard let number = record.number(), let line = record.text(max: TraceFormat.definitionBytesMax),
                    names.count < TraceReader.definitionsMax
                else { return false }
                let words = line.split(separator: " ").map(String.init)
                guard let name = words.first else { return false }
                names[CallKey(processID: block.processID, library: block.library, number: number)] = (
                    name, Array(words.dropFirst())
                )
            default:
                let key = CallKey(
                    processID: block.processID, library: block.library, number: kind - TraceFormat.firstCall)
                guard let (name, parameters) = names[key],
                    let call = record.call(name, parameters, thread: thread, of: block)
                else { return false }
                try body(call)
            }
        }
        return true
    }
}

/// Reads the records of a block; nil where the bytes are none.
private struct RecordReader {
    private let bytes: [UInt8]
    private var next = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { next >= bytes.count }

    mutating func number() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while next < bytes.count, shift < 64 {
            let byte = bytes[next]
            next += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
        }
        return nil
    }

    mutating func signed() -> Int64? { number().map { Int64(bitPattern: $0 >> 1) ^ -Int64($0 & 1) } }

    mutating func text(max: Int) -> String? {
        guard let count = number(), count <= UInt64(max), Int(count) <= bytes.count - next else { return nil }
        defer { next += Int(count) }
        return String(decoding: bytes[next..<next + Int(count)], as: UTF8.self)
    }

    mutating func call(
        _ name: String, _ parameters: [String], thread: UInt32, of block: TraceBlockHeader
    ) -> TracedCall? {
        guard let result = number(), result <= UInt64(UInt32.max), let time = signed(), let duration = number(),
            let waits = number(), let waited = waits == 0 ? 0 : number(), let count = number(),
            count <= UInt64(TraceFormat.argumentsMax)
        else { return nil }
        var arguments: [TracedArgument] = []
        arguments.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let argument = argument() else { return nil }
            arguments.append(argument)
        }
        return TracedCall(
            processID: block.processID, thread: thread, library: block.library, name: name, parameters: parameters,
            arguments: arguments, result: UInt32(result),
            startNanoseconds: block.baseNanoseconds &+ UInt64(bitPattern: time), durationNanoseconds: duration,
            waits: waits, waitedNanoseconds: waited)
    }

    private mutating func argument() -> TracedArgument? {
        guard next < bytes.count, let tag = TraceFormat.Tag(rawValue: bytes[next]) else { return nil }
        next += 1
        switch tag {
        case .opaque: return .opaque
        case .signed: return signed().map { .signed($0) }
        case .unsigned: return number().map { .unsigned($0) }
        case .hexadecimal: return number().map { .hexadecimal($0) }
        case .float:
            guard bytes.count - next >= 4 else { return nil }
            defer { next += 4 }
            return .float(Float(bitPattern: bytes[next..<next + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }))
        case .text, .cutText: return text(max: TraceFormat.textBytesMax).map { .text($0, isCut: tag == .cutText) }
        case .made:
            guard let place = number(), let value = number() else { return nil }
            return .made(place: place, value)
        case .result:
            guard let place = number(), let value = signed() else { return nil }
            return .result(place: place, value)
        case .cut: return .cut
        }
    }
}

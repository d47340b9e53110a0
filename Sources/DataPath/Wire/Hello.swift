// SPDX-License-Identifier: Apache-2.0

/// The first 64 bytes of a data connection, sent by the client: who it is and which allocation it belongs to.
///
/// Layout, little-endian: magic `u32`, major `u16`, minor `u16`, ticket 32 bytes, process id `u32`, purpose `u8`,
/// abilities `u8`, 2 bytes of zero, the program's short name in UTF-8 and zeros, 16 bytes. Another major version is
/// refused; a higher minor version is spoken down to.
package struct Hello: Sendable, Equatable {
    /// Which interface the connection serves.
    package enum Purpose: UInt8, Sendable {
        case cuda = 0
        case management = 1
    }

    package static let byteCount = 64
    package static let magic: UInt32 = 0x5543_4642  // "BFCU"
    package static let major: UInt16 = 1
    package static let minor: UInt16 = 0
    package static let ticketByteCount = 32
    /// As long as the name of a Linux process may be, with a zero behind it.
    package static let programNameByteCount = 16

    package var major: UInt16
    package var minor: UInt16
    /// The secret that the scheduler gave out with the allocation.
    package var ticket: [UInt8]
    package var processID: UInt32
    package var purpose: Purpose
    /// Whether an offer of shared memory is understood; bit 0 of the abilities.
    package var canShareMemory: Bool
    /// The last part of the program's path, for logs and tools.
    package let programName: String

    package init(
        ticket: [UInt8], processID: UInt32, purpose: Purpose = .cuda, canShareMemory: Bool = false,
        programName: String = "",
        major: UInt16 = Hello.major, minor: UInt16 = Hello.minor
    ) {
        precondition(ticket.count == Hello.ticketByteCount, "a ticket has 32 bytes")
        self.purpose = purpose
        self.canShareMemory = canShareMemory
        self.programName = shortened(programName, toBytes: Hello.programNameByteCount - 1)
        self.ticket = ticket
        self.processID = processID
        self.major = major
        self.minor = minor
    }

    /// Reads a hello.
    ///
    /// Throws ``WireError/notThisProtocol`` unless it begins with the magic, has its full length and a known purpose.
    package init(bytes: [UInt8]) throws(WireError) {
        guard bytes.count == Hello.byteCount, littleEndian(bytes, at: 0, count: 4) == UInt64(Hello.magic) else {
            throw .notThisProtocol
        }
        major = UInt16(littleEndian(bytes, at: 4, count: 2))
        minor = UInt16(littleEndian(bytes, at: 6, count: 2))
        ticket = Array(bytes[8..<40])
        processID = UInt32(littleEndian(bytes, at: 40, count: 4))
        guard let purpose = Purpose(rawValue: bytes[44]) else { throw .notThisProtocol }
        self.purpose = purpose
        canShareMemory = bytes[45] & 1 != 0
        let name = bytes[Hello.programNameOffset...].prefix { $0 != 0 }
        programName = shortened(String(decoding: name, as: UTF8.self), toBytes: Hello.programNameByteCount - 1)
    }

    /// A ticket as the environment carries it; nil when the text is none.
    package static func ticket(hexadecimal text: String) -> [UInt8]? {
        let digits = text.utf8.map { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 2 * Hello.ticketByteCount else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return bytes
    }

    private static let programNameOffset = byteCount - programNameByteCount

    package var bytes: [UInt8] {
        var bytes = littleEndianBytes(UInt64(Hello.magic), count: 4)
        bytes += littleEndianBytes(UInt64(major), count: 2) + littleEndianBytes(UInt64(minor), count: 2)
        bytes += ticket + littleEndianBytes(UInt64(processID), count: 4) + [purpose.rawValue, canShareMemory ? 1 : 0]
        bytes += [UInt8](repeating: 0, count: Hello.programNameOffset - bytes.count) + programName.utf8
        return bytes + [UInt8](repeating: 0, count: Hello.byteCount - bytes.count)
    }
}

/// The longest beginning that has so many bytes in UTF-8, without control characters.
private func shortened(_ text: String, toBytes limit: Int) -> String {
    var result = ""
    for scalar in text.unicodeScalars where scalar.value >= 0x20 && scalar.value != 0x7F {
        guard result.utf8.count + String(scalar).utf8.count <= limit else { break }
        result.unicodeScalars.append(scalar)
    }
    return result
}

/// The answer to a ``Hello``: a header of 16 bytes and a body.
///
/// Layout, little-endian: magic `u32`, major `u16`, minor `u16`, status `u32`, length of the body in bytes `u32`. The
/// body is a sentence in UTF-8 when refused, and the driver's description when accepted.
package struct HelloReply: Sendable, Equatable {
    package enum Status: UInt32, Sendable {
        case accepted = 0
        case wrongVersion = 1
        case unknownTicket = 2
        case noWorker = 3
        case malformed = 4
    }

    package static let headerByteCount = 16
    /// A description of a full server is about 1 KiB for each GPU.
    package static let bodyBytesMax = 1 << 20
    /// The body of an acceptance when the purpose is management; a server that does not know that one has another.
    package static let managementBody = Array("NVML".utf8)

    package var major: UInt16 = Hello.major
    package var minor: UInt16 = Hello.minor
    package var status: Status
    package var body: [UInt8]

    package init(status: Status, body: [UInt8]) {
        self.status = status
        self.body = body
    }

    package init(refusal status: Status, sentence: String) {
        self.init(status: status, body: Array(sentence.utf8))
    }

    package var bytes: [UInt8] {
        littleEndianBytes(UInt64(Hello.magic), count: 4) + littleEndianBytes(UInt64(major), count: 2)
            + littleEndianBytes(UInt64(minor), count: 2) + littleEndianBytes(UInt64(status.rawValue), count: 4)
            + littleEndianBytes(UInt64(body.count), count: 4) + body
    }

    /// Reads the header: what is in it, and how long the body is.
    package static func header(_ bytes: [UInt8]) throws(WireError) -> (status: Status, bodyByteCount: Int) {
        guard bytes.count == headerByteCount, littleEndian(bytes, at: 0, count: 4) == UInt64(Hello.magic) else {
            throw .notThisProtocol
        }
        let count = Int(littleEndian(bytes, at: 12, count: 4))
        guard count <= bodyBytesMax else { throw .tooLong(count, limit: bodyBytesMax) }
        guard let status = Status(rawValue: UInt32(littleEndian(bytes, at: 8, count: 4))) else {
            throw .notThisProtocol
        }
        return (status, count)
    }
}

private func littleEndian(_ bytes: [UInt8], at start: Int, count: Int) -> UInt64 {
    bytes[start..<start + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
}

private func littleEndianBytes(_ value: UInt64, count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
}

// SPDX-License-Identifier: Apache-2.0

/// The secret of an allocation: whoever knows it may use its GPUs, and release them.
///
/// The first bytes of each of its data connections carry it.
package struct Ticket: Sendable {
    package static let byteCount = 32

    package let bytes: [UInt8]

    /// A new one, from the system's source of random numbers.
    package init() { bytes = (0..<Ticket.byteCount).map { _ in UInt8.random(in: 0...255) } }

    /// nil for anything but ``byteCount`` bytes.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Ticket.byteCount else { return nil }
        self.bytes = bytes
    }

    /// Reads what ``hexadecimal`` writes; nil for anything else.
    package init?(hexadecimal text: String) {
        let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 2 * Ticket.byteCount, text.utf8.count == digits.count else { return nil }
        bytes = stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    /// 64 hexadecimal digits, as messages and the environment carry it.
    package var hexadecimal: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Whether it is the same, in a time that does not depend on where they differ.
    package func matches(_ other: Ticket) -> Bool {
        zip(bytes, other.bytes).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Something that one process of an allocation lets the others open: its memory or its event.
///
/// The driver's handle of it stays with the workers. The application gets a token, which nobody can guess, and which
/// means nothing outside the allocation.
package struct Export: Sendable, Equatable {
    package enum Kind: UInt64, Sendable {
        case memory = 1
        case event
        case physicalMemory
        case pool
        case poolMemory
        case multicast
    }

    /// A random number of 128 bits.
    package struct Token: Hashable, Sendable {
        package let low: UInt64
        package let high: UInt64

        package init(low: UInt64, high: UInt64) {
            self.low = low
            self.high = high
        }

        static func random() -> Token {
            Token(low: UInt64.random(in: 0...UInt64.max), high: UInt64.random(in: 0...UInt64.max))
        }
    }

    /// Exports of an allocation at a time: programs share some hundreds of buffers.
    package static let countMax = 4096
    /// The bytes of a driver's handle.
    package static let handleBytes = 64

    package var kind: Kind
    package var device: Int
    package var byteCount: Int
    /// The driver's own handle.
    package var handle: [UInt8]

    package init(_ kind: Kind, device: Int, byteCount: Int, handle: [UInt8]) {
        precondition(handle.count == Export.handleBytes, "a driver's handle has \(Export.handleBytes) bytes")
        self.kind = kind
        self.device = device
        self.byteCount = byteCount
        self.handle = handle
    }
}

/// Where an export is, and its token: what the application's handle says.
package struct ExportReference: Hashable, Sendable {
    package let number: Int
    package let token: Export.Token

    package init(number: Int, token: Export.Token) {
        self.number = number
        self.token = token
    }
}

// The states of an export: 0 free; else its slot and whether it is written completely.
private let isWritten: UInt64 = 1 << 32
private func claim(ofSlot slot: Int) -> UInt64 { UInt64(slot + 1) }

extension LedgerSlot {
    /// Lets the other processes open something; nil when there are ``Export/countMax`` exports.
    package func publish(_ export: Export) -> ExportReference? {
        for number in 0..<Export.countMax {
            let start = ledger.layout.export(number)
            guard ledger.load(start + LedgerLayout.exportState) == 0,
                ledger.exchange(start + LedgerLayout.exportState, 0, claim(ofSlot: self.number))
            else { continue }
            let token = Export.Token.random()
            ledger.store(start + LedgerLayout.exportToken, token.low)
            ledger.store(start + LedgerLayout.exportToken + 8, token.high)
            ledger.store(start + LedgerLayout.exportKind, export.kind.rawValue)
            ledger.store(start + LedgerLayout.exportDevice, UInt64(export.device))
            ledger.store(start + LedgerLayout.exportByteCount, UInt64(export.byteCount))
            for word in 0..<Export.handleBytes / 8 {
                let bytes = export.handle[word * 8..<word * 8 + 8]
                ledger.store(
                    start + LedgerLayout.exportHandle + word * 8, bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) })
            }
            ledger.store(start + LedgerLayout.exportState, claim(ofSlot: self.number) | isWritten)
            return ExportReference(number: number, token: token)
        }
        return nil
    }

    /// Takes an export of this slot back: nobody can open it any more.
    package func withdraw(_ reference: ExportReference) {
        let state = ledger.layout.export(reference.number) + LedgerLayout.exportState
        _ = ledger.exchange(state, claim(ofSlot: number) | isWritten, 0)
    }

    /// Whether an export is this slot's own.
    package func isOwn(_ reference: ExportReference) -> Bool {
        let state = ledger.layout.export(reference.number) + LedgerLayout.exportState
        return ledger.load(state) == claim(ofSlot: number) | isWritten
    }
}

extension AllocationLedger {
    /// What a process of the allocation exports under this token; nil for any other token.
    package func export(_ reference: ExportReference) -> Export? {
        guard 0..<Export.countMax ~= reference.number else { return nil }
        let start = layout.export(reference.number)
        let state = load(start + LedgerLayout.exportState)
        guard state & isWritten != 0, token(at: start) == reference.token,
            let kind = Export.Kind(rawValue: load(start + LedgerLayout.exportKind))
        else { return nil }
        let handle = (0..<Export.handleBytes).map { index in
            UInt8(truncatingIfNeeded: load(start + LedgerLayout.exportHandle + index / 8 * 8) >> (8 * (index % 8)))
        }
        let export = Export(
            kind, device: Int(clamping: load(start + LedgerLayout.exportDevice)),
            byteCount: Int(clamping: load(start + LedgerLayout.exportByteCount)), handle: handle)
        // It may have been taken back and used again meanwhile.
        guard load(start + LedgerLayout.exportState) == state, token(at: start) == reference.token else { return nil }
        return export
    }

    private func token(at start: Int) -> Export.Token {
        Export.Token(
            low: load(start + LedgerLayout.exportToken), high: load(start + LedgerLayout.exportToken + 8))
    }

    /// Takes back what a worker has exported that has ended.
    func withdrawAll(ofSlot slot: Int) {
        for number in 0..<Export.countMax {
            let state = layout.export(number) + LedgerLayout.exportState
            if load(state) & ~isWritten == claim(ofSlot: slot) { store(state, 0) }
        }
    }
}

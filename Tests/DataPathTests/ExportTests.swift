// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import Testing

/// What the processes of an allocation let each other open.
@Suite struct ExportTests {
    private let ledger: AllocationLedger
    private let exporter: LedgerSlot
    private let other: LedgerSlot

    init() throws {
        ledger = try AllocationLedger(deviceCount: 2, limitBytes: nil)
        ledger.open(slot: 0)
        ledger.open(slot: 1)
        exporter = try LedgerSlot(ledger, number: 0)
        other = try LedgerSlot(ledger, number: 1)
    }

    private func memory(_ seed: UInt8 = 1) -> Export {
        Export(.memory, device: 1, byteCount: 1 << 40, handle: (0..<64).map { seed &+ UInt8($0) &* 3 })
    }

    @Test func findsWhatAnotherWorkerExports() throws {
        let first = try #require(exporter.publish(memory(1)))
        let second = try #require(other.publish(memory(2)))
        #expect(first.token != second.token)
        #expect(ledger.export(first) == memory(1))
        #expect(ledger.export(second) == memory(2))
        #expect(exporter.isOwn(first) && !other.isOwn(first))
    }

    @Test func knowsNoOtherToken() throws {
        let reference = try #require(exporter.publish(memory()))
        for token in [
            Export.Token(low: 0, high: 0), Export.Token(low: reference.token.low ^ 1, high: reference.token.high),
            Export.Token(low: reference.token.low, high: reference.token.high ^ 1 << 63),
        ] {
            #expect(ledger.export(ExportReference(number: reference.number, token: token)) == nil)
        }
        for number in [reference.number + 1, -1, Export.countMax, Int.max] {
            #expect(ledger.export(ExportReference(number: number, token: reference.token)) == nil)
        }
        let another = try AllocationLedger(deviceCount: 2, limitBytes: nil)
        #expect(another.export(reference) == nil)
    }

    @Test func forgetsWhatIsTakenBack() throws {
        let reference = try #require(exporter.publish(memory()))
        other.withdraw(reference)
        #expect(ledger.export(reference) != nil, "only its own worker takes an export back")
        exporter.withdraw(reference)
        #expect(ledger.export(reference) == nil)
        let next = try #require(exporter.publish(memory()))
        #expect(next.number == reference.number, "its place is used again")
        #expect(ledger.export(reference) == nil)
    }

    @Test func forgetsTheExportsOfAWorkerThatHasEnded() throws {
        let ended = try #require(exporter.publish(memory()))
        let alive = try #require(other.publish(memory()))
        ledger.clear(slot: 0)
        #expect(ledger.export(ended) == nil)
        #expect(ledger.export(alive) != nil)
    }

    @Test func hasALimit() throws {
        for _ in 0..<Export.countMax { #expect(exporter.publish(memory()) != nil) }
        #expect(other.publish(memory()) == nil)
        ledger.clear(slot: 0)
        #expect(other.publish(memory()) != nil)
    }
}

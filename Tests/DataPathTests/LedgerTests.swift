// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
import Synchronization
import Testing

@testable import AllocationLedger

/// What the processes of an allocation count together.
@Suite struct LedgerTests {
    /// A ledger with some open slots, each in a mapping of its own, as processes have it.
    private func slots(_ count: Int, limitBytes: Int?, devices: Int = 1) throws -> [LedgerSlot] {
        let ledger = try AllocationLedger(deviceCount: devices, limitBytes: limitBytes)
        return try (0..<count).map { number in
            ledger.open(slot: number)
            let passed = try AllocationLedger(adopting: fcntl(ledger.descriptor, F_DUPFD_CLOEXEC, 3))
            #expect(passed.deviceCount == devices && passed.limitBytes == limitBytes)
            return try LedgerSlot(passed, number: number)
        }
    }

    @Test func theSumIsLimited() throws {
        let slots = try slots(3, limitBytes: 100, devices: 2)
        #expect(slots[0].take(60, device: 0))
        #expect(!slots[1].take(41, device: 0))
        #expect(slots[1].take(40, device: 0))
        #expect(!slots[2].take(1, device: 0))
        #expect(slots[2].take(100, device: 1))
        #expect(slots[0].ledger.usedBytes(device: 0) == 100)
        slots[0].giveBack(60, device: 0)
        #expect(slots[2].take(60, device: 0))
        #expect(!slots[2].take(Int.max, device: 0))
    }

    @Test func whatHasBeenTakenAnywayCounts() throws {
        let slots = try slots(2, limitBytes: 100)
        slots[0].add(130, device: 0)
        #expect(slots[1].ledger.usedBytes(device: 0) == 130)
        #expect(!slots[1].take(1, device: 0))
    }

    @Test func withoutALimitItIsKnownWhatIsUsed() throws {
        let slots = try slots(2, limitBytes: nil)
        #expect(slots[0].take(1 << 40, device: 0))
        #expect(slots[1].take(1 << 40, device: 0))
        #expect(slots[0].ledger.usedBytes(device: 0) == 2 << 40)
    }

    /// Never both, and never neither of them.
    @Test func ofTwoThatDoNotFitTogetherOneGetsIt() throws {
        let slots = try slots(2, limitBytes: 100)
        for round in 0..<2_000 {
            let ready = Tally()
            let gotten = Tally()
            try inParallel(2) { index in
                ready.add()
                while ready.value < 2 {}
                if slots[index].take(60, device: 0) { gotten.add() }
            }
            #expect(gotten.value == 1, "round \(round)")
            let holder = slots[0].take(40, device: 0)
            #expect(holder && !slots[0].take(1, device: 0))
            slots[0].giveBack(40, device: 0)
            for slot in slots { slot.ledger.open(slot: slot.number) }
        }
    }

    @Test func manyNeverHaveMoreThanThereIs() throws {
        let slots = try slots(8, limitBytes: 1000)
        let held = Tally()
        let most = Tally()
        let refused = Tally()
        try inParallel(8) { index in
            var random = UInt32(index + 1)
            // Each keeps what it has had last, so that there is seldom enough for all.
            var kept = 0
            for _ in 0..<3_000 {
                random = random &* 1_664_525 &+ 1_013_904_223
                let count = Int(random >> 16) % 400
                if slots[index].take(count, device: 0) {
                    most.raise(to: held.add(count))
                    held.add(-kept)
                    slots[index].giveBack(kept, device: 0)
                    kept = count
                } else {
                    refused.add()
                    held.add(-kept)
                    slots[index].giveBack(kept, device: 0)
                    kept = 0
                }
            }
            held.add(-kept)
            slots[index].giveBack(kept, device: 0)
        }
        #expect(most.value <= 1000)
        #expect(refused.value > 0, "nothing was ever refused, so this has shown nothing")
        #expect(slots[0].ledger.usedBytes(device: 0) == 0)
    }

    @Test func theSlotOfAnEndedWorkerIsFree() throws {
        let slots = try slots(2, limitBytes: 100)
        slots[0].setClient(processID: 4711, name: "python")
        slots[0].setContexts(1, device: 0)
        #expect(slots[0].take(100, device: 0))
        #expect(slots[1].ledger.processes.map(\.name) == ["python"])
        slots[1].ledger.clear(slot: 0)
        #expect(slots[1].ledger.processes.isEmpty)
        #expect(slots[1].take(100, device: 0))
    }

    @Test func processesAreThoseWithAContext() throws {
        let slots = try slots(3, limitBytes: nil, devices: 2)
        for (index, slot) in slots.enumerated() {
            slot.setClient(processID: UInt32(index), name: "program\(index)", workerID: UInt32(100 + index))
        }
        slots[1].setContexts(2, device: 1)
        #expect(slots[1].take(5, device: 1))
        slots[2].setClient(processID: UInt32.max, name: "a-name-longer-than-fifteen-bytes")
        slots[2].setContexts(1, device: 0)
        let none = LedgerProcess.Use(usedBytes: 0, hasContext: false)
        #expect(
            slots[0].ledger.processes == [
                LedgerProcess(
                    processID: 1, workerID: 101, name: "program1",
                    devices: [none, LedgerProcess.Use(usedBytes: 5, hasContext: true)]),
                LedgerProcess(
                    processID: UInt32.max, workerID: UInt32(getpid()), name: "a-name-longer-t",
                    devices: [LedgerProcess.Use(usedBytes: 0, hasContext: true), none]),
            ])
    }

    @Test func activityNeverGoesBack() throws {
        let slots = try slots(2, limitBytes: nil)
        for slot in slots { slot.noteActivity() }
        slots[0].noteActivity()
        slots[1].setRunning(true)
        #expect(slots[0].ledger.activity == LedgerActivity(counter: 3, isRunning: true))
        slots[0].ledger.clear(slot: 1)
        #expect(slots[0].ledger.activity == LedgerActivity(counter: 3, isRunning: false))
    }

    @Test func refusesWhatIsNoLedger() throws {
        #expect(throws: LedgerFailure.self) { try AllocationLedger(adopting: csystem_memory_file("open")) }
        #expect(throws: LedgerFailure.self) { try AllocationLedger(adopting: csystem_sealed_memory_file("x", 8)) }
        // Of the right size, but with nothing in it.
        let real = try AllocationLedger(deviceCount: 1, limitBytes: nil)
        let size = csystem_sealed_size(real.descriptor)
        #expect(throws: LedgerFailure.self) {
            try AllocationLedger(adopting: csystem_sealed_memory_file("x", Int(size)))
        }
        #expect(throws: LedgerFailure.self) { try AllocationLedger(deviceCount: 0, limitBytes: nil) }
        #expect(throws: LedgerFailure.self) { try AllocationLedger(deviceCount: 1025, limitBytes: nil) }
        #expect(throws: LedgerFailure.self) { try AllocationLedger(deviceCount: 1, limitBytes: 0) }
        #expect(throws: LedgerFailure.self) { try LedgerSlot(real, number: 0) }
        #expect(ftruncate(real.descriptor, 0) == -1, "a ledger that shrinks ends whoever looks at it")
    }
}

/// A number that threads share.
private final class Tally: Sendable {
    private let number = Atomic(0)

    var value: Int { number.load(ordering: .sequentiallyConsistent) }
    @discardableResult
    func add(_ count: Int = 1) -> Int { number.add(count, ordering: .sequentiallyConsistent).newValue }
    func raise(to other: Int) { number.max(other, ordering: .sequentiallyConsistent) }
}

/// Runs a body on some threads of its own and waits for all of them.
func inParallel(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
    final class Job: Sendable {
        let index: Int
        let body: @Sendable (Int) throws -> Void
        init(_ index: Int, _ body: @escaping @Sendable (Int) throws -> Void) {
            self.index = index
            self.body = body
        }
    }
    var threads: [pthread_t] = []
    for index in 0..<count {
        let retained = Unmanaged.passRetained(Job(index, body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                let job = Unmanaged<Job>.fromOpaque(pointer).takeRetainedValue()
                #expect(throws: Never.self) { try job.body(job.index) }
                return nil
            }, retained.toOpaque())
        try #require(code == 0)
        threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
}

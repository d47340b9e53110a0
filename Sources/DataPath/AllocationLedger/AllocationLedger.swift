// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
import Synchronization

/// What the processes of one allocation use together, in memory that the dispatcher and its workers share.
///
/// The dispatcher makes it and gives each worker a slot; a worker writes nothing but its slot, and all may be read. No
/// lock is in it that a killed process could leave held: the use of a device is the sum over the slots, and the
/// dispatcher clears the slot of a worker that has ended.
///
/// SAFETY: the mapping lives as long as this object, and the file's size is sealed, so that no access can fault. Every
/// word is touched by atomic operations only, by whatever process.
package final class AllocationLedger: @unchecked Sendable {
    /// Workers of an allocation: more processes than a program on a few GPUs starts; each costs the server a process
    /// and a context.
    package static let slotsMax = 256
    /// GPUs of an allocation: as many as a request may name.
    package static let devicesMax = 1024

    /// The file in memory that is passed to workers.
    ///
    /// Closed with this object.
    package let descriptor: Int32
    package let deviceCount: Int
    /// The most bytes that may be used on each device; nil for all there is.
    package let limitBytes: Int?
    let layout: LedgerLayout
    private let base: UnsafeMutableRawPointer

    /// Makes an empty ledger.
    package init(deviceCount: Int, limitBytes: Int?) throws(LedgerFailure) {
        guard 1...AllocationLedger.devicesMax ~= deviceCount, limitBytes.map({ $0 > 0 }) ?? true else {
            throw LedgerFailure("an allocation of \(deviceCount) GPUs cannot be counted")
        }
        let layout = LedgerLayout(deviceCount: deviceCount)
        let descriptor = csystem_sealed_memory_file("allocation", layout.byteCount)
        guard descriptor >= 0 else { throw LedgerFailure("cannot make an allocation's ledger", errno) }
        do throws(LedgerFailure) { base = try Self.map(descriptor, layout.byteCount) } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.layout = layout
        self.deviceCount = deviceCount
        self.limitBytes = limitBytes
        store(LedgerLayout.deviceCount, UInt64(deviceCount))
        store(LedgerLayout.limit, UInt64(limitBytes ?? 0))
        store(LedgerLayout.magic, LedgerLayout.magicValue)
    }

    /// Takes over a ledger that another process has made and passed; its descriptor is closed when that fails.
    package init(adopting descriptor: Int32) throws(LedgerFailure) {
        do throws(LedgerFailure) {
            let byteCount = csystem_sealed_size(descriptor)
            guard byteCount >= LedgerLayout.headerBytes else {
                throw LedgerFailure("what was passed is not the ledger of an allocation")
            }
            let base = try Self.map(descriptor, byteCount)
            let deviceCount = ledgerWord(base, LedgerLayout.deviceCount).pointee.load(ordering: .relaxed)
            let limit = ledgerWord(base, LedgerLayout.limit).pointee.load(ordering: .relaxed)
            let layout = LedgerLayout(deviceCount: Int(min(deviceCount, UInt64(Self.devicesMax))))
            guard ledgerWord(base, LedgerLayout.magic).pointee.load(ordering: .acquiring) == LedgerLayout.magicValue,
                layout.byteCount == byteCount
            else {
                munmap(base, byteCount)
                throw LedgerFailure("the ledger of the allocation is of another version")
            }
            self.base = base
            self.layout = layout
            self.deviceCount = layout.deviceCount
            limitBytes = limit == 0 ? nil : Int(clamping: limit)
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
    }

    deinit {
        munmap(base, layout.byteCount)
        close(descriptor)
    }

    private static func map(_ descriptor: Int32, _ byteCount: Int) throws(LedgerFailure) -> UnsafeMutableRawPointer {
        guard let base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), base != MAP_FAILED
        else { throw LedgerFailure("cannot map an allocation's ledger", errno) }
        return base
    }

    // MARK: The dispatcher's part

    /// Gives a slot out, before its worker is told of it.
    package func open(slot number: Int) {
        precondition(0..<AllocationLedger.slotsMax ~= number, "an allocation has \(AllocationLedger.slotsMax) slots")
        clear(slot: number)
        if load(LedgerLayout.slotsEnd) <= UInt64(number) { store(LedgerLayout.slotsEnd, UInt64(number) + 1) }
    }

    /// Takes a slot back whose worker has ended: what it used is free for the others at once.
    package func clear(slot number: Int) {
        let start = layout.slot(number)
        // Activity must never seem to go back.
        store(LedgerLayout.endedActivity, load(LedgerLayout.endedActivity) &+ load(start + LedgerLayout.activity))
        for offset in stride(from: start, to: start + layout.slotBytes, by: 8) { store(offset, 0) }
        withdrawAll(ofSlot: number)
    }

    // MARK: Reading

    /// Bytes that all processes of the allocation use on a device, by the allocation's number of it.
    package func usedBytes(device: Int) -> Int {
        precondition(0..<deviceCount ~= device, "the allocation has \(deviceCount) devices")
        return slots.reduce(0) { Int(clamping: UInt64($0) &+ load(layout.used(device, slot: $1))) }
    }

    /// The processes that have a context, in the order of their slots.
    package var processes: [LedgerProcess] {
        slots.compactMap { number in
            let start = layout.slot(number)
            let devices = (0..<deviceCount).map { device in
                LedgerProcess.Use(
                    usedBytes: Int(clamping: load(layout.used(device, slot: number))),
                    hasContext: load(layout.contexts(device, slot: number)) > 0)
            }
            guard devices.contains(where: \.hasContext) else { return nil }
            return LedgerProcess(
                processID: UInt32(truncatingIfNeeded: load(start + LedgerLayout.processID)),
                workerID: UInt32(truncatingIfNeeded: load(start + LedgerLayout.workerID)),
                name: name(at: start + LedgerLayout.name), devices: devices)
        }
    }

    /// What the allocation has done since it began.
    package var activity: LedgerActivity {
        slots.reduce(into: LedgerActivity(counter: load(LedgerLayout.endedActivity), isRunning: false)) {
            $0.counter &+= load(layout.slot($1) + LedgerLayout.activity)
            if load(layout.slot($1) + LedgerLayout.isRunning) != 0 { $0.isRunning = true }
        }
    }

    /// The slots that have been given out, some of them free again.
    var slots: Range<Int> { 0..<Int(min(load(LedgerLayout.slotsEnd), UInt64(AllocationLedger.slotsMax))) }

    private func name(at offset: Int) -> String {
        let words = stride(from: 0, to: LedgerLayout.nameBytes, by: 8).map { load(offset + $0) }
        let bytes = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    // MARK: Words

    /// Loads and stores are of one order for all processes: of two that take memory, one sees the other.
    func load(_ offset: Int) -> UInt64 { ledgerWord(base, offset).pointee.load(ordering: .sequentiallyConsistent) }

    func store(_ offset: Int, _ value: UInt64) {
        ledgerWord(base, offset).pointee.store(value, ordering: .sequentiallyConsistent)
    }

    /// Stores a value if another one is there still.
    func exchange(_ offset: Int, _ expected: UInt64, _ value: UInt64) -> Bool {
        ledgerWord(base, offset).pointee.compareExchange(
            expected: expected, desired: value, ordering: .sequentiallyConsistent
        ).exchanged
    }

    /// A store that only has to arrive some time.
    func storeLazily(_ offset: Int, _ value: UInt64) {
        ledgerWord(base, offset).pointee.store(value, ordering: .relaxed)
    }
}

/// A process of the application, as the ledger knows it.
package struct LedgerProcess: Sendable, Equatable {
    package struct Use: Sendable, Equatable {
        package var usedBytes: Int
        package var hasContext: Bool
    }

    /// The client machine's number of the process.
    package var processID: UInt32
    /// The server's number of the worker that does its work.
    package var workerID: UInt32
    /// The program's short name.
    package var name: String
    /// What it uses on each device of the allocation.
    package var devices: [Use]
}

/// What the processes of an allocation do.
package struct LedgerActivity: Sendable, Equatable {
    /// Changes whenever one of them makes a call.
    package var counter: UInt64
    /// Whether GPU work of one of them goes on.
    package var isRunning: Bool
}

/// SAFETY: the caller has mapped the word, which is aligned, and which is touched in no other way.
private func ledgerWord(_ base: UnsafeMutableRawPointer, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
}

/// The text of an errno value.
func errorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
}

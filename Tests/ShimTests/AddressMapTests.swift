// SPDX-License-Identifier: Apache-2.0
import Glibc
import Testing

@testable import Shim

@Suite struct AddressMapTests {
    private func allocation(_ base: UInt64, _ byteCount: Int, id: UInt64 = 0, context: UInt64 = 1) -> Allocation {
        Allocation(base: base, byteCount: byteCount, kind: .device, contextBits: context, device: 0, id: id)
    }

    @Test func findsTheRangeThatAnAddressLiesIn() {
        let map = AddressMap(reservesAddresses: false)
        for base in [3, 1, 2] as [UInt64] { map.insert(allocation(base << 20, 4096, id: base)) }
        #expect(map.find(1 << 20)?.id == 1)
        #expect(map.find(2 << 20 + 4095)?.id == 2)
        #expect(map.find(2 << 20 + 4096) == nil)
        #expect(map.find(3 << 20 - 1) == nil)
        #expect(map.find(0) == nil)
        #expect(map.find(.max) == nil)
    }

    @Test func removesOnlyWhatBeginsThere() {
        let map = AddressMap(reservesAddresses: false)
        map.insert(allocation(1 << 20, 4096))
        #expect(map.remove(1 << 20 + 8) == nil)
        #expect(map.remove(1 << 20)?.byteCount == 4096)
        #expect(map.find(1 << 20) == nil)
    }

    @Test func aNewRangeReplacesWhatItOverlaps() {
        let map = AddressMap(reservesAddresses: false)
        map.insert(allocation(4096, 4096, id: 1))
        map.insert(allocation(8192, 4096, id: 2))
        map.insert(allocation(6000, 4000, id: 3))
        #expect(map.find(5000) == nil)
        #expect(map.find(8192)?.id == 3)
        #expect(map.find(12_000) == nil)
    }

    @Test func registersOnlyWhereNothingIs() {
        let map = AddressMap(reservesAddresses: false)
        #expect(map.insertIfFree(allocation(4096, 4096)))
        #expect(!map.insertIfFree(allocation(8191, 1)))
        #expect(!map.insertIfFree(allocation(0, 100_000)))
        #expect(map.insertIfFree(allocation(8192, 1)))
    }

    @Test func forgetsTheMemoryOfAContext() {
        let map = AddressMap(reservesAddresses: false)
        map.insert(allocation(1 << 20, 4096, context: 1))
        map.insert(allocation(2 << 20, 4096, context: 2))
        map.removeAll(ofContext: 1)
        #expect(map.find(1 << 20) == nil)
        #expect(map.find(2 << 20) != nil)
    }

    @Test func reservesNoAddressThatHostMemoryHas() throws {
        let reservations = AddressReservations()
        let chunkBytes = Int(AddressReservations.chunkBytes)
        let memory = try #require(mmap(nil, 4 * chunkBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        let base = (UInt64(UInt(bitPattern: memory)) / UInt64(chunkBytes) + 1) * UInt64(chunkBytes)
        #expect(!reservations.reserve(base, 100))
        munmap(memory, 4 * chunkBytes)
        #expect(reservations.reserve(base, 100))
        #expect(reservations.reserve(base + 200, 2 * chunkBytes))
        // The chunks are taken: a wish for their addresses is not granted.
        let wish = UnsafeMutableRawPointer(bitPattern: UInt(base))
        let other = mmap(wish, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        #expect(other != wish)
        munmap(other, 4096)
    }

    @Test(.enabled(if: getenv("BITFUSION_SANITIZER") == nil, "the addresses are the thread sanitizer's"))
    func keepsSomeAddressesOfFreedMemory() throws {
        let reservations = AddressReservations()
        let chunkBytes = Int(AddressReservations.chunkBytes)
        let base: UInt64 = 0x2100_0000_0000
        let wish = UnsafeMutableRawPointer(bitPattern: UInt(base))
        func isFree() -> Bool {
            let memory = mmap(wish, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            defer { munmap(memory, 4096) }
            return memory == wish
        }
        #expect(isFree())
        #expect(reservations.reserve(base, chunkBytes))
        reservations.release(base, chunkBytes)
        #expect(!isFree())
        // Kept ones are used again together with others, which are given back when there are many.
        let large = chunkBytes * (AddressReservations.idleChunksMax + 1)
        #expect(reservations.reserve(base, large))
        reservations.release(base, large)
        #expect(isFree())
    }
}

@Suite struct HandleTableTests {
    private final class Object: Sendable {
        let bits: UInt64
        init(bits: UInt64) { self.bits = bits }
    }

    @Test func findsItsObjectsByTheirHandles() throws {
        let table = HandleTable<Object>(.stream)
        let first = try table.insert { Object(bits: $0) }
        let second = try table.insert { Object(bits: $0) }
        #expect(table[first.bits] === first)
        #expect(table[second.bits] === second)
        #expect(first.bits > 2)
    }

    @Test func doesNotFindAnEndedHandleInItsPlace() throws {
        let table = HandleTable<Object>(.stream)
        let first = try table.insert { Object(bits: $0) }
        #expect(table.remove(first.bits) === first)
        #expect(table.remove(first.bits) == nil)
        let second = try table.insert { Object(bits: $0) }
        #expect(table[first.bits] == nil)
        #expect(table[second.bits] === second)
    }

    @Test func takesAnyBits() throws {
        let table = HandleTable<Object>(.stream)
        let object = try table.insert { Object(bits: $0) }
        var generator = SystemRandomNumberGenerator()
        for bits in [0, 1, 2, .max, object.bits + 1, object.bits + 16, object.bits ^ 1 << 50] {
            #expect(table[bits] == nil)
        }
        for _ in 0..<100_000 {
            let bits = generator.next() as UInt64
            if bits != object.bits { #expect(table[bits] == nil) }
        }
    }

    @Test func aHandleOfAnotherClassIsNone() throws {
        let streams = HandleTable<Object>(.stream)
        let events = HandleTable<Object>(.event)
        let stream = try streams.insert { Object(bits: $0) }
        _ = try events.insert { Object(bits: $0) }
        #expect(events[stream.bits] == nil)
    }
}

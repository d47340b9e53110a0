// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import SoftGPU

/// How software GPUs are configured, and what they say of themselves.
@Suite struct SoftGPUConfigurationTests {
    @Test func readsCountMemoryAndOptions() throws {
        let configuration = try SoftGPUConfiguration("3x1024,name=Test GPU,cc=8.6")
        #expect(configuration.deviceCount == 3)
        #expect(configuration.memoryMiB == 1024)
        #expect(configuration.name == "Test GPU")
        #expect((configuration.capabilityMajor, configuration.capabilityMinor) == (8, 6))
        #expect(SoftGPUConfiguration().deviceCount == 1)
        #expect(SoftGPUConfiguration().memoryMiB == 4096)
    }

    @Test(arguments: [
        "", "x", "2", "2x", "x4096", "0x4096", "2x0", "-1x4096", "2x4096x1", "65x4096", "1x99999999", "2x4096,",
        "2x4096,colour=red", "2x4096,cc=7", "2x4096,cc=a.b", "2x4096,name=", "twox4096", "1x99999999999999999999",
    ])
    func refusesInWords(_ text: String) {
        let error = #expect(throws: ConfigurationError.self) { try SoftGPUConfiguration(text) }
        #expect(error?.description.hasPrefix("BITFUSION_SOFT_GPU: ") == true)
    }

    @Test func devicesHaveTheConfiguredIdentity() throws {
        let description = try SoftGPU(SoftGPUConfiguration("2x128,name=Two,cc=7.5")).describe()
        #expect(description.version == 13050)
        #expect(description.devices.map(\.name) == ["Two", "Two"])
        #expect(description.devices.map(\.totalBytes) == [128 << 20, 128 << 20])
        let second = description.devices[1]
        #expect(second.uuid == Array("bitfusion-soft-".utf8) + [1])
        #expect(second[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] == 0x11)
        #expect(second[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] == 7)
        #expect(second[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR] == 5)
        #expect(second[CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY] == 0)
        #expect(second.canAccessPeer == [true, false])
    }
}

/// The parts beneath the software GPU's memory and handles.
@Suite struct SoftGPUPartsTests {
    @Test func addressesAreUsedAgainForTheSameSize() {
        var space = AddressSpace(0..<100)
        #expect(space.take(10, alignment: 1) == 0)
        #expect(space.take(20, alignment: 1) == 10)
        #expect(space.giveBack(0) == 10)
        #expect(space.giveBack(0) == nil)
        #expect(space.take(10, alignment: 1) == 0)
        #expect(space.take(8, alignment: 8) == 32)
    }

    @Test func gapsAreFoundWhenFreshAddressesRunOut() {
        var space = AddressSpace(0..<100)
        let offsets = (0..<10).compactMap { _ in space.take(10, alignment: 1) }
        #expect(offsets.count == 10)
        #expect(space.take(1, alignment: 1) == nil)
        _ = space.giveBack(30)
        _ = space.giveBack(40)
        #expect(space.take(20, alignment: 1) == 30)
        #expect(space.take(10, alignment: 1) == nil)
        _ = space.giveBack(0)
        _ = space.giveBack(90)
        #expect(space.take(10, alignment: 1) == 90)
        #expect(space.take(10, alignment: 1) == 0)
    }

    @Test func manyAllocationsNeverOverlap() throws {
        let memory = try #require(DeviceMemory(ordinal: 0, totalBytes: 64 << 20))
        var random = SystemRandomNumberGenerator()
        var kept: [Allocation] = []
        for _ in 0..<2000 {
            if kept.count > 50 { kept.remove(at: Int.random(in: 0..<kept.count, using: &random)) }
            kept.append(try memory.allocate(Int.random(in: 1...500_000, using: &random)))
            let sorted = kept.sorted { $0.address < $1.address }
            for (low, high) in zip(sorted, sorted.dropFirst()) {
                #expect(low.address + UInt64(low.mappedBytes) + UInt64(DeviceMemory.pageBytes) <= high.address)
            }
        }
        kept.removeAll()
        #expect(memory.usedBytes == 0)
    }

    /// More allocations than the process may have mappings.
    @Test func veryManySmallAllocationsArePossible() throws {
        let memory = try #require(DeviceMemory(ordinal: 0, totalBytes: 1 << 30))
        var kept: [Allocation] = []
        for _ in 0..<40_000 { kept.append(try memory.allocate(256)) }
        #expect(Set(kept.map(\.address)).count == kept.count)
        for allocation in kept { pointer(allocation.address).storeBytes(of: 1, as: UInt8.self) }
        let large = try memory.allocate(8 << 20)
        kept.removeSubrange(1000..<35_000)
        for _ in 0..<3_000 { kept.append(try memory.allocate(5000)) }
        #expect(Set(kept.map(\.address)).count == kept.count)
        kept.removeAll()
        #expect(memory.usedBytes == large.mappedBytes)
    }

    @Test func theMapFindsWhatAnAddressBelongsTo() throws {
        let memory = try #require(DeviceMemory(ordinal: 0, totalBytes: 256 << 20))
        let map = MemoryMap()
        let count = 3000
        var allocations: [Allocation] = []
        for _ in 0..<count { allocations.append(try memory.allocate(100)) }
        for allocation in allocations.shuffled() {
            map.insert(
                .init(address: allocation.address, byteCount: 100, owner: .context, context: 7, allocation: allocation))
        }
        for allocation in allocations {
            #expect(try map.allocation(at: allocation.address + 60, byteCount: 40) === allocation)
            #expect(throws: CUDAError.invalidValue) {
                try map.allocation(at: allocation.address + 60, byteCount: 41)
            }
        }
        for allocation in allocations.shuffled().prefix(count / 2) {
            #expect(try map.remove(at: allocation.address).allocation === allocation)
            #expect(throws: CUDAError.invalidValue) { try map.remove(at: allocation.address) }
        }
        #expect(map.removeAll { $0.context == 8 }.isEmpty)
        #expect(map.removeAll { $0.context == 7 }.count == count - count / 2)
        for allocation in allocations {
            #expect(throws: CUDAError.invalidValue) { try map.allocation(at: allocation.address, byteCount: 1) }
        }
    }

    @Test func handlesOfOtherKindsAndEndedOnesAreRefused() throws {
        final class Thing: Sendable {}
        let streams = HandleTable<Thing>(.stream)
        let events = HandleTable<Thing>(.event)
        var bits: UInt64 = 0
        let thing = try streams.insert { handle in
            bits = handle
            return Thing()
        }
        #expect(bits != 0)
        #expect(streams[bits] === thing)
        #expect(events[bits] == nil)
        #expect(streams.remove(bits) === thing)
        #expect(streams[bits] == nil)
        #expect(streams.remove(bits) == nil)
        var reused: UInt64 = 0
        _ = try streams.insert { handle in
            reused = handle
            return Thing()
        }
        #expect(reused != bits)
        #expect(streams[bits] == nil)
    }

    @Test func theHeapOfKernelsIsLimited() throws {
        let memory = try #require(DeviceMemory(ordinal: 0, totalBytes: 16 << 20))
        let heap = DeviceHeap(memory: memory)
        try heap.setLimit(1 << 20)
        #expect(memory.usedBytes == 0)
        #expect(heap.allocate(1) == nil, "no module is loaded that uses it")
        try heap.reserve()
        #expect(memory.usedBytes == 1 << 20)
        try heap.setLimit(2 << 20)
        #expect(memory.usedBytes == 2 << 20)
        let other = try memory.allocate(4 << 20)
        #expect(throws: CUDAError.outOfMemory) { try heap.setLimit(16 << 20) }
        #expect(heap.limitBytes == 2 << 20, "what it had, it still has")
        withExtendedLifetime(other) {}
        try heap.setLimit(1 << 20)
        #expect(heap.allocate(2 << 20) == nil)
        let first = try #require(heap.allocate(1000))
        #expect(first % 16 == 0)
        #expect(heap.allocate(1 << 20) == nil)
        heap.release(first)
        heap.release(first + 8)
        #expect(heap.allocate(1 << 20) != nil)
        #expect(throws: CUDAError.invalidValue) { try heap.setLimit(2 << 20) }
    }
}

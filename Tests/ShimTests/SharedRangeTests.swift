// SPDX-License-Identifier: Apache-2.0
import Driver
import Glibc
import Testing

@testable import Shim

/// Memory that host and device use by turns: what travels when, by blocks of a page.
@Suite struct SharedRangeTests {
    private static let page = SharedRange.pageBytes

    /// Device memory, and a range of the host's addresses in front of it.
    private final class Memory {
        let range: SharedRange
        let base: UInt
        var device: [UInt8]
        /// Offsets and lengths of what was copied.
        var fetched: [[Int]] = []
        var sent: [[Int]] = []

        init(pages: Int, parts: [Range<Int>]? = nil, initial: SharedRange.BlockState) throws {
            let count = pages * page
            let address = mmap(nil, count, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            base = UInt(bitPattern: address)
            device = (0..<count).map { UInt8(truncatingIfNeeded: $0 / page + 1) }
            range = try #require(
                SharedRange(
                    hostBase: base, byteCount: count, deviceBase: 0x1000, driverBase: 0x1000,
                    context: ContextHandle(bits: 1), contextBits: 1, parts: parts ?? [0..<count], initial: initial))
        }

        func touch(_ offset: Int, isWrite: Bool = false) throws {
            try range.touch(base + UInt(offset), isWrite: isWrite) { source, target throws(CUDAError) in
                let start = Int(source - 0x1000)
                fetched.append([start, target.count])
                device.withUnsafeBytes {
                    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + target.count]))
                }
            }
        }

        func handOver(_ part: Range<Int>? = nil) throws {
            let part = part ?? 0..<range.byteCount
            try range.handOver(base + UInt(part.lowerBound)..<base + UInt(part.upperBound)) {
                target, bytes throws(CUDAError) in
                let start = Int(target - 0x1000)
                sent.append([start, bytes.count])
                device.replaceSubrange(start..<start + bytes.count, with: bytes)
            }
        }

        subscript(offset: Int) -> UInt8 {
            get { UnsafePointer<UInt8>(bitPattern: base + UInt(offset))?.pointee ?? 0 }
            set { UnsafeMutablePointer<UInt8>(bitPattern: base + UInt(offset))?.pointee = newValue }
        }
    }

    @Test func freshMemoryIsWrittenWithoutFetching() throws {
        let memory = try Memory(pages: 4, initial: .untouched)
        try memory.touch(0, isWrite: true)
        memory[5] = 77
        try memory.handOver()
        #expect(memory.fetched == [] && memory.sent == [[0, SharedRangeTests.page]])
        #expect(memory.device[5] == 77 && memory.device[SharedRangeTests.page] == 2, "pages nobody has touched stay")
        #expect(memory.range.isOnDevice)
    }

    @Test func readingFetchesAndSendsNothingBack() throws {
        let memory = try Memory(pages: 4, initial: .device)
        try memory.touch(2 * SharedRangeTests.page + 9)
        #expect(memory[2 * SharedRangeTests.page] == 3)
        #expect(memory.fetched == [[2 * SharedRangeTests.page, SharedRangeTests.page]])
        #expect(!memory.range.isOnDevice)
        try memory.handOver()
        #expect(memory.sent == [] && memory.range.isOnDevice)
    }

    /// Where the kind of access is not known, the write that follows a read tells.
    @Test func aWriteToWhatWasReadMakesItDirty() throws {
        let memory = try Memory(pages: 1, initial: .device)
        try memory.touch(0)
        try memory.touch(0)
        memory[0] = 9
        try memory.handOver()
        #expect(memory.fetched.count == 1 && memory.sent == [[0, SharedRangeTests.page]] && memory.device[0] == 9)
    }

    @Test func readingInOrderFetchesMoreAndMore() throws {
        let memory = try Memory(pages: 16, initial: .device)
        var offset = 0
        while offset < 16 {
            try memory.touch(offset * SharedRangeTests.page)
            offset = memory.fetched.reduce(0) { $0 + $1[1] } / SharedRangeTests.page
        }
        #expect(memory.fetched.map { $0[1] / SharedRangeTests.page } == [1, 2, 4, 8, 1])
        for page in 0..<16 { #expect(memory[page * SharedRangeTests.page] == UInt8(page + 1)) }
    }

    @Test func onlyTheNamedPartChangesSides() throws {
        let memory = try Memory(pages: 4, initial: .untouched)
        for page in 0..<4 {
            try memory.touch(page * SharedRangeTests.page, isWrite: true)
            memory[page * SharedRangeTests.page] = 100
        }
        try memory.handOver(SharedRangeTests.page + 1..<SharedRangeTests.page + 2)
        #expect(memory.sent == [[SharedRangeTests.page, SharedRangeTests.page]])
        memory[0] = 101
        try memory.handOver()
        #expect(
            memory.sent.dropFirst() == [
                [0, SharedRangeTests.page], [2 * SharedRangeTests.page, 2 * SharedRangeTests.page],
            ])
    }

    /// A module's variables share pages with others, which must not be touched.
    @Test func nothingTravelsButTheVariables() throws {
        let memory = try Memory(pages: 1, parts: [16..<20], initial: .device)
        #expect(memory.range.add(memory.base + 4000..<memory.base + 5000) == memory.base + UInt(SharedRangeTests.page))
        try memory.touch(16, isWrite: true)
        memory[16] = 50
        memory.device[20] = 200
        try memory.handOver()
        #expect(memory.fetched == [[16, 4], [4000, 96]] && memory.sent == [[16, 4], [4000, 96]])
        #expect(memory.device[16] == 50 && memory.device[20] == 200)
    }

    @Test func aFailedFetchLeavesTheDeviceItsMemory() throws {
        let memory = try Memory(pages: 1, initial: .device)
        #expect(throws: CUDAError.self) {
            try memory.range.touch(memory.base, isWrite: true) { _, _ throws(CUDAError) in throw CUDAError.unknown }
        }
        #expect(memory.range.isOnDevice)
    }
}

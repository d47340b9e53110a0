// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Addresses and the memory behind them, managed apart from each other.
@Suite struct DriverContractVirtualMemory {
    /// A reservation with as many pieces of memory behind it as the segment has grown by.
    private struct Segment {
        let driver: any Driver
        let address: CUdeviceptr
        let byteCount: Int
        let step: Int

        init(_ fixture: DriverFixture, steps: Int) throws {
            driver = fixture.driver
            step = try driver.cuMemGetAllocationGranularity(device: 0, handleTypes: 0, allocFlags: 0, option: 0)
            byteCount = step * steps
            address = try driver.cuMemAddressReserve(size: byteCount, alignment: 0, addr: 0, flags: 0)
        }

        func place(_ index: Int) -> CUdeviceptr { address + CUdeviceptr(index * step) }

        func grow(_ index: Int, access: Bool = true) throws {
            let memory = try driver.cuMemCreate(size: step, device: 0, handleTypes: 0, allocFlags: 0)
            try driver.cuMemMap(ptr: place(index), size: step, offset: 0, handle: memory, flags: 0)
            try driver.cuMemRelease(handle: memory)
            guard access else { return }
            try driver.cuMemSetAccess(
                ptr: place(index), size: step, device: 0, flags: CU_MEM_ACCESS_FLAGS_PROT_READWRITE.rawValue)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func growsASegmentInPlace(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let before = try fixture.driver.cuMemGetInfo_v2(fixture.context).free
        let segment = try Segment(fixture, steps: 8)
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free == before, "addresses cost nothing")
        try segment.grow(0)
        try fixture.write([1, 2, 3] as [UInt32], to: segment.place(1) - 12)
        try segment.grow(1)
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free == before - 2 * segment.step)
        // A copy that lies in both pieces.
        try fixture.write([4, 5] as [UInt32], to: segment.place(1) - 4)
        #expect(try fixture.download(segment.place(1) - 12, count: 4, of: UInt32(0)) == [1, 2, 4, 5])
        try fixture.driver.cuMemsetD32Async(
            fixture.context, dstDevice: segment.address, ui: 7, n: 2 * segment.step / 4, hStream: .legacyDefault)
        #expect(try fixture.download(segment.place(2) - 4, count: 1, of: UInt32(0)) == [7])
        try fixture.driver.cuMemUnmap(ptr: segment.address, size: 2 * segment.step)
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free == before)
        try fixture.driver.cuMemAddressFree(ptr: segment.address, size: segment.byteCount)
    }

    @Test(arguments: DriverContract.subjects)
    func mapsTheSameMemoryTwice(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let segment = try Segment(fixture, steps: 2)
        let memory = try fixture.driver.cuMemCreate(size: segment.step, device: 0, handleTypes: 0, allocFlags: 0)
        for index in 0..<2 {
            try fixture.driver.cuMemMap(
                ptr: segment.place(index), size: segment.step, offset: 0, handle: memory, flags: 0)
        }
        try fixture.driver.cuMemSetAccess(
            ptr: segment.address, size: segment.byteCount, device: 0,
            flags: CU_MEM_ACCESS_FLAGS_PROT_READWRITE.rawValue)
        try fixture.write([6] as [UInt32], to: segment.place(0) + 8)
        #expect(try fixture.download(segment.place(1) + 8, count: 1, of: UInt32(0)) == [6])
        // Memory that is unmapped keeps its contents while it is held.
        try fixture.driver.cuMemUnmap(ptr: segment.address, size: segment.byteCount)
        try fixture.driver.cuMemMap(ptr: segment.place(1), size: segment.step, offset: 0, handle: memory, flags: 0)
        try fixture.driver.cuMemSetAccess(
            ptr: segment.place(1), size: segment.step, device: 0, flags: CU_MEM_ACCESS_FLAGS_PROT_READWRITE.rawValue)
        #expect(try fixture.download(segment.place(1) + 8, count: 1, of: UInt32(0)) == [6])
    }

    @Test(arguments: DriverContract.subjects)
    func givesNoAccessUnasked(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let segment = try Segment(fixture, steps: 1)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.write([1] as [UInt32], to: segment.address) }
        try segment.grow(0, access: false)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.write([1] as [UInt32], to: segment.address) }
        try fixture.driver.cuMemSetAccess(
            ptr: segment.address, size: segment.step, device: 0, flags: CU_MEM_ACCESS_FLAGS_PROT_READWRITE.rawValue)
        try fixture.write([1] as [UInt32], to: segment.address)
        #expect(try fixture.download(segment.address, count: 1, of: UInt32(0)) == [1])
        try fixture.driver.cuMemUnmap(ptr: segment.address, size: segment.step)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.write([1] as [UInt32], to: segment.address) }
    }

    @Test(arguments: DriverContract.subjects)
    func honoursAWishedAddress(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        // Another test of this process may take the address in between; it is a wish.
        var first = try Segment(fixture, steps: 4)
        var isHonoured = false
        for _ in 0..<20 where !isHonoured {
            first = try Segment(fixture, steps: 4)
            try fixture.driver.cuMemAddressFree(ptr: first.address, size: first.byteCount)
            let second = try fixture.driver.cuMemAddressReserve(
                size: first.byteCount, alignment: 0, addr: first.address, flags: 0)
            isHonoured = second == first.address
        }
        #expect(isHonoured)
        let third = try fixture.driver.cuMemAddressReserve(
            size: first.byteCount, alignment: 1 << 30, addr: first.address, flags: 0)
        #expect(third != first.address && third % (1 << 30) == 0)
    }

    @Test(arguments: DriverContract.subjects)
    func refusesWhatDoesNotFit(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let segment = try Segment(fixture, steps: 4)
        let memory = try fixture.driver.cuMemCreate(size: segment.step, device: 0, handleTypes: 0, allocFlags: 0)
        func map(_ address: CUdeviceptr, _ size: Int, offset: Int = 0) throws {
            try fixture.driver.cuMemMap(ptr: address, size: size, offset: offset, handle: memory, flags: 0)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try map(segment.address, 2 * segment.step) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try map(segment.address + 4096, segment.step) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try map(segment.place(4), segment.step) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try map(segment.address, segment.step, offset: segment.step) }
        try map(segment.address, segment.step)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try map(segment.address, segment.step) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try fixture.driver.cuMemAddressFree(ptr: segment.address, size: segment.byteCount)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try fixture.driver.cuMemUnmap(ptr: segment.address, size: segment.byteCount)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.free(segment.address) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try fixture.driver.cuMemCreate(size: segment.step + 1, device: 0, handleTypes: 0, allocFlags: 0)
        }
        fixture.expectRefusal(CUDA_ERROR_OUT_OF_MEMORY) {
            _ = try fixture.driver.cuMemCreate(size: 1 << 40, device: 0, handleTypes: 0, allocFlags: 0)
        }
        try fixture.driver.cuMemRelease(handle: memory)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_INVALID_HANDLE) {
            try fixture.driver.cuMemRelease(handle: memory)
        }
    }

    /// Software GPUs have no multicast; the refusal has travelled, and a handle of nothing is found out on the way.
    @Test(arguments: DriverContract.handleCheckingSubjects)
    func refusesMulticastWhereThereIsNone(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let driver = fixture.driver
        try fixture.needSecondDevice()
        if try driver.describe().devices[0][CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED] != 0 {
            try Test.cancel("the device has multicast")
        }
        fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) {
            _ = try driver.cuMulticastCreate(numDevices: 2, size: 2 << 20, handleTypes: 0, flags: 0)
        }
        fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) {
            _ = try driver.cuMulticastGetGranularity(
                numDevices: 2, size: 2 << 20, handleTypes: 0, flags: 0, option: 0)
        }
        let memory = try driver.cuMemCreate(size: 2 << 20, device: 0, handleTypes: 0, allocFlags: 0)
        let calls: [(PhysicalMemoryHandle) throws -> Void] = [
            { try driver.cuMulticastAddDevice(mcHandle: $0, dev: 1) },
            {
                try driver.cuMulticastBindMem(
                    mcHandle: $0, mcOffset: 0, memHandle: memory, memOffset: 0, size: 2 << 20, flags: 0)
            },
            {
                try driver.cuMulticastBindMem_v2(
                    mcHandle: $0, dev: 1, mcOffset: 0, memHandle: memory, memOffset: 0, size: 2 << 20, flags: 0)
            },
            {
                try driver.cuMulticastBindAddr(mcHandle: $0, mcOffset: 0, memptr: 0x1000, size: 2 << 20, flags: 0)
            },
            {
                try driver.cuMulticastBindAddr_v2(
                    mcHandle: $0, dev: 1, mcOffset: 0, memptr: 0x1000, size: 2 << 20, flags: 0)
            },
            { try driver.cuMulticastUnbind(mcHandle: $0, dev: 1, mcOffset: 0, size: 2 << 20) },
        ]
        for call in calls {
            // Memory is no such object, which drivers and libraries say in two ways.
            fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_INVALID_VALUE) { try call(memory) }
            fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_INVALID_HANDLE) {
                try call(PhysicalMemoryHandle(bits: 0xdead_beef))
            }
        }
    }

    @Test(arguments: DriverContract.subjects)
    func importsWhatWasExported(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let segment = try Segment(fixture, steps: 2)
        let before = try fixture.driver.cuMemGetInfo_v2(fixture.context).free
        let plain = try fixture.driver.cuMemCreate(size: segment.step, device: 0, handleTypes: 0, allocFlags: 0)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try fixture.driver.cuMemExportToShareableHandle(handle: plain)
        }
        try fixture.driver.cuMemRelease(handle: plain)
        let memory = try fixture.driver.cuMemCreate(
            size: segment.step, device: 0, handleTypes: CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue,
            allocFlags: 0)
        let exported = try fixture.driver.cuMemExportToShareableHandle(handle: memory)
        let imported = try fixture.driver.cuMemImportFromShareableHandle(shareableHandle: exported)
        for (index, handle) in [memory, imported].enumerated() {
            try fixture.driver.cuMemMap(
                ptr: segment.place(index), size: segment.step, offset: 0, handle: handle, flags: 0)
        }
        try fixture.driver.cuMemSetAccess(
            ptr: segment.address, size: segment.byteCount, device: 0,
            flags: CU_MEM_ACCESS_FLAGS_PROT_READWRITE.rawValue)
        try fixture.write([9] as [UInt32], to: segment.place(0))
        #expect(try fixture.download(segment.place(1), count: 1, of: UInt32(0)) == [9])
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free == before - segment.step, "it counts once")
        var forged = exported.bytes
        forged[20] ^= 1
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
            let handle = try #require(ShareableHandle(forged))
            _ = try fixture.driver.cuMemImportFromShareableHandle(shareableHandle: handle)
        }
    }
}

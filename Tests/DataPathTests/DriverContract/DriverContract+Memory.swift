// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Devices, contexts, and device memory.
@Suite struct DriverContractMemory {
    @Test(arguments: DriverContract.subjects)
    func describesItsDevices(_ subject: DriverContract.Subject) throws {
        let description = try subject.makeDriver().describe()
        #expect(description.version >= 11_000)
        let device = try #require(description.devices.first)
        #expect(!device.name.isEmpty)
        #expect(device.uuid.count == 16)
        #expect(device.totalBytes > 1 << 20)
        #expect(device.attributes.count == DeviceDescription.attributeCount)
        #expect(device[CU_DEVICE_ATTRIBUTE_WARP_SIZE] == 32)
        #expect(device[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK] >= 512)
        #expect(device[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] >= 5)
        #expect(device[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] >= 1)
        #expect(device.greatestPriority <= device.leastPriority)
        #expect(Set(description.devices.map(\.uuid)).count == description.devices.count)
    }

    @Test(arguments: DriverContract.subjects)
    func hasOnePrimaryContextPerDevice(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let again = try fixture.driver.cuDevicePrimaryCtxRetain(dev: 0)
        #expect(again == fixture.context)
        try fixture.driver.cuDevicePrimaryCtxRelease_v2(dev: 0, context: again)
        try fixture.synchronize()
    }

    @Test(arguments: DriverContract.subjects)
    func refusesADeviceThatIsNotThere(_ subject: DriverContract.Subject) throws {
        let driver = try subject.makeDriver()
        #expect(throws: CUDAError(CUDA_ERROR_INVALID_DEVICE)) { try driver.cuDevicePrimaryCtxRetain(dev: 99) }
        #expect(throws: CUDAError(CUDA_ERROR_INVALID_DEVICE)) { try driver.cuCtxCreate_v2(flags: 0, dev: -1) }
    }

    @Test(arguments: DriverContract.subjects)
    func refusesAnEndedContext(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let other = try fixture.driver.cuCtxCreate_v2(flags: 0, dev: 0)
        try fixture.driver.cuCtxDestroy_v2(ctx: other)
        fixture.expectRefusal(CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_CONTEXT_IS_DESTROYED) {
            try fixture.driver.cuCtxSynchronize(other)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func keepsLimits(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        try driver.cuCtxSetLimit(context, limit: CU_LIMIT_MALLOC_HEAP_SIZE.rawValue, value: 16 << 20)
        #expect(try driver.cuCtxGetLimit(context, limit: CU_LIMIT_MALLOC_HEAP_SIZE.rawValue) == 16 << 20)
        #expect(try driver.cuCtxGetLimit(context, limit: CU_LIMIT_STACK_SIZE.rawValue) >= 1024)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_UNSUPPORTED_LIMIT) {
            _ = try driver.cuCtxGetLimit(context, limit: 77)
        }
    }

    @Test(arguments: DriverContract.subjects, [1, 3, 4096, 65_536, 65_537, 5_000_003])
    func copiesBytesThereAndBack(_ subject: DriverContract.Subject, byteCount: Int) throws {
        let fixture = try DriverFixture(subject)
        let bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let address = try fixture.upload(bytes)
        #expect(try fixture.download(address, count: byteCount, of: UInt8(0)) == bytes)
        try fixture.free(address)
    }

    @Test(arguments: DriverContract.subjects)
    func copiesPartsOfMemory(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let address = try fixture.upload([UInt8](repeating: 7, count: 100))
        try fixture.write([1, 2, 3] as [UInt8], to: address + 41)
        var expected = [UInt8](repeating: 7, count: 100)
        expected.replaceSubrange(41..<44, with: [1, 2, 3])
        #expect(try fixture.download(address, count: 100, of: UInt8(0)) == expected)
        #expect(try fixture.download(address + 42, count: 2, of: UInt8(0)) == [2, 3])
    }

    @Test(arguments: DriverContract.subjects, [5, 300_000])
    func copiesBetweenDeviceAddresses(_ subject: DriverContract.Subject, count: Int) throws {
        let fixture = try DriverFixture(subject)
        let values = (0..<count).map { UInt32($0) }
        let source = try fixture.upload(values)
        let target = try fixture.allocate(count * 4)
        try fixture.driver.cuMemcpyDtoDAsync_v2(
            fixture.context, dstDevice: target, srcDevice: source, byteCount: count * 4, hStream: .legacyDefault)
        #expect(try fixture.download(target, count: count, of: UInt32(0)) == values)
    }

    @Test(arguments: DriverContract.subjects)
    func copiesBetweenDevices(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let driver = fixture.driver
        try fixture.needSecondDevice()
        let second = try driver.cuDevicePrimaryCtxRetain(dev: 1)
        let source = try fixture.upload([1, 2, 3, 4] as [UInt32])
        let target = try driver.cuMemAlloc_v2(second, bytesize: 16)
        try driver.cuMemcpyDtoDAsync_v2(
            fixture.context, dstDevice: target, srcDevice: source, byteCount: 16, hStream: .legacyDefault)
        try fixture.synchronize()
        var values = [UInt32](repeating: 0, count: 4)
        try values.withUnsafeMutableBytes {
            try driver.cuMemcpyDtoH_v2(second, dstHost: $0, srcDevice: target, stream: .legacyDefault)
        }
        #expect(values == [1, 2, 3, 4])
        try driver.cuDevicePrimaryCtxRelease_v2(dev: 1, context: second)
    }

    @Test(arguments: DriverContract.subjects)
    func refusesCopiesBeyondAnAllocation(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let address = try fixture.allocate(4096)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try fixture.write([UInt8](repeating: 0, count: 8192), to: address)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { _ = try fixture.download(8, count: 4, of: UInt8(0)) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try fixture.driver.cuMemsetD8Async(
                fixture.context, dstDevice: address, uc: 0, n: Int.max, hStream: .legacyDefault)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func refusesFreedMemory(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let address = try fixture.allocate(1 << 21)
        try fixture.free(address)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.free(address) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.write([1] as [UInt32], to: address) }
        let other = try fixture.allocate(1 << 21)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.free(other + 8) }
        try fixture.free(other)
    }

    @Test(arguments: DriverContract.subjects)
    func refusesMoreMemoryThanThereIs(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (_, total) = try fixture.driver.cuMemGetInfo_v2(fixture.context)
        #expect(throws: CUDAError.outOfMemory) { try fixture.allocate(total + 1) }
        #expect(throws: CUDAError.invalidValue) { try fixture.allocate(0) }
        let half = try fixture.allocate(total / 4 * 3)
        #expect(throws: CUDAError.outOfMemory) { try fixture.allocate(total / 4 * 3) }
        try fixture.free(half)
        try fixture.free(try fixture.allocate(total / 4 * 3))
    }

    @Test(arguments: DriverContract.subjects)
    func countsFreeMemory(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let before = try fixture.driver.cuMemGetInfo_v2(fixture.context).free
        let addresses = try (0..<8).map { _ in try fixture.allocate(4 << 20) }
        #expect(Set(addresses).count == 8)
        #expect(addresses.allSatisfy { $0 % 256 == 0 })
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free <= before - 32 << 20)
        for address in addresses { try fixture.free(address) }
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free == before)
    }

    @Test(arguments: DriverContract.subjects)
    func freesMemoryWithItsContext(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let before = try fixture.driver.cuMemGetInfo_v2(fixture.context).free
        let other = try fixture.driver.cuCtxCreate_v2(flags: 0, dev: 0)
        for _ in 0..<4 { _ = try fixture.driver.cuMemAlloc_v2(other, bytesize: 8 << 20) }
        _ = try fixture.driver.cuMemAllocAsync(other, bytesize: 8 << 20, hStream: .legacyDefault)
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free <= before - 40 << 20)
        try fixture.driver.cuCtxDestroy_v2(ctx: other)
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free >= before - 1 << 20)
    }

    @Test(arguments: DriverContract.subjects)
    func allocatesRowsWithAPitch(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (address, pitch) = try fixture.driver.cuMemAllocPitch_v2(
            fixture.context, widthInBytes: 100, height: 10, elementSizeBytes: 4)
        #expect(pitch >= 100 && pitch % 32 == 0)
        try fixture.write([UInt8](repeating: 1, count: pitch * 10), to: address)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try fixture.driver.cuMemAllocPitch_v2(
                fixture.context, widthInBytes: 100, height: 10, elementSizeBytes: 5)
        }
    }

    // MARK: Sets

    @Test(arguments: DriverContract.subjects, [13, 100_000])
    func setsValues(_ subject: DriverContract.Subject, count: Int) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let address = try fixture.upload([UInt32](repeating: 0, count: count))
        try driver.cuMemsetD32Async(context, dstDevice: address, ui: 0xdead_beef, n: count, hStream: .legacyDefault)
        #expect(
            try fixture.download(address, count: count, of: UInt32(0)) == Array(repeating: 0xdead_beef, count: count))
        try driver.cuMemsetD16Async(context, dstDevice: address, us: 0x1234, n: count, hStream: .legacyDefault)
        #expect(try fixture.download(address, count: count, of: UInt16(0)) == Array(repeating: 0x1234, count: count))
        try driver.cuMemsetD8Async(context, dstDevice: address + 1, uc: 9, n: count - 1, hStream: .legacyDefault)
        let bytes = try fixture.download(address, count: count, of: UInt8(0))
        #expect(bytes == [0x34] + Array(repeating: 9, count: count - 1))
    }

    @Test(arguments: DriverContract.subjects)
    func setsRows(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let address = try fixture.upload([UInt8](repeating: 0, count: 96))
        try driver.cuMemsetD2D8Async(
            context, dstDevice: address, dstPitch: 32, uc: 1, width: 5, height: 3, hStream: .legacyDefault)
        try driver.cuMemsetD2D16Async(
            context, dstDevice: address + 8, dstPitch: 32, us: 0x0302, width: 2, height: 3, hStream: .legacyDefault)
        try driver.cuMemsetD2D32Async(
            context, dstDevice: address + 16, dstPitch: 32, ui: 0x0706_0504, width: 1, height: 2,
            hStream: .legacyDefault)
        let row: [UInt8] = [1, 1, 1, 1, 1, 0, 0, 0, 2, 3, 2, 3, 0, 0, 0, 0]
        let four: [UInt8] = [4, 5, 6, 7] + Array(repeating: 0, count: 12)
        #expect(
            try fixture.download(address, count: 96, of: UInt8(0))
                == row + four + row + four + row + [UInt8](repeating: 0, count: 16))
    }

    @Test(arguments: DriverContract.subjects)
    func refusesMisalignedSets(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let address = try fixture.allocate(64)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try fixture.driver.cuMemsetD32Async(
                fixture.context, dstDevice: address + 2, ui: 0, n: 1, hStream: .legacyDefault)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try fixture.driver.cuMemsetD2D8Async(
                fixture.context, dstDevice: address, dstPitch: 4, uc: 0, width: 8, height: 2, hStream: .legacyDefault)
        }
    }

    // MARK: Boxes

    @Test(arguments: DriverContract.subjects)
    func copiesBoxes(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let extent = Extent(widthBytes: 3, height: 2, depth: 2)
        let packed = (1...12).map { UInt8($0) }
        // Rows of 8 bytes, slices of 4 rows.
        let source = try fixture.upload([UInt8](repeating: 0, count: 64))
        try driver.cuMemcpy3DHtoDAsync(
            context, target: DeviceBox(address: source + 1, pitch: 8, rows: 4), packed: packed.span.bytes,
            extent: extent, stream: .legacyDefault)
        var expected = [UInt8](repeating: 0, count: 64)
        for (index, offset) in [1, 9, 33, 41].enumerated() {
            expected.replaceSubrange(offset..<offset + 3, with: packed[index * 3..<index * 3 + 3])
        }
        #expect(try fixture.download(source, count: 64, of: UInt8(0)) == expected)
        // Into rows of 5 bytes, slices of 2 rows.
        let target = try fixture.upload([UInt8](repeating: 0, count: 20))
        try driver.cuMemcpy3DAsync_v2(
            context, target: DeviceBox(address: target, pitch: 5, rows: 2),
            source: DeviceBox(address: source + 1, pitch: 8, rows: 4), extent: extent, stream: .legacyDefault)
        var back = [UInt8](repeating: 0, count: 12)
        try back.withUnsafeMutableBytes {
            try driver.cuMemcpy3DDtoH(
                context, packed: $0, source: DeviceBox(address: target, pitch: 5, rows: 2), extent: extent,
                stream: .legacyDefault)
        }
        #expect(back == packed)
    }

    @Test(arguments: DriverContract.subjects)
    func refusesBoxesThatDoNotFit(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let address = try fixture.allocate(64)
        for (pitch, height) in [(8, 9), (2, 2), (Int.max, 2)] {
            let extent = Extent(widthBytes: 4, height: height, depth: 1)
            fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
                try fixture.driver.cuMemcpy3DAsync_v2(
                    fixture.context, target: DeviceBox(address: address, pitch: pitch, rows: height),
                    source: DeviceBox(address: address, pitch: pitch, rows: height), extent: extent,
                    stream: .legacyDefault)
            }
        }
    }

    /// A client that enqueues copies to its memory does not read the answers until it waits for something; meanwhile
    /// it goes on writing.
    @Test(arguments: DriverContract.subjects)
    func answersThatNobodyReadsYetStopNobody(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let byteCount = 24 << 20
        let values = [UInt64](unsafeUninitializedCapacity: byteCount / 8) { buffer, count in
            for index in 0..<byteCount / 8 { buffer.initializeElement(at: index, to: UInt64(index) &* 0x9E37_79B9) }
            count = byteCount / 8
        }
        let (source, target) = (try fixture.upload(values), try fixture.allocate(byteCount))
        let landed = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 4096)
        defer { landed.deallocate() }
        for _ in 0..<2 {
            try fixture.driver.cuMemcpyDtoHAsync_v2(
                fixture.context, dstHost: landed, srcDevice: source, stream: .legacyDefault)
            try fixture.write(values, to: target)
        }
        try fixture.synchronize()
        #expect(landed.elementsEqual(values.withUnsafeBytes { Array($0) }))
        #expect(try fixture.download(target, count: values.count, of: UInt64(0)) == values)
        try fixture.free(source)
        try fixture.free(target)
    }
}

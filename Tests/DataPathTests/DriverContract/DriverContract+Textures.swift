// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Arrays, and the texture and surface objects by which kernels use them.
@Suite struct DriverContractTextures {
    private static let float = CU_AD_FORMAT_FLOAT.rawValue

    private func makeArray(
        _ fixture: DriverFixture, _ width: Int, _ height: Int, _ depth: Int = 0, format: UInt32 = float,
        channels: UInt32 = 1, flags: Int32 = 0
    ) throws -> ArrayHandle {
        try fixture.driver.cuArray3DCreate_v2(
            fixture.context, width: width, height: height, depth: depth, format: format, numChannels: channels,
            flags: UInt32(flags))
    }

    private func write<Element: BitwiseCopyable>(
        _ fixture: DriverFixture, _ values: [Element], to box: DeviceBox, _ extent: Extent
    ) throws {
        try fixture.driver.cuMemcpy3DHtoDAsync(
            fixture.context, target: box, packed: values.span.bytes, extent: extent, stream: .legacyDefault)
    }

    private func read<Element: BitwiseCopyable>(
        _ fixture: DriverFixture, _ zero: Element, _ box: DeviceBox, _ extent: Extent
    ) throws -> [Element] {
        let count = (extent.byteCount ?? 0) / MemoryLayout<Element>.stride
        var values = [Element](repeating: zero, count: count)
        try values.withUnsafeMutableBytes {
            try fixture.driver.cuMemcpy3DDtoH(
                fixture.context, packed: $0, source: box, extent: extent, stream: .legacyDefault)
        }
        return values
    }

    @Test(arguments: DriverContract.subjects)
    func copiesBoxesOfArrays(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let array = try makeArray(fixture, 8, 4, 3)
        let all = Extent(widthBytes: 32, height: 4, depth: 3)
        let values = (0..<96).map { Float($0) }
        try write(fixture, values, to: DeviceBox(array: array, x: 0, y: 0, z: 0), all)
        #expect(try read(fixture, Float(0), DeviceBox(array: array, x: 0, y: 0, z: 0), all) == values)
        // Two columns, three rows and two slices of it, to another array, and from there to memory.
        let other = try makeArray(fixture, 4, 8, 2)
        let part = Extent(widthBytes: 8, height: 3, depth: 2)
        try driver.cuMemcpy3DAsync_v2(
            context, target: DeviceBox(array: other, x: 4, y: 5, z: 0),
            source: DeviceBox(array: array, x: 12, y: 1, z: 1), extent: part, stream: .legacyDefault)
        let memory = try fixture.allocate(1024)
        try driver.cuMemcpy3DAsync_v2(
            context, target: DeviceBox(address: memory, pitch: 8, rows: 3),
            source: DeviceBox(array: other, x: 4, y: 5, z: 0), extent: part, stream: .legacyDefault)
        var expected: [Float] = []
        for z in 1...2 { for y in 1...3 { for x in 3...4 { expected.append(Float(z * 32 + y * 8 + x)) } } }
        #expect(try fixture.download(memory, count: 12, of: Float(0)) == expected)
        try driver.cuArrayDestroy(context, hArray: array)
        try driver.cuArrayDestroy(context, hArray: other)
    }

    /// More than travels in one frame, also when a single slice is.
    @Test(arguments: DriverContract.subjects)
    func copiesLargeBoxes(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        for (height, depth) in [(1500, 0), (100, 30)] {
            let array = try makeArray(fixture, 1000, height, depth, flags: depth > 0 ? CUDA_ARRAY3D_LAYERED : 0)
            let extent = Extent(widthBytes: 4000, height: height, depth: max(1, depth))
            let values = (0..<UInt32(1000 * height * max(1, depth))).map { $0 &* 2_654_435_761 }
            try write(fixture, values, to: DeviceBox(array: array, x: 0, y: 0, z: 0), extent)
            #expect(try read(fixture, UInt32(0), DeviceBox(array: array, x: 0, y: 0, z: 0), extent) == values)
            let memory = try fixture.upload(values)
            let linear = DeviceBox(address: memory, pitch: 4000, rows: height)
            #expect(try read(fixture, UInt32(0), linear, extent) == values)
            try fixture.driver.cuArrayDestroy(fixture.context, hArray: array)
        }
    }

    @Test(arguments: DriverContract.handleCheckingSubjects)
    func refusesBoxesOutsideOfArrays(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let array = try makeArray(fixture, 8, 4)
        let extent = Extent(widthBytes: 8, height: 1, depth: 1)
        for (x, y, z) in [(28, 0, 0), (0, 4, 0), (0, 0, 1), (-4, 0, 0), (Int.max - 3, 0, 0)] {
            fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
                _ = try write(fixture, [UInt64(1)], to: DeviceBox(array: array, x: x, y: y, z: z), extent)
            }
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE) {
            _ = try write(fixture, [UInt64(1)], to: DeviceBox(array: ArrayHandle(bits: 77), x: 0, y: 0, z: 0), extent)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func givesTheMemoryOfArraysBack(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let before = try driver.cuMemGetInfo_v2(context).free
        let array = try makeArray(fixture, 1024, 1024, channels: 4)
        #expect(try driver.cuMemGetInfo_v2(context).free == before - 16 << 20)
        let levels = try driver.cuMipmappedArrayCreate(
            context, width: 1024, height: 1024, depth: 0, format: Self.float, numChannels: 1, flags: 0,
            numMipmapLevels: 2)
        #expect(try driver.cuMemGetInfo_v2(context).free == before - 21 << 20)
        let level = try driver.cuMipmappedArrayGetLevel(context, hMipmappedArray: levels, level: 1)
        let extent = Extent(widthBytes: 2048, height: 512, depth: 1)
        let values = [UInt32](repeating: 5, count: 512 * 512)
        try write(fixture, values, to: DeviceBox(array: level, x: 0, y: 0, z: 0), extent)
        #expect(try read(fixture, UInt32(0), DeviceBox(array: level, x: 0, y: 0, z: 0), extent) == values)
        try driver.cuArrayDestroy(context, hArray: array)
        try driver.cuMipmappedArrayDestroy(context, hMipmappedArray: levels)
        try fixture.synchronize()
        #expect(try driver.cuMemGetInfo_v2(context).free == before)
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) { try driver.cuArrayDestroy(context, hArray: array) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE) {
            _ = try read(fixture, UInt32(0), DeviceBox(array: level, x: 0, y: 0, z: 0), extent)
        }
        fixture.expectRefusal(CUDA_ERROR_OUT_OF_MEMORY) {
            _ = try makeArray(fixture, 16_384, 16_384, channels: 4)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func kernelsReadTextures(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let array = try makeArray(fixture, 4, 0)
        try write(
            fixture, [Float](arrayLiteral: 1, 3, 7, 15), to: DeviceBox(array: array, x: 0, y: 0, z: 0),
            Extent(widthBytes: 16, height: 1, depth: 1))
        var sampler = TextureSampler()
        sampler.filterMode = CU_TR_FILTER_MODE_LINEAR.rawValue
        sampler.addressModes = (1, 1, 1)
        let texture = try driver.cuTexObjectCreate(context, resource: .array(array), sampler: sampler, view: nil)
        let function = try fixture.function("read", in: Self.readingPTX)
        let out = try fixture.allocate(64)
        try fixture.launch(function, block: 4, .legacyDefault, .u64(texture), .u64(out))
        // Between the elements at 1, 2, 3 and 4: the last is beyond the centre of the last element.
        #expect(try fixture.download(out, count: 4, of: Float(0)) == [2, 5, 11, 15])
        try driver.cuTexObjectDestroy(context, texObject: texture)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try driver.cuTexObjectDestroy(context, texObject: texture)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try driver.cuSurfObjectDestroy(context, surfObject: 42) }
    }

    @Test(arguments: DriverContract.subjects, [0, 1, 0x5347_0000_0000_0000, UInt64.max])
    func aTextureThatIsNoneEndsTheKernel(_ subject: DriverContract.Subject, _ made: UInt64) throws {
        let fixture = try DriverFixture(subject)
        let function = try fixture.function("read", in: Self.readingPTX)
        let out = try fixture.allocate(64)
        fixture.expectRefusal(CUDA_ERROR_ILLEGAL_ADDRESS) {
            try fixture.launch(function, .legacyDefault, .u64(made), .u64(out))
        }
    }

    private static let readingPTX = """
        .version 6.4
        .target sm_70
        .address_size 64
        .visible .entry read(.param .u64 texture, .param .u64 out)
        {
            .reg .b64 %d<4>;
            .reg .b32 %r<4>;
            .reg .f32 %f<8>;
            ld.param.u64 %d1, [texture];
            ld.param.u64 %d2, [out];
            mov.u32 %r1, %tid.x;
            add.u32 %r2, %r1, 1;
            cvt.rn.f32.u32 %f1, %r2;
            tex.1d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [%d1, {%f1}];
            mul.wide.u32 %d3, %r1, 4;
            add.u64 %d2, %d2, %d3;
            st.global.f32 [%d2], %f2;
            ret;
        }
        """
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Texture and surface references: names of a module by which its kernels read and write.
@Suite struct DriverContractReferences {
    private func array(_ fixture: DriverFixture, of values: [Float], flags: Int32 = 0) throws -> ArrayHandle {
        let array = try fixture.driver.cuArray3DCreate_v2(
            fixture.context, width: values.count, height: 0, depth: 0, format: CU_AD_FORMAT_FLOAT.rawValue,
            numChannels: 1, flags: UInt32(flags))
        try fixture.driver.cuMemcpy3DHtoDAsync(
            fixture.context, target: DeviceBox(array: array, x: 0, y: 0, z: 0), packed: values.span.bytes,
            extent: Extent(widthBytes: values.count * 4, height: 1, depth: 1), stream: .legacyDefault)
        return array
    }

    private func read(_ fixture: DriverFixture, _ function: FunctionDescription, scale: Float = 1) throws -> [Float] {
        let out = try fixture.allocate(64)
        try fixture.launch(function, block: 4, .legacyDefault, .f32(scale), .u64(out))
        return try fixture.download(out, count: 4, of: Float(0))
    }

    @Test(arguments: DriverContract.subjects)
    func kernelsReadWhatAReferenceStandsForAtTheirLaunch(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let module = try fixture.load(Self.readingPTX)
        try driver.cuModuleGetTexRef(context, hmod: module, name: "image")
        let function = try driver.cuModuleGetFunction(context, hmod: module, name: "read")
        let other = try driver.cuModuleGetFunction(context, hmod: module, name: "other")
        let (first, second) = (try array(fixture, of: [1, 3, 7, 15]), try array(fixture, of: [2, 4, 6, 8]))
        var sampler = TextureSampler()
        sampler.addressModes = (1, 1, 1)
        func bind(_ name: String, _ resource: TextureResource) throws {
            try driver.cuTexRefSetArray(context, hmod: module, name: name, resource: resource, sampler: sampler)
        }
        try bind("image", .array(first))
        // The stream stands still while the reference is given another array: the launch keeps the first.
        let stream = try fixture.makeStream(nonBlocking: true)
        let gate = try fixture.block(stream)
        let early = try fixture.allocate(64)
        try fixture.launch(function, block: 4, stream, .f32(1), .u64(early))
        try bind("image", .array(second))
        #expect(try read(fixture, function) == [2, 4, 6, 8])
        gate.open()
        try driver.cuStreamSynchronize(context, hStream: stream)
        #expect(try fixture.download(early, count: 4, of: Float(0)) == [1, 3, 7, 15])
        // Another way of reading, and another reference of the same module.
        sampler.filterMode = CU_TR_FILTER_MODE_LINEAR.rawValue
        try bind("image", .array(first))
        try bind("second", .array(second))
        #expect(try read(fixture, function, scale: 2) == [2, 11, 15, 15])
        #expect(try read(fixture, other) == [3, 5, 7, 8])
        // Memory, by the number of the element.
        let memory = try fixture.upload([10, 20, 30, 40] as [Float])
        sampler.filterMode = 0
        try bind("image", .linear(memory, format: CU_AD_FORMAT_FLOAT.rawValue, channels: 1, byteCount: 16))
        let linear = try driver.cuModuleGetFunction(context, hmod: module, name: "element")
        #expect(try read(fixture, linear) == [10, 20, 30, 40])
    }

    @Test(arguments: DriverContract.subjects)
    func kernelsWriteBySurfaceReferences(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let module = try fixture.load(Self.writingPTX)
        try driver.cuModuleGetSurfRef(context, hmod: module, name: "canvas")
        let array = try array(fixture, of: [0, 0, 0, 0], flags: CUDA_ARRAY3D_SURFACE_LDST)
        try driver.cuSurfRefSetArray(context, hmod: module, name: "canvas", hArray: array)
        try fixture.launch(try driver.cuModuleGetFunction(context, hmod: module, name: "paint"), block: 4)
        var values = [UInt32](repeating: 0, count: 4)
        try values.withUnsafeMutableBytes {
            try driver.cuMemcpy3DDtoH(
                context, packed: $0, source: DeviceBox(array: array, x: 0, y: 0, z: 0),
                extent: Extent(widthBytes: 16, height: 1, depth: 1), stream: .legacyDefault)
        }
        #expect(values == [0, 1, 2, 3])
        // Arrays that no kernel may write.
        let plain = try self.array(fixture, of: [0, 0, 0, 0])
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try driver.cuSurfRefSetArray(context, hmod: module, name: "canvas", hArray: plain)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func refusesNamesThatAreNone(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let module = try fixture.load(Self.readingPTX)
        let array = try array(fixture, of: [1, 2, 3, 4])
        for name in ["read", "canvas", "", "total"] {
            fixture.expectRefusal(CUDA_ERROR_NOT_FOUND) {
                try driver.cuModuleGetTexRef(context, hmod: module, name: name)
            }
            fixture.expectRefusal(CUDA_ERROR_NOT_FOUND) {
                try driver.cuTexRefSetArray(
                    context, hmod: module, name: name, resource: .array(array), sampler: TextureSampler())
            }
        }
        fixture.expectRefusal(CUDA_ERROR_NOT_FOUND) {
            try driver.cuModuleGetSurfRef(context, hmod: module, name: "image")
        }
        // A reference is no variable, and a variable no reference.
        fixture.expectRefusal(CUDA_ERROR_NOT_FOUND) {
            _ = try driver.cuModuleGetGlobal_v2(context, hmod: module, name: "image")
        }
        for bits: UInt64 in subject.checksHandles ? [1 << 40, module.bits &+ 100, .max] : [] {
            fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
                try driver.cuModuleGetTexRef(context, hmod: ModuleHandle(bits: bits), name: "image")
            }
            fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE) {
                try driver.cuTexRefSetArray(
                    context, hmod: module, name: "image", resource: .array(ArrayHandle(bits: bits)),
                    sampler: TextureSampler())
            }
            fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
                try driver.cuSurfRefSetArray(
                    context, hmod: ModuleHandle(bits: bits), name: "canvas", hArray: array)
            }
        }
    }

    @Test(arguments: DriverContract.subjects)
    func aReferenceThatStandsForNothingEndsTheKernel(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let function = try fixture.function("read", in: Self.readingPTX)
        let out = try fixture.allocate(64)
        fixture.expectRefusal(CUDA_ERROR_ILLEGAL_ADDRESS) {
            try fixture.launch(function, block: 4, .legacyDefault, .f32(1), .u64(out))
        }
    }

    @Test(arguments: DriverContract.subjects)
    func graphsDoNotReadByReferences(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let function = try fixture.function("read", in: Self.readingPTX)
        let kernel = DeviceWork.kernel(
            function.function, LaunchGeometry(grid: (1, 1, 1), block: (4, 1, 1)),
            parameters: KernelArgument.pack([.f32(1), .u64(0)]))
        fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) {
            _ = try fixture.driver.cuGraphInstantiate(
                fixture.context,
                plan: GraphPlan(nodes: [GraphPlan.Node(context: fixture.context, work: kernel, dependencies: [])]))
        }
    }

    /// out[i] = the texture at (i + 0.5 or 1) * scale, or its element i.
    private static let readingPTX =
        """
        .version 6.4
        .target sm_70
        .address_size 64
        .visible .global .align 4 .u32 total = 1;
        .global .texref image;
        .visible .global .texref second;
        """ + reading("read", "tex.1d.v4.f32.f32", "image", "{%f1}", "add.f32 %f1, %f1, 0f3F000000;")
        + reading("other", "tex.1d.v4.f32.f32", "second", "{%f1}", "add.f32 %f1, %f1, 0f3F800000;")
        + reading("element", "tex.1d.v4.f32.s32", "image", "{%r1}", "")

    private static func reading(
        _ name: String, _ instruction: String, _ reference: String, _ place: String, _ shift: String
    ) -> String {
        """

        .visible .entry \(name)(.param .f32 scale, .param .u64 out)
        {
            .reg .b64 %d<4>;
            .reg .b32 %r<4>;
            .reg .f32 %f<8>;
            ld.param.f32 %f6, [scale];
            ld.param.u64 %d2, [out];
            mov.u32 %r1, %tid.x;
            cvt.rn.f32.u32 %f1, %r1;
            \(shift)
            mul.f32 %f1, %f1, %f6;
            \(instruction) {%f2, %f3, %f4, %f5}, [\(reference), \(place)];
            mul.wide.u32 %d3, %r1, 4;
            add.u64 %d2, %d2, %d3;
            st.global.f32 [%d2], %f2;
            ret;
        }
        """
    }

    private static let writingPTX = """
        .version 6.4
        .target sm_70
        .address_size 64
        .global .surfref canvas;
        .visible .entry paint()
        {
            .reg .b32 %r<4>;
            mov.u32 %r1, %tid.x;
            shl.b32 %r2, %r1, 2;
            sust.b.1d.b32.trap [canvas, {%r2}], {%r1};
            ret;
        }
        """
}

// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Glibc
import KernelCompiler
import Testing

/// The texture and surface instructions, one at a time, on textures of a few elements.
///
/// Which element is where follows from the PTX ISA and the CUDA programming guide; the numbers are written out here.
@Suite struct TextureTests {
    /// Memory as a texture or surface, ended with the scope.
    final class Object {
        let handle: UInt64
        let isSurface: Bool
        let memory: UnsafeMutableRawPointer

        init<Element: BitwiseCopyable>(
            _ elements: [Element], _ width: Int, _ height: Int = 1, _ depth: Int = 1, channel: sg_channel,
            channels: Int = 1, layers: Int = 0, isSurface: Bool = false, _ change: (inout sg_image) -> Void = { _ in }
        ) {
            let byteCount = elements.count * MemoryLayout<Element>.stride
            let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
            elements.withUnsafeBytes { bytes in
                UnsafeMutableRawBufferPointer(start: memory, count: byteCount).copyMemory(from: bytes)
            }
            var image = sg_image()
            let rowBytes = MemoryLayout<Element>.stride * channels * width
            image.channel = channel.rawValue
            image.channels = UInt32(channels)
            image.element_bytes = UInt32(MemoryLayout<Element>.stride * channels)
            image.layers = UInt32(layers)
            image.level_count = 1
            image.is_surface = isSurface ? 1 : 0
            image.flags = 1
            image.address = (1, 1, 1)
            image.levels.0 = sg_level(
                data: memory.assumingMemoryBound(to: CChar.self), row_bytes: UInt64(rowBytes),
                slice_bytes: UInt64(rowBytes * height), width: UInt32(width), height: UInt32(height),
                depth: UInt32(depth), reserved: 0)
            change(&image)
            self.memory = memory
            self.isSurface = isSurface
            handle = sg_image_add(&image)
        }

        deinit {
            _ = sg_image_remove(handle, isSurface ? 1 : 0)
            memory.deallocate()
        }

        func elements<Element: BitwiseCopyable>(_ count: Int, of type: Element.Type) -> [Element] {
            Array(
                UnsafeRawBufferPointer(start: memory, count: count * MemoryLayout<Element>.stride).bindMemory(to: type))
        }
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let instruction: String
        let coordinates: [UInt32]
        let expected: [UInt32]

        /// Registers are `%r1` and so on for coordinates, which floats share, and `%r10` to `%r13` for results.
        init(_ instruction: String, _ coordinates: [Float], layer: UInt32? = nil, _ expected: [Float]) {
            self.instruction = instruction
            self.coordinates = (layer.map { [$0] } ?? []) + coordinates.map(\.bitPattern)
            self.expected = expected.map(\.bitPattern)
        }

        init(_ instruction: String, integers: [UInt32], _ expected: [UInt32]) {
            self.instruction = instruction
            coordinates = integers
            self.expected = expected
        }

        var testDescription: String { "\(instruction) \(coordinates)" }
    }

    /// Runs one instruction on an object; returns `%r10` to `%r13`.
    private func run(_ instruction: String, _ object: UInt64, _ coordinates: [UInt32]) throws -> [UInt32] {
        var memory: [UInt32] = [UInt32](repeating: 0, count: 16)
        memory[0] = UInt32(truncatingIfNeeded: object)
        memory[1] = UInt32(truncatingIfNeeded: object >> 32)
        for (index, value) in coordinates.enumerated() { memory[2 + index] = value }
        let loads = (1...6).map { "ld.global.b32 %r\($0), [%p+\(4 * $0 + 4)];" }.joined(separator: "\n")
        let stores = (0...3).map { "st.global.b32 [%p+\(4 * $0 + 40)], %r1\($0);" }.joined(separator: "\n")
        let harness = try KernelHarness(
            KernelHarness.kernel("ld.global.b64 %a, [%p];\n\(loads)\n\(instruction);\n\(stores)"))
        #expect(try harness.run(on: &memory) == .completed)
        return Array(memory[10...13])
    }

    /// As above, and the object lives until it is done.
    private func run(_ instruction: String, _ object: Object, _ coordinates: [UInt32]) throws -> [UInt32] {
        try withExtendedLifetime(object) { try run(instruction, object.handle, coordinates) }
    }

    private static let all = "{%r10, %r11, %r12, %r13}"

    static let plane: [Case] = [
        // Eight elements 0 to 7, two rows of four.
        Case("tex.2d.v4.f32.f32 \(all), [%a, {%r1, %r2}]", [1.5, 1.5], [5, 0, 0, 1]),
        Case("tex.2d.v4.f32.f32 \(all), [%a, {%r1, %r2}]", [-9, 0.5], [0, 0, 0, 1]),
        Case("tex.2d.v4.f32.f32 \(all), [%a, {%r1, %r2}]", [.nan, .infinity], [4, 0, 0, 1]),
        Case("tex.base.2d.v4.f32.f32 \(all), [%a, {%r1, %r2}]", [3.99, 0], [3, 0, 0, 1]),
        Case("tex.level.2d.v4.f32.f32 \(all), [%a, {%r1, %r2}], 0f40400000", [2, 1], [6, 0, 0, 1]),
        Case("tex.grad.2d.v4.f32.f32 \(all), [%a, {%r1, %r2}], {%r1, %r2}, {%r1, %r2}", [2, 1], [6, 0, 0, 1]),
        Case("tld4.r.2d.v4.f32.f32 \(all), [%a, {%r1, %r2}]", [2, 1], [5, 6, 2, 1]),
    ]

    @Test(arguments: plane) func readsAPlane(_ one: Case) throws {
        let object = Object((0..<8).map { Float($0) }, 4, 2, channel: SG_F32)
        #expect(try run(one.instruction, object, one.coordinates) == one.expected)
    }

    @Test func readsByNumber() throws {
        let object = Object((0..<8).map { Float($0) }, 4, 2, channel: SG_F32)
        let instruction = "tex.2d.v4.f32.s32 \(Self.all), [%a, {%r1, %r2}]"
        #expect(try run(instruction, object, [3, 1])[0] == Float(7).bitPattern)
        #expect(try run(instruction, object, [UInt32.max, 1])[0] == Float(4).bitPattern)
        // Memory that is read by number ends with zeros.
        let memory = Object((5..<9).map { UInt32($0) }, 4, channel: SG_U32) { $0.is_linear = 1 }
        let fetch = "tex.1d.v4.u32.s32 \(Self.all), [%a, {%r1}]"
        #expect(try run(fetch, memory, [3])[0] == 8)
        #expect(try run(fetch, memory, [4]) == [0, 0, 0, 0])
        #expect(try run(fetch, memory, [0x8000_0000]) == [0, 0, 0, 0])
    }

    @Test func readsEveryChannelFormat() throws {
        let read = "tex.1d.v4.u32.f32 \(Self.all), [%a, {%r1}]"
        let at = [Float(0.5).bitPattern]
        #expect(try run(read, Object([UInt8(200), 1], 1, channel: SG_U8, channels: 2), at) == [200, 1, 0, 1])
        #expect(try run(read, Object([Int8(-2)], 1, channel: SG_S8), at)[0] == UInt32(bitPattern: -2))
        #expect(try run(read, Object([UInt16(40_000)], 1, channel: SG_U16), at)[0] == 40_000)
        #expect(try run(read, Object([Int16(-3)], 1, channel: SG_S16), at)[0] == UInt32(bitPattern: -3))
        #expect(try run(read, Object([Int32(-4)], 1, channel: SG_S32), at)[0] == UInt32(bitPattern: -4))
        // 1.5 as a half.
        #expect(try run(read, Object([UInt16(0x3e00)], 1, channel: SG_F16), at)[0] == Float(1.5).bitPattern)
        let halves = "tex.1d.v2.f16x2.f32 {%r10, %r11}, [%a, {%r1}]"
        let four = Object([UInt16(0x3e00), 0x3c00, 0x4000, 0xc000], 1, channel: SG_F16, channels: 4)
        #expect(try run(halves, four, at)[0...1] == [0x3c00_3e00, 0xc000_4000])
        // Fractions: -128 is -1 as -127 is.
        func fraction(_ object: Object) throws -> Float { Float(bitPattern: try run(read, object, at)[0]) }
        #expect(try fraction(Object([Int8(-128)], 1, channel: SG_S8) { $0.flags = 0 }) == -1)
        #expect(try fraction(Object([UInt8(51)], 1, channel: SG_U8) { $0.flags = 0 }) == 0.2)
        #expect(try fraction(Object([UInt16(65_535)], 1, channel: SG_U16) { $0.is_normalized = 1 }) == 1)
    }

    @Test func weightsHaveEightBitsOfFraction() throws {
        let object = Object([Float(0), 256], 2, channel: SG_F32) { $0.filter = 1 }
        let read = "tex.1d.v4.f32.f32 \(Self.all), [%a, {%r1}]"
        for (x, expected) in [(Float(0.5), Float(0)), (1, 128), (0.5 + 0.7 / 256, 1), (0.5 + 0.3 / 256, 0), (9, 256)] {
            #expect(try run(read, object, [x.bitPattern])[0] == expected.bitPattern, "at \(x)")
        }
    }

    @Test func layersAndQueries() throws {
        let object = Object((0..<12).map { Float($0) }, 2, 2, channel: SG_F32, layers: 3)
        let read = "tex.a2d.v4.f32.f32 \(Self.all), [%a, {%r1, %r2, %r3, %r3}]"
        let inside = [Float(1.5).bitPattern, Float(1.5).bitPattern]
        #expect(try run(read, object, [1] + inside)[0] == Float(7).bitPattern)
        #expect(try run(read, object, [9] + inside)[0] == Float(11).bitPattern)
        #expect(try run(read, object, [UInt32.max] + inside)[0] == Float(3).bitPattern)
        for (query, expected) in [
            ("width", 2), ("height", 2), ("depth", 1), ("array_size", 3), ("num_mipmap_levels", 1),
            ("channel_data_type", 0x10de), ("channel_order", 0x10b0), ("normalized_coords", 0),
        ] { #expect(try run("txq.\(query).b32 %r10, [%a]", object, [])[0] == UInt32(expected), "\(query)") }
    }

    /// Filtering across the edge of a cube's face takes the neighbour's elements; without the flag the face's own.
    @Test func cubesWithoutSeams() throws {
        var elements: [Float] = []
        for face in 0..<6 { elements += [Float](repeating: Float(face), count: 4) }
        let read = "tex.cube.v4.f32.f32 \(Self.all), [%a, {%r1, %r2, %r3, %r3}]"
        // The edge between +x and +z.
        let edge = [Float(1), 0, 1].map(\.bitPattern)
        let seamless = Object(elements, 2, 2, channel: SG_F32, layers: 6) { image in
            image.flags |= 0x40
            image.filter = 1
        }
        #expect(try run(read, seamless, edge)[0] == Float(2).bitPattern)
        let plain = Object(elements, 2, 2, channel: SG_F32, layers: 6) { $0.filter = 1 }
        #expect(try run(read, plain, edge)[0] == Float(0).bitPattern)
    }

    @Test func readsAndWritesSurfaces() throws {
        let object = Object((0..<8).map { UInt16($0) }, 4, 2, channel: SG_U16, isSurface: true)
        let load = "suld.b.2d.v2.b16.BOUND {%h1, %h2}, [%a, {%r1, %r2}]; cvt.u32.u16 %r10, %h1; cvt.u32.u16 %r11, %h2"
        func read(_ bound: String, _ x: UInt32, _ y: UInt32) throws -> [UInt32] {
            Array(try run(load.replacing("BOUND", with: bound), object, [x, y])[0...1])
        }
        #expect(try read("trap", 4, 1) == [6, 7])
        #expect(try read("zero", 8, 1) == [0, 0])
        #expect(try read("clamp", 100, 9) == [6, 7])
        #expect(try read("clamp", UInt32.max, 0) == [0, 1])
        _ = try run("sust.b.2d.b32.trap [%a, {%r1, %r2}], %r3", object, [4, 0, 0x0009_0008])
        _ = try run("sust.b.2d.b32.zero [%a, {%r1, %r2}], %r3", object, [4, 7, 0xFFFF_FFFF])
        _ = try run("sust.p.2d.b32.trap [%a, {%r1, %r2}], %r3", object, [1, 1, 77])
        #expect(object.elements(8, of: UInt16.self) == [0, 1, 8, 9, 4, 77, 6, 7])
        #expect(try run("suq.width.b32 %r10, [%a]", object, [])[0] == 4)
    }

    @Test func reducesOnSurfaces() throws {
        let object = Object([Int32(5), -6, 7], 3, channel: SG_S32, isSurface: true)
        _ = try run("sured.b.add.1d.u32.trap [%a, {%r1}], %r2", object, [0, 10])
        _ = try run("sured.p.min.1d.s32.clamp [%a, {%r1}], %r2", object, [1, UInt32(bitPattern: -7)])
        _ = try run("sured.b.max.1d.u32.trap [%a, {%r1}], %r2", object, [8, 0xFFFF_FFFF])
        #expect(object.elements(3, of: Int32.self) == [15, -7, -1])
    }

    @Test func aSurfaceTrapEndsTheKernel() throws {
        let object = Object([UInt32(1)], 1, channel: SG_U32, isSurface: true)
        var memory = [object.handle]
        let harness = try KernelHarness(
            KernelHarness.kernel("ld.global.b64 %a, [%p]; mov.u32 %r1, 4; suld.b.1d.b32.trap %r2, [%a, {%r1}];"))
        #expect(try harness.run(on: &memory) == .trapped)
        // A surface is no texture.
        let reading = try KernelHarness(
            KernelHarness.kernel("ld.global.b64 %a, [%p]; tex.1d.v4.u32.s32 {%r1,%r2,%r3,%r4}, [%a, {%t}];"))
        #expect(try reading.run(on: &memory) == .illegalAddress(0))
    }

    @Test(arguments: [
        "tex.2dms.v4.f32.s32 {%f1,%f2,%f3,%f4}, [%a, {%r1,%r2,%r3,%r4}];",
        "tex.2d.v4.f32.f32 {%f1,%f2,%f3,%f4}, [%a, {%f1,%f2}], {%r1,%r2};",
        "tex.2d.v4.f32.f32 {%f1,%f2,%f3,%f4}, [%a, %d1, {%f1,%f2}];",
    ])
    func refusesFormsThatAreNotBuilt(_ instruction: String) throws {
        let harness = try KernelHarness(KernelHarness.kernel(instruction))
        #expect(throws: (any Error).self) { try harness.run(with: [0]) }
    }
}

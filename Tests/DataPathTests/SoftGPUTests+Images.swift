// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import SoftGPU

/// Fat binaries, linked images, and damaged ones.
@Suite struct SoftGPUImageTests {
    private static func text(_ target: Int) -> [UInt8] { Array(".version 6.4\n.target sm_\(target)\n".utf8) }

    @Test(arguments: FatBinaryWriter.Packing.allCases)
    func findsPTXHoweverItIsPacked(_ packing: FatBinaryWriter.Packing) throws {
        let image = FatBinaryWriter.container([.init(architecture: 75, packing: packing, text: Self.text(75))])
        var log = JITLog()
        #expect(try ModuleImage.sources(in: image, capability: 75, log: &log) == [Self.text(75)])
    }

    @Test func choosesTheHighestArchitectureThatTheDeviceHas() throws {
        let entries = [90, 70, 75, 50].map { architecture in
            FatBinaryWriter.Entry(architecture: architecture, packing: .plain, text: Self.text(architecture))
        }
        var log = JITLog()
        let sources = try ModuleImage.sources(in: FatBinaryWriter.container(entries), capability: 75, log: &log)
        #expect(sources == [Self.text(75)])
    }

    @Test func readsSeveralContainers() throws {
        let one = FatBinaryWriter.container([.init(architecture: 75, packing: .zstd, text: Self.text(75))])
        let other = FatBinaryWriter.container([.init(architecture: 70, packing: .lz4, text: Self.text(70))])
        var log = JITLog()
        let sources = try ModuleImage.sources(in: one + [0, 0, 0, 0] + other, capability: 75, log: &log)
        #expect(sources == [Self.text(75), Self.text(70)])
    }

    @Test func saysThatMachineCodeIsNotExecuted() {
        let machineCode = FatBinaryWriter.Entry(kind: 2, architecture: 75, packing: .plain, text: [1, 2, 3, 4])
        for image in [FatBinaryWriter.container([machineCode]), [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]] {
            var log = JITLog()
            #expect(throws: CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)) {
                try ModuleImage.sources(in: image, capability: 75, log: &log)
            }
            #expect(log.error.contains("the software GPU executes PTX only") || log.error.contains("PTX only"))
        }
    }

    @Test func refusesPTXForNewerDevices() {
        var log = JITLog()
        #expect(throws: CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)) {
            try ModuleImage.sources(in: Self.text(90), capability: 75, log: &log)
        }
        #expect(log.error.contains("sm_90"))
    }

    /// Neither a crash nor success that depends on bytes beyond the image.
    @Test(arguments: FatBinaryWriter.Packing.allCases)
    func refusesDamagedImages(_ packing: FatBinaryWriter.Packing) {
        let image = FatBinaryWriter.container([.init(architecture: 75, packing: packing, text: Self.text(75))])
        for length in 0..<image.count {
            var log = JITLog()
            let cut = Array(image[..<length])
            #expect(throws: CUDAError.self) { try ModuleImage.sources(in: cut, capability: 75, log: &log) }
        }
        for index in image.indices {
            for value: UInt8 in [0x00, 0x7f, 0xff] {
                var log = JITLog()
                var changed = image
                changed[index] = value
                _ = try? ModuleImage.sources(in: changed, capability: 75, log: &log)
            }
        }
    }

    @Test func linkedImagesHoldTheirTexts() throws {
        let texts = [Self.text(75), Self.text(50), []]
        let image = LinkedImage.make(of: texts, registersMax: 38)
        var log = JITLog()
        #expect(try ModuleImage.sources(in: image, capability: 75, log: &log) == texts)
        #expect(try LinkedImage.registersMax(in: image) == 38)
        for length in 8..<image.count {
            #expect(throws: CUDAError.invalidImage) { try LinkedImage.sources(in: Array(image[..<length])) }
        }
    }

    @Test func librariesWithoutPTXAreLeftOut() throws {
        let container = FatBinaryWriter.container([.init(architecture: 75, packing: .lz4, text: Self.text(75))])
        var log = JITLog()
        func sources(_ bytes: [UInt8]) throws -> [[UInt8]] {
            let input = LinkInput(type: CU_JIT_INPUT_LIBRARY.rawValue, name: "lib.a", bytes: bytes, options: [])
            return try LinkerInput.sources(of: input, capability: 75, log: &log)
        }
        #expect(try sources(Array("!<arch>\n".utf8) + container + [1, 2, 3]) == [Self.text(75)])
        #expect(try sources(Array("!<arch>\n nothing here".utf8)).isEmpty)
        #expect(log.info.contains("lib.a"))
    }
}

/// Writes fat binaries as nvcc does, with the simplest possible compression.
enum FatBinaryWriter {
    enum Packing: CaseIterable { case plain, zstd, lz4 }

    struct Entry {
        var kind: UInt16 = 1
        var architecture: Int
        var packing: Packing
        var text: [UInt8]
    }

    static func container(_ entries: [Entry]) -> [UInt8] {
        let body = entries.flatMap(entry)
        return bytes(0xba55_ed50, 4) + bytes(1, 2) + bytes(16, 2) + bytes(body.count, 8) + body
    }

    private static func entry(_ entry: Entry) -> [UInt8] {
        var payload: [UInt8]
        switch entry.packing {
        case .plain: payload = entry.text + [0]
        case .zstd: payload = zstd(entry.text)
        case .lz4: payload = lz4(entry.text)
        }
        let isCompressed = entry.packing != .plain
        let compressedCount = payload.count
        while payload.count % 8 != 0 { payload.append(0) }
        let flags = 0x11 | (entry.packing == .zstd ? 0x8000 : 0) | (entry.packing == .lz4 ? 0x2000 : 0)
        let head = bytes(Int(entry.kind), 2) + bytes(0x0101, 2) + bytes(64, 4) + bytes(payload.count, 8)
        let sizes = bytes(isCompressed ? compressedCount : 0, 4) + bytes(0, 4) + bytes(5, 2) + bytes(9, 2)
        let identity = bytes(entry.architecture, 4) + bytes(0, 8) + bytes(flags, 8) + bytes(0, 8)
        return head + sizes + identity + bytes(isCompressed ? entry.text.count : 0, 8) + payload
    }

    /// A frame with one raw block, RFC 8878 section 3.
    private static func zstd(_ text: [UInt8]) -> [UInt8] {
        bytes(0xfd2f_b528, 4) + [0xa0] + bytes(text.count, 4) + bytes(text.count << 3 | 1, 3) + text
    }

    /// A block of literals alone.
    private static func lz4(_ text: [UInt8]) -> [UInt8] {
        guard text.count >= 15 else { return [UInt8(text.count << 4)] + text }
        let more = text.count - 15
        return [0xf0] + [UInt8](repeating: 255, count: more / 255) + [UInt8(more % 255)] + text
    }

    private static func bytes(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    }
}

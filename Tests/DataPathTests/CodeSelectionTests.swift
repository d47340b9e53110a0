// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import ProgramImage
import Testing

/// Which entries of a fat binary travel.
@Suite struct CodeSelectionTests {
    /// A fat binary of entries such as `sm_90a`, `compute_75`, `group` and `lto`.
    private func binary(_ names: [String], payload: Int = 8) -> [UInt8] {
        let entries = names.enumerated().flatMap { number, name -> [UInt8] in
            let digits = name.filter(\.isNumber)
            var header = [UInt8](repeating: 0, count: 64)
            func set(_ offset: Int, _ value: some FixedWidthInteger) {
                withUnsafeBytes(of: value.littleEndian) { header.replaceSubrange(offset..<offset + $0.count, with: $0) }
            }
            set(0, UInt16(name.hasPrefix("sm") ? 2 : name.hasPrefix("compute") ? 1 : name == "group" ? 256 : 8))
            set(4, UInt32(64))
            set(8, UInt64(payload))
            set(28, UInt32(digits) ?? 0)
            set(40, UInt64(name.hasSuffix("a") ? 0x10_0000 : name.hasSuffix("f") ? 0x20_0000 : 0))
            return header + [UInt8](repeating: UInt8(number), count: payload)
        }
        return FatBinary.header(contentBytes: entries.count) + entries
    }

    private func chosen(
        _ names: [String], _ capability: Int, _ compilation: CodeSelection.Compilation = .asNeeded, code: Bool = true
    ) throws -> [String] {
        let targets = [CodeSelection.Target(capability: capability, takesMachineCode: code)]
        var log = JITLog()
        return try binary(names).withUnsafeBytes { bytes in
            let binary = try #require(FatBinary(bytes))
            let selection = CodeSelection(targets: targets, compilation: compilation)
            return try selection.entries(of: binary, log: &log).map { entry in
                names[try #require(binary.entries.firstIndex(of: entry))]
            }
        }
    }

    @Test func takesTheClosestMachineCodeOfTheMajorVersionAndTheClosestPTX() throws {
        let all = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "compute_75", "compute_90", "compute_120"]
        #expect(try chosen(all, 86) == ["sm_86", "compute_75"])
        #expect(try chosen(all, 89) == ["sm_86", "compute_75"])
        #expect(try chosen(all, 80) == ["sm_80", "compute_75"])
        #expect(try chosen(all, 90) == ["sm_90", "compute_90"])
        #expect(try chosen(all, 121) == ["compute_120"])
        #expect(try chosen(all, 103) == ["sm_100", "compute_90"])
    }

    @Test func keepsSpecificCodeToItsArchitectureAndFamily() throws {
        let all = ["sm_90", "sm_90a", "sm_100f", "compute_90a", "compute_100f", "compute_80"]
        #expect(try chosen(all, 90) == ["sm_90", "sm_90a", "compute_90a"])
        #expect(try chosen(all, 103) == ["sm_100f", "compute_100f"])
        #expect(try chosen(all, 120) == ["compute_80"])
    }

    @Test func aSoftwareGPUGetsPTXAndGroupsOnly() throws {
        #expect(try chosen(["sm_75", "lto", "group", "compute_75"], 75, code: false) == ["group", "compute_75"])
    }

    @Test func whatOnlyTheDriverUnderstandsGoesAlongWhereNothingElseFits() throws {
        #expect(try chosen(["sm_75", "lto", "group"], 75) == ["sm_75"])
        #expect(try chosen(["sm_75", "lto", "group"], 90) == ["lto", "group"])
    }

    @Test func severalDevicesGetWhatAnyOfThemUses() throws {
        let targets = [75, 90].map { CodeSelection.Target(capability: $0, takesMachineCode: true) }
        var log = JITLog()
        let names = try binary(["sm_75", "sm_80", "sm_90"]).withUnsafeBytes { bytes in
            try CodeSelection(targets: targets).entries(of: #require(FatBinary(bytes)), log: &log).map(\.name)
        }
        #expect(names == ["sm_75", "sm_90"])
    }

    /// CUDA_FORCE_PTX_JIT and CUDA_DISABLE_PTX_JIT.
    @Test func theEnvironmentForcesOrForbidsCompilation() throws {
        let all = ["sm_90", "compute_75", "compute_80"]
        #expect(try chosen(all, 90, .always) == ["compute_80"])
        #expect(try chosen(all, 90, .never) == ["sm_90"])
        #expect(throws: CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)) { try chosen(["sm_90"], 90, .always) }
        #expect(throws: CUDAError(CUDA_ERROR_JIT_COMPILATION_DISABLED)) { try chosen(all, 100, .never) }
        #expect(throws: CUDAError(CUDA_ERROR_JIT_COMPILATION_DISABLED)) { try chosen(all, 90, .never, code: false) }
        #expect(throws: CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)) { try chosen(["sm_80"], 90, .never) }
    }

    @Test func saysWhatThereIsInsteadOfWhatFits() throws {
        var log = JITLog()
        binary(["sm_80", "compute_90"]).withUnsafeBytes { bytes in
            let selection = CodeSelection(targets: [.init(capability: 75, takesMachineCode: true)])
            _ = FatBinary(bytes).flatMap { try? selection.entries(of: $0, log: &log) }
        }
        #expect(log.error.contains("sm_80, compute_90"))
        #expect(log.error.contains("7.5"))
    }

    @Test func writesASmallerFatBinary() throws {
        let whole = binary(["sm_75", "compute_75", "sm_80", "compute_80", "sm_90"])
        let selection = CodeSelection(targets: [.init(capability: 80, takesMachineCode: true)])
        var log = JITLog()
        let written = try whole.withUnsafeBytes { bytes in
            let image = try SelectedImage(bytes, selection, log: &log)
            #expect(!image.isWhole && image.pieces.count == 1)
            var copy = [UInt8](repeating: 0, count: image.byteCount)
            copy.withUnsafeMutableBytes { image.copy(to: $0) }
            return copy
        }
        #expect(Array(written[16...]) == Array(whole[(16 + 2 * 72)..<(16 + 4 * 72)]))
        #expect(
            try written.withUnsafeBytes { try #require(FatBinary($0)).entries.map(\.name) } == ["sm_80", "compute_80"])
        // What is taken completely, or is no fat binary, stays where it is.
        for image in [binary(["sm_80"]), Array(".version 7.0".utf8)] {
            let isWhole = try image.withUnsafeBytes { try SelectedImage($0, selection, log: &log).isWhole }
            #expect(isWhole)
        }
    }

    @Test(arguments: [4, 8, 20, 24, 92])
    func leavesADamagedListToTheDriver(offset: Int) {
        var damaged = binary(["sm_80", "compute_80"])
        for place in offset..<offset + 4 { damaged[place] = 0xff }
        damaged.withUnsafeBytes { #expect(FatBinary($0) == nil || offset == 4) }
        damaged[..<40].withUnsafeBytes { #expect(FatBinary($0) == nil) }
    }
}

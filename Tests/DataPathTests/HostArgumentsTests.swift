// SPDX-License-Identifier: Apache-2.0
import CNVML
import Glibc
import Management
import PoolSimulation
import Testing
import Wire

@testable import HostManagement

/// Questions that are not in the form of their call: an error each, and never a crash or more memory than is allowed.
@Suite struct HostArgumentsTests {
    /// Handles that no library ever sees here.
    private static var devices: [UnsafeMutableRawPointer] {
        (1...2).compactMap { UnsafeMutableRawPointer(bitPattern: 0x1000 * $0) }
    }

    /// A kind of argument: bytes that are one, and how it is read.
    private struct Kind: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let bytes: [UInt8]
        let read: @Sendable (inout HostArguments) throws(MalformedQuestion) -> Void

        init(
            _ name: String, _ write: (inout PayloadWriter) -> Void,
            _ read: @escaping @Sendable (inout HostArguments) throws(MalformedQuestion) -> Void
        ) {
            testDescription = name
            var writer = PayloadWriter()
            write(&writer)
            bytes = writer.bytes
            self.read = read
        }
    }

    private static let kinds = [
        Kind("a device", { $0.write(UInt32(1)) }, { (a) throws(MalformedQuestion) in _ = try a.device() }),
        Kind("a number", { $0.write(UInt32(7)) }, { (a) throws(MalformedQuestion) in _ = try a.value(UInt32.self) }),
        Kind("a long one", { $0.write(UInt64(7)) }, { (a) throws(MalformedQuestion) in _ = try a.value(UInt64.self) }),
        Kind("a text", { $0.write(text: "GPU-1") }, { (a) throws(MalformedQuestion) in _ = try a.text() }),
        Kind(
            "a structure", { $0.write(UInt64(9)) }, { (a) throws(MalformedQuestion) in _ = try a.exchanged(8) }),
        Kind(
            "a structure that says its size", { $0.write(block: [8, 0, 0, 2, 1, 2, 3, 4]) },
            { (a) throws(MalformedQuestion) in _ = try a.versioned() }),
        Kind("room for a text", { $0.write(UInt32(96)) }, { (a) throws(MalformedQuestion) in _ = try a.buffer() }),
        Kind("room for a block", { $0.write(UInt32(96)) }, { (a) throws(MalformedQuestion) in _ = try a.block() }),
        Kind("a list", { $0.write(UInt32(9)) }, { (a) throws(MalformedQuestion) in _ = try a.list([24, 4]) }),
        Kind("devices", { $0.write(UInt32(9)) }, { (a) throws(MalformedQuestion) in _ = try a.deviceList() }),
        Kind(
            "an array",
            {
                $0.write(UInt32(2))
                $0.write(UInt64(1))
                $0.write(UInt64(2))
            }, { (a) throws(MalformedQuestion) in _ = try a.exchangedArray(8) }),
    ]

    /// Reads one kind of argument from bytes, to the end of the question; false when it is refused.
    private static func accepts(_ kind: Kind, _ bytes: [UInt8]) -> Bool {
        var arguments = HostArguments(bytes, devices: devices)
        defer { arguments.free() }
        do throws(MalformedQuestion) {
            try kind.read(&arguments)
            try arguments.finish()
            return true
        } catch {
            return false
        }
    }

    @Test(arguments: kinds) private func takesWhatIsWhole(_ kind: Kind) { #expect(Self.accepts(kind, kind.bytes)) }

    @Test(arguments: kinds) private func refusesWhatIsCutShort(_ kind: Kind) {
        for count in 0..<kind.bytes.count { #expect(!Self.accepts(kind, Array(kind.bytes.prefix(count))), "\(count)") }
    }

    @Test(arguments: kinds) private func refusesWhatIsTooLong(_ kind: Kind) {
        #expect(!Self.accepts(kind, kind.bytes + [0]))
        #expect(!Self.accepts(kind, kind.bytes + [UInt8](repeating: 0xFF, count: 1000)))
    }

    /// The first number of what has a length or a number of elements; others have none.
    @Test(arguments: kinds.filter { !["a number", "a long one", "a structure"].contains($0.testDescription) })
    private func refusesWrongCounts(_ kind: Kind) {
        for count in [UInt32(ManagementLimits.answerBytesMax), 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF] {
            let start = withUnsafeBytes(of: count.littleEndian) { Array($0) }
            #expect(!Self.accepts(kind, start + kind.bytes.dropFirst(4)), "\(count)")
        }
    }

    @Test func roomIsLimited() {
        func accepts(_ count: Int, _ read: @escaping @Sendable (inout HostArguments) throws(MalformedQuestion) -> Void)
            -> Bool
        { Self.accepts(Kind("", { $0.write(UInt32(count)) }, read), withUnsafeBytes(of: UInt32(count)) { Array($0) }) }
        let structure = ManagementLimits.structureBytesMax
        for (count, isAllowed) in [(0, true), (structure, true), (structure + 1, false)] {
            #expect(accepts(count) { (a) throws(MalformedQuestion) in _ = try a.buffer() } == isAllowed)
            #expect(accepts(count) { (a) throws(MalformedQuestion) in _ = try a.block() } == isAllowed)
        }
        let elements = ManagementLimits.arrayBytesMax / 28
        for (count, isAllowed) in [(0, true), (elements, true), (elements + 1, false)] {
            #expect(accepts(count) { (a) throws(MalformedQuestion) in _ = try a.list([24, 4]) } == isAllowed)
        }
    }

    @Test func refusesDevicesThatAreNotShown() {
        let device = Self.kinds[0]
        #expect(Self.accepts(device, [0, 0, 0, 0]) && Self.accepts(device, [1, 0, 0, 0]))
        #expect(!Self.accepts(device, [2, 0, 0, 0]) && !Self.accepts(device, [0xFF, 0xFF, 0xFF, 0xFF]))
    }

    @Test func aStructureHasTheSizeThatItSays() {
        func accepts(_ structure: [UInt8]) -> Bool {
            var writer = PayloadWriter()
            writer.write(block: structure)
            return Self.accepts(Self.kinds[5], writer.bytes)
        }
        #expect(accepts([4, 0, 0, 1]))
        #expect(!accepts([]) && !accepts([4, 0, 0]) && !accepts([5, 0, 0, 1]) && !accepts([4, 0, 1, 1]))
        #expect(!accepts([4, 0, 0, 1, 0]))
    }

    @Test(arguments: 0..<8 as Range<UInt64>) func anyBytesAreReadOrRefused(seed: UInt64) {
        var random = SplitMix64(state: seed)
        for round in 0..<5_000 {
            let bytes = Self.randomBytes(&random)
            var arguments = HostArguments(bytes, devices: Self.devices)
            do throws(MalformedQuestion) {
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    try Self.kinds[Int.random(in: Self.kinds.indices, using: &random)].read(&arguments)
                }
                let status = [NVMLCode.success, NVMLCode.insufficientSize, NVMLCode.unknown].randomElement(
                    using: &random)
                let answer = arguments.answer(status ?? NVMLCode.unknown)
                #expect(answer.bytes.count <= 4 * ManagementLimits.answerBytesMax, "seed \(seed), round \(round)")
            } catch {}
            arguments.free()
        }
    }

    /// Random questions, of all calls, to a library that answers them: the software GPU's.
    @Test(.enabled(if: !DriverContract.isSanitized, "a sanitizer watches"), arguments: 0..<4 as Range<UInt64>)
    func aLibrarySurvivesAnyQuestion(seed: UInt64) throws {
        setenv("BITFUSION_SOFT_GPU", "2x256", 1)
        let management = try HostManagement(path: "\(DriverContract.buildFolder)/libnvml-soft.so")
        var random = SplitMix64(state: seed)
        var answered: Set<ManagementCall> = []
        for _ in 0..<200 {
            for call in ManagementCall.allCases {
                let answer = management.answer(ManagementQuestion(call, bytes: Self.randomBytes(&random)))
                #expect(answer.bytes.count <= ManagementLimits.answerBytesMax, "seed \(seed): \(call)")
                if answer.status == NVMLCode.success { answered.insert(call) }
            }
        }
        #expect(answered.count > 8, "hardly any of them was a question, so this has shown nothing")
    }

    /// A few words, most of them small numbers, as counts and devices are; then maybe some bytes more.
    private static func randomBytes(_ random: inout SplitMix64) -> [UInt8] {
        var writer = PayloadWriter()
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            switch Int.random(in: 0..<8, using: &random) {
            case 0: writer.write(UInt32.random(in: 0...UInt32.max, using: &random))
            case 1: writer.write(UInt32.random(in: 0...200_000, using: &random))
            case 2: writer.write(UInt64.random(in: 0...UInt64.max, using: &random))
            default: writer.write(UInt32.random(in: 0...3, using: &random))
            }
        }
        guard Int.random(in: 0..<4, using: &random) == 0 else { return writer.bytes }
        for _ in 0..<Int.random(in: 0...40, using: &random) {
            writer.write(UInt8.random(in: 0...255, using: &random))
        }
        return writer.bytes
    }
}

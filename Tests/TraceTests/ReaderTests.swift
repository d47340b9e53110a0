// SPDX-License-Identifier: Apache-2.0
import Testing
import TraceFormat

@testable import TraceAnalysis

/// Files that are whole, cut off, and no traces at all.
@Suite struct ReaderTests {
    private let header = TraceHeader(
        processID: 7, run: 0, realNanoseconds: 0, monotonicNanoseconds: 0, programName: "program")

    private func block(_ payload: [UInt8], announced: Int? = nil) -> [UInt8] {
        TraceBlockHeader(
            payloadByteCount: UInt32(announced ?? payload.count), baseNanoseconds: 100, processID: 7, library: .driver
        ).bytes + payload
    }

    /// The definition of call 0, and calls of it by thread 9.
    private func payload(calls: Int) -> [UInt8] {
        let line = Array("cuInit Flags".utf8)
        let call: [UInt8] = [2, 0, 4, 10, 0, 1, 2, 0]
        return [1, 0, UInt8(line.count)] + line + [0, 9] + (0..<calls).flatMap { _ in call }
    }

    @Test func aWholeFileIsRead() throws {
        let (calls, ending) = try read(header.bytes + block(payload(calls: 3)) + block([0, 8, 2, 0, 0, 1, 1, 5, 0]))
        #expect(ending == .whole)
        #expect(calls.count == 4)
        let expected = TracedCall(
            processID: 7, thread: 9, library: .driver, name: "cuInit", parameters: ["Flags"],
            arguments: [.unsigned(0)], result: 0, startNanoseconds: 102, durationNanoseconds: 10, waits: 0,
            waitedNanoseconds: 0)
        #expect(calls[0] == expected)
        #expect(calls[3].thread == 8 && calls[3].waitedNanoseconds == 5)
    }

    @Test func ofACutFileTheWholeRecordsAreUsed() throws {
        let whole = header.bytes + block(payload(calls: 5))
        for count in TraceFormat.headerByteCount + 1..<whole.count {
            let (calls, ending) = try read(Array(whole.prefix(count)))
            #expect(ending == .cutOff(atByte: TraceFormat.headerByteCount))
            #expect(calls.count == max(0, 5 - (whole.count - count + 7) / 8))
        }
    }

    @Test func behindADamagedBlockTheNextIsRead() throws {
        let damaged = block([2, 0, 0xFF, 0xFF])
        let (calls, ending) = try read(header.bytes + block(payload(calls: 1)) + damaged + block(payload(calls: 2)))
        #expect(ending == .damaged(atByte: TraceFormat.headerByteCount + block(payload(calls: 1)).count))
        #expect(calls.count == 3)
    }

    @Test func bytesThatAreNoBlockEndTheFile() throws {
        let (calls, ending) = try read(header.bytes + block(payload(calls: 1)) + [UInt8](repeating: 1, count: 100))
        #expect(calls.count == 1)
        #expect(ending == .damaged(atByte: TraceFormat.headerByteCount + block(payload(calls: 1)).count))
        #expect(throws: Never.self) { try read(header.bytes + block([], announced: 1 << 30)) }
    }

    @Test func otherFilesAreRefused() {
        #expect(throws: TraceError.notATrace) { try read([]) }
        #expect(throws: TraceError.notATrace) { try read([UInt8](repeating: 0x20, count: 200)) }
        var newer = header.bytes
        newer[8] = 9
        #expect(throws: TraceError.otherVersion(9)) { try read(newer) }
    }

    /// Whatever lies in a file, the reader ends.
    @Test func randomChangesNeverCrashTheReader() throws {
        let whole = header.bytes + block(payload(calls: 20)) + block([0, 8, 2, 0, 0, 1, 1, 5, 0])
        var seed: UInt64 = 0x9E37_79B9_7F4A_7C15
        for _ in 0..<3000 {
            var bytes = whole
            for _ in 0..<4 {
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes[TraceFormat.headerByteCount + Int(seed >> 33) % (bytes.count - TraceFormat.headerByteCount)] =
                    UInt8(truncatingIfNeeded: seed >> 20)
            }
            var statistics = TraceStatistics()
            for call in try read(bytes).calls { statistics.add(call) }
            #expect(statistics.summary().callCount >= 0)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCallTrace
import Glibc
import Testing
import TraceAnalysis
import TraceFormat

@testable import CallTrace

private let list = CallList(
    driver: """
        cuFirst
        cuMemcpyHtoD_v2 dstDevice srcHost ByteCount
        cuModuleGetFunction hfunc hmod name
        """)

/// What the recording libraries write, the reader reads.
@Suite(.serialized) struct RecordingTests {
    /// A block with a record of each call, as a buffer gives it to a file.
    private func recorded(_ calls: [(number: UInt16, write: (inout ArgumentWriter) -> Void)]) throws -> [TracedCall] {
        let path = "\(temporaryFolder())/trace"
        let buffer = RecordBuffer()
        for (index, call) in calls.enumerated() {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: TraceFormat.recordBytesMax) { bytes in
                guard let base = bytes.baseAddress else { return }
                var writer = ArgumentWriter(base, capacity: bytes.count - CallRecord.headBytesMax, succeeded: true)
                call.write(&writer)
                buffer.append(
                    CallRecord(
                        number: call.number, result: UInt32(index), time: 1000 - UInt64(index),
                        durationNanoseconds: 7, waits: UInt64(index), waitedNanoseconds: 5, thread: 40 + UInt32(index),
                        arguments: UnsafeBufferPointer(start: base, count: writer.used), argumentCount: writer.count),
                    of: list)
            }
        }
        setenv("BITFUSION_TRACE", path, 1)
        buffer.flush(to: TraceFile())
        return try read(path).calls
    }

    @Test func everyKindOfArgumentReadsBack() throws {
        let long = String(repeating: "x", count: 500)
        var size = 12
        var address: UInt64 = 0x7F00
        let calls = try recorded([
            (
                2,
                { writer in
                    writer.add(Int32(-5))
                    writer.add(UInt64.max)
                    writer.add(handle: 0xABC)
                    writer.add(Float(0.5))
                    "kernel".withCString { writer.add(Optional($0)) }
                    long.withCString { writer.add(Optional($0)) }
                    withUnsafeMutablePointer(to: &size) { writer.add(result: $0) }
                    withUnsafeMutablePointer(to: &address) { writer.add(made: $0) }
                    writer.add(OpaquePointer(bitPattern: 16))
                    writer.add((1, 2, 3))
                }
            )
        ])
        let call = try #require(calls.first)
        #expect(call.name == "cuModuleGetFunction")
        #expect(call.parameters == ["hfunc", "hmod", "name"])
        #expect(call.arguments.count == 10)
        #expect(call.arguments[0] == .signed(-5))
        #expect(call.arguments[1] == .unsigned(.max))
        #expect(call.arguments[2].text == "0xabc")
        #expect(call.arguments[3] == .float(0.5))
        #expect(call.arguments[4] == .text("kernel", isCut: false))
        #expect(call.arguments[5] == .text(String(long.prefix(TraceFormat.textBytesMax)), isCut: true))
        #expect(call.arguments[6].text == "-> 12")
        #expect(call.arguments[7].text == "-> 0x7f00")
        #expect(call.arguments[8] == .hexadecimal(16))
        #expect(call.arguments[9] == .opaque)
    }

    @Test func threadsTimesAndWaitsReadBack() throws {
        let calls = try recorded([(0, { _ in }), (1, { _ in }), (0, { _ in })])
        #expect(calls.map(\.name) == ["cuFirst", "cuMemcpyHtoD_v2", "cuFirst"])
        #expect(calls.map(\.thread) == [40, 41, 42])
        #expect(calls.map(\.startNanoseconds) == [1000, 999, 998])
        #expect(calls.map(\.waits) == [0, 1, 2])
        #expect(calls.map(\.waitedNanoseconds) == [0, 5, 5])
        #expect(calls.map(\.result) == [0, 1, 2])
    }

    @Test func moreArgumentsThanARecordHoldsAreCut() throws {
        let text = String(repeating: "y", count: 300)
        let calls = try recorded([(0, { writer in for _ in 0..<40 { text.withCString { writer.add(Optional($0)) } } })])
        let call = try #require(calls.first)
        #expect(call.arguments.last == .cut)
        #expect(call.arguments.count < 8)
    }

    @Test func anotherFileIsNotOverwritten() throws {
        let path = "\(temporaryFolder())/letter"
        let file = try #require(fopen(path, "w"))
        fputs("dear all", file)
        fclose(file)
        guard case .notATrace = FileClaim(path) else {
            Issue.record("a letter is taken for a trace")
            return
        }
        #expect(throws: TraceError.notATrace) { try read(path) }
    }

    @Test func aDirectoryAndAMissingFolderAreFailures() {
        guard case .failed(EISDIR) = FileClaim(temporaryFolder()), case .failed(ENOENT) = FileClaim("/nowhere/trace")
        else {
            Issue.record("a trace is claimed where none can be")
            return
        }
    }

    @Test func bothLibrariesOfAProcessShareAFile() throws {
        let path = "\(temporaryFolder())/trace"
        guard case .owned(let first) = FileClaim(path), case .owned(let second) = FileClaim(path) else {
            Issue.record("the second library gets no file")
            return
        }
        close(first)
        close(second)
    }
}

func temporaryFolder() -> String {
    var template = Array("/tmp/bitfusion-trace-XXXXXX".utf8CString)
    return mkdtemp(&template).map { String(cString: $0) } ?? "/nowhere"
}

func read(_ path: String) throws -> (calls: [TracedCall], ending: TraceReader.Ending) {
    let file = try #require(fopen(path, "r"))
    defer { fclose(file) }
    var bytes: [UInt8] = []
    while case let byte = fgetc(file), byte != EOF { bytes.append(UInt8(byte)) }
    return try read(bytes)
}

func read(_ bytes: [UInt8]) throws -> (calls: [TracedCall], ending: TraceReader.Ending) {
    var rest = bytes[...]
    var reader = try TraceReader { count in
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
    var calls: [TracedCall] = []
    let ending = reader.forEachCall { calls.append($0) }
    return (calls, ending)
}

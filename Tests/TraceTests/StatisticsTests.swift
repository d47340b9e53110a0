// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TraceFormat

@testable import TraceAnalysis

/// What is told of calls.
@Suite struct StatisticsTests {
    private func call(
        _ name: String, at start: UInt64, _ duration: UInt64, waited: UInt64 = 0, bytes: UInt64? = nil,
        result: UInt32 = 0, library: TraceFormat.Library = .driver
    ) -> TracedCall {
        TracedCall(
            processID: 1, thread: 2, library: library, name: name, parameters: bytes == nil ? [] : ["ByteCount"],
            arguments: bytes.map { [.unsigned($0)] } ?? [], result: result, startNanoseconds: start,
            durationNanoseconds: duration, waits: waited > 0 ? 1 : 0, waitedNanoseconds: waited)
    }

    private func summary(_ calls: [TracedCall]) -> TraceSummary {
        var statistics = TraceStatistics()
        for call in calls { statistics.add(call) }
        return statistics.summary()
    }

    @Test func percentilesAreOfTheCallsThemselves() {
        #expect(percentile(50, of: []) == 0)
        #expect(percentile(99, of: [5]) == 5)
        let hundred = (1...100).map { UInt64($0) }
        #expect(percentile(50, of: hundred) == 50)
        #expect(percentile(95, of: hundred) == 95)
        #expect(percentile(99, of: hundred) == 99)
        #expect(percentile(50, of: [1, 2, 3]) == 2)
    }

    @Test func callsAreSortedByTheirTime() {
        let found = summary([call("cuA", at: 0, 10), call("cuB", at: 10, 500), call("cuA", at: 600, 30, result: 1)])
        #expect(found.calls.map(\.name) == ["cuB", "cuA"])
        #expect(found.calls[1].count == 2 && found.calls[1].failed == 1 && found.calls[1].totalNanoseconds == 40)
        #expect(found.calls[1].p50Nanoseconds == 10 && found.calls[1].maxNanoseconds == 30)
        #expect(found.wallNanoseconds == 630 && found.callCount == 3 && found.failedCount == 1)
    }

    @Test func workThatIsNotDoneYetIsNoFailure() {
        #expect(summary([call("cuStreamQuery", at: 0, 1, result: 600)]).failedCount == 0)
        #expect(summary([call("nvmlInit", at: 0, 1, result: 600, library: .management)]).failedCount == 1)
    }

    @Test func waitsAreTheirShareOfTheTime() {
        let found = summary([
            call("cuCtxSynchronize", at: 1000, 400, waited: 300), call("cuLaunchKernel", at: 1400, 600),
            call("cuMemAlloc_v2", at: 1500, 200, waited: 100),
        ]).network
        #expect(found.callCount == 2 && found.waitedNanoseconds == 400)
        #expect(found.calls.map(\.name) == ["cuCtxSynchronize", "cuMemAlloc_v2"])
        #expect(abs(found.calls[0].shareOfWall - 0.3) < 1e-9)
        #expect(found.longest.map(\.atNanoseconds) == [0, 500])
        #expect(found.advice.isEmpty)
    }

    @Test func onlyTheLongestWaitsAreNamed() {
        let calls = (1...50).map { call("cuMemAlloc_v2", at: UInt64($0) * 100, 90, waited: UInt64($0)) }
        #expect(summary(calls).network.longest.map(\.waitedNanoseconds) == (41...50).reversed().map { UInt64($0) })
    }

    @Test(arguments: [
        ("cuMemcpyDtoH_v2", UInt64?(64), Advice.Habit.smallCopies), ("cuMemGetInfo_v2", nil, .memoryInfo),
        ("cuEventQuery", nil, .polling), ("cuMemFree_v2", nil, .allocating),
        ("cuStreamSynchronize_ptsz", nil, .synchronising), ("nvmlDeviceGetMemoryInfo", nil, .management),
    ])
    func aHabitIsNamed(name: String, bytes: UInt64?, habit: Advice.Habit) {
        let often = (0..<100).map { call(name, at: UInt64($0) * 10, 9, waited: 8, bytes: bytes) }
        #expect(summary(often).network.advice.map(\.habit) == [habit])
        #expect(summary(Array(often.dropLast())).network.advice.isEmpty)
        // Calls that wait for nobody cost nothing that could be advised on.
        #expect(summary(often.map { call(name, at: $0.startNanoseconds, 9, bytes: bytes) }).network.advice.isEmpty)
    }

    @Test func largeCopiesAndManyLaunchesAreAsTheyShouldBe() {
        let copies = (0..<200).map { call("cuMemcpyDtoH_v2", at: UInt64($0) * 10, 9, waited: 8, bytes: 1 << 20) }
        #expect(summary(copies).network.advice.isEmpty)
        let waits = (0..<200).map { call("cuCtxSynchronize", at: UInt64($0) * 10, 9, waited: 8) }
        let launches = (0..<1000).map { call("cuLaunchKernel", at: UInt64($0) * 2, 1) }
        #expect(summary(waits + launches).network.advice.isEmpty)
    }

    @Test func chromesEventsAreJSON() throws {
        var events = ChromeTrace(origin: 1000)
        var text = events.head + events.event(process: 1, program: "a \"program\"\n")
        var lookup = call("cuModuleGetFunction", at: 1500, 10)
        lookup.parameters = ["hfunc", "hmod", "name"]
        lookup.arguments = [.made(place: 1, 0xAB), .hexadecimal(2), .text("add", isCut: false)]
        var launch = call("cuLaunchKernel", at: 2000, 250, waited: 100)
        launch.parameters = ["f"]
        launch.arguments = [.hexadecimal(0xAB)]
        text += events.event(lookup) + events.event(launch) + events.tail
        let root = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let list = try #require(root["traceEvents"] as? [[String: Any]])
        #expect(list.map { $0["ph"] as? String } == ["M", "M", "X", "X"])
        let last = try #require(list.last)
        #expect(last["ts"] as? Double == 1 && last["dur"] as? Double == 0.25 && last["tid"] as? Int == 2)
        #expect((last["args"] as? [String: Any])?["kernel"] as? String == "add")
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import SoftGPU
import Testing

@testable import UsageBoard

/// What processes that drive software GPUs say of themselves.
@Suite struct UsageBoardTests {
    private func opened(_ board: UsageBoard) throws -> UsageBoard { try #require(UsageBoard(path: board.path)) }

    @Test func aProcessWithoutAContextIsNotShown() throws {
        let board = try #require(UsageBoard())
        let usage = try #require(ProcessUsage(opened(board)))
        #expect(board.processes(device: 0, past: 1_000_000_000).isEmpty)
        usage.devices[1].addContexts(1)
        usage.devices[1].setUsedBytes(4096)
        #expect(board.processes(device: 0, past: 1_000_000_000).isEmpty)
        let own = BoardProcess(processID: UInt32(getpid()), usedBytes: 4096, busyPercent: 0)
        #expect(board.processes(device: 1, past: 1_000_000_000) == [own])
        usage.devices[1].addContexts(-1)
        #expect(board.processes(device: 1, past: 1_000_000_000).isEmpty)
        #expect(board.processes(device: 64, past: 1).isEmpty && board.processes(device: -1, past: 1).isEmpty)
    }

    /// A kernel counts while it runs, and as long as its time is in question; others beside it do not count again.
    @Test func busyIsTheTimeInWhichAKernelRuns() throws {
        let board = try #require(UsageBoard())
        let usage = try #require(ProcessUsage(opened(board)))
        let device = usage.devices[0]
        device.addContexts(1)
        let percent = { (nanoseconds: UInt64) in board.processes(device: 0, past: nanoseconds)[0].busyPercent }
        device.begin()
        usleep(150_000)
        #expect(percent(100_000_000) == 100)
        device.begin()
        usleep(150_000)
        device.end()
        #expect(percent(200_000_000) == 100)
        device.end()
        let ended = boardNanoseconds()
        usleep(300_000)
        // Of twice the time since then, about half was busy; a piece of time is the error on both sides.
        let window = (boardNanoseconds() - ended) * 2
        #expect((3...75).contains(percent(window)))
        usleep(200_000)
        #expect(percent(300_000_000) == 0)
    }

    @Test func whatAnEndedProcessHasLeftIsGone() throws {
        let board = try #require(UsageBoard())
        var usage = ProcessUsage(try opened(board))
        usage?.devices[0].addContexts(1)
        usage?.devices[0].begin()
        #expect(board.processes(device: 0, past: 1).count == 1)
        usage = nil
        #expect(board.processes(device: 0, past: 1).isEmpty)
        // The next one has the same slot, and nothing of the first one's.
        let next = try #require(ProcessUsage(opened(board)))
        #expect(board.takenSlots == [0])
        next.devices[0].addContexts(1)
        #expect(board.processes(device: 0, past: 1_000_000_000).map(\.busyPercent) == [0])
    }

    @Test func processesHaveSlotsOfTheirOwn() throws {
        let board = try #require(UsageBoard())
        let usages = try (0..<3).map { _ in try #require(ProcessUsage(opened(board))) }
        for usage in usages { usage.devices[0].addContexts(1) }
        #expect(board.processes(device: 0, past: 1).count == 3)
        withExtendedLifetime(usages) {}
    }

    @Test func refusesWhatIsNoBoard() {
        #expect(UsageBoard(path: "/dev/null") == nil)
        #expect(UsageBoard(path: "/dev/zero") == nil)
        #expect(UsageBoard(path: "/nowhere/at/all") == nil)
    }

    /// The software GPU's own figures.
    @Test func aSoftwareGPUSaysWhatItDoes() throws {
        let board = try #require(UsageBoard())
        let gpu = try SoftGPU(SoftGPUConfiguration("2x64"), usage: ProcessUsage(opened(board)))
        let context = try gpu.cuCtxCreate_v2(flags: 0, dev: 1)
        #expect(board.processes(device: 0, past: 1).isEmpty)
        let memory = try gpu.cuMemAlloc_v2(context, bytesize: 1 << 20)
        #expect(board.processes(device: 1, past: 1).map(\.usedBytes) == [1 << 20])
        try gpu.cuMemFree_v2(context, dptr: memory)
        #expect(board.processes(device: 1, past: 1).map(\.usedBytes) == [0])
        try gpu.cuCtxDestroy_v2(ctx: context)
        #expect(board.processes(device: 1, past: 1).isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Pool
import PoolSimulation
import Scheduling
import Testing

/// Servers and requests for the tests of the scheduler.
func server(_ mebibytes: Int...) -> Scheduler { Scheduler(gpus: gpus(mebibytes)) }

func demand(_ count: Int, _ memory: Demand.Memory = .whole) throws -> Demand {
    try #require(Demand(gpuCount: count, memory: memory))
}

extension Scheduler {
    /// What is held, offered or granted.
    var grants: [Grant] { holdings.values.map(\.grant) }

    /// An event of a test in which no time passes.
    mutating func handle(_ event: Event) -> [Action] { handle(event, at: 0) }

    /// Asks for GPUs and waits for them.
    ///
    /// The ids are the order of the requests in a test.
    mutating func ask(
        _ id: Int, _ count: Int, _ memory: Demand.Memory = .whole, waits: Bool = true
    ) throws -> [Action] {
        handle(.requested(id, .init(try demand(count, memory), waits: waits)))
    }
}

@Suite struct SchedulerTests {
    @Test func grantsWholeGPUs() throws {
        var scheduler = server(4096, 4096)
        #expect(try scheduler.ask(1, 2) == [.offer(1, .init(gpus: [0, 1], mebibytes: nil))])
        #expect(scheduler.freeMiB(0) == 0 && scheduler.freeMiB(1) == 0)
    }

    @Test func givesBackEverythingAtTheEnd() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1, .mebibytes(1000))
        #expect(scheduler.handle(.ended(1)) == [])
        #expect(scheduler.freeMiB(0) == 4096 && scheduler.holdings.isEmpty)
    }

    @Test func endingTwiceIsHarmless() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1)
        _ = scheduler.handle(.ended(1))
        #expect(scheduler.handle(.ended(1)) == [])
        #expect(scheduler.handle(.ended(99)) == [])
        #expect(scheduler.freeMiB(0) == 4096)
    }

    @Test func partitionsShareAGPU() throws {
        var scheduler = server(16384)
        #expect(try scheduler.ask(1, 1, .share(0.66)) == [.offer(1, .init(gpus: [0], mebibytes: 10813))])
        #expect(try scheduler.ask(2, 1, .share(0.33)) == [.offer(2, .init(gpus: [0], mebibytes: 5406))])
        #expect(scheduler.freeMiB(0) == 16384 - 10813 - 5406)
    }

    @Test func allGPUsOfARequestAreDistinct() throws {
        var scheduler = server(4096, 4096, 4096)
        #expect(try scheduler.ask(1, 3, .mebibytes(10)) == [.offer(1, .init(gpus: [0, 1, 2], mebibytes: 10))])
    }

    @Test func aPartitionKeepsAWholeRequestOff() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1, .mebibytes(1))
        guard case .wait(2, position: 1, _)? = try scheduler.ask(2, 1).first else {
            Issue.record("not waiting"); return
        }
        #expect(scheduler.handle(.ended(1)) == [.offer(2, .init(gpus: [0], mebibytes: nil))])
    }

    // MARK: Best fit

    /// CLI-23.
    @Test func wholeGPUsStayWhole() throws {
        var scheduler = server(4096, 4096)
        _ = try scheduler.ask(1, 1, .mebibytes(1024))
        #expect(try scheduler.ask(2, 1, .mebibytes(1024)) == [.offer(2, .init(gpus: [0], mebibytes: 1024))])
        #expect(try scheduler.ask(3, 1) == [.offer(3, .init(gpus: [1], mebibytes: nil))])
    }

    @Test func aSharedGPUComesBeforeASmallIdleOne() throws {
        var scheduler = server(8192, 4096)
        _ = try scheduler.ask(1, 1, .mebibytes(4000))
        _ = try scheduler.ask(2, 1, .mebibytes(4100))
        // GPU 1 is shared by the first request, GPU 0 by the second; 90 MiB fit on both, least left over on GPU 1.
        #expect(try scheduler.ask(3, 1, .mebibytes(90)) == [.offer(3, .init(gpus: [1], mebibytes: 90))])
        _ = scheduler.handle(.ended(3))
        _ = scheduler.handle(.ended(1))
        #expect(try scheduler.ask(4, 1, .mebibytes(4000)) == [.offer(4, .init(gpus: [0], mebibytes: 4000))])
    }

    @Test func takesTheGPUWhereLeastIsLeftOver() throws {
        var scheduler = server(8192, 2048, 4096)
        #expect(try scheduler.ask(1, 1, .mebibytes(2000)) == [.offer(1, .init(gpus: [1], mebibytes: 2000))])
    }

    // MARK: Shares of unequal GPUs

    /// CLI-21.
    @Test func aShareIsOfTheSmallestGPUChosen() throws {
        var scheduler = server(8192, 4096)
        #expect(try scheduler.ask(1, 2, .share(0.5)) == [.offer(1, .init(gpus: [0, 1], mebibytes: 2048))])
    }

    @Test func aShareFindsTheOneGPUWhereItFits() throws {
        var scheduler = server(8192, 4096)
        _ = try scheduler.ask(1, 1, .mebibytes(4096))
        _ = try scheduler.ask(2, 1, .mebibytes(6192))
        #expect(scheduler.freeMiB(0) == 2000 && scheduler.freeMiB(1) == 0)
        _ = scheduler.handle(.ended(1))
        #expect(try scheduler.ask(3, 1, .share(0.25)) == [.offer(3, .init(gpus: [1], mebibytes: 1024))])
    }

    @Test func aTinyShareIsOneMebibyte() throws {
        var scheduler = server(64)
        #expect(try scheduler.ask(1, 1, .share(0.0001)) == [.offer(1, .init(gpus: [0], mebibytes: 1))])
    }

    // MARK: Refusals

    @Test func refusesMoreGPUsThanThereAre() throws {
        var scheduler = server(4096, 4096)
        guard case .refuse(1, .impossible, let reason)? = try scheduler.ask(1, 3).first else {
            Issue.record("not refused")
            return
        }
        #expect(reason.contains("3") && reason.contains("2"))
        #expect(scheduler.waiting.isEmpty && scheduler.holdings.isEmpty)
    }

    @Test func refusesMoreMemoryThanThereIs() throws {
        var scheduler = server(4096, 8192)
        guard case .refuse(1, .impossible, let reason)? = try scheduler.ask(1, 2, .mebibytes(5000)).first else {
            Issue.record("not refused")
            return
        }
        #expect(reason.contains("5000") && reason.contains("8192"))
    }

    @Test func aRequestThatDoesNotWaitIsRefusedAndLeavesNothing() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1)
        guard case .refuse(2, .timeout, _)? = try scheduler.ask(2, 1, waits: false).first else {
            Issue.record("not refused")
            return
        }
        #expect(scheduler.waiting.isEmpty)
    }

    @Test func aTimeoutLetsTheNextOneIn() throws {
        var scheduler = server(4096, 4096)
        _ = try scheduler.ask(1, 1)
        _ = try scheduler.ask(2, 2)
        _ = try scheduler.ask(3, 1)
        #expect(scheduler.holdings[3] == nil)
        let actions = scheduler.handle(.timedOut(2))
        #expect(actions.last == .offer(3, .init(gpus: [1], mebibytes: nil)))
        guard case .refuse(2, .timeout, _)? = actions.first else { Issue.record("not refused"); return }
    }

    @Test func aTimeoutAfterTheGrantIsIgnored() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1)
        #expect(scheduler.handle(.timedOut(1)) == [])
        #expect(scheduler.holdings[1] != nil)
    }

    @Test func demandsOutOfRangeAreNone() {
        #expect(Demand(gpuCount: 0, memory: .whole) == nil)
        #expect(Demand(gpuCount: -1, memory: .whole) == nil)
        #expect(Demand(gpuCount: Demand.gpuCountMax + 1, memory: .whole) == nil)
        #expect(Demand(gpuCount: 1, memory: .mebibytes(0)) == nil)
        for share in [0, -0.5, 1.01, .nan, .infinity] { #expect(Demand(gpuCount: 1, memory: .share(share)) == nil) }
    }

    // MARK: The queue

    /// CLI-09.
    @Test func firstComeFirstServed() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1)
        _ = try scheduler.ask(2, 1)
        guard case .wait(3, position: 2, _)? = try scheduler.ask(3, 1).first else {
            Issue.record("not waiting"); return
        }
        #expect(scheduler.handle(.ended(1)).filter(\.isOffer) == [.offer(2, .init(gpus: [0], mebibytes: nil))])
        #expect(scheduler.handle(.ended(2)) == [.offer(3, .init(gpus: [0], mebibytes: nil))])
    }

    /// Whichever of the two tasks ends first, the waiting request gets that GPU: a partition on either could delay it.
    @Test func nothingPassesARequestForAWholeGPU() throws {
        var scheduler = server(4096, 4096)
        _ = try scheduler.ask(1, 2, .mebibytes(1000))
        _ = try scheduler.ask(2, 1)
        guard case .wait(3, position: 2, _)? = try scheduler.ask(3, 1, .mebibytes(1000)).first else {
            Issue.record("a small request passed one that it could delay")
            return
        }
    }

    @Test func aSmallRequestPassesWhereThereIsRoomForBoth() throws {
        var scheduler = server(4096, 4096)
        _ = try scheduler.ask(1, 1, .mebibytes(4096))
        _ = try scheduler.ask(2, 2, .mebibytes(2000))
        #expect(scheduler.holdings[2] == nil)
        #expect(try scheduler.ask(3, 1, .mebibytes(1000)) == [.offer(3, .init(gpus: [1], mebibytes: 1000))])
        guard case .wait(4, _, _)? = try scheduler.ask(4, 1, .mebibytes(1097)).first else {
            Issue.record("the room of the waiting request was given away")
            return
        }
    }

    @Test func aSmallRequestPassesOnAGPUThatIsTooSmallForTheOther() throws {
        var scheduler = server(8192, 1024)
        _ = try scheduler.ask(1, 1, .mebibytes(8000))
        _ = try scheduler.ask(2, 1, .mebibytes(4000))
        #expect(try scheduler.ask(3, 1, .mebibytes(1024)) == [.offer(3, .init(gpus: [1], mebibytes: 1024))])
    }

    @Test func aLargeRequestIsNotStarvedBySmallOnes() throws {
        var scheduler = server(4096, 4096)
        _ = try scheduler.ask(1, 1)
        _ = try scheduler.ask(2, 2)
        for id in 3..<10 { _ = try scheduler.ask(id, 1) }
        #expect(scheduler.handle(.ended(1)).filter(\.isOffer) == [.offer(2, .init(gpus: [0, 1], mebibytes: nil))])
    }

    @Test func theSameRequestTwiceIsOne() throws {
        var scheduler = server(4096, 4096)
        _ = try scheduler.ask(1, 1)
        #expect(try scheduler.ask(1, 1) == [])
        #expect(scheduler.holdings.count == 1)
    }
}

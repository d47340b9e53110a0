// SPDX-License-Identifier: Apache-2.0
import ManagerClient
import Pool
import Testing

/// A request that waits at several servers (CLI-09, CLI-39).
@Suite struct ServerRaceTests {
    private func race(_ count: Int, waitSeconds: Int = 60) -> ServerRace {
        ServerRace(
            servers: (0..<count).map { "s\($0)" }, demand: "1 GPU", waitSeconds: waitSeconds, at: 0)
    }

    private func waiting(_ position: Int = 1) -> ServerRace.Event {
        var reply = SchedulerReply(.waiting)
        reply.position = position
        reply.message = "full"
        return .said(reply)
    }

    private let offer = ServerRace.Event.said(SchedulerReply(.offer))
    private let granted = ServerRace.Event.said(SchedulerReply(.granted))
    private func refused(_ code: SchedulerReply.Refusal) -> ServerRace.Event {
        .said(SchedulerReply(refused: code, "because"))
    }

    @Test func takesTheFirstOfferAndLeavesTheOthers() {
        var race = race(3)
        #expect(race.start() == [.ask(0), .ask(1), .ask(2)])
        #expect(
            race.handle(waiting(), from: 0, at: 10_000)
                == [.report("Waiting for 1 GPU at s0: position 1, full; 50s left")])
        #expect(race.handle(offer, from: 2, at: 0) == [.accept(2)])
        #expect(race.handle(offer, from: 1, at: 0) == [], "one at a time")
        #expect(race.handle(granted, from: 2, at: 0) == [.leave(0), .leave(1), .won(2)])
        #expect(race.handle(offer, from: 0, at: 0) == [], "it is over")
    }

    @Test func takesTheNextOfferWhenAServerDiesInBetween() {
        var race = race(2)
        _ = race.handle(offer, from: 0, at: 0)
        _ = race.handle(offer, from: 1, at: 0)
        let actions = race.handle(.lost("closed"), from: 0, at: 0)
        #expect(actions.contains(.accept(1)) && actions.contains(.leave(0)))
        #expect(race.handle(granted, from: 1, at: 0).last == .won(1))
    }

    @Test func anOfferThatCameTooLateIsNotTheEnd() {
        var race = race(2)
        _ = race.handle(waiting(), from: 1, at: 0)
        _ = race.handle(offer, from: 0, at: 0)
        #expect(race.handle(refused(.timeout), from: 0, at: 0) == [.leave(0)])
        #expect(race.handle(offer, from: 1, at: 0) == [.accept(1)])
    }

    /// CFG-01: what a server reports is asked too, also when that server itself refuses.
    @Test func reportedServersJoin() {
        var race = race(1)
        #expect(race.join(["t1", "t2"]) == [.ask(1), .ask(2)])
        #expect(race.handle(refused(.impossible), from: 0, at: 0) == [.leave(0)])
        #expect(race.handle(offer, from: 2, at: 0) == [.accept(2)])
        #expect(race.handle(granted, from: 2, at: 0) == [.leave(1), .won(2)])
        #expect(race.join(["t3"]) == [], "it is over")
    }

    @Test func failsWhenNoServerIsLeft() {
        var race = race(2)
        #expect(race.handle(.lost("s0 is down"), from: 0, at: 0) == [.leave(0)])
        #expect(
            race.handle(.lost("s1 is down"), from: 1, at: 0)
                == [.leave(1), .failed(.init(kind: .noServer, message: "s0 is down; s1 is down"))])
    }

    @Test func tellsWhyNobodyHasGPUs() {
        var race = race(2, waitSeconds: 0)
        _ = race.handle(refused(.timeout), from: 0, at: 0)
        guard case .failed(let failure)? = race.handle(refused(.impossible), from: 1, at: 0).last else {
            Issue.record("not over")
            return
        }
        #expect(failure.kind == .noGPUs)
        #expect(failure.message == "no server has 1 GPU: server s0: because; server s1: because; -t waits longer")
    }

    @Test func aQuotaIsNotAllowed() {
        var race = race(1)
        guard case .failed(let failure)? = race.handle(refused(.quota), from: 0, at: 0).last else {
            Issue.record("not over")
            return
        }
        #expect(failure.kind == .notAllowed)
    }

    @Test func aServerThatRestartsWhileOneWaitsIsAskedAgain() {
        var race = race(1)
        _ = race.handle(waiting(), from: 0, at: 0)
        let lost = race.handle(refused(.unavailable), from: 0, at: 1_000)
        #expect(lost == [.leave(0), .report("Lost s0: because")])
        #expect(race.nextInstant == 3_000)
        #expect(race.handle(.timePassed, from: 0, at: 2_999) == [])
        #expect(race.handle(.timePassed, from: 0, at: 3_000) == [.ask(0)])
        #expect(race.handle(.lost("not up"), from: 0, at: 3_001) == [.leave(0)], "reported once")
        #expect(race.handle(.timePassed, from: 0, at: 5_001) == [.ask(0)])
        #expect(race.handle(offer, from: 0, at: 5_002) == [.accept(0)])
    }

    @Test func nothingIsAskedAgainPastTheEnd() {
        var race = race(1, waitSeconds: 10)
        _ = race.handle(waiting(), from: 0, at: 0)
        guard case .failed(let failure)? = race.handle(.lost("gone"), from: 0, at: 9_000).last else {
            Issue.record("not over")
            return
        }
        #expect(failure.kind == .noServer)
    }
}

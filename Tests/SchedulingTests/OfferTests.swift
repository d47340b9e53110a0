// SPDX-License-Identifier: Apache-2.0
import Pool
import PoolSimulation
import Scheduling
import Testing

/// Offers, quotas (UI-51) and draining (UI-57, UI-58).
@Suite struct OfferTests {
    private let offer = Scheduler.offerMilliseconds

    @Test func anOfferHoldsTheGPUsAndIsGrantedWhenAccepted() throws {
        var scheduler = server(4096)
        #expect(try scheduler.ask(1, 1) == [.offer(1, .init(gpus: [0], mebibytes: nil))])
        #expect(scheduler.freeMiB(0) == 0 && scheduler.grantedCount == 0)
        #expect(scheduler.handle(.accepted(1)) == [.grant(1, .init(gpus: [0], mebibytes: nil))])
        #expect(scheduler.grantedCount == 1)
        #expect(scheduler.handle(.accepted(1)) == [], "once")
        #expect(scheduler.handle(.accepted(2)) == [], "only what was offered")
    }

    @Test func anOfferThatNobodyAcceptsGoesToTheNext() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1)
        _ = try scheduler.ask(2, 1)
        #expect(scheduler.handle(.timePassed, at: offer - 1) == [])
        let actions = scheduler.handle(.timePassed, at: offer)
        #expect(actions.first == .refuse(1, .timeout, "the offer was not accepted in time"))
        #expect(actions.last == .offer(2, .init(gpus: [0], mebibytes: nil)))
        #expect(scheduler.handle(.accepted(1), at: offer) == [], "too late")
        #expect(scheduler.handle(.accepted(2), at: offer).count == 1)
        #expect(scheduler.handle(.timePassed, at: offer * 9) == [], "what was accepted stays")
    }

    @Test func aWithdrawnOfferIsFree() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1)
        _ = try scheduler.ask(2, 1)
        #expect(scheduler.handle(.ended(1)) == [.offer(2, .init(gpus: [0], mebibytes: nil))])
    }

    @Test func whoWaitsIsToldWhenItMovesUp() throws {
        var scheduler = server(4096)
        for id in 1...3 { _ = try scheduler.ask(id, 1) }
        guard case .wait(3, position: 1, _)? = scheduler.handle(.ended(2)).first else {
            Issue.record("not told")
            return
        }
    }

    // MARK: Quotas

    private func limited(_ quota: Double, _ sizes: Int...) -> Scheduler {
        var scheduler = Scheduler(gpus: gpus(sizes))
        var settings = PoolSettings()
        settings.quotaGPUs = quota
        _ = scheduler.handle(.settings(settings))
        return scheduler
    }

    @Test func threeAndAHalfGPUsAreTwoAndThreeHalves() throws {
        var scheduler = limited(3.5, 4096, 4096, 4096, 4096, 4096)
        #expect(try scheduler.ask(1, 2).first?.isOffer == true)
        #expect(try scheduler.ask(2, 3, .share(0.5)).first?.isOffer == true)
        guard case .wait(3, _, let reason)? = try scheduler.ask(3, 1, .mebibytes(1)).first else {
            Issue.record("beyond the quota")
            return
        }
        #expect(reason == "the client's quota is 3.5 GPUs, and it has 3.5")
        #expect(scheduler.handle(.ended(2)).contains { $0.request == 3 && $0.isOffer })
    }

    @Test func whatAloneExceedsTheQuotaIsRefused() throws {
        var scheduler = limited(1.5, 4096, 4096)
        #expect(
            try scheduler.ask(1, 2) == [.refuse(1, .quota, "2 GPUs are asked for, and the client's quota is 1.5")])
        #expect(try scheduler.ask(2, 2, .share(0.75)).first?.isOffer == true)
    }

    @Test func aClientAtItsQuotaDelaysNobodyElse() throws {
        var scheduler = limited(1, 4096, 4096)
        _ = scheduler.handle(.requested(1, .init(try demand(1), client: "a")))
        _ = scheduler.handle(.requested(2, .init(try demand(1), client: "a")))
        #expect(
            scheduler.handle(.requested(3, .init(try demand(1), client: "b"))).first?.isOffer == true,
            "the second GPU is free for others")
    }

    @Test func aClientMayHaveAQuotaOfItsOwn() throws {
        var scheduler = server(4096, 4096)
        _ = scheduler.handle(
            .settings(try PoolSettings(json: Array(#"{"clients":{"10.0.0.9":{"quota_gpus":0.5}}}"#.utf8))))
        let request = Scheduler.Request(try demand(1), client: "10.0.0.9")
        #expect(scheduler.handle(.requested(1, request)).first?.isOffer == false)
        #expect(scheduler.handle(.requested(2, .init(try demand(1), client: "10.0.0.8"))).first?.isOffer == true)
    }

    @Test func aHigherQuotaServesThoseWhoWait() throws {
        var scheduler = limited(1, 4096, 4096)
        _ = try scheduler.ask(1, 1)
        _ = try scheduler.ask(2, 1)
        #expect(scheduler.handle(.settings(PoolSettings())).contains { $0.request == 2 && $0.isOffer })
    }

    // MARK: Draining

    @Test func aServerThatIsDrainedGrantsNothingMore() throws {
        var scheduler = server(4096)
        _ = try scheduler.ask(1, 1)
        _ = scheduler.handle(.accepted(1))
        _ = try scheduler.ask(2, 1)
        var settings = PoolSettings()
        settings.acceptsRequests = false
        guard case .refuse(2, .draining, _)? = scheduler.handle(.settings(settings)).first else {
            Issue.record("who waits goes elsewhere")
            return
        }
        guard case .refuse(3, .draining, _)? = try scheduler.ask(3, 1).first else {
            Issue.record("no new ones")
            return
        }
        #expect(scheduler.grantedCount == 1, "what runs goes on")
        _ = scheduler.handle(.settings(PoolSettings()))
        _ = scheduler.handle(.ended(1))
        #expect(try scheduler.ask(4, 1).first?.isOffer == true)
    }

    @Test(
        arguments: [
            "", "[]", "{", #"{"module_cache_mib":-1}"#, #"{"module_cache_mib":1048577}"#,
            #"{"module_cache_mib":"1"}"#, #"{"quota_gpus":-1}"#, #"{"quota_gpus":"many"}"#, #"{"idle_minutes":-1}"#,
            #"{"idle_minutes":"1"}"#, #"{"clients":{"a":{"idle_minutes":99999999}}}"#, #"{"accept_requests":1}"#,
            #"{"servers":"a"}"#, #"{"servers":["a b c"]}"#, #"{"servers":["a:0"]}"#, #"{"servers":[""]}"#,
        ])
    func refusesWrongSettings(text: String) {
        #expect(throws: PoolSettings.Malformed.self) { try PoolSettings(json: Array(text.utf8)) }
    }
}

extension Scheduler.Action {
    var isOffer: Bool { if case .offer = self { true } else { false } }
}

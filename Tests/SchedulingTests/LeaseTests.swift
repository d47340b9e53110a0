// SPDX-License-Identifier: Apache-2.0
import Scheduling
import Testing

/// How long an allocation lasts (ARC-13, CLI-26, UI-52).
@Suite struct LeaseTests {
    private let minute: Leases.Instant = 60_000

    /// Time passes second by second; the owner is heard of in each.
    private func pass(
        _ leases: inout Leases, from start: Leases.Instant, to end: Leases.Instant
    ) -> [(Leases.Instant, Leases.Action)] {
        var actions: [(Leases.Instant, Leases.Action)] = []
        for now in stride(from: start, through: end, by: 1000) {
            leases.heard(1, at: now)
            actions += leases.timePassed(at: now).map { (now, $0) }
        }
        return actions
    }

    @Test func aSilentOwnerLosesItsGPUsAfterThirtySeconds() {
        var leases = Leases()
        leases.begin(1, idleMinutes: 0, at: 0)
        leases.heard(1, at: 5_000)
        #expect(leases.timePassed(at: 34_999) == [])
        #expect(leases.timePassed(at: 35_000) == [.end(1, "its owner was not heard of for 30 s")])
        #expect(leases.timePassed(at: 99_000) == [])
    }

    @Test func withoutAnIntervalIdleGPUsStay() {
        var leases = Leases()
        leases.begin(1, idleMinutes: 0, at: 0)
        #expect(pass(&leases, from: 0, to: 600 * minute).isEmpty)
    }

    @Test func idleGPUsAreWarnedOfAndReleased() {
        var leases = Leases()
        leases.begin(1, idleMinutes: 10, at: 0)
        let actions = pass(&leases, from: 0, to: 11 * minute)
        #expect(actions.map(\.0) == [9 * minute, 10 * minute])
        #expect(
            actions.map(\.1) == [
                .warn(1, "the GPUs are not used; they are released in 1m unless that changes"),
                .end(1, "its GPUs were not used for 10m"),
            ])
    }

    @Test func aShortIntervalWarnsAtItsHalf() {
        var leases = Leases()
        leases.begin(1, idleMinutes: 1, at: 0)
        #expect(pass(&leases, from: 0, to: minute).map(\.0) == [30_000, minute])
    }

    @Test func aCallBeginsTheIntervalAnew() {
        var leases = Leases()
        leases.begin(1, idleMinutes: 2, at: 0)
        #expect(pass(&leases, from: 0, to: minute).count == 1)
        leases.saw(.init(counter: 7, isRunning: false), of: 1, at: minute)
        leases.saw(.init(counter: 7, isRunning: false), of: 1, at: minute + 30_000)
        let actions = pass(&leases, from: minute, to: 4 * minute)
        #expect(actions.map(\.0) == [2 * minute, 3 * minute], "warned again, and counted from the one call")
    }

    @Test func workThatRunsIsUse() {
        var leases = Leases()
        leases.begin(1, idleMinutes: 1, at: 0)
        for now in stride(from: Leases.Instant(0), through: 10 * minute, by: 5_000) {
            leases.heard(1, at: now)
            leases.saw(.init(counter: 0, isRunning: true), of: 1, at: now)
            #expect(leases.timePassed(at: now) == [])
        }
    }

    @Test func aNewIntervalHoldsForRunningAllocations() {
        var leases = Leases()
        leases.begin(1, idleMinutes: 0, at: 0)
        #expect(leases.watched == [])
        leases.setIdleMinutes(1, of: 1, at: 10_000)
        #expect(leases.watched == [1])
        let actions = pass(&leases, from: 10_000, to: 10_000 + minute)
        #expect(actions.map(\.0) == [40_000, 10_000 + minute], "counted from when somebody looks")
    }
}

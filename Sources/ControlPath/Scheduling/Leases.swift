// SPDX-License-Identifier: Apache-2.0
import Pool

/// Decides how long allocations last: as long as their owner is heard of, and as long as they are used.
///
/// A value with no clock: what was heard and seen comes in with its time, warnings and ends come out. An allocation is
/// idle when no application of it has made a call and no work has run on its GPUs.
package struct Leases: Sendable {
    package typealias ID = Scheduler.RequestID
    package typealias Instant = Scheduler.Instant

    package enum Action: Sendable, Equatable {
        /// The owner should tell its user.
        case warn(ID, String)
        case end(ID, String)
    }

    /// What the applications of an allocation have done so far.
    package struct Activity: Sendable, Equatable {
        /// Rises with every call.
        package var counter: UInt64
        package var isRunning: Bool

        package init(counter: UInt64, isRunning: Bool) {
            self.counter = counter
            self.isRunning = isRunning
        }
    }

    private struct Lease {
        var heard: Instant
        var used: Instant
        var counter: UInt64 = 0
        /// 0: never.
        var idleMilliseconds: Instant
        var isWarned = false
    }

    private static let silenceMilliseconds = Instant(SchedulerRequest.leaseSeconds) * 1000
    /// The warning comes so long before the end, or at half of a short interval.
    private static let warningMilliseconds: Instant = 60_000

    private var leases: [ID: Lease] = [:]

    package init() {}

    package var ids: [ID] { Array(leases.keys) }

    /// Those that end when they are not used, so that somebody has to look whether they are.
    package var watched: [ID] { leases.filter { $0.value.idleMilliseconds > 0 }.map(\.key) }

    /// An allocation begins.
    package mutating func begin(_ id: ID, idleMinutes: Double, at now: Instant) {
        leases[id] = Lease(heard: now, used: now, idleMilliseconds: Instant(idleMinutes * 60_000))
    }

    /// The owner has said something.
    package mutating func heard(_ id: ID, at now: Instant) { leases[id]?.heard = now }

    package mutating func end(_ id: ID) { leases[id] = nil }

    /// The administrator has changed the interval.
    package mutating func setIdleMinutes(_ minutes: Double, of id: ID, at now: Instant) {
        // What it did before, nobody has looked at.
        if leases[id]?.idleMilliseconds == 0 { leases[id]?.used = now }
        leases[id]?.idleMilliseconds = Instant(minutes * 60_000)
    }

    package mutating func saw(_ activity: Activity, of id: ID, at now: Instant) {
        guard let lease = leases[id], activity.isRunning || activity.counter != lease.counter else { return }
        leases[id]?.counter = activity.counter
        leases[id]?.used = now
        leases[id]?.isWarned = false
    }

    /// What the time has brought.
    package mutating func timePassed(at now: Instant) -> [Action] {
        var actions: [Action] = []
        for (id, lease) in leases.sorted(by: { $0.key < $1.key }) {
            if now - lease.heard >= Leases.silenceMilliseconds {
                leases[id] = nil
                actions.append(.end(id, "its owner was not heard of for \(SchedulerRequest.leaseSeconds) s"))
                continue
            }
            guard lease.idleMilliseconds > 0 else { continue }
            let left = lease.used + lease.idleMilliseconds - now
            let interval = WaitTime(seconds: Int(lease.idleMilliseconds / 1000))
            if left <= 0 {
                leases[id] = nil
                actions.append(.end(id, "its GPUs were not used for \(interval)"))
            } else if !lease.isWarned, left <= min(Leases.warningMilliseconds, lease.idleMilliseconds / 2) {
                leases[id]?.isWarned = true
                let rest = WaitTime(seconds: Int((left + 999) / 1000))
                actions.append(.warn(id, "the GPUs are not used; they are released in \(rest) unless that changes"))
            }
        }
        return actions
    }
}

// SPDX-License-Identifier: Apache-2.0
package import Pool

/// Decides who holds which GPU of one server.
///
/// A value with no clock, no socket and no store: events and the time come in, actions come out. The service performs
/// the actions; the simulation checks them. The sum of the partitions of a GPU never exceeds its memory, and a whole
/// GPU is nobody else's.
///
/// GPUs are offered first, and granted when the offer is accepted. From the offer on they are held: a client that waits
/// at several servers takes one offer and withdraws from the others, and one that dies before it accepts loses nothing
/// for longer than ``offerMilliseconds``.
package struct Scheduler: Sendable {
    package typealias RequestID = Int
    /// Milliseconds of a clock that never goes back.
    package typealias Instant = Int64

    package struct Request: Sendable, Equatable {
        package var demand: Demand
        /// Whose quota it counts against.
        package var client: String
        package var filter: Filter
        /// Whether it waits when it cannot be met at once.
        package var waits: Bool

        package init(_ demand: Demand, client: String = "", filter: Filter = Filter(), waits: Bool = true) {
            self.demand = demand
            self.client = client
            self.filter = filter
            self.waits = waits
        }
    }

    package enum Event: Sendable {
        case requested(RequestID, Request)
        /// The client takes what was offered.
        case accepted(RequestID)
        /// The owner has released it, has gone, or does not wait any longer.
        case ended(RequestID)
        case timedOut(RequestID)
        /// Nothing but time has passed.
        case timePassed
        case settings(PoolSettings)
    }

    package enum Action: Sendable, Equatable {
        /// The GPUs are held for the request until it is accepted or ended.
        case offer(RequestID, Grant)
        case grant(RequestID, Grant)
        /// The request waits; `position` is 1 for the next one.
        case wait(RequestID, position: Int, reason: String)
        case refuse(RequestID, Refusal, String)

        /// Whom it concerns.
        package var request: RequestID {
            switch self {
            case .offer(let id, _), .grant(let id, _), .wait(let id, _, _), .refuse(let id, _, _): id
            }
        }
    }

    package enum Refusal: Sendable, Equatable {
        case impossible
        case timeout
        case quota
        case draining
    }

    /// The GPUs of one allocation, by their index in the server, and the MiB of each; nil for whole ones.
    package struct Grant: Sendable, Equatable {
        package var gpus: [Int]
        package var mebibytes: Int?

        package init(gpus: [Int], mebibytes: Int?) {
            self.gpus = gpus
            self.mebibytes = mebibytes
        }
    }

    /// What a request has.
    package struct Holding: Sendable, Equatable {
        package var grant: Grant
        package var client: String
        /// Of the client's quota, in GPUs.
        var quotaGPUs: Double
        /// When the offer ends; nil once it is accepted.
        package var offeredUntil: Instant?
    }

    package struct Waiting: Sendable {
        package var id: RequestID
        package var request: Request
        /// Which GPUs pass its filter.
        var isEligible: [Bool]
        /// The position that it was last told.
        var reportedPosition = 0
    }

    /// An offer that is not accepted ends after so long.
    package static let offerMilliseconds: Instant = Instant(SchedulerRequest.offerSeconds) * 1000
    /// Requests further behind are not told when their position changes.
    private static let reportedPositionMax = 100

    package let gpus: [GPU]
    package let facts: ServerFacts?
    package internal(set) var holdings: [RequestID: Holding] = [:]
    package internal(set) var waiting: [Waiting] = []
    package private(set) var settings = PoolSettings()
    /// MiB of each GPU that are held, and by how many.
    var usedMiB: [Int]
    var holderCounts: [Int]
    /// GPUs that each client holds, in shares.
    var heldByClient: [String: Double] = [:]

    package init(gpus: [GPU], facts: ServerFacts? = nil) {
        self.gpus = gpus
        self.facts = facts
        usedMiB = [Int](repeating: 0, count: gpus.count)
        holderCounts = [Int](repeating: 0, count: gpus.count)
    }

    /// The allocations that were accepted.
    package var grantedCount: Int { holdings.values.count { $0.offeredUntil == nil } }

    package mutating func handle(_ event: Event, at now: Instant) -> [Action] {
        switch event {
        case .requested(let id, let request): return admit(id, request, now)
        case .accepted(let id):
            guard let holding = holdings[id], holding.offeredUntil != nil else { return [] }
            holdings[id]?.offeredUntil = nil
            return [.grant(id, holding.grant)]
        case .ended(let id):
            let hadPlace = waiting.contains { $0.id == id }
            if hadPlace { waiting.removeAll { $0.id == id } }
            guard release(id) || hadPlace else { return [] }
            return offerToWaiting(now)
        case .timedOut(let id):
            guard let position = waiting.firstIndex(where: { $0.id == id }) else { return [] }
            let reason = reasonToWait(position)
            waiting.remove(at: position)
            return [.refuse(id, .timeout, reason)] + offerToWaiting(now)
        case .timePassed:
            let expired = holdings.filter { $0.value.offeredUntil.map { $0 <= now } ?? false }.keys.sorted()
            guard !expired.isEmpty else { return [] }
            for id in expired { release(id) }
            return expired.map { .refuse($0, .timeout, "the offer was not accepted in time") } + offerToWaiting(now)
        case .settings(let settings):
            self.settings = settings
            guard settings.acceptsRequests else { return refuseWaiting() }
            return offerToWaiting(now)
        }
    }

    private mutating func admit(_ id: RequestID, _ request: Request, _ now: Instant) -> [Action] {
        guard holdings[id] == nil, !waiting.contains(where: { $0.id == id }) else { return [] }
        guard settings.acceptsRequests else { return [.refuse(id, .draining, Scheduler.drainingReason)] }
        let isEligible = gpus.map { request.filter.holds(for: $0) }
        if let reason = impossibility(request, isEligible) { return [.refuse(id, .impossible, reason)] }
        let quota = settings.quotaGPUs(of: request.client)
        let least = leastShare(request.demand, isEligible)
        guard least <= quota + Scheduler.shareTolerance else {
            return [.refuse(id, .quota, "\(text(least)) GPUs are asked for, and the client's quota is \(text(quota))")]
        }
        waiting.append(Waiting(id: id, request: request, isEligible: isEligible))
        var actions = offerToWaiting(now)
        guard !request.waits, let position = waiting.firstIndex(where: { $0.id == id }) else { return actions }
        actions.removeAll { $0.request == id }
        actions.append(.refuse(id, .timeout, "\(reasonToWait(position)), and the request does not wait"))
        waiting.remove(at: position)
        return actions
    }

    private static let drainingReason = "the server accepts no new requests: its administrator is draining it"

    private mutating func refuseWaiting() -> [Action] {
        defer { waiting.removeAll() }
        return waiting.map { .refuse($0.id, .draining, Scheduler.drainingReason) }
    }

    /// Offers what fits, first come, first served, and tells the others their places.
    ///
    /// What each earlier waiting request needs stays reserved on every GPU that it could use. So a later request passes
    /// it only where there is room for both at once, and cannot delay it, whichever task ends first. A request that
    /// only its client's quota keeps waiting reserves nothing: the quota is no concern of other clients.
    private mutating func offerToWaiting(_ now: Instant) -> [Action] {
        var actions: [Action] = []
        var reservedMiB = [Int](repeating: 0, count: gpus.count)
        var position = 0
        while position < waiting.count {
            let entry = waiting[position]
            if exceedsQuota(entry) {
                position += 1
                continue
            }
            // Behind this point nothing has room.
            if gpus.indices.allSatisfy({ usedMiB[$0] + reservedMiB[$0] >= gpus[$0].totalMiB }) { break }
            if let grant = place(entry, besides: reservedMiB) {
                waiting.remove(at: position)
                hold(entry, grant, until: now + Scheduler.offerMilliseconds)
                actions.append(.offer(entry.id, grant))
            } else {
                for gpu in gpus.indices where entry.isEligible[gpu] {
                    reservedMiB[gpu] += neededMiB(entry.request.demand, on: gpu)
                }
                position += 1
            }
        }
        return actions + reportPositions()
    }

    private mutating func reportPositions() -> [Action] {
        var actions: [Action] = []
        for index in waiting.indices where waiting[index].reportedPosition != index + 1 {
            let isFirstReport = waiting[index].reportedPosition == 0
            guard isFirstReport || index < Scheduler.reportedPositionMax else { continue }
            waiting[index].reportedPosition = index + 1
            actions.append(.wait(waiting[index].id, position: index + 1, reason: reasonToWait(index)))
        }
        return actions
    }

    private mutating func hold(_ entry: Waiting, _ grant: Grant, until: Instant) {
        for gpu in grant.gpus {
            usedMiB[gpu] += grant.mebibytes ?? gpus[gpu].totalMiB
            holderCounts[gpu] += 1
        }
        let share = share(of: grant)
        heldByClient[entry.request.client, default: 0] += share
        holdings[entry.id] = Holding(
            grant: grant, client: entry.request.client, quotaGPUs: share, offeredUntil: until)
    }

    /// Frees what a request holds; false when it holds nothing.
    @discardableResult
    private mutating func release(_ id: RequestID) -> Bool {
        guard let holding = holdings.removeValue(forKey: id) else { return false }
        for gpu in holding.grant.gpus {
            usedMiB[gpu] -= holding.grant.mebibytes ?? gpus[gpu].totalMiB
            holderCounts[gpu] -= 1
        }
        let left = (heldByClient[holding.client] ?? 0) - holding.quotaGPUs
        heldByClient[holding.client] = left > Scheduler.shareTolerance ? left : nil
        return true
    }

    /// MiB of a GPU that nobody holds.
    package func freeMiB(_ gpu: Int) -> Int { gpus[gpu].totalMiB - usedMiB[gpu] }
}

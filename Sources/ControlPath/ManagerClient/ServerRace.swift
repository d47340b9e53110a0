// SPDX-License-Identifier: Apache-2.0
package import Pool

/// Decides how a request waits at several servers at once: it takes the first offer and leaves the others.
///
/// A value with no clock and no socket: what servers say comes in with its time, what to do comes out. An offer that
/// comes while another is being accepted is kept until that one is granted, so that a server that dies in between costs
/// nothing.
package struct ServerRace: Sendable {
    /// Milliseconds of a clock that never goes back.
    package typealias Instant = Int64

    package enum Event: Sendable {
        case said(SchedulerReply)
        /// It cannot be reached, or is gone.
        case lost(String)
        case timePassed
    }

    package enum Action: Sendable, Equatable {
        /// Connect and ask.
        case ask(Int)
        case accept(Int)
        /// Close the connection.
        case leave(Int)
        /// A line for the user.
        case report(String)
        /// The race is over: the server has granted the GPUs.
        case won(Int)
        case failed(Failure)
    }

    /// Why no server has granted GPUs.
    package struct Failure: Error, Sendable, Equatable {
        package enum Kind: Sendable {
            case noServer
            case noGPUs
            case notAllowed
        }
        package var kind: Kind
        package var message: String

        package init(kind: Kind, message: String) {
            self.kind = kind
            self.message = message
        }
    }

    private enum Standing: Sendable {
        case asked
        case waiting
        case offered
        /// It will not grant anything, with the answer.
        case refused(SchedulerReply)
        /// It is asked again then, if there is a time.
        case lost(String, again: Instant?)
    }

    /// A server that was lost while the request waited there is asked again after so long.
    package static let retryMilliseconds: Instant = 2_000

    private var servers: [String]
    private let demand: String
    private let deadline: Instant
    private let waits: Bool
    private var standings: [Standing]
    private var accepting: Int?
    /// Once a request has had a place somewhere, a server that restarts is waited for.
    private var hasWaited = false
    private var isOver = false

    /// `servers` and `demand` are what messages call them.
    package init(servers: [String], demand: String, waitSeconds: Int, at now: Instant) {
        self.servers = servers
        self.demand = demand
        waits = waitSeconds > 0
        deadline = now + Instant(waitSeconds) * 1000
        standings = [Standing](repeating: .asked, count: servers.count)
    }

    /// What to do first.
    package func start() -> [Action] { servers.indices.map { .ask($0) } }

    /// Servers that were not known at the start join the race, as the next ones in the order.
    package mutating func join(_ names: [String]) -> [Action] {
        guard !isOver else { return [] }
        servers += names
        standings += [Standing](repeating: .asked, count: names.count)
        return servers.indices.suffix(names.count).map { .ask($0) }
    }

    /// When ``Event/timePassed`` is due, if ever.
    package var nextInstant: Instant? {
        standings.compactMap { standing in
            if case .lost(_, let again) = standing { again } else { nil }
        }.min()
    }

    /// Seconds that are left to wait.
    package func secondsLeft(at now: Instant) -> Int { Int(max(0, deadline - now) / 1000) }

    package mutating func handle(_ event: Event, from server: Int, at now: Instant) -> [Action] {
        guard !isOver else { return [] }
        var actions: [Action] = []
        switch event {
        case .said(let reply): actions = heard(reply, server, now)
        case .lost(let reason): actions = lost(reason, server, now)
        case .timePassed:
            for index in standings.indices {
                guard case .lost(_, let again?) = standings[index], again <= now else { continue }
                standings[index] = .asked
                actions.append(.ask(index))
            }
        }
        return actions + conclude()
    }

    private mutating func heard(_ reply: SchedulerReply, _ server: Int, _ now: Instant) -> [Action] {
        switch reply.type {
        case .waiting:
            standings[server] = .waiting
            hasWaited = true
            let left = WaitTime(seconds: secondsLeft(at: now))
            return [
                .report(
                    "Waiting for \(demand) at \(servers[server]): position \(reply.position ?? 1), "
                        + "\(reply.message ?? "no reason given"); \(left) left")
            ]
        case .offer:
            standings[server] = .offered
            guard accepting == nil else { return [] }
            accepting = server
            return [.accept(server)]
        case .granted:
            isOver = true
            return servers.indices.filter { $0 != server && isOpen($0) }.map { .leave($0) } + [.won(server)]
        case .refused where reply.code == .unavailable && hasWaited && now < deadline:
            return lost(reply.message ?? "it is not available", server, now)
        case .refused:
            standings[server] = .refused(reply)
            return [.leave(server)] + acceptNext(after: server)
        default:
            var unknown = reply
            unknown.message = "it answers in a way that this version does not understand"
            standings[server] = .refused(unknown)
            return [.leave(server)] + acceptNext(after: server)
        }
    }

    private mutating func lost(_ reason: String, _ server: Int, _ now: Instant) -> [Action] {
        guard isOpen(server) else { return [] }
        let isFirstTime: Bool
        if case .asked = standings[server] { isFirstTime = false } else { isFirstTime = true }
        let again = now + ServerRace.retryMilliseconds
        standings[server] = .lost(reason, again: waits && hasWaited && again < deadline ? again : nil)
        var actions: [Action] = [.leave(server)]
        if isFirstTime { actions.append(.report("Lost \(servers[server]): \(reason)")) }
        return actions + acceptNext(after: server)
    }

    /// An offer that was kept is accepted when the one before has come to nothing.
    private mutating func acceptNext(after server: Int) -> [Action] {
        guard accepting == server else { return [] }
        accepting = standings.firstIndex { if case .offered = $0 { true } else { false } }
        return accepting.map { [.accept($0)] } ?? []
    }

    private func isOpen(_ server: Int) -> Bool {
        switch standings[server] {
        case .asked, .waiting, .offered: true
        case .refused, .lost: false
        }
    }

    /// The end, when no server can grant anything any more.
    private mutating func conclude() -> [Action] {
        guard !isOver else { return [] }
        var reasons: [String] = []
        var unreachable: [String] = []
        var codes: Set<SchedulerReply.Refusal> = []
        for (index, standing) in standings.enumerated() {
            switch standing {
            case .asked, .waiting, .offered: return []
            case .lost(_, again: .some): return []
            case .lost(let reason, again: nil): unreachable.append(reason)
            case .refused(let reply):
                codes.insert(reply.code ?? .malformed)
                reasons.append("server \(servers[index]): \(reply.message ?? "refused")")
            }
        }
        isOver = true
        if reasons.isEmpty { return [.failed(Failure(kind: .noServer, message: unreachable.joined(separator: "; ")))] }
        let text = (reasons + unreachable).joined(separator: "; ")
        if codes == [.quota] { return [.failed(Failure(kind: .notAllowed, message: text))] }
        let advice = codes.contains(.timeout) ? "; -t waits longer" : ""
        return [.failed(Failure(kind: .noGPUs, message: "no server has \(demand): \(text)\(advice)"))]
    }
}

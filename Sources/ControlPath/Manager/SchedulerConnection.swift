// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Pool
import Scheduling
import Threads

/// Serves one connection to the resource scheduler, on a thread of its own.
struct SchedulerConnection {
    /// A client has so long to say something, and to say the next thing.
    static let requestMilliseconds: Int32 = 5_000
    /// A client that reads nothing for so long is gone.
    private static let sendSeconds = 5
    /// How long the last line may wait for a client to read it.
    private static let farewellMilliseconds: Int32 = 500
    /// The most that is kept of a client's description of itself.
    private static let clientCharactersMax = 256

    let scheduler: ResourceScheduler
    let connection: LineConnection
    /// The `echo` connections of this server.
    let echoes: Counter

    func serve() {
        connection.watchPeer(sendSeconds: SchedulerConnection.sendSeconds)
        // Whatever cannot be sent or received any more, there is nobody left to tell.
        try? converse()
        connection.finish(milliseconds: SchedulerConnection.farewellMilliseconds)
    }

    private func converse() throws {
        while true {
            let line: [UInt8]
            do {
                line = try connection.receiveLine(
                    limit: SchedulerRequest.lineBytesMax, milliseconds: SchedulerConnection.requestMilliseconds)
            } catch .tooLong(let limit) {
                return try refuse("a request is longer than \(limit) bytes")
            } catch .timedOut {
                return try refuse("no request came in \(SchedulerConnection.requestMilliseconds / 1000) s")
            }
            guard try answer(line) else { return }
        }
    }

    /// Answers one request.
    ///
    /// False when the connection has served its purpose.
    private func answer(_ line: [UInt8]) throws -> Bool {
        guard let request = try read(line) else { return false }
        switch request.type {
        case .list:
            try send(scheduler.list())
            return true
        case .allocate: return try allocate(request)
        case .release where request.ticket != nil:
            return try release(ticket: request.ticket ?? "")
        case .accept, .heartbeat, .release:
            try refuse("this connection holds no GPUs")
            return false
        case .status:
            try send(scheduler.status())
            return true
        case .health:
            guard let report = scheduler.health() else {
                try send(
                    SchedulerReply(refused: .unavailable, "the server's health checks do not end; try again later"))
                return true
            }
            var reply = SchedulerReply(.health)
            reply.servers = scheduler.servers
            reply.health = report
            try send(reply)
            return true
        case .echo:
            try echo()
            return false
        }
    }

    /// Reads a request; nil when it is none, which the client has been told.
    private func read(_ line: [UInt8]) throws -> SchedulerRequest? {
        guard let version = try? JSONDecoder().decode(VersionOnly.self, from: Data(line)).version else {
            try refuse("this is the scheduler of a bitfusion server; requests are lines of JSON")
            return nil
        }
        guard version == SchedulerRequest.version else {
            try refuse(
                "version \(version) of the scheduler's protocol is not known here, which speaks version "
                    + "\(SchedulerRequest.version); install the same release on both"
            )
            return nil
        }
        guard let request = try? JSONDecoder().decode(SchedulerRequest.self, from: Data(line)) else {
            try refuse("the request is of no known type, or lacks what its type needs")
            return nil
        }
        return request
    }

    /// Ends the allocation of a ticket.
    private func release(ticket text: String) throws -> Bool {
        guard let ticket = Ticket(hexadecimal: text) else {
            try refuse("a ticket has \(2 * Ticket.byteCount) hexadecimal digits")
            return false
        }
        guard scheduler.release(ticket: ticket) else {
            try send(SchedulerReply(refused: .unavailable, "the allocation has ended already, or is another server's"))
            return true
        }
        try send(SchedulerReply(.released))
        return true
    }

    // MARK: GPUs

    /// Serves a request for GPUs to its end.
    ///
    /// False when the connection has served its purpose.
    private func allocate(_ message: SchedulerRequest) throws -> Bool {
        guard let request = try demanded(message) else { return false }
        guard let waker = Waker() else {
            try send(SchedulerReply(refused: .unavailable, "the server has too many open files; raise its limit"))
            return false
        }
        let name = String((message.client ?? "").prefix(SchedulerConnection.clientCharactersMax))
        let id = scheduler.request(request, name: name, waker: waker)
        defer { scheduler.end(id) }
        let deadline = monotonicMilliseconds() + Int64(message.waitSeconds ?? 0) * 1000
        guard try isGranted(id, waker, until: deadline) else { return false }
        guard try hold(id, waker) else { return false }
        scheduler.end(id)
        try send(SchedulerReply(.released))
        return true
    }

    /// What a message asks for; nil when that is out of range, which the client has been told.
    private func demanded(_ message: SchedulerRequest) throws -> Scheduler.Request? {
        let memory: Demand.Memory =
            if let count = message.mib { .mebibytes(count) } else if let share = message.share { .share(share) } else {
                .whole
            }
        guard let demand = Demand(gpuCount: message.gpus ?? 0, memory: memory),
            let waitSeconds = message.waitSeconds, 0...WaitTime.secondsMax ~= waitSeconds
        else {
            try refuse("the number of GPUs, their memory or the time to wait is out of range")
            return nil
        }
        let filters = message.filters ?? []
        guard filters.count <= SchedulerRequest.filtersMax else {
            try refuse("there are \(filters.count) filters; \(SchedulerRequest.filtersMax) are the most")
            return nil
        }
        let filter: Filter
        do { filter = try Filter(filters) } catch {
            try refuse("filter: \(error)")
            return nil
        }
        return Scheduler.Request(
            demand, client: connection.peerAddress ?? "", filter: filter, waits: waitSeconds > 0)
    }

    /// Passes on what the scheduler decides until the client has accepted an offer, or will get none.
    private func isGranted(_ id: Int, _ waker: Waker, until deadline: Int64) throws -> Bool {
        var isOffered = false
        while true {
            waker.rest()
            for reply in scheduler.takeDecisions(of: id) {
                try send(reply)
                if reply.type == .granted { return true }
                if reply.type == .refused { return false }
                if reply.type == .offer { isOffered = true }
            }
            do {
                // The scheduler ends an offer that nobody accepts.
                let left = isOffered ? -1 : Int32(clamping: max(0, deadline - monotonicMilliseconds()))
                let line = try connection.receiveLine(
                    limit: SchedulerRequest.lineBytesMax, milliseconds: left, wake: waker.descriptor)
                switch try read(line)?.type {
                case .accept: scheduler.accept(id)
                case .heartbeat: continue
                // Anything else withdraws the request.
                default: return false
                }
            } catch LineConnection.Failure.timedOut {
                if monotonicMilliseconds() >= deadline { scheduler.timeOut(id) }
            } catch LineConnection.Failure.woken {
                continue
            }
        }
    }

    /// The connection owns the GPUs now: whatever ends it ends the allocation.
    ///
    /// True when the owner releases them, false when the server has ended the allocation.
    private func hold(_ id: Int, _ waker: Waker) throws -> Bool {
        while true {
            do {
                let line = try connection.receiveLine(
                    limit: SchedulerRequest.lineBytesMax, milliseconds: -1, wake: waker.descriptor)
                scheduler.heard(id)
                if try read(line)?.type != .heartbeat { return true }
            } catch LineConnection.Failure.woken {
                waker.rest()
                for reply in scheduler.takeDecisions(of: id) {
                    try send(reply)
                    if reply.type != .warning { return false }
                }
            }
        }
    }

    func refuse(_ reason: String) throws { try send(SchedulerReply(refused: .malformed, reason)) }

    func send(_ reply: SchedulerReply) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        try connection.send(line: Array(encoder.encode(reply)))
    }
}

/// What each message says of itself; read before the rest, whose shape may differ in another version.
private struct VersionOnly: Codable {
    var version: Int
}

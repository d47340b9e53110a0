// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Pool

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
        guard let version = try? JSONDecoder().decode(VersionOnly.self, from: Data(line)).version else {
            try refuse("this is the scheduler of a bitfusion server; requests are lines of JSON")
            return false
        }
        guard version == SchedulerRequest.version else {
            try refuse(
                "version \(version) of the scheduler's protocol is not known here, which speaks "
                    + "\(SchedulerRequest.version)"
            )
            return false
        }
        guard let request = try? JSONDecoder().decode(SchedulerRequest.self, from: Data(line)) else {
            try refuse("the request is of no known type, or lacks what its type needs")
            return false
        }
        switch request.type {
        case .list:
            try send(scheduler.list())
            return true
        case .allocate:
            try allocate(request)
            return false
        case .accept, .heartbeat, .release:
            try refuse("this connection holds no GPUs")
            return false
        case .status:
            try send(scheduler.status())
            return true
        case .echo:
            try echo()
            return false
        }
    }

    private func allocate(_ request: SchedulerRequest) throws {
        let memory: Demand.Memory =
            if let count = request.mib { .mebibytes(count) } else if let share = request.share { .share(share) } else {
                .whole
            }
        guard let demand = Demand(gpuCount: request.gpus ?? 0, memory: memory),
            let waitSeconds = request.waitSeconds, 0...WaitTime.secondsMax ~= waitSeconds
        else { return try refuse("the number of GPUs, their memory or the time to wait is out of range") }
        guard let waker = Waker() else {
            return try send(
                SchedulerReply(refused: .unavailable, "the server has too many open files; raise its limit"))
        }
        let client = String((request.client ?? "").prefix(SchedulerConnection.clientCharactersMax))
        let id = scheduler.request(demand, waits: waitSeconds > 0, client: client, waker: waker)
        defer { scheduler.end(id) }
        guard try isGranted(id, waker, until: monotonicMilliseconds() + Int64(waitSeconds) * 1000) else { return }
        guard try hold(waker) else { return }
        scheduler.end(id)
        try send(SchedulerReply(.released))
    }

    /// The connection owns the GPUs now: whatever ends it ends the allocation, as does any line.
    ///
    /// False when the server does.
    private func hold(_ waker: Waker) throws -> Bool {
        while true {
            do {
                _ = try connection.receiveLine(
                    limit: SchedulerRequest.lineBytesMax, milliseconds: -1, wake: waker.descriptor)
                return true
            } catch LineConnection.Failure.woken {
                waker.rest()
                guard scheduler.isStopping else { continue }
                try send(SchedulerReply(refused: .unavailable, "the server is stopping"))
                return false
            }
        }
    }

    /// Passes on what the scheduler decides until it grants or refuses.
    private func isGranted(_ id: Int, _ waker: Waker, until deadline: Int64) throws -> Bool {
        while true {
            waker.rest()
            for reply in scheduler.takeDecisions(of: id) {
                try send(reply)
                if reply.type == .granted { return true }
                if reply.type == .refused { return false }
            }
            do {
                let left = Int32(clamping: max(0, deadline - monotonicMilliseconds()))
                // A line while it waits withdraws the request.
                _ = try connection.receiveLine(
                    limit: SchedulerRequest.lineBytesMax, milliseconds: left, wake: waker.descriptor)
                return false
            } catch LineConnection.Failure.timedOut {
                if monotonicMilliseconds() >= deadline { scheduler.timeOut(id) }
            } catch LineConnection.Failure.woken {
                continue
            }
        }
    }

    private func refuse(_ reason: String) throws { try send(SchedulerReply(refused: .malformed, reason)) }

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

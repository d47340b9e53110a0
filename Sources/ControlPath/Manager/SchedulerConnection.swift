// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Pool

/// Serves one connection to the resource scheduler, on a thread of its own.
struct SchedulerConnection {
    /// A client has so long to say something, and to say the next thing.
    static let requestMilliseconds: Int32 = 5_000
    /// How often a waiting request looks for its decision and at its connection.
    private static let waitMilliseconds: Int32 = 20
    /// The longest that a client may wait: a week.
    private static let waitSecondsMax = 7 * 24 * 3600
    /// The most that is kept of a client's description of itself.
    private static let clientCharactersMax = 256

    let scheduler: ResourceScheduler
    let connection: LineConnection

    func serve() {
        do {
            while true {
                let line = try connection.receiveLine(
                    limit: SchedulerRequest.lineBytesMax, milliseconds: SchedulerConnection.requestMilliseconds)
                guard try answer(line) else { return }
            }
        } catch let failure as LineConnection.Failure {
            if case .tooLong(let limit) = failure {
                try? send(SchedulerReply(refused: .malformed, "a request is longer than \(limit) bytes"))
            }
        } catch {
            return
        }
    }

    /// Answers one request. False when the connection has served its purpose.
    private func answer(_ line: [UInt8]) throws -> Bool {
        let request: SchedulerRequest
        do {
            request = try JSONDecoder().decode(SchedulerRequest.self, from: Data(line))
        } catch {
            try send(SchedulerReply(refused: .malformed, "this is the scheduler of a bitfusion server; requests are lines of JSON"))
            return false
        }
        guard request.version == SchedulerRequest.version else {
            try send(
                SchedulerReply(
                    refused: .malformed,
                    "version \(request.version) of the scheduler's protocol is not known here, which speaks \(SchedulerRequest.version)"))
            return false
        }
        switch request.type {
        case .list:
            try send(scheduler.list())
            return true
        case .allocate:
            try allocate(request)
            return false
        case .release:
            try send(SchedulerReply(refused: .malformed, "this connection holds no GPUs"))
            return false
        }
    }

    private func allocate(_ request: SchedulerRequest) throws {
        let memory: Demand.Memory =
            if let count = request.mib { .mebibytes(count) } else if let share = request.share { .share(share) } else { .whole }
        guard let demand = Demand(gpuCount: request.gpus ?? 0, memory: memory),
            let waitSeconds = request.waitSeconds, 0...SchedulerConnection.waitSecondsMax ~= waitSeconds
        else {
            return try send(SchedulerReply(refused: .malformed, "the number of GPUs, their memory or the time to wait is out of range"))
        }
        let client = String((request.client ?? "").prefix(SchedulerConnection.clientCharactersMax))
        let id = scheduler.request(demand, waits: waitSeconds > 0, client: client)
        defer { scheduler.end(id) }
        guard try isGranted(id, until: monotonicMilliseconds() + Int64(waitSeconds) * 1000) else { return }
        // The connection owns the GPUs now: whatever ends it ends the allocation.
        _ = try connection.receiveLine(limit: SchedulerRequest.lineBytesMax, milliseconds: -1)
        try send(SchedulerReply(.released))
    }

    /// Passes on what the scheduler decides until it grants or refuses.
    private func isGranted(_ id: Int, until deadline: Int64) throws -> Bool {
        while true {
            for reply in scheduler.takeDecisions(of: id) {
                try send(reply)
                if reply.type == .granted { return true }
                if reply.type == .refused { return false }
            }
            do {
                // A line while it waits withdraws the request.
                _ = try connection.receiveLine(
                    limit: SchedulerRequest.lineBytesMax, milliseconds: SchedulerConnection.waitMilliseconds)
                return false
            } catch LineConnection.Failure.timedOut {
                if monotonicMilliseconds() >= deadline { scheduler.timeOut(id) }
            }
        }
    }

    private func send(_ reply: SchedulerReply) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        try connection.send(line: Array(encoder.encode(reply)))
    }
}

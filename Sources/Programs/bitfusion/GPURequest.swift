// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import ManagerClient
import Pool

/// GPUs that a server has granted.
///
/// They are released when this goes.
final class GrantedGPUs {
    let server: ServerAddress
    /// The address of the dispatcher, as `BITFUSION_SERVER` has it.
    let dispatcher: String
    let ticket: String
    let idleMinutes: Int
    private let connection: SchedulerClient

    init(_ connection: SchedulerClient, _ reply: SchedulerReply) throws {
        guard let ticket = reply.ticket, let port = reply.dispatcherPort, 1...65535 ~= port else {
            throw Failure(
                .noServer, "server \(connection.server) granted GPUs in a way that this version does not understand")
        }
        server = connection.server
        dispatcher = ServerAddress(host: server.host, port: UInt16(port)).description
        self.ticket = ticket
        idleMinutes = reply.idleMinutes ?? 0
        self.connection = connection
    }

    /// Gives the GPUs back and waits until they are free, so that the next command finds them.
    ///
    /// A server that does not answer frees them when it sees the connection close.
    func release() {
        try? connection.send(SchedulerRequest(.release))
        _ = try? connection.receive()
    }
}

/// Asks servers for GPUs: first all of them for what is free now, then the first that could ever have it, waiting.
struct GPURequest {
    let servers: [ServerAddress]
    let demand: Demand
    let waitSeconds: Int
    let isQuiet: Bool

    func perform(for application: String) throws -> GrantedGPUs {
        var unreachable: [String] = []
        var refusals: [String] = []
        var waitingServer: ServerAddress?
        for server in servers {
            do {
                let connection = try SchedulerClient(server)
                try connection.send(request(application, waitSeconds: 0))
                let reply = try connection.answer()
                if reply.type == .granted { return try GrantedGPUs(connection, reply) }
                refusals.append("server \(server): \(reply.message ?? "refused")")
                if reply.code == .timeout && waitingServer == nil { waitingServer = server }
            } catch let failure as SchedulerClient.Failure {
                unreachable.append(failure.message)
            }
        }
        if waitSeconds > 0, let waitingServer { return try wait(at: waitingServer, application) }
        if refusals.isEmpty { throw Failure(.noServer, unreachable.joined(separator: "; ")) }
        throw Failure(
            .noGPUs, "no server has \(demand.description): " + (refusals + unreachable).joined(separator: "; "))
    }

    private func request(_ application: String, waitSeconds: Int) -> SchedulerRequest {
        var request = SchedulerRequest(.allocate)
        request.gpus = demand.gpuCount
        switch demand.memory {
        case .whole: break
        case .mebibytes(let count): request.mib = count
        case .share(let share): request.share = share
        }
        request.waitSeconds = waitSeconds
        request.client = "\(ProcessInfo.processInfo.environment["USER"] ?? "?") \(application)"
        return request
    }

    /// Waits in one server's queue until it grants or refuses.
    private func wait(at server: ServerAddress, _ application: String) throws -> GrantedGPUs {
        do {
            let connection = try SchedulerClient(server)
            try connection.send(request(application, waitSeconds: waitSeconds))
            let deadline = monotonicMilliseconds() + Int64(waitSeconds) * 1000
            while true {
                // The server ends the wait; a little more is for its answer.
                let left = deadline - monotonicMilliseconds() + Int64(SchedulerClient.answerMilliseconds)
                guard left > 0, let reply = try connection.receive(milliseconds: Int32(clamping: left)) else {
                    throw Failure(.noGPUs, "server \(server) granted no GPUs within \(WaitTime(seconds: waitSeconds))")
                }
                switch reply.type {
                case .granted: return try GrantedGPUs(connection, reply)
                case .waiting:
                    guard !isQuiet else { continue }
                    printError(
                        "Waiting for \(demand.description) at \(server): position \(reply.position ?? 1), "
                            + "\(reply.message ?? ""), for at most \(WaitTime(seconds: waitSeconds))")
                default:
                    let reason = reply.message ?? "refused"
                    guard reply.code == .timeout else { throw Failure(.noServer, "server \(server): \(reason)") }
                    throw Failure(
                        .noGPUs,
                        "no GPUs at server \(server) within \(WaitTime(seconds: waitSeconds)): \(reason); "
                            + "-t waits longer")
                }
            }
        } catch let failure as SchedulerClient.Failure {
            throw Failure(.noServer, failure.message)
        }
    }
}

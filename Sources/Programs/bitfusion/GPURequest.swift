// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import ManagerClient
import Pool
import Synchronization
import Threads

/// GPUs that a server has granted.
///
/// They are free again when ``release()`` is called, or when this process ends.
final class GrantedGPUs: Sendable {
    let server: ServerAddress
    /// The address of the dispatcher, as `BITFUSION_SERVER` has it.
    let dispatcher: String
    /// 64 hexadecimal digits.
    let ticket: String
    let allocation: Int
    let idleMinutes: Int
    private let conversation: ServerConversation
    /// Why the allocation has ended; nil while it has not.
    private let ending = Watched<String?>(nil)

    fileprivate init(_ conversation: ServerConversation, _ reply: SchedulerReply) throws {
        guard let ticket = reply.ticket, let port = reply.dispatcherPort, 1...65535 ~= port else {
            throw Failure(
                .noServer, "server \(conversation.server) granted GPUs in a way that this version does not understand")
        }
        server = conversation.server
        dispatcher = ServerAddress(host: server.host, port: UInt16(port)).description
        self.ticket = ticket
        allocation = reply.allocation ?? 0
        idleMinutes = reply.idleMinutes ?? 0
        self.conversation = conversation
    }

    /// Gives the GPUs back and waits until they are free, so that the next command finds them.
    func release() { conversation.release() }

    /// Stops this process as Ctrl-Z does, and keeps the GPUs.
    func stopProcess() { conversation.stopProcess() }

    /// Waits until the server, or the way to it, ends the allocation, and says why.
    func waitForEnd() -> String { ending.wait(milliseconds: nil) { $0 } ?? "" }

    /// What the server says while the GPUs are used.
    fileprivate func heard(_ message: ServerConversation.Message) {
        switch message {
        case .said(let reply) where reply.type == .warning:
            printError("bitfusion: server \(server): \(reply.message ?? "")")
        // This program has asked for it.
        case .said(let reply) where reply.type == .released: break
        case .said(let reply):
            let reason = reply.message ?? "the server has ended the allocation"
            printError("bitfusion: server \(server): \(reason)")
            ending.withLock { $0 = reason }
        case .lost(let reason):
            printError("bitfusion: the GPUs are lost: \(reason)")
            ending.withLock { $0 = reason }
        }
    }
}

/// Asks servers for GPUs, all of them at once, and takes the first offer.
struct GPURequest {
    let servers: ServerDirectory
    let demand: Demand
    let filters: [String]
    let waitSeconds: Int
    let isQuiet: Bool

    /// A server may be so much late with the end of the wait.
    private static let graceMilliseconds: Int64 = 5_000

    func perform(for application: String) throws -> GrantedGPUs {
        let inbox = Inbox()
        var directory = servers
        var race = ServerRace(
            servers: directory.servers.map(\.description), demand: demand.description, waitSeconds: waitSeconds,
            at: monotonicMilliseconds())
        let end = monotonicMilliseconds() + Int64(waitSeconds) * 1000 + GPURequest.graceMilliseconds
        var conversations: [Int: ServerConversation] = [:]
        var actions = race.start()[...]
        var granted: SchedulerReply?
        while true {
            while let action = actions.popFirst() {
                switch action {
                case .ask(let index):
                    conversations[index] = ServerConversation(
                        with: directory.servers[index], request(application, end)
                    ) {
                        inbox.put($0, from: index)
                    }
                case .accept(let index): conversations[index]?.accept()
                case .leave(let index): conversations.removeValue(forKey: index)?.leave()
                case .report(let line): if !isQuiet { printError(line) }
                case .failed(let failure): throw Failure(failure)
                case .won(let index):
                    guard let conversation = conversations[index], let granted else { continue }
                    let gpus = try GrantedGPUs(conversation, granted)
                    inbox.forward(from: index) { gpus.heard($0) }
                    return gpus
                }
            }
            let now = monotonicMilliseconds()
            let next = min(race.nextInstant ?? Int64.max, end)
            if let (index, message) = inbox.take(milliseconds: max(0, next - now)) {
                switch message {
                case .said(let reply):
                    if reply.type == .granted { granted = reply }
                    // Before the reply is weighed: it may be the last one's refusal.
                    actions += race.join(directory.learn(reply.servers ?? []).map(\.description))
                    actions += race.handle(.said(reply), from: index, at: monotonicMilliseconds())
                case .lost(let reason):
                    actions += race.handle(.lost(reason), from: index, at: monotonicMilliseconds())
                }
            } else if monotonicMilliseconds() >= end {
                throw Failure(.noGPUs, "no GPUs within \(WaitTime(seconds: waitSeconds)), and no answer that says why")
            } else {
                actions += race.handle(.timePassed, from: 0, at: monotonicMilliseconds())
            }
        }
    }

    private func request(_ application: String, _ end: Int64) -> SchedulerRequest {
        var request = SchedulerRequest(.allocate)
        request.gpus = demand.gpuCount
        switch demand.memory {
        case .whole: break
        case .mebibytes(let count): request.mib = count
        case .share(let share): request.share = share
        }
        // A server that is asked again later has less time.
        let left = Int((end - GPURequest.graceMilliseconds - monotonicMilliseconds() + 999) / 1000)
        request.waitSeconds = waitSeconds == 0 ? 0 : max(1, min(waitSeconds, left))
        request.client = "\(ProcessInfo.processInfo.environment["USER"] ?? "?") \(application)"
        request.filters = filters.isEmpty ? nil : filters
        return request
    }
}

/// What the conversations of a request hear, in its order.
private final class Inbox: Sendable {
    private struct State {
        var messages: [(Int, ServerConversation.Message)] = []
        /// Who hears what comes after the race is over, and of which server.
        var listener: (server: Int, receive: @Sendable (ServerConversation.Message) -> Void)?
    }

    private let state = Watched(State())

    func put(_ message: ServerConversation.Message, from server: Int) {
        let listener = state.withLock { state in
            guard let listener = state.listener else {
                state.messages.append((server, message))
                return State().listener
            }
            return listener
        }
        if let listener, listener.server == server { listener.receive(message) }
    }

    func take(milliseconds: Int64) -> (Int, ServerConversation.Message)? {
        state.wait(milliseconds: milliseconds) { $0.messages.isEmpty ? nil : $0.messages.removeFirst() }
    }

    /// From now on messages of one server go to `receive`, those that have come already first.
    func forward(from server: Int, to receive: @escaping @Sendable (ServerConversation.Message) -> Void) {
        let early = state.withLock { state in
            state.listener = (server, receive)
            return state.messages.filter { $0.0 == server }
        }
        early.forEach { receive($0.1) }
    }
}

extension Failure {
    fileprivate init(_ failure: ServerRace.Failure) {
        let status: Status =
            switch failure.kind {
            case .noServer: .noServer
            case .noGPUs: .noGPUs
            case .notAllowed: .notAllowed
            }
        self.init(status, failure.message)
    }
}

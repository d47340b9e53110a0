// SPDX-License-Identifier: Apache-2.0
import CSystem
import FoundationEssentials
package import Pool
import Synchronization
import Threads

/// One request for GPUs at one server, from the connection to the release, on a thread of its own.
///
/// Once the GPUs are granted it tells the server every ``SchedulerRequest/heartbeatSeconds`` that their owner is alive.
package final class ServerConversation: Sendable {
    /// What the server has said, or why it is lost.
    package enum Message: Sendable {
        case said(SchedulerReply)
        case lost(String)
    }

    private struct State {
        var client: SchedulerClient?
        var isLeft = false
        var isGranted = false
        var isReleased = false
    }

    package let server: ServerAddress
    private let state = Watched(State())

    /// Begins to connect; `receive` is called on the conversation's thread, for the last time with `lost` or after
    /// ``leave()``.
    package init(
        with server: ServerAddress, _ request: SchedulerRequest, receive: @escaping @Sendable (Message) -> Void
    ) {
        self.server = server
        let isStarted = startThread { [self] in converse(request, receive) }
        if !isStarted { receive(.lost("server \(server): this process can start no more threads")) }
    }

    private func converse(_ request: SchedulerRequest, _ receive: (Message) -> Void) {
        do throws(SchedulerClient.Failure) {
            let client = try SchedulerClient(server)
            let isLeft = state.withLock { state in
                state.client = client
                return state.isLeft
            }
            guard !isLeft else { return }
            try client.send(request)
            // The first answer comes at once, even if it is that there is nothing yet.
            var next: SchedulerReply? = try client.answer()
            while true {
                guard let reply = next else {
                    try client.send(SchedulerRequest(.heartbeat))
                    next = try client.receive(milliseconds: Int32(SchedulerRequest.heartbeatSeconds) * 1000)
                    continue
                }
                state.withLock { state in
                    if reply.type == .granted { state.isGranted = true }
                    if reply.type == .released || reply.type == .ended { state.isReleased = true }
                }
                if !state.withLock({ $0.isLeft }) { receive(.said(reply)) }
                if reply.type == .refused || reply.type == .ended || reply.type == .released { break }
                let isGranted = state.withLock { $0.isGranted }
                let patience = isGranted ? Int32(SchedulerRequest.heartbeatSeconds) * 1000 : -1
                next = try client.receive(milliseconds: patience)
            }
        } catch {
            if !state.withLock({ $0.isLeft }) { receive(.lost(error.message)) }
        }
        // The connection closes with its last owner.
        state.withLock { state in
            state.client = nil
            state.isReleased = true
        }
    }

    /// Takes what the server has offered.
    package func accept() { try? state.withLock { $0.client }?.send(SchedulerRequest(.accept)) }

    /// Stops this process as Ctrl-Z does, until it is continued; the server is told meanwhile that the owner is alive.
    package func stopProcess() {
        let heartbeat = (try? JSONEncoder().encode(SchedulerRequest(.heartbeat))).map {
            Array($0) + [UInt8(ascii: "\n")]
        }
        let client = state.withLock { $0.client }
        csystem_stop_while_sending(
            heartbeat == nil ? -1 : client?.connection.descriptor ?? -1, heartbeat ?? [], heartbeat?.count ?? 0,
            UInt32(SchedulerRequest.heartbeatSeconds))
    }

    /// Closes the connection: whatever was asked for or granted is free.
    package func leave() {
        state.withLock { state in
            state.isLeft = true
            state.client?.shutDown()
        }
    }

    /// Gives the GPUs back and waits until they are free, so that the next command finds them.
    ///
    /// A server that does not answer frees them when it sees the connection close.
    package func release() {
        let client = state.withLock { state in
            // Nothing that comes now is news.
            state.isLeft = true
            return state.client
        }
        guard let client, (try? client.send(SchedulerRequest(.release))) != nil else { return }
        _ = state.wait(milliseconds: Int64(SchedulerClient.answerMilliseconds)) { $0.isReleased ? true : nil }
        client.shutDown()
    }
}

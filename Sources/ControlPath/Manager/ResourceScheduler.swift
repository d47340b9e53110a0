// SPDX-License-Identifier: Apache-2.0
package import Pool
import Scheduling
import Synchronization

/// GPUs that a client holds until its connection closes.
package struct Allocation: Sendable {
    package let id: Int
    /// The secret that the first bytes of each of its data connections carry: 32 random bytes.
    package let ticket: [UInt8]
    /// The driver's numbers of its GPUs.
    package let devices: [Int]
    /// MiB on each of them; nil for all.
    package let mebibytes: Int?
    package let client: String
}

/// The resource scheduler of a server: the only authority on which of its GPUs are free.
///
/// It performs what the ``Scheduler`` decides. Every request is a connection, and the connection that was granted GPUs
/// owns them.
package final class ResourceScheduler: Sendable {
    private struct State {
        var scheduler: Scheduler
        var nextID = 1
        var allocations: [Int: Allocation] = [:]
        var clients: [Int: String] = [:]
        /// What the scheduler has decided and the request's connection has not yet sent.
        var decisions: [Int: [SchedulerReply]] = [:]
        /// Tells the request's connection that there is a decision.
        var wakers: [Int: Waker] = [:]
        var isStopping = false
    }

    private let state: Mutex<State>
    package let inventory: Inventory
    private let dispatcherPort: Int
    private let allocationEnded: @Sendable (Allocation) -> Void

    /// Serves the GPUs of an inventory.
    ///
    /// `allocationEnded` is called once for each allocation that has ended; it ends what runs in it, and returns then.
    package init(
        inventory: Inventory, dispatcherPort: Int, allocationEnded: @escaping @Sendable (Allocation) -> Void
    ) {
        self.inventory = inventory
        self.dispatcherPort = dispatcherPort
        self.allocationEnded = allocationEnded
        state = Mutex(State(scheduler: Scheduler(gpus: inventory.gpus)))
    }

    /// The live allocation of a ticket.
    ///
    /// Compares in a time that does not depend on where tickets differ.
    package func allocation(ticket: [UInt8]) -> Allocation? {
        state.withLock { state in
            var found: Allocation?
            for allocation in state.allocations.values {
                var difference = allocation.ticket.count ^ ticket.count
                for (mine, theirs) in zip(allocation.ticket, ticket) { difference |= Int(mine ^ theirs) }
                if difference == 0 { found = allocation }
            }
            return found
        }
    }

    package var isStopping: Bool { state.withLock { $0.isStopping } }

    /// Refuses everything from now on and ends every allocation.
    package func stop() {
        let ended = state.withLock { state in
            state.isStopping = true
            state.wakers.values.forEach { $0.wake() }
            let ended = Array(state.allocations.values)
            state.allocations.removeAll()
            return ended
        }
        ended.forEach(allocationEnded)
    }

    // MARK: What a connection asks

    func list() -> SchedulerReply {
        state.withLock { state in
            var reply = SchedulerReply(.inventory)
            reply.driverVersion = inventory.driverVersion
            reply.runningTasks = state.scheduler.granted.count
            reply.waitingTasks = state.scheduler.waiting.count
            reply.gpus = inventory.gpus.indices.map {
                SchedulerReply.Entry(inventory.gpus[$0], freeMiB: state.scheduler.freeMiB($0))
            }
            return reply
        }
    }

    /// Asks for GPUs.
    ///
    /// The answers come from ``takeDecisions(of:)``; ``end(_:)`` must follow.
    func request(_ demand: Demand, waits: Bool, client: String, waker: Waker) -> Int {
        state.withLock { state in
            let id = state.nextID
            state.nextID += 1
            guard !state.isStopping else {
                state.decisions[id] = [SchedulerReply(refused: .unavailable, "the server is stopping")]
                return id
            }
            state.clients[id] = client
            state.wakers[id] = waker
            decide(&state, .requested(id, demand, waits: waits))
            return id
        }
    }

    func timeOut(_ id: Int) { state.withLock { decide(&$0, .timedOut(id)) } }

    /// The request's connection is gone, or has released its GPUs.
    ///
    /// The ticket is worth nothing from now on; the GPUs are free for others only when nothing uses them any more.
    func end(_ id: Int) {
        if let ended = state.withLock({ $0.allocations.removeValue(forKey: id) }) { allocationEnded(ended) }
        state.withLock { state in
            decide(&state, .ended(id))
            state.decisions[id] = nil
            state.clients[id] = nil
            state.wakers[id] = nil
        }
    }

    func takeDecisions(of id: Int) -> [SchedulerReply] {
        state.withLock { state in
            if state.isStopping && state.allocations[id] == nil && state.decisions[id]?.isEmpty ?? true {
                return [SchedulerReply(refused: .unavailable, "the server is stopping")]
            }
            defer { state.decisions[id] = [] }
            return state.decisions[id] ?? []
        }
    }

    /// Performs what the scheduler decides; a server that stops decides nothing any more, or the end of one allocation
    /// would grant the next.
    private func decide(_ state: inout State, _ event: Scheduler.Event) {
        guard !state.isStopping else { return }
        for action in state.scheduler.handle(event) {
            state.wakers[action.request]?.wake()
            switch action {
            case .grant(let id, let grant):
                let allocation = Allocation(
                    id: id, ticket: (0..<32).map { _ in UInt8.random(in: 0...255) },
                    devices: grant.gpus.map { inventory.gpus[$0].index }, mebibytes: grant.mebibytes,
                    client: state.clients[id] ?? "")
                state.allocations[id] = allocation
                var reply = SchedulerReply(.granted)
                reply.allocation = id
                reply.ticket = allocation.ticket.map { hexadecimal($0) }.joined()
                reply.dispatcherPort = dispatcherPort
                reply.idleMinutes = 0
                reply.gpus = grant.gpus.map { SchedulerReply.Entry(inventory.gpus[$0], allocatedMiB: grant.mebibytes) }
                state.decisions[id, default: []].append(reply)
            case .wait(let id, let position, let reason):
                var reply = SchedulerReply(.waiting)
                reply.position = position
                reply.message = reason
                state.decisions[id, default: []].append(reply)
            case .refuse(let id, let refusal, let reason):
                let code: SchedulerReply.Refusal = refusal == .impossible ? .impossible : .timeout
                state.decisions[id, default: []].append(SchedulerReply(refused: code, reason))
            }
        }
    }
}

private func hexadecimal(_ byte: UInt8) -> String {
    let text = String(byte, radix: 16)
    return text.count == 1 ? "0" + text : text
}

// SPDX-License-Identifier: Apache-2.0
package import Pool
package import Scheduling
import Synchronization
import Threads

/// GPUs that a client holds until its connection closes.
package struct Allocation: Sendable {
    package let id: Int
    package let ticket: Ticket
    /// The driver's numbers of its GPUs.
    package let devices: [Int]
    /// MiB on each of them; nil for all.
    package let mebibytes: Int?
    /// As the client describes itself.
    package let client: String
    /// The address that it came from.
    package let address: String
    let beganAt: Scheduler.Instant
}

/// What the resource scheduler asks of those who run the applications.
package protocol AllocationRunner: Sendable {
    /// Ends what runs in an allocation, and returns when it has ended.
    func end(allocation: Int)
    /// What its applications have done so far.
    func activity(of allocation: Int) -> Leases.Activity
}

/// What a server's management library tells of its GPUs.
package struct GPUSample: Sendable {
    /// The driver's version in words.
    package var driver: String?
    package var gpus: [GPUStatus]

    package init(driver: String?, gpus: [GPUStatus]) {
        self.driver = driver
        self.gpus = gpus
    }
}

/// The resource scheduler of a server: the only authority on which of its GPUs are free.
///
/// It performs what the ``Scheduler`` and the ``Leases`` decide. Every request is a connection, and the connection that
/// was granted GPUs owns them.
package final class ResourceScheduler: Sendable {
    private struct State {
        var scheduler: Scheduler
        var leases = Leases()
        var nextID = 1
        var allocations: [Int: Allocation] = [:]
        /// Allocations whose workers are being ended.
        var ending: Set<Int> = []
        var clients: [Int: (name: String, address: String)] = [:]
        /// What has been decided and the request's connection has not yet sent.
        var decisions: [Int: [SchedulerReply]] = [:]
        /// Tells the request's connection that there is a decision.
        var wakers: [Int: Waker] = [:]
        var isStopping = false
    }

    private let state: Mutex<State>
    package let inventory: Inventory
    private let dispatcherPort: Int
    private let runner: any AllocationRunner
    let sample: @Sendable () -> GPUSample?
    let health: @Sendable () -> HealthReport?
    private let wireVersion: String?

    /// Serves the GPUs of an inventory.
    ///
    /// `sample` asks the management library and `health` runs the server's checks, which may take some time; nil when
    /// they do not tell. `wireVersion` is what the dispatcher speaks.
    package init(
        inventory: Inventory, facts: ServerFacts? = nil, dispatcherPort: Int, runner: any AllocationRunner,
        settings: PoolSettings = PoolSettings(), wireVersion: String? = nil,
        sample: @escaping @Sendable () -> GPUSample? = { nil },
        health: @escaping @Sendable () -> HealthReport? = { nil }
    ) {
        self.inventory = inventory
        self.dispatcherPort = dispatcherPort
        self.runner = runner
        self.sample = sample
        self.health = health
        self.wireVersion = wireVersion
        var scheduler = Scheduler(gpus: inventory.gpus, facts: facts)
        _ = scheduler.handle(.settings(settings), at: 0)
        state = Mutex(State(scheduler: scheduler))
    }

    /// The live allocation of a ticket.
    package func allocation(ticket: Ticket) -> Allocation? {
        state.withLock { state in
            var found: Allocation?
            // To the end, wherever it is found: the time tells nothing.
            for allocation in state.allocations.values where allocation.ticket.matches(ticket) { found = allocation }
            return found
        }
    }

    package var isStopping: Bool { state.withLock { $0.isStopping } }

    /// Refuses everything from now on and ends every allocation.
    package func stop() {
        let ended = state.withLock { state in
            state.isStopping = true
            state.wakers.values.forEach { $0.wake() }
            let ended = Array(state.allocations.keys)
            state.allocations.removeAll()
            return ended
        }
        ended.forEach { runner.end(allocation: $0) }
    }

    /// Applies what an administrator has decided, to those who wait and to those who run.
    package func apply(_ settings: PoolSettings) {
        state.withLock { state in
            decide(&state, .settings(settings))
            for id in state.leases.ids {
                state.leases.setIdleMinutes(
                    settings.idleMinutes(of: state.clients[id]?.address ?? ""), of: id, at: monotonicMilliseconds())
            }
        }
    }

    /// Lets time pass: offers and leases end, idle allocations are warned and ended.
    ///
    /// Called about every ``tickMilliseconds`` by one thread.
    package func tick() {
        for id in state.withLock({ $0.leases.watched }) {
            let activity = runner.activity(of: id)
            state.withLock { $0.leases.saw(activity, of: id, at: monotonicMilliseconds()) }
        }
        let ended = state.withLock { state in
            decide(&state, .timePassed)
            var ended: [Int] = []
            for action in state.leases.timePassed(at: monotonicMilliseconds()) {
                switch action {
                case .warn(let id, let sentence): tell(&state, id, .warning, sentence)
                case .end(let id, let reason):
                    tell(&state, id, .ended, "the server has ended the allocation: \(reason)")
                    ended.append(id)
                }
            }
            return ended
        }
        ended.forEach { endAllocation($0) }
    }

    package static let tickMilliseconds = 250

    // MARK: What a connection asks

    func list() -> SchedulerReply {
        state.withLock { state in
            var reply = SchedulerReply(.inventory)
            reply.driverVersion = inventory.driverVersion
            reply.clockMilliseconds = wallClockMilliseconds()
            reply.release = ProductVersion.number
            reply.wireVersion = wireVersion
            reply.runningTasks = state.scheduler.grantedCount
            reply.waitingTasks = state.scheduler.waiting.count
            if !state.scheduler.settings.acceptsRequests { reply.isDraining = true }
            reply.servers = servers(state)
            reply.gpus = inventory.gpus.indices.map {
                SchedulerReply.Entry(inventory.gpus[$0], freeMiB: state.scheduler.freeMiB($0))
            }
            return reply
        }
    }

    /// The allocations that are running, the oldest first.
    package func tasks() -> [TaskStatus] {
        let now = monotonicMilliseconds()
        return state.withLock { state in
            state.allocations.values.sorted { $0.id < $1.id }.map { allocation in
                TaskStatus(
                    allocation: allocation.id, client: allocation.client, address: allocation.address,
                    gpus: allocation.devices, mebibytes: allocation.mebibytes,
                    runningSeconds: Int((now - allocation.beganAt) / 1000))
            }
        }
    }

    /// MiB of each GPU that are given away.
    package func allocatedMiB() -> [Int] {
        state.withLock { state in
            inventory.gpus.indices.map { inventory.gpus[$0].totalMiB - state.scheduler.freeMiB($0) }
        }
    }

    /// The servers that clients should know; nil when there are no others.
    var servers: [String]? { state.withLock { servers($0) } }

    /// Whether no new requests are accepted.
    package var isDraining: Bool { state.withLock { !$0.scheduler.settings.acceptsRequests } }

    /// Asks for GPUs.
    ///
    /// The answers come from ``takeDecisions(of:)``; ``end(_:)`` must follow.
    func request(_ request: Scheduler.Request, name: String, waker: Waker) -> Int {
        state.withLock { state in
            let id = state.nextID
            state.nextID += 1
            guard !state.isStopping else {
                state.decisions[id] = [SchedulerReply(refused: .unavailable, "the server is stopping")]
                return id
            }
            state.clients[id] = (name, request.client)
            state.wakers[id] = waker
            decide(&state, .requested(id, request))
            return id
        }
    }

    /// The client takes what it was offered.
    func accept(_ id: Int) { state.withLock { decide(&$0, .accepted(id)) } }

    func timeOut(_ id: Int) { state.withLock { decide(&$0, .timedOut(id)) } }

    /// The owner has said something.
    func heard(_ id: Int) { state.withLock { $0.leases.heard(id, at: monotonicMilliseconds()) } }

    /// The request's connection is gone, or has released its GPUs.
    func end(_ id: Int) {
        endAllocation(id)
        state.withLock { state in
            state.decisions[id] = nil
            state.clients[id] = nil
            state.wakers[id] = nil
        }
    }

    /// Ends the allocation of a ticket, whoever owns it, and tells the owner; false when there is none.
    func release(ticket: Ticket) -> Bool {
        guard let allocation = allocation(ticket: ticket) else { return false }
        state.withLock { tell(&$0, allocation.id, .ended, "the GPUs were released") }
        endAllocation(allocation.id)
        return true
    }

    /// The ticket is worth nothing from now on; the GPUs are free for others only when nothing uses them any more.
    private func endAllocation(_ id: Int) {
        let (isRunning, isEnding) = state.withLock { state in
            state.leases.end(id)
            let isEnding = state.ending.contains(id)
            let isRunning = state.allocations.removeValue(forKey: id) != nil
            if isRunning { state.ending.insert(id) }
            return (isRunning, isEnding)
        }
        // Somebody else is ending it, and frees the GPUs.
        guard !isEnding else { return }
        if isRunning { runner.end(allocation: id) }
        state.withLock { state in
            state.ending.remove(id)
            decide(&state, .ended(id))
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

    // MARK: What has been decided

    private func tell(_ state: inout State, _ id: Int, _ kind: SchedulerReply.Kind, _ sentence: String) {
        guard state.wakers[id] != nil else { return }
        var reply = SchedulerReply(kind)
        reply.message = sentence
        state.decisions[id, default: []].append(reply)
        state.wakers[id]?.wake()
    }

    /// Performs what the scheduler decides; a server that stops decides nothing any more, or the end of one allocation
    /// would grant the next.
    private func decide(_ state: inout State, _ event: Scheduler.Event) {
        guard !state.isStopping else { return }
        let now = monotonicMilliseconds()
        for action in state.scheduler.handle(event, at: now) {
            let id = action.request
            state.decisions[id, default: []].append(reply(to: action, &state, now))
            state.wakers[id]?.wake()
        }
    }

    private func reply(
        to action: Scheduler.Action, _ state: inout State, _ now: Scheduler.Instant
    ) -> SchedulerReply {
        switch action {
        case .offer(_, let grant):
            var reply = SchedulerReply(.offer)
            reply.gpus = entries(grant)
            return reply
        case .grant(let id, let grant): return begin(id, grant, &state, now)
        case .wait(_, let position, let reason):
            var reply = SchedulerReply(.waiting)
            reply.position = position
            reply.message = reason
            reply.servers = servers(state)
            return reply
        case .refuse(_, let refusal, let reason):
            let code: SchedulerReply.Refusal =
                switch refusal {
                case .impossible: .impossible
                case .timeout: .timeout
                case .quota: .quota
                case .draining: .unavailable
                }
            var reply = SchedulerReply(refused: code, reason)
            reply.servers = servers(state)
            return reply
        }
    }

    /// The other servers of the pool, when there are any.
    private func servers(_ state: State) -> [String]? {
        state.scheduler.settings.servers.isEmpty ? nil : state.scheduler.settings.servers
    }

    private func begin(
        _ id: Int, _ grant: Scheduler.Grant, _ state: inout State, _ now: Scheduler.Instant
    ) -> SchedulerReply {
        let client = state.clients[id] ?? ("", "")
        let idleMinutes = state.scheduler.settings.idleMinutes(of: client.address)
        let allocation = Allocation(
            id: id, ticket: Ticket(),
            devices: grant.gpus.map { inventory.gpus[$0].index }, mebibytes: grant.mebibytes, client: client.name,
            address: client.address, beganAt: now)
        state.allocations[id] = allocation
        state.leases.begin(id, idleMinutes: idleMinutes, at: now)
        var reply = SchedulerReply(.granted)
        reply.allocation = id
        reply.ticket = allocation.ticket.hexadecimal
        reply.dispatcherPort = dispatcherPort
        reply.idleMinutes = Int(idleMinutes.rounded(.up))
        reply.gpus = entries(grant)
        return reply
    }

    private func entries(_ grant: Scheduler.Grant) -> [SchedulerReply.Entry] {
        grant.gpus.map { SchedulerReply.Entry(inventory.gpus[$0], allocatedMiB: grant.mebibytes) }
    }
}

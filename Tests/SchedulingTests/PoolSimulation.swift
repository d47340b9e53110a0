// SPDX-License-Identifier: Apache-2.0
import ManagerClient
import Pool
import Testing

@testable import Scheduling

/// Servers and clients in virtual time, on a network that delays, reorders between servers and breaks connections, with
/// clients and servers that crash.
///
/// The decisions are the product's own values: ``Scheduler`` and ``Leases`` at the servers, ``ServerRace`` at the
/// clients. After each step no GPU is held twice, no allocation has two owners, and nobody waits for what is free; at
/// the end nothing is lost. A failure names the seed that brings it back.
struct PoolSimulation {
    typealias Instant = Scheduler.Instant

    /// A connection: from one client's request to one server.
    struct Link: Hashable {
        let client: Int
        let server: Int
        /// A client asks the same server again under another number.
        let number: Int
    }

    enum Message {
        case ask(Link), accept(Link), heartbeat(Link), release(Link)
        /// The client's end has closed.
        case closed(Link)
        case reply(Link, SchedulerReply)
        /// The server's end has closed, or could not be reached.
        case broken(Link, String)
        /// The client has done its work.
        case finished(client: Int, attempt: Int)
        case clientTick(Int)
        case serverTick(Int)
        case arrives(Int)
        case clientCrashes(Int)
        case serverCrashes(Int)
    }

    struct Server {
        var scheduler: Scheduler
        var leases = Leases()
        var links: [Int: Link] = [:]
        var ids: [Link: Int] = [:]
        var nextID = 1
    }

    struct Client {
        var request: Scheduler.Request
        var waitSeconds: Int
        var race: ServerRace?
        var links: [Int: Link] = [:]
        var granted: Link?
        var isAlive = true
        var outcome: String?
    }

    struct Faults {
        /// Chances in a thousand, for each message.
        var breaks = 0
        var clientCrashes = 0
        var serverCrashes = 0
    }

    private(set) var servers: [Server]
    private(set) var clients: [Client] = []
    private(set) var now: Instant = 0
    private var events = Heap()
    private var chance: SplitMix64
    private let faults: Faults
    private let sizes: [[Int]]
    private var nextLink = 0
    private(set) var grants = 0
    /// The server whose scheduler the last event has changed.
    private var touched: Int?

    init(seed: UInt64, sizes: [[Int]], faults: Faults) {
        chance = SplitMix64(state: seed)
        self.sizes = sizes
        self.faults = faults
        servers = sizes.map { Server(scheduler: Scheduler(gpus: gpus($0))) }
        for server in sizes.indices { events.push(1000, .serverTick(server)) }
    }

    // MARK: Running

    mutating func add(_ request: Scheduler.Request, waitSeconds: Int, at instant: Instant) {
        clients.append(Client(request: request, waitSeconds: waitSeconds))
        events.push(instant, .arrives(clients.count - 1))
    }

    /// Performs the next event; false when there is none before `end`, or nothing can happen any more.
    mutating func step(before end: Instant) -> Bool {
        guard let (instant, message) = events.pop(), instant <= end else { return false }
        now = instant
        touched = nil
        deliver(message)
        if case .serverTick = message { return !isSettled }
        return true
    }

    private var isSettled: Bool {
        clients.allSatisfy { $0.outcome != nil }
            && servers.allSatisfy { $0.scheduler.holdings.isEmpty && $0.scheduler.waiting.isEmpty }
    }

    private mutating func send(_ message: Message, after least: Instant = 0) {
        events.push(now + least + Instant.random(in: 1...20, using: &chance), message)
    }

    private mutating func happens(_ perMille: Int) -> Bool {
        perMille > 0 && Int.random(in: 0..<1000, using: &chance) < perMille
    }

    private mutating func deliver(_ message: Message) {
        switch message {
        case .ask(let link): serve(link) { .requested($0, $1) }
        case .accept(let link): event(link) { .accepted($0) }
        case .heartbeat(let link):
            if let id = servers[link.server].ids[link] { servers[link.server].leases.heard(id, at: now) }
        case .release(let link), .closed(let link): close(link)
        case .reply(let link, let reply): hear(link, .said(reply), reply)
        case .broken(let link, let reason): hear(link, .lost(reason), nil)
        case .finished(let client, let attempt):
            guard let link = clients[client].granted, link.number == attempt, clients[client].isAlive else { return }
            clients[client].granted = nil
            clients[client].outcome = "done"
            send(.release(link))
        case .clientTick(let client): tickClient(client)
        case .serverTick(let server): tickServer(server)
        case .arrives(let client): arrive(client)
        case .clientCrashes(let client): crash(client: client)
        case .serverCrashes(let server): crash(server: server)
        }
    }

    // MARK: Servers

    private mutating func serve(_ link: Link, _ make: (Int, Scheduler.Request) -> Scheduler.Event) {
        let id = servers[link.server].nextID
        servers[link.server].nextID += 1
        servers[link.server].links[id] = link
        servers[link.server].ids[link] = id
        let client = clients[link.client]
        var request = client.request
        request.waits = client.waitSeconds > 0
        perform(link.server, servers[link.server].scheduler.handle(make(id, request), at: now))
        if request.waits { send(.serverTick(link.server), after: Instant(client.waitSeconds) * 1000) }
    }

    private mutating func event(_ link: Link, _ make: (Int) -> Scheduler.Event) {
        guard let id = servers[link.server].ids[link] else { return }
        perform(link.server, servers[link.server].scheduler.handle(make(id), at: now))
    }

    private mutating func close(_ link: Link) {
        guard let id = servers[link.server].ids.removeValue(forKey: link) else { return }
        servers[link.server].links[id] = nil
        servers[link.server].leases.end(id)
        perform(link.server, servers[link.server].scheduler.handle(.ended(id), at: now))
    }

    private mutating func tickServer(_ server: Int) {
        perform(server, servers[server].scheduler.handle(.timePassed, at: now))
        for action in servers[server].leases.timePassed(at: now) {
            guard case .end(let id, _) = action, let link = servers[server].links[id] else { continue }
            send(.broken(link, "lease"))
            close(link)
        }
        events.push(now + 1000, .serverTick(server))
    }

    private mutating func perform(_ server: Int, _ actions: [Scheduler.Action]) {
        touched = server
        for action in actions {
            guard let link = servers[server].links[action.request] else { continue }
            var reply: SchedulerReply
            switch action {
            case .offer: reply = SchedulerReply(.offer)
            case .grant(let id, _):
                servers[server].leases.begin(id, idleMinutes: 0, at: now)
                reply = SchedulerReply(.granted)
            case .wait: reply = SchedulerReply(.waiting)
            case .refuse(_, let refusal, let reason):
                reply = SchedulerReply(refused: refusal == .impossible ? .impossible : .timeout, reason)
            }
            if happens(faults.breaks) { cut(link) } else { send(.reply(link, reply)) }
        }
    }

    /// The connection breaks: both ends notice, each in its time.
    private mutating func cut(_ link: Link) {
        send(.broken(link, "broken"))
        send(.closed(link))
    }

    private mutating func crash(server: Int) {
        let links = servers[server].links.values
        servers[server] = Server(scheduler: Scheduler(gpus: gpus(sizes[server])))
        servers[server].nextID = 1_000_000 * Int(now % 1000 + 1)
        for link in links.sorted(by: { $0.number < $1.number }) { send(.broken(link, "crashed")) }
    }

    // MARK: Clients

    private mutating func arrive(_ client: Int) {
        let race = ServerRace(
            servers: servers.indices.map { "s\($0)" }, demand: "", waitSeconds: clients[client].waitSeconds, at: now)
        clients[client].race = race
        perform(client: client, race.start())
        events.push(now + 1000, .clientTick(client))
        if happens(faults.clientCrashes) {
            send(.clientCrashes(client), after: Instant.random(in: 0...8_000, using: &chance))
        }
    }

    private mutating func hear(_ link: Link, _ event: ServerRace.Event, _ reply: SchedulerReply?) {
        guard clients[link.client].isAlive else { return }
        if clients[link.client].granted == link, case .lost = event {
            clients[link.client].granted = nil
            clients[link.client].outcome = "lost its GPUs"
        }
        guard clients[link.client].links[link.server] == link else { return }
        let actions = clients[link.client].race?.handle(event, from: link.server, at: now) ?? []
        perform(client: link.client, actions)
    }

    private mutating func perform(client: Int, _ actions: [ServerRace.Action]) {
        for action in actions {
            switch action {
            case .ask(let server):
                nextLink += 1
                let link = Link(client: client, server: server, number: nextLink)
                clients[client].links[server] = link
                if happens(faults.breaks) { send(.broken(link, "not reached")) } else { send(.ask(link)) }
            case .accept(let server):
                guard let link = clients[client].links[server] else { continue }
                if happens(faults.breaks) { cut(link) } else { send(.accept(link)) }
            case .leave(let server):
                if let link = clients[client].links.removeValue(forKey: server) { send(.closed(link)) }
            case .report: break
            case .won(let server):
                guard let link = clients[client].links[server] else { continue }
                clients[client].granted = link
                grants += 1
                send(
                    .finished(client: client, attempt: link.number),
                    after: Instant.random(in: 10...20_000, using: &chance))
            case .failed: clients[client].outcome = "failed"
            }
        }
    }

    private mutating func tickClient(_ client: Int) {
        guard clients[client].isAlive, clients[client].outcome == nil else { return }
        if let link = clients[client].granted {
            send(.heartbeat(link))
        } else {
            perform(client: client, clients[client].race?.handle(.timePassed, from: 0, at: now) ?? [])
            // What a connection's thread does at its deadline.
            for link in clients[client].links.values.sorted(by: { $0.number < $1.number })
            where clients[client].race?.secondsLeft(at: now) == 0 { event(link) { .timedOut($0) } }
        }
        events.push(now + 1000, .clientTick(client))
    }

    private mutating func crash(client: Int) {
        guard clients[client].outcome == nil else { return }
        clients[client].isAlive = false
        clients[client].outcome = "crashed"
        // Its kernel closes what it had, or nobody does: then the leases and the offers end.
        guard Bool.random(using: &chance) else {
            for link in clients[client].links.values where clients[client].granted != link {
                send(.closed(link), after: 30_000)
            }
            return
        }
        for link in clients[client].links.values.sorted(by: { $0.number < $1.number }) { send(.closed(link)) }
    }

    mutating func crashServer(_ server: Int, at instant: Instant) { events.push(instant, .serverCrashes(server)) }

    // MARK: What must hold

    /// What the last event has broken, in words; nil when all promises hold.
    func violation() -> String? {
        for index in touched.map({ [$0] }) ?? [] {
            let server = servers[index]
            for (gpu, device) in server.scheduler.gpus.enumerated() {
                let holders = server.scheduler.holdings.values.filter { $0.grant.gpus.contains(gpu) }
                let sum = holders.reduce(0) { $0 + ($1.grant.mebibytes ?? device.totalMiB) }
                if sum > device.totalMiB { return "GPU \(gpu) of server \(index) is given away beyond its memory" }
                if holders.contains(where: { $0.grant.mebibytes == nil }), holders.count > 1 {
                    return "somebody is on a whole GPU of server \(index)"
                }
                if server.scheduler.freeMiB(gpu) != device.totalMiB - sum { return "memory is counted wrong" }
            }
            if let first = server.scheduler.waiting.first, fits(first.request.demand, in: server.scheduler) {
                return "the first in the queue of server \(index) waits for what is free"
            }
        }
        return nil
    }

    private func fits(_ demand: Demand, in scheduler: Scheduler) -> Bool {
        switch demand.memory {
        case .whole:
            let held = Set(scheduler.holdings.values.flatMap(\.grant.gpus))
            return scheduler.gpus.indices.count { !held.contains($0) } >= demand.gpuCount
        case .mebibytes(let count):
            return scheduler.gpus.indices.count { scheduler.freeMiB($0) >= count } >= demand.gpuCount
        case .share: return false
        }
    }

    /// Gives one GPU of the first server to two requests, behind the scheduler's back.
    mutating func forgeSecondHolder() {
        touched = 0
        let grant = Scheduler.Grant(gpus: [0], mebibytes: nil)
        for id in [-1, -2] {
            servers[0].scheduler.holdings[id] = .init(grant: grant, client: "", quotaGPUs: 1, offeredUntil: nil)
        }
    }

    /// Clients that believe they hold GPUs, by what they hold.
    var owners: [Link] { clients.filter(\.isAlive).compactMap(\.granted) }
}

/// Events by their time; those of one time in their order.
private struct Heap {
    private var items: [(time: Scheduler.Instant, order: Int, message: PoolSimulation.Message)] = []
    private var order = 0

    mutating func push(_ time: Scheduler.Instant, _ message: PoolSimulation.Message) {
        items.append((time, order, message))
        order += 1
        var index = items.count - 1
        while index > 0, isBefore(index, (index - 1) / 2) {
            items.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    mutating func pop() -> (Scheduler.Instant, PoolSimulation.Message)? {
        guard let first = items.first else { return nil }
        let last = items.removeLast()
        if !items.isEmpty {
            items[0] = last
            var index = 0
            while true {
                let children = [2 * index + 1, 2 * index + 2].filter { $0 < items.count }
                guard let least = children.min(by: { isBefore($0, $1) }), isBefore(least, index) else { break }
                items.swapAt(least, index)
                index = least
            }
        }
        return (first.time, first.message)
    }

    private func isBefore(_ first: Int, _ second: Int) -> Bool {
        (items[first].time, items[first].order) < (items[second].time, items[second].order)
    }
}

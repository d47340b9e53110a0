// SPDX-License-Identifier: Apache-2.0
import ManagerClient
import Pool
package import Scheduling

/// Servers and clients in virtual time, on a network that delays, reorders between servers and breaks connections, with
/// clients and servers that crash.
///
/// The decisions are the product's own values: ``Scheduler`` and ``Leases`` at the servers, ``ServerRace`` at the
/// clients. After each step no GPU is held twice, no allocation has two owners, and nobody waits for what is free; at
/// the end nothing is lost. A failure names the seed that brings it back.
package struct PoolSimulation {
    package typealias Instant = Scheduler.Instant

    /// A connection: from one client's request to one server.
    package struct Link: Hashable, Sendable {
        let client: Int
        let server: Int
        /// The server's place among those that the client asks.
        let place: Int
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

    package struct Server {
        package var scheduler: Scheduler
        var leases = Leases()
        var links: [Int: Link] = [:]
        var ids: [Link: Int] = [:]
        var nextID = 1
    }

    package struct Client {
        package var request: Scheduler.Request
        package var waitSeconds: Int
        /// The servers that it asks.
        var candidates: [Int]
        var race: ServerRace?
        var links: [Int: Link] = [:]
        var granted: Link?
        var isAlive = true
        /// How it ended; nil until then.
        package var outcome: String?
    }

    /// Chances in a thousand.
    package struct Faults: Sendable {
        /// For each message.
        var breaks: Int
        /// For each client.
        var clientCrashes: Int

        package init(breaks: Int = 0, clientCrashes: Int = 0) {
            self.breaks = breaks
            self.clientCrashes = clientCrashes
        }
    }

    package private(set) var servers: [Server]
    package private(set) var clients: [Client] = []
    package private(set) var now: Instant = 0
    private var events = EventQueue()
    private var chance: SplitMix64
    private let faults: Faults
    private let sizes: [[Int]]
    private var nextLink = 0
    package private(set) var grants = 0
    /// Clients without an outcome.
    private var openClients = 0
    private var checkedShare = 1.0
    /// The server whose scheduler the last event has changed.
    private var touched: Int?

    package init(seed: UInt64, sizes: [[Int]], faults: Faults) {
        chance = SplitMix64(state: seed)
        self.sizes = sizes
        self.faults = faults
        servers = sizes.map { Server(scheduler: Scheduler(gpus: gpus($0))) }
        for server in sizes.indices { events.push(1000, .serverTick(server)) }
    }

    // MARK: Running

    /// A client that asks some servers, or all.
    package mutating func add(
        _ request: Scheduler.Request, waitSeconds: Int, at instant: Instant, servers candidates: [Int]? = nil
    ) {
        clients.append(
            Client(request: request, waitSeconds: waitSeconds, candidates: candidates ?? Array(servers.indices)))
        openClients += 1
        events.push(instant, .arrives(clients.count - 1))
    }

    /// Performs the next event; false when there is none before `end`, or nothing can happen any more.
    package mutating func step(before end: Instant) -> Bool {
        guard let (instant, message) = events.pop(), instant <= end else { return false }
        now = instant
        touched = nil
        deliver(message)
        if case .serverTick = message { return !isSettled }
        return true
    }

    private var isSettled: Bool {
        openClients == 0
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
            end(client, "done")
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
        var request = clients[link.client].request
        request.waits = clients[link.client].waitSeconds > 0
        perform(link.server, servers[link.server].scheduler.handle(make(id, request), at: now))
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
            servers: clients[client].candidates.map { "s\($0)" }, demand: "",
            waitSeconds: clients[client].waitSeconds, at: now)
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
            end(link.client, "lost its GPUs")
        }
        guard clients[link.client].links[link.place] == link else { return }
        let actions = clients[link.client].race?.handle(event, from: link.place, at: now) ?? []
        perform(client: link.client, actions)
    }

    private mutating func perform(client: Int, _ actions: [ServerRace.Action]) {
        for action in actions {
            switch action {
            case .ask(let place):
                nextLink += 1
                let server = clients[client].candidates[place]
                let link = Link(client: client, server: server, place: place, number: nextLink)
                clients[client].links[place] = link
                if happens(faults.breaks) { send(.broken(link, "not reached")) } else { send(.ask(link)) }
            case .accept(let place):
                guard let link = clients[client].links[place] else { continue }
                if happens(faults.breaks) { cut(link) } else { send(.accept(link)) }
            case .leave(let place):
                if let link = clients[client].links.removeValue(forKey: place) { send(.closed(link)) }
            case .report: break
            case .won(let place):
                guard let link = clients[client].links[place] else { continue }
                clients[client].granted = link
                grants += 1
                send(
                    .finished(client: client, attempt: link.number),
                    after: Instant.random(in: 10...20_000, using: &chance))
            case .failed: end(client, "failed")
            }
        }
    }

    private mutating func end(_ client: Int, _ outcome: String) {
        if clients[client].outcome == nil { openClients -= 1 }
        clients[client].outcome = outcome
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
        end(client, "crashed")
        // Its kernel closes what it had, or nobody does: then the leases and the offers end.
        guard Bool.random(using: &chance) else {
            for link in clients[client].links.values where clients[client].granted != link {
                send(.closed(link), after: 30_000)
            }
            return
        }
        for link in clients[client].links.values.sorted(by: { $0.number < $1.number }) { send(.closed(link)) }
    }

    /// A server loses everything that it knows.
    package mutating func crashServer(_ server: Int, at instant: Instant) {
        events.push(instant, .serverCrashes(server))
    }

    // MARK: What must hold

    /// What the last event has broken, in words; nil when all promises hold.
    package func violation() -> String? {
        for index in touched.map({ [$0] }) ?? [] {
            let server = servers[index]
            for (gpu, device) in server.scheduler.gpus.enumerated() {
                let holders = server.scheduler.holdings.values.filter { $0.grant.gpus.contains(gpu) }
                let sum = holders.reduce(0) { $0 + ($1.grant.mebibytes ?? device.totalMiB) }
                if Double(sum) > checkedShare * Double(device.totalMiB) {
                    return "GPU \(gpu) of server \(index) is given away beyond its memory"
                }
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

    /// Makes the check believe that GPUs have less memory than they have: it must object then.
    package mutating func shrinkCheckedMemory() { checkedShare = 0.5 }

    /// Clients that believe they hold GPUs, by what they hold.
    package var owners: [Link] { clients.filter(\.isAlive).compactMap(\.granted) }
}

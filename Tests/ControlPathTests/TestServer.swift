// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import Manager
import ManagerClient
import Pool
import Scheduling
import Testing
import Threads

/// A resource scheduler on a free port of 127.0.0.1, without workers.
final class TestServer: Sendable {
    let scheduler: ResourceScheduler
    let address: ServerAddress
    private let listener: Listener

    /// Stands for the dispatcher.
    final class Runner: AllocationRunner {
        /// Ends an allocation's workers.
        let endWorkers: @Sendable (Int) -> Void
        let activity = Watched(Leases.Activity(counter: 0, isRunning: false))

        init(_ endWorkers: @escaping @Sendable (Int) -> Void) { self.endWorkers = endWorkers }

        func end(allocation: Int) { endWorkers(allocation) }
        func activity(of allocation: Int) -> Leases.Activity { activity.withLock { $0 } }
    }

    let runner: Runner

    /// Listens at once; `allocationEnded` stands for the dispatcher, which ends an allocation's workers.
    init(
        _ mebibytes: [Int] = [4096, 4096], settings: PoolSettings = PoolSettings(),
        wireVersion: String? = nil, allocationEnded: @escaping @Sendable (Int) -> Void = { _ in },
        health: @escaping @Sendable () -> HealthReport? = { nil }
    ) throws {
        runner = Runner(allocationEnded)
        let gpus = mebibytes.enumerated().map { index, mebibytes in
            GPU(
                index: index, name: "test", uuid: "GPU-\(index)", totalMiB: mebibytes,
                pciBusID: "00000000:1\(index):00.0")
        }
        scheduler = ResourceScheduler(
            inventory: Inventory(driverVersion: 13050, gpus: gpus), dispatcherPort: 55001, runner: runner,
            settings: settings, wireVersion: wireVersion, health: health)
        listener = try Listener(address: "127.0.0.1", port: 0)
        address = ServerAddress(host: "127.0.0.1", port: UInt16(listener.port))
        scheduler.serve(at: listener)
    }

    deinit { listener.stop() }

    /// Sends a request for GPUs, takes what is offered at once, and returns the connection and the answer.
    func ask(
        _ count: Int, mib: Int? = nil, share: Double? = nil, waitSeconds: Int = 0, filters: [String]? = nil
    ) throws -> (SchedulerClient, SchedulerReply) {
        let client = try SchedulerClient(address)
        try client.send(TestServer.request(count, mib: mib, share: share, waitSeconds: waitSeconds, filters: filters))
        return (client, try client.answerTakingOffers())
    }

    static func request(
        _ count: Int, mib: Int? = nil, share: Double? = nil, waitSeconds: Int = 0, filters: [String]? = nil
    ) -> SchedulerRequest {
        var request = SchedulerRequest(.allocate)
        request.gpus = count
        request.mib = mib
        request.share = share
        request.waitSeconds = waitSeconds
        request.filters = filters
        return request
    }

    /// Does what the daemon's timekeeper does, for so long.
    func keepTime(milliseconds: Int) {
        let end = monotonicMilliseconds() + Int64(milliseconds)
        while monotonicMilliseconds() < end {
            scheduler.tick()
            usleep(50_000)
        }
    }

    func list() throws -> SchedulerReply { try SchedulerClient(address).list() }

    /// Waits until the server says so, at most so long.
    func becomes(within seconds: Double = 2, _ condition: (SchedulerReply) -> Bool) throws -> Bool {
        let end = Date().addingTimeInterval(seconds)
        while Date() < end {
            if condition(try list()) { return true }
            usleep(5_000)
        }
        return false
    }

    /// A connection for whatever a client should not say.
    func raw() throws -> LineConnection {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = self.address.port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        let connection = LineConnection(adopting: descriptor)
        try #require(code == 0)
        return connection
    }
}

extension SchedulerClient {
    /// The next reply that is no offer; offers are accepted.
    func answerTakingOffers(milliseconds: Int32 = 8_000) throws -> SchedulerReply {
        while let reply = try receive(milliseconds: milliseconds) {
            guard reply.type == .offer else { return reply }
            try send(SchedulerRequest(.accept))
        }
        throw Failure(message: "no answer")
    }
}

extension LineConnection {
    /// The next reply.
    func reply(milliseconds: Int32 = 8_000) throws -> SchedulerReply {
        try JSONDecoder().decode(
            SchedulerReply.self, from: Data(try receiveLine(limit: 1 << 20, milliseconds: milliseconds)))
    }

    /// Whether the server has nothing more to say and closes.
    func isClosed() -> Bool {
        do {
            _ = try receiveLine(limit: 1 << 20, milliseconds: 8_000)
            return false
        } catch {
            return error == .closed
        }
    }
}

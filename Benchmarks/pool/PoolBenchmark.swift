// SPDX-License-Identifier: Apache-2.0
import Foundation
import Manager
import ManagerClient
import Pool
import PoolSimulation
import Scheduling
import Threads

/// How many requests the pool serves: the decisions of 1,000 servers in simulation, one scheduler in this process, and
/// one resource scheduler through its protocol over loopback.
@main
struct PoolBenchmark {
    static func main() throws {
        print("| measure | found | bar | reached |\n|---|---|---|---|")
        simulate(servers: 1_000, requests: 100_000)
        try decide(rounds: 200_000)
        try serve()
    }

    // MARK: In simulation

    /// Each request waits at four of the servers.
    private static func simulate(servers: Int, requests: Int) {
        var chance = SplitMix64(state: 1)
        var simulation = PoolSimulation(
            seed: 1, sizes: [[Int]](repeating: [Int](repeating: 16384, count: 8), count: servers), faults: .init())
        for number in 0..<requests {
            let memory: Demand.Memory =
                Bool.random(using: &chance) ? .whole : .mebibytes(Int.random(in: 1...16384, using: &chance))
            let count = Int.random(in: 1...8, using: &chance)
            guard let demand = Demand(gpuCount: count, memory: memory) else { continue }
            let first = Int.random(in: 0..<servers, using: &chance)
            simulation.add(
                .init(demand), waitSeconds: 1800, at: Scheduler.Instant(number * 8),
                servers: (0..<4).map { (first + $0 * 37) % servers })
        }
        let time = seconds { while simulation.step(before: 100_000_000) {} }
        let served = simulation.clients.count { $0.outcome == "done" }
        row(
            "simulation: \(grouped(requests)) requests, each at 4 of \(grouped(servers)) servers with 8 GPUs",
            "\(grouped(served)) served in \(rounded(time, 1)) s", "all served", served == requests)
    }

    // MARK: In process

    /// Half of the server is taken, as on a working day.
    private static func decide(rounds: Int) throws {
        var scheduler = Scheduler(gpus: gpus([Int](repeating: 16384, count: 8)))
        guard let one = Demand(gpuCount: 1, memory: .mebibytes(1024)) else { return }
        for id in 0..<64 {
            _ = scheduler.handle(.requested(id, .init(one)), at: 0)
            _ = scheduler.handle(.accepted(id), at: 0)
        }
        let time = seconds {
            for id in 1_000..<1_000 + rounds {
                _ = scheduler.handle(.requested(id, .init(one)), at: 0)
                _ = scheduler.handle(.accepted(id), at: 0)
                _ = scheduler.handle(.ended(id), at: 0)
            }
        }
        let rate = Double(rounds) / time
        row(
            "one scheduler in process, allocate and release", "\(grouped(Int(rate)))/s", "at least 20,000/s",
            rate >= 20_000)
    }

    // MARK: Over the network

    private final class NoApplications: AllocationRunner {
        func end(allocation: Int) {}
        func activity(of allocation: Int) -> Leases.Activity { Leases.Activity(counter: 0, isRunning: false) }
    }

    private static func serve() throws {
        let inventory = Inventory(driverVersion: 13050, gpus: gpus([Int](repeating: 16384, count: 8)))
        let service = ResourceScheduler(inventory: inventory, dispatcherPort: 55001, runner: NoApplications())
        let listener = try Listener(address: "127.0.0.1", port: 0)
        defer { listener.stop() }
        service.serve(at: listener)
        let address = ServerAddress(host: "127.0.0.1", port: UInt16(listener.port))
        for _ in 0..<200 { _ = try allocateAndRelease(at: address) }
        let times = try (0..<2_000).map { _ in try allocateAndRelease(at: address) * 1000 }.sorted()
        let p99 = times[times.count * 99 / 100]
        row(
            "an allocation on an idle pool, connection included, median and p99",
            "\(rounded(times[times.count / 2], 2)) ms, \(rounded(p99, 2)) ms", "p99 under 5 ms", p99 < 5)
        let clients = 4
        let requestsEach = 2_500
        let running = Watched(clients)
        let time = seconds {
            for _ in 0..<clients {
                startThread {
                    for _ in 0..<requestsEach { _ = try? allocateAndRelease(at: address) }
                    running.withLock { $0 -= 1 }
                }
            }
            _ = running.wait(milliseconds: 120_000) { $0 == 0 ? true : nil }
        }
        let rate = Double(clients * requestsEach) / time
        row(
            "one scheduler over loopback, \(clients) clients, a connection each time, allocate and release",
            "\(grouped(Int(rate)))/s", "at least 3,000/s", rate >= 3_000)
    }

    /// A whole request on a connection of its own.
    ///
    /// Returns the seconds until the GPUs were granted.
    private static func allocateAndRelease(at address: ServerAddress) throws -> Double {
        var request = SchedulerRequest(.allocate)
        request.gpus = 1
        request.mib = 1024
        request.waitSeconds = 10
        let start = ContinuousClock.now
        var granted = 0.0
        let client = try SchedulerClient(address)
        try client.send(request)
        while true {
            let reply = try client.answer()
            switch reply.type {
            case .offer: try client.send(SchedulerRequest(.accept))
            case .granted:
                granted = inSeconds(ContinuousClock.now - start)
                try client.send(SchedulerRequest(.release))
            case .waiting: continue
            case .released: return granted
            default: throw SchedulerClient.Failure(message: reply.message ?? "refused")
            }
        }
    }

    // MARK: The table

    private static func row(_ measure: String, _ value: String, _ bar: String, _ isReached: Bool) {
        print("| \(measure) | \(value) | \(bar) | \(isReached ? "yes" : "no") |")
    }

    private static func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = ContinuousClock.now
        try body()
        return inSeconds(ContinuousClock.now - start)
    }

    private static func inSeconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }

    private static func rounded(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

    private static func grouped(_ value: Int) -> String {
        var digits = String(value)
        var groups: [String] = []
        while digits.count > 3 {
            groups.insert(String(digits.suffix(3)), at: 0)
            digits = String(digits.dropLast(3))
        }
        return ([digits] + groups).joined(separator: ",")
    }
}

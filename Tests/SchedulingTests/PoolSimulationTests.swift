// SPDX-License-Identifier: Apache-2.0
import Pool
import PoolSimulation
import Scheduling
import Testing

/// The whole pool from seeds (ARC-13, ARC-14, ARC-18, CLI-07, CLI-09, CLI-23).
@Suite struct PoolSimulationTests {
    private func request(using chance: inout SplitMix64) throws -> Scheduler.Request {
        let memory: Demand.Memory =
            Bool.random(using: &chance) ? .whole : .mebibytes(Int.random(in: 1...4096, using: &chance))
        return .init(try demand(Int.random(in: 1...3, using: &chance), memory))
    }

    private func simulation(
        seed: Int, servers: Int, clients: Int, faults: PoolSimulation.Faults
    ) throws -> PoolSimulation {
        var chance = SplitMix64(state: UInt64(seed) &+ 77)
        let sizes = (0..<servers).map { _ in [Int](repeating: 4096, count: Int.random(in: 3...4, using: &chance)) }
        var simulation = PoolSimulation(seed: UInt64(seed), sizes: sizes, faults: faults)
        for _ in 0..<clients {
            simulation.add(
                try request(using: &chance), waitSeconds: [0, 30, 600].randomElement(using: &chance) ?? 0,
                at: Scheduler.Instant.random(in: 0...60_000, using: &chance))
        }
        return simulation
    }

    @Test(arguments: 0..<40) func nothingIsHeldTwiceAndNothingIsLost(seed: Int) throws {
        var simulation = try simulation(
            seed: seed, servers: 3, clients: 60, faults: .init(breaks: 10, clientCrashes: 100))
        for server in 0..<2 where seed % 3 == 0 {
            simulation.crashServer(server, at: Scheduler.Instant(20_000 + 10_000 * server))
        }
        while simulation.step(before: 1_000_000) {
            if let violation = simulation.violation() {
                Issue.record("seed \(seed) at \(simulation.now) ms: \(violation)")
                return
            }
            let owners = simulation.owners
            #expect(Set(owners).count == owners.count, "seed \(seed): two owners of one allocation")
        }
        #expect(simulation.grants > 10, "seed \(seed): the simulation did something")
        for (index, client) in simulation.clients.enumerated() {
            #expect(client.outcome != nil, "seed \(seed): client \(index) neither worked nor failed")
        }
        for server in simulation.servers {
            #expect(server.scheduler.holdings.isEmpty, "seed \(seed): memory that nobody has is held")
            #expect(server.scheduler.waiting.isEmpty, "seed \(seed): nobody waits, and somebody is in the queue")
        }
    }

    @Test(arguments: 0..<20) func withoutFaultsEveryPatientClientIsServed(seed: Int) throws {
        var simulation = try simulation(seed: seed, servers: 2, clients: 40, faults: .init())
        while simulation.step(before: 1_000_000) { #expect(simulation.violation() == nil, "seed \(seed)") }
        for client in simulation.clients where client.waitSeconds == 600 {
            #expect(client.outcome == "done", "seed \(seed): \(client.request.demand.description)")
        }
    }

    /// The canary: a scheduler that gave a GPU away twice would be found.
    @Test func theCheckSeesWhatIsWrong() throws {
        var simulation = try simulation(seed: 1, servers: 1, clients: 20, faults: .init())
        simulation.shrinkCheckedMemory()
        var isFound = false
        while simulation.step(before: 1_000_000) { isFound = isFound || simulation.violation() != nil }
        #expect(isFound)
    }
}

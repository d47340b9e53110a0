// SPDX-License-Identifier: Apache-2.0
import Pool
import PoolSimulation
import Scheduling
import Testing

/// Random servers, requests, ends and timeouts.
///
/// After each event the promises of the scheduler hold; each failure names
/// the seed that brings it back.
@Suite struct SchedulerSimulation {
    @Test(arguments: 0..<150) func promisesHoldAfterEachEvent(seed: Int) throws {
        var chance = SplitMix64(state: UInt64(seed))
        let sizes = (0..<Int.random(in: 1...5, using: &chance)).map { _ in
            [1024, 2048, 4096].randomElement(using: &chance) ?? 1
        }
        var scheduler = Scheduler(gpus: gpus(sizes))
        var open: [Int] = []
        for id in 0..<200 {
            let actions: [Scheduler.Action]
            switch Int.random(in: 0..<10, using: &chance) {
            case 0..<5:
                let demand = try #require(
                    Demand(
                        gpuCount: Int.random(in: 1...(sizes.count + 1), using: &chance), memory: memory(using: &chance))
                )
                actions = scheduler.handle(.requested(id, .init(demand, waits: Bool.random(using: &chance))))
                open.append(id)
            case 5..<9:
                guard let ended = open.randomElement(using: &chance) else { continue }
                open.removeAll { $0 == ended }
                actions = scheduler.handle(.ended(ended))
            default:
                actions = scheduler.handle(.timedOut(open.randomElement(using: &chance) ?? -1))
            }
            check(scheduler, actions, seed: seed)
        }
        for id in open { _ = scheduler.handle(.ended(id)) }
        #expect(scheduler.holdings.isEmpty && scheduler.waiting.isEmpty, "seed \(seed)")
        for gpu in sizes.indices { #expect(scheduler.freeMiB(gpu) == sizes[gpu], "seed \(seed)") }
    }

    private func memory(using chance: inout SplitMix64) -> Demand.Memory {
        switch Int.random(in: 0..<3, using: &chance) {
        case 0: .whole
        case 1: .mebibytes(Int.random(in: 1...4200, using: &chance))
        default: .share(Double.random(in: 0.01...1, using: &chance))
        }
    }

    private func check(_ scheduler: Scheduler, _ actions: [Scheduler.Action], seed: Int) {
        for (gpu, device) in scheduler.gpus.enumerated() {
            let holders = scheduler.grants.filter { $0.gpus.contains(gpu) }
            let sum = holders.reduce(0) { $0 + ($1.mebibytes ?? device.totalMiB) }
            #expect(sum <= device.totalMiB, "seed \(seed): the partitions of GPU \(gpu) are larger than it")
            if holders.contains(where: { $0.mebibytes == nil }) {
                #expect(holders.count == 1, "seed \(seed): somebody is on a whole GPU")
            }
        }
        for grant in scheduler.grants {
            #expect(Set(grant.gpus).count == grant.gpus.count, "seed \(seed): a GPU twice in one grant")
        }
        // The first in the queue waits only while it does not fit: a scheduler with the same grants and no queue says
        // so.
        if let first = scheduler.waiting.first {
            #expect(
                !fitsAtOnce(first.request.demand, in: scheduler), "seed \(seed): the first in the queue fits and waits")
        }
        for case .offer(let id, let grant) in actions {
            #expect(scheduler.holdings[id]?.grant == grant, "seed \(seed)")
            #expect(!scheduler.waiting.contains { $0.id == id }, "seed \(seed): granted and waiting")
        }
    }

    /// Whether so many GPUs have the room, by counting, not by the scheduler's own search.
    private func fitsAtOnce(_ demand: Demand, in scheduler: Scheduler) -> Bool {
        let free = scheduler.gpus.indices.map { scheduler.freeMiB($0) }
        let total = scheduler.gpus.map(\.totalMiB)
        switch demand.memory {
        case .whole:
            let idle = total.indices.filter { gpu in !scheduler.grants.contains { $0.gpus.contains(gpu) } }
            return idle.count >= demand.gpuCount
        case .mebibytes(let count): return free.count { $0 >= count } >= demand.gpuCount
        case .share(let share):
            return total.indices.contains { smallest in
                let count = max(1, Int(share * Double(total[smallest])))
                guard free[smallest] >= count else { return false }
                return total.indices.count { total[$0] >= total[smallest] && free[$0] >= count } >= demand.gpuCount
            }
        }
    }

    /// The rule of the queue, against a scheduler that lets nobody pass: whatever ends, and in whatever order, the
    /// first in the queue is served after the same events in both.
    @Test(arguments: 0..<150) func passingDoesNotDelayTheFirst(seed: Int) throws {
        var chance = SplitMix64(state: UInt64(seed) &+ 1_000_000)
        let sizes = (0..<Int.random(in: 1...4, using: &chance)).map { _ in
            [2048, 4096].randomElement(using: &chance) ?? 1
        }
        var alone = Scheduler(gpus: gpus(sizes))
        var running: [Int] = []
        for id in 0..<6 {
            let demand = try #require(Demand(gpuCount: 1, memory: memory(using: &chance)))
            _ = alone.handle(.requested(id, .init(demand, waits: false)))
            if alone.holdings[id] != nil { running.append(id) }
        }
        let first = try #require(
            Demand(gpuCount: Int.random(in: 1...sizes.count, using: &chance), memory: memory(using: &chance)))
        _ = alone.handle(.requested(100, .init(first, waits: true)))
        guard alone.waiting.contains(where: { $0.id == 100 }) else { return }
        var crowded = alone
        for id in 101..<110 {
            let demand = try #require(Demand(gpuCount: 1, memory: memory(using: &chance)))
            _ = crowded.handle(.requested(id, .init(demand, waits: true)))
        }
        for id in running.shuffled(using: &chance) {
            _ = alone.handle(.ended(id))
            _ = crowded.handle(.ended(id))
            #expect(
                (alone.holdings[100] == nil) == (crowded.holdings[100] == nil),
                "seed \(seed): a later request delayed it"
            )
        }
    }
}

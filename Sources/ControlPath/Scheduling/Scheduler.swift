// SPDX-License-Identifier: Apache-2.0
package import Pool

/// Decides who holds which GPU of one server.
///
/// A value with no clock, no socket and no store: events come in, actions come out. The service performs the actions; the
/// simulation checks them. The sum of the partitions of a GPU never exceeds its memory, and a whole GPU is nobody else's.
package struct Scheduler: Sendable {
    package typealias RequestID = Int

    package enum Event: Sendable {
        case requested(RequestID, Demand, waits: Bool)
        /// The owner has released it, has gone, or does not wait any longer.
        case ended(RequestID)
        case timedOut(RequestID)
    }

    package enum Action: Sendable, Equatable {
        case grant(RequestID, Grant)
        /// The request waits; `position` is 1 for the next one.
        case wait(RequestID, position: Int, reason: String)
        case refuse(RequestID, Refusal, String)
    }

    package enum Refusal: Sendable, Equatable {
        case impossible
        case timeout
    }

    /// The GPUs of one allocation, by their index in the server, and the MiB of each; nil for whole ones.
    package struct Grant: Sendable, Equatable {
        package var gpus: [Int]
        package var mebibytes: Int?
    }

    package let gpus: [GPU]
    package private(set) var granted: [RequestID: Grant] = [:]
    package private(set) var waiting: [(id: RequestID, demand: Demand)] = []

    package init(gpus: [GPU]) { self.gpus = gpus }

    package mutating func handle(_ event: Event) -> [Action] {
        switch event {
        case .requested(let id, let demand, let waits):
            guard granted[id] == nil, !waiting.contains(where: { $0.id == id }) else { return [] }
            if let reason = impossibility(demand) { return [.refuse(id, .impossible, reason)] }
            waiting.append((id, demand))
            var actions = grantWaiting()
            guard let position = waiting.firstIndex(where: { $0.id == id }) else { return actions }
            if waits {
                actions.append(.wait(id, position: position + 1, reason: reasonToWait(position)))
            } else {
                waiting.remove(at: position)
                actions.append(.refuse(id, .timeout, "\(reasonToWait(position)), and the request does not wait"))
            }
            return actions

        case .ended(let id):
            waiting.removeAll { $0.id == id }
            granted[id] = nil
            return grantWaiting()

        case .timedOut(let id):
            guard let position = waiting.firstIndex(where: { $0.id == id }) else { return [] }
            let reason = reasonToWait(position)
            waiting.remove(at: position)
            return [.refuse(id, .timeout, reason)] + grantWaiting()
        }
    }

    /// MiB of a GPU that are not allocated.
    package func freeMiB(_ gpu: Int) -> Int {
        granted.values.reduce(gpus[gpu].totalMiB) { free, grant in
            guard grant.gpus.contains(gpu) else { return free }
            return grant.mebibytes.map { free - $0 } ?? 0
        }
    }

    private func isIdle(_ gpu: Int) -> Bool { !granted.values.contains { $0.gpus.contains(gpu) } }

    /// Why a demand can never be met here, or nil.
    private func impossibility(_ demand: Demand) -> String? {
        guard demand.gpuCount <= gpus.count else {
            return "\(demand.gpuCount) GPUs are asked for, and this server has \(gpus.count)"
        }
        guard case .mebibytes(let count) = demand.memory else { return nil }
        let fitting = gpus.filter { $0.totalMiB >= count }.count
        guard fitting < demand.gpuCount else { return nil }
        let largest = gpus.map(\.totalMiB).max() ?? 0
        return "\(count) MiB are asked for on each of \(demand.gpuCount) GPUs, and the largest GPU has \(largest) MiB"
            + (fitting > 0 ? "; only \(fitting) have so much" : "")
    }

    private func reasonToWait(_ position: Int) -> String {
        let free = gpus.indices.filter { freeMiB($0) > 0 }.count
        let ahead = position == 0 ? "" : position == 1 ? ", 1 request is ahead" : ", \(position) requests are ahead"
        return "\(gpus.count - free) of \(gpus.count) GPUs are full, \(granted.count) tasks are running\(ahead)"
    }

    /// Grants what fits, first come, first served. A request that has to wait reserves the GPUs it waits for, so that a
    /// later one may pass it only onto GPUs that it does not need.
    private mutating func grantWaiting() -> [Action] {
        var actions: [Action] = []
        var reserved: Set<Int> = []
        var position = 0
        while position < waiting.count {
            let (id, demand) = waiting[position]
            if let grant = place(demand, without: reserved) {
                granted[id] = grant
                waiting.remove(at: position)
                actions.append(.grant(id, grant))
            } else {
                reserved.formUnion(reservation(demand, without: reserved))
                position += 1
            }
        }
        return actions
    }

    /// Best fit: the GPUs on which the least is left over, so that whole GPUs stay whole as long as possible.
    private func place(_ demand: Demand, without reserved: Set<Int>) -> Grant? {
        let candidates = gpus.indices.filter { !reserved.contains($0) }
        switch demand.memory {
        case .whole:
            let idle = candidates.filter(isIdle).sorted { (gpus[$0].totalMiB, $0) < (gpus[$1].totalMiB, $1) }
            guard idle.count >= demand.gpuCount else { return nil }
            return Grant(gpus: idle.prefix(demand.gpuCount).sorted(), mebibytes: nil)
        case .mebibytes(let count):
            return bestFit(count, demand.gpuCount, candidates).map { Grant(gpus: $0, mebibytes: count) }
        case .share(let share):
            // The share is of the smallest GPU chosen; a larger smallest asks for more. Each size is tried, small first.
            for smallest in Set(candidates.map { gpus[$0].totalMiB }).sorted() {
                let count = max(1, Int(share * Double(smallest)))
                let large = candidates.filter { gpus[$0].totalMiB >= smallest }
                guard let chosen = bestFit(count, demand.gpuCount, large),
                    chosen.contains(where: { gpus[$0].totalMiB == smallest })
                else { continue }
                return Grant(gpus: chosen, mebibytes: count)
            }
            return nil
        }
    }

    private func bestFit(_ mebibytes: Int, _ count: Int, _ candidates: [Int]) -> [Int]? {
        let fitting = candidates.filter { freeMiB($0) >= mebibytes }.sorted { (freeMiB($0), $0) < (freeMiB($1), $1) }
        return fitting.count >= count ? fitting.prefix(count).sorted() : nil
    }

    /// The GPUs that a waiting request will most likely get: those with the most free memory among the large enough.
    private func reservation(_ demand: Demand, without reserved: Set<Int>) -> [Int] {
        let needed = if case .mebibytes(let count) = demand.memory { count } else { 0 }
        return gpus.indices.filter { !reserved.contains($0) && gpus[$0].totalMiB >= needed }
            .sorted { (-freeMiB($0), $0) < (-freeMiB($1), $1) }.prefix(demand.gpuCount).map { $0 }
    }
}

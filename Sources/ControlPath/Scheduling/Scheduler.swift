// SPDX-License-Identifier: Apache-2.0
package import Pool

/// Decides who holds which GPU of one server.
///
/// A value with no clock, no socket and no store: events come in, actions come out. The service performs the actions;
/// the simulation checks them. The sum of the partitions of a GPU never exceeds its memory, and a whole GPU is nobody
/// else's.
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

        /// Whom it concerns.
        package var request: RequestID {
            switch self {
            case .grant(let id, _), .wait(let id, _, _), .refuse(let id, _, _): id
            }
        }
    }

    package enum Refusal: Sendable, Equatable {
        case impossible
        case timeout
    }

    /// The GPUs of one allocation, by their index in the server, and the MiB of each; nil for whole ones.
    package struct Grant: Sendable, Equatable {
        package var gpus: [Int]
        package var mebibytes: Int?

        package init(gpus: [Int], mebibytes: Int?) {
            self.gpus = gpus
            self.mebibytes = mebibytes
        }
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

    /// Grants what fits, first come, first served.
    ///
    /// What each earlier waiting request needs stays reserved on every GPU that it could use. So a later request passes
    /// it only where there is room for both at once, and cannot delay it, whichever task ends first.
    private mutating func grantWaiting() -> [Action] {
        var actions: [Action] = []
        var reservedMiB = [Int](repeating: 0, count: gpus.count)
        var position = 0
        while position < waiting.count {
            let (id, demand) = waiting[position]
            if let grant = place(demand, besides: reservedMiB) {
                granted[id] = grant
                waiting.remove(at: position)
                actions.append(.grant(id, grant))
            } else {
                for gpu in gpus.indices { reservedMiB[gpu] += neededMiB(demand, on: gpu) }
                position += 1
            }
        }
        return actions
    }

    /// The most that a request can take of a GPU; 0 when it cannot use it.
    private func neededMiB(_ demand: Demand, on gpu: Int) -> Int {
        switch demand.memory {
        case .whole: gpus[gpu].totalMiB
        case .mebibytes(let count): count <= gpus[gpu].totalMiB ? count : 0
        case .share(let share): mebibytes(of: share, totalMiB: gpus[gpu].totalMiB)
        }
    }

    /// A share of a GPU's memory in whole MiB; at least one.
    private func mebibytes(of share: Double, totalMiB: Int) -> Int { max(1, Int(share * Double(totalMiB))) }

    /// The GPUs for a request, when they are free and not reserved.
    private func place(_ demand: Demand, besides reservedMiB: [Int]) -> Grant? {
        switch demand.memory {
        case .whole:
            let idle = gpus.indices.filter { isIdle($0) && reservedMiB[$0] == 0 }
                .sorted { (gpus[$0].totalMiB, $0) < (gpus[$1].totalMiB, $1) }
            guard idle.count >= demand.gpuCount else { return nil }
            return Grant(gpus: idle.prefix(demand.gpuCount).sorted(), mebibytes: nil)
        case .mebibytes(let count):
            let fitting = fitting(count, besides: reservedMiB)
            guard fitting.count >= demand.gpuCount else { return nil }
            return Grant(gpus: fitting.prefix(demand.gpuCount).sorted(), mebibytes: count)
        case .share(let share):
            // The share is of the smallest GPU chosen, so each size is tried as the smallest, the least memory first.
            for smallest in Set(gpus.map(\.totalMiB)).sorted() {
                let count = mebibytes(of: share, totalMiB: smallest)
                let fitting = fitting(count, besides: reservedMiB).filter { gpus[$0].totalMiB >= smallest }
                guard fitting.count >= demand.gpuCount,
                    let one = fitting.first(where: { gpus[$0].totalMiB == smallest })
                else { continue }
                let others = fitting.filter { $0 != one }.prefix(demand.gpuCount - 1)
                return Grant(gpus: ([one] + others).sorted(), mebibytes: count)
            }
            return nil
        }
    }

    /// The GPUs with so much room, best fit first: those already shared, then those on which the least is left over, so
    /// that whole GPUs stay whole as long as possible.
    private func fitting(_ mebibytes: Int, besides reservedMiB: [Int]) -> [Int] {
        gpus.indices.filter { freeMiB($0) - reservedMiB[$0] >= mebibytes }
            .sorted { (isIdle($0) ? 1 : 0, freeMiB($0), $0) < (isIdle($1) ? 1 : 0, freeMiB($1), $1) }
    }
}

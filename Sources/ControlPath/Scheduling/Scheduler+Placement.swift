// SPDX-License-Identifier: Apache-2.0
import Pool

// Where a request fits, whether it ever can, and what it costs its client's quota.

extension Scheduler {
    /// Shares are sums of fractions; what differs less than this is equal.
    static var shareTolerance: Double { 1e-6 }

    /// Why a request can never be met here, or nil.
    func impossibility(_ request: Request, _ isEligible: [Bool]) -> String? {
        let demand = request.demand
        if let facts, !request.filter.holds(for: facts) {
            return "the server does not pass the filter \(request.filter.description)"
        }
        let eligible = gpus.indices.filter { isEligible[$0] }
        guard demand.gpuCount <= eligible.count else {
            let filtered = eligible.count < gpus.count ? " that pass the filter \(request.filter.description)" : ""
            return "\(demand.gpuCount) GPUs are asked for, and this server has \(eligible.count)\(filtered)"
        }
        guard case .mebibytes(let count) = demand.memory else { return nil }
        let fitting = eligible.filter { gpus[$0].totalMiB >= count }.count
        guard fitting < demand.gpuCount else { return nil }
        let largest = eligible.map { gpus[$0].totalMiB }.max() ?? 0
        return "\(count) MiB are asked for on each of \(demand.gpuCount) GPUs, and the largest GPU has \(largest) MiB"
            + (fitting > 0 ? "; only \(fitting) have so much" : "")
    }

    func reasonToWait(_ position: Int) -> String {
        if exceedsQuota(waiting[position]) {
            let client = waiting[position].request.client
            return "the client's quota is \(text(settings.quotaGPUs(of: client))) GPUs, and it has "
                + text(heldByClient[client] ?? 0)
        }
        let full = gpus.indices.count { freeMiB($0) == 0 }
        let ahead = position == 0 ? "" : position == 1 ? ", 1 request is ahead" : ", \(position) requests are ahead"
        return "\(full) of \(gpus.count) GPUs are full, \(holdings.count) tasks are running\(ahead)"
    }

    // MARK: Quota

    func share(of grant: Grant) -> Double {
        grant.gpus.reduce(0) { sum, gpu in
            sum + (grant.mebibytes.map { Double($0) / Double(gpus[gpu].totalMiB) } ?? 1)
        }
    }

    /// The least that a request can cost: on the largest GPUs.
    func leastShare(_ demand: Demand, _ isEligible: [Bool]) -> Double {
        switch demand.memory {
        case .whole: return Double(demand.gpuCount)
        case .mebibytes(let count):
            let largest = gpus.indices.filter { isEligible[$0] }.map { gpus[$0].totalMiB }.sorted(by: >)
            return largest.prefix(demand.gpuCount).reduce(0) { $0 + Double(count) / Double($1) }
        case .share(let share):
            // A share is of the smallest GPU chosen, and less of the others.
            let sizes = gpus.indices.filter { isEligible[$0] }.map { gpus[$0].totalMiB }.sorted(by: >)
            guard let smallest = sizes.last else { return 0 }
            let count = Double(mebibytes(of: share, totalMiB: smallest))
            return sizes.prefix(demand.gpuCount).reduce(0) { $0 + count / Double($1) }
        }
    }

    func exceedsQuota(_ entry: Waiting) -> Bool {
        let client = entry.request.client
        let quota = settings.quotaGPUs(of: client)
        let held = heldByClient[client] ?? 0
        return held + leastShare(entry.request.demand, entry.isEligible) > quota + Scheduler.shareTolerance
    }

    private func fitsQuota(_ grant: Grant, _ entry: Waiting) -> Bool {
        let client = entry.request.client
        return (heldByClient[client] ?? 0) + share(of: grant)
            <= settings.quotaGPUs(of: client) + Scheduler.shareTolerance
    }

    /// A number of GPUs as people write it: 3.5, 2.
    func text(_ gpus: Double) -> String {
        let hundredths = (gpus * 100).rounded()
        guard abs(hundredths) < 1e12 else { return "\(gpus)" }
        let whole = Int(hundredths) / 100
        let rest = Int(hundredths) % 100
        if rest == 0 { return "\(whole)" }
        return rest % 10 == 0 ? "\(whole).\(rest / 10)" : "\(whole).\(rest < 10 ? "0" : "")\(rest)"
    }

    // MARK: Placement

    /// The most that a request can take of a GPU; 0 when it cannot use it.
    func neededMiB(_ demand: Demand, on gpu: Int) -> Int {
        switch demand.memory {
        case .whole: gpus[gpu].totalMiB
        case .mebibytes(let count): count <= gpus[gpu].totalMiB ? count : 0
        case .share(let share): mebibytes(of: share, totalMiB: gpus[gpu].totalMiB)
        }
    }

    /// A share of a GPU's memory in whole MiB; at least one.
    private func mebibytes(of share: Double, totalMiB: Int) -> Int { max(1, Int(share * Double(totalMiB))) }

    /// The GPUs for a request, when they are free, not reserved, and within its client's quota.
    func place(_ entry: Waiting, besides reservedMiB: [Int]) -> Grant? {
        let demand = entry.request.demand
        switch demand.memory {
        case .whole:
            let idle = gpus.indices.filter {
                entry.isEligible[$0] && holderCounts[$0] == 0 && reservedMiB[$0] == 0
            }
            .sorted { (gpus[$0].totalMiB, $0) < (gpus[$1].totalMiB, $1) }
            guard idle.count >= demand.gpuCount else { return nil }
            return Grant(gpus: idle.prefix(demand.gpuCount).sorted(), mebibytes: nil)
        case .mebibytes(let count):
            let fitting = fitting(count, entry, besides: reservedMiB)
            guard fitting.count >= demand.gpuCount else { return nil }
            let grant = Grant(gpus: fitting.prefix(demand.gpuCount).sorted(), mebibytes: count)
            if fitsQuota(grant, entry) { return grant }
            // On larger GPUs the same memory costs less of the quota.
            let largest = fitting.sorted { (-gpus[$0].totalMiB, $0) < (-gpus[$1].totalMiB, $1) }
            let cheapest = Grant(gpus: largest.prefix(demand.gpuCount).sorted(), mebibytes: count)
            return fitsQuota(cheapest, entry) ? cheapest : nil
        case .share(let share): return place(share: share, entry, besides: reservedMiB)
        }
    }

    /// The share is of the smallest GPU chosen, so each size is tried as the smallest, the least memory first.
    private func place(share: Double, _ entry: Waiting, besides reservedMiB: [Int]) -> Grant? {
        for smallest in Set(gpus.map(\.totalMiB)).sorted() {
            let count = mebibytes(of: share, totalMiB: smallest)
            let fitting = fitting(count, entry, besides: reservedMiB).filter { gpus[$0].totalMiB >= smallest }
            guard fitting.count >= entry.request.demand.gpuCount,
                let one = fitting.first(where: { gpus[$0].totalMiB == smallest })
            else { continue }
            let others = fitting.filter { $0 != one }.prefix(entry.request.demand.gpuCount - 1)
            let grant = Grant(gpus: ([one] + others).sorted(), mebibytes: count)
            if fitsQuota(grant, entry) { return grant }
        }
        return nil
    }

    /// The GPUs with so much room, best fit first: those already shared, then those on which the least is left over, so
    /// that whole GPUs stay whole as long as possible.
    private func fitting(_ mebibytes: Int, _ entry: Waiting, besides reservedMiB: [Int]) -> [Int] {
        gpus.indices.filter { entry.isEligible[$0] && freeMiB($0) - reservedMiB[$0] >= mebibytes }
            .sorted { first, second in
                (holderCounts[first] == 0 ? 1 : 0, freeMiB(first), first)
                    < (holderCounts[second] == 0 ? 1 : 0, freeMiB(second), second)
            }
    }
}

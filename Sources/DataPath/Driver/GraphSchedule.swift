// SPDX-License-Identifier: Apache-2.0

/// Which stream each node of a graph goes to, and which nodes wait for another stream.
///
/// A *lane* is a stream of one context: lane 0 is the one that the graph is launched into. A node follows one that it
/// depends on in its lane where it can, so that a chain needs no events at all; nodes that depend on nothing of a lane
/// get a lane of their own, up to ``lanesMax`` for a context.
package struct GraphSchedule: Sendable {
    package struct Step: Sendable {
        package let lane: Int
        /// Nodes of other lanes that must be done before.
        package let awaited: [Int]
        /// Whether the node is the first of its lane and nothing that it waits for comes after the launch itself.
        package let awaitsStart: Bool
    }

    /// Branches that run at the same time; further ones share lanes.
    package static var lanesMax: Int { 8 }

    /// The context of each lane; that of lane 0 is where the graph is meant to be launched.
    package private(set) var lanes: [ContextHandle]
    /// One for each node, in the order of the nodes.
    package private(set) var steps: [Step] = []
    /// Whether another lane waits for a node.
    package private(set) var isAwaited: [Bool]
    /// The nodes that the launch stream waits for at the end.
    package private(set) var ends: [Int] = []

    /// Plans nodes that come in an order in which each follows what it depends on; nil means any context.
    package init(_ nodes: [(context: ContextHandle?, dependencies: [Int])], home: ContextHandle) {
        lanes = [home]
        isAwaited = [Bool](repeating: false, count: nodes.count)
        var tails: [Int?] = [nil]
        // How far a lane is known to be behind each other one.
        var seen: [[Int]] = [[-1]]
        for (node, wish) in nodes.enumerated() {
            let context = wish.context ?? wish.dependencies.first.map { lanes[steps[$0].lane] } ?? home
            let lane = lane(for: wish.dependencies, in: context, &tails, &seen)
            var latest: [Int: Int] = [:]
            for dependency in wish.dependencies where steps[dependency].lane != lane {
                let other = steps[dependency].lane
                latest[other] = max(latest[other] ?? -1, dependency)
            }
            let awaited = latest.filter { seen[lane][$0.key] < $0.value }
            for (other, dependency) in awaited {
                seen[lane][other] = dependency
                isAwaited[dependency] = true
            }
            let isFirst = tails[lane] == nil
            steps.append(
                Step(
                    lane: lane, awaited: awaited.values.sorted(),
                    awaitsStart: isFirst && lane != 0 && awaited.isEmpty))
            tails[lane] = node
        }
        for lane in tails.indices.dropFirst() {
            guard let tail = tails[lane], seen[0][lane] < tail else { continue }
            isAwaited[tail] = true
            ends.append(tail)
        }
    }

    private mutating func lane(
        for dependencies: [Int], in context: ContextHandle, _ tails: inout [Int?], _ seen: inout [[Int]]
    ) -> Int {
        for dependency in dependencies {
            let lane = steps[dependency].lane
            if tails[lane] == dependency, lanes[lane] == context { return lane }
        }
        let suitable = lanes.indices.filter { lanes[$0] == context }
        if let unused = suitable.first(where: { tails[$0] == nil }) { return unused }
        if suitable.count >= Self.lanesMax, let oldest = suitable.min(by: { tails[$0] ?? -1 < tails[$1] ?? -1 }) {
            return oldest
        }
        lanes.append(context)
        tails.append(nil)
        for lane in seen.indices { seen[lane].append(-1) }
        seen.append([Int](repeating: -1, count: lanes.count))
        return lanes.count - 1
    }
}

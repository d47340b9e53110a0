// SPDX-License-Identifier: Apache-2.0
package import CCUDA

/// A node that does one of its bodies, or none, or the same again and again, as a condition says.
///
/// The condition is a number that kernels set. It is named by the driver's own handle, because kernels get the handle
/// as a parameter.
package struct ConditionalWork: Sendable, Equatable, BitwiseCopyable {
    package enum Kind: UInt8, Sendable, BitwiseCopyable {
        /// The first body unless the condition is 0; else the second, if there are two.
        case choice = 0
        /// The body as long as the condition is not 0.
        case loop = 1
        /// The body with the number that the condition has.
        case selection = 2
    }

    package var condition: CUgraphConditionalHandle
    package var kind: Kind
    package var bodyCount: Int

    /// Nil where CUDA has no such node.
    package init?(condition: CUgraphConditionalHandle, kind: Kind, bodyCount: Int) {
        switch kind {
        case .choice: guard (1...2).contains(bodyCount) else { return nil }
        case .loop: guard bodyCount == 1 else { return nil }
        case .selection: guard bodyCount > 0 else { return nil }
        }
        self.condition = condition
        self.kind = kind
        self.bodyCount = bodyCount
    }

    /// Which body is done next; nil for none.
    package func body(for value: UInt32) -> Int? {
        switch kind {
        case .choice: value != 0 ? 0 : bodyCount == 2 ? 1 : nil
        case .loop: value != 0 ? 0 : nil
        case .selection: Int(value) < bodyCount ? Int(value) : nil
        }
    }
}

/// Where the nodes of a plan belong: its graphs by number, 0 the plan's own and the others bodies.
package struct GraphLayout: Sendable {
    /// The positions of each graph's nodes.
    package let graphs: [Range<Int>]
    /// The numbers of the bodies of each conditional node, by its position.
    package private(set) var bodies: [Int: Range<Int>] = [:]

    /// Conditional nodes in bodies of conditional nodes, and so on.
    package static var depthMax: Int { 64 }

    /// Nil unless every dependency comes before its node, in the same graph, and every body belongs to one conditional
    /// node of a graph before it.
    init?(_ plan: GraphPlan) {
        guard plan.bodyCounts.count <= GraphPlan.bodiesMax else { return nil }
        var rest = plan.nodes.count
        for count in plan.bodyCounts {
            guard (0...rest).contains(count) else { return nil }
            rest -= count
        }
        var graphs = [0..<rest]
        for count in plan.bodyCounts {
            graphs.append(rest..<rest + count)
            rest += count
        }
        self.graphs = graphs
        var depths = [0]
        for (number, range) in graphs.enumerated() {
            // A body that no node before it has would be done by nobody, or by itself.
            guard number < depths.count, depths[number] <= Self.depthMax else { return nil }
            for index in range {
                let node = plan.nodes[index]
                guard node.dependencies.allSatisfy({ (range.lowerBound..<index).contains($0) }) else { return nil }
                guard case .conditional(let work) = node.work else { continue }
                guard work.bodyCount <= graphs.count - depths.count else { return nil }
                bodies[index] = depths.count..<depths.count + work.bodyCount
                depths += repeatElement(depths[number] + 1, count: work.bodyCount)
            }
        }
        guard depths.count == graphs.count else { return nil }
    }
}

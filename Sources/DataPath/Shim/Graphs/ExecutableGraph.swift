// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A graph that can be launched: its nodes in one list, with those of child graphs in place of the child nodes.
///
/// What the nodes do can be replaced; what they are and how they depend on each other cannot.
final class ExecutableGraph: Sendable {
    struct State {
        var nodes: FlatGraph
        /// Whether each node is done at all; a node that is switched off only orders the others.
        var isEnabled: [Bool]
        let player: GraphPlayer
        var userObjects: [(object: UserObject, count: Int)]
        /// The driver's own form of the graph, where it has one that is up to date.
        var driverGraph: DriverGraph?
        /// The graph with conditions that it was made of, which cannot be instantiated again meanwhile.
        var origin: Graph?
    }

    /// What a driver made of the graph.
    struct DriverGraph {
        let context: ContextHandle
        let handle: GraphHandle
    }

    let bits: UInt64
    let id: UInt32
    let flags: UInt64
    let state: Mutex<State>

    init(bits: UInt64, id: UInt32, flags: UInt64, state: sending State) {
        self.bits = bits
        self.id = id
        self.flags = flags
        self.state = Mutex(state)
    }

    var freesAutomatically: Bool { flags & UInt64(CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH.rawValue) != 0 }
}

/// A graph and the graphs of its child nodes as one list, in an order in which each node follows its dependencies.
///
/// The bodies of conditional nodes stand behind the graph itself, as in a ``GraphPlan``.
struct FlatGraph: Sendable {
    /// A node of a graph of the application's.
    struct Key: Hashable {
        let graph: UInt64
        let number: Int

        init(_ node: GraphNode) { (graph, number) = (node.graph.bits, node.number) }
        init(graph: Graph, number: Int) { (self.graph, self.number) = (graph.bits, number) }
    }

    struct Node: Sendable {
        /// The handle of the node that it comes from, or 0 for one that was put in.
        let bits: UInt64
        var work: NodeWork
        let dependencies: [Int]
        /// Whether a node before it may write host memory, which then must not be read earlier.
        let isAfterHostWrites: Bool
    }

    private(set) var nodes: [Node] = []
    /// Where the nodes are.
    private(set) var places: [Key: Int] = [:]
    /// Where the contents of child nodes are.
    private(set) var children: [Key: Range<Int>] = [:]
    /// How many nodes the body of each conditional node has.
    private(set) var bodyCounts: [Int] = []
    /// The bodies of the conditional nodes so far.
    private var bodies: [Graph] = []

    /// A list of a graph's nodes; a cycle is CUDA_ERROR_INVALID_VALUE.
    init(_ graph: Graph) throws(CUDAError) {
        _ = try append(graph, after: [])
        while bodyCounts.count < bodies.count {
            let start = nodes.count
            _ = try append(bodies[bodyCounts.count], after: [])
            bodyCounts.append(nodes.count - start)
        }
    }

    var hasConditionalNodes: Bool { !bodyCounts.isEmpty }
    /// Nodes that are in no body.
    var ownCount: Int { nodes.count - bodyCounts.reduce(0, +) }

    mutating func setWork(_ work: NodeWork, at index: Int) { nodes[index].work = work }

    /// Appends a graph whose first nodes come after others, and returns the nodes after which it is done.
    private mutating func append(_ graph: Graph, after before: [Int]) throws(CUDAError) -> [Int] {
        let structure = graph.structure.withLock { $0 }
        let order = structure.topologicalOrder()
        guard order.count == structure.numbers.count else { throw .invalidValue }
        var ends: [Int: Int] = [:]
        var last: [Int] = []
        for number in order {
            let node = try structure[number]
            let dependencies = node.dependencies.compactMap { ends[$0.node] }
            let index: Int
            if case .graph(let child) = node.work {
                let entry = append(.empty, bits: 0, after: dependencies.isEmpty ? before : dependencies)
                let inner = try append(child, after: [entry])
                index = append(.empty, bits: node.bits, after: inner.isEmpty ? [entry] : inner)
                children[Key(graph: graph, number: number)] = entry + 1..<index
            } else {
                index = append(node.work, bits: node.bits, after: dependencies.isEmpty ? before : dependencies)
                places[Key(graph: graph, number: number)] = index
                if case .conditional(let conditional) = node.work { bodies += conditional.bodies }
            }
            ends[number] = index
            if node.dependents.isEmpty { last.append(index) }
        }
        return last
    }

    private mutating func append(_ work: NodeWork, bits: UInt64, after dependencies: [Int]) -> Int {
        let isAfterHostWrites = dependencies.contains { index in
            nodes[index].isAfterHostWrites || nodes[index].work.writesHostMemory
        }
        nodes.append(
            Node(bits: bits, work: work, dependencies: dependencies, isAfterHostWrites: isAfterHostWrites))
        return nodes.count - 1
    }

    var allocations: [GraphAllocation] {
        nodes.compactMap { node in if case .allocate(let allocation) = node.work { allocation } else { nil } }
    }

    /// As a graph of one level.
    var structure: GraphStructure {
        var structure = GraphStructure()
        for node in nodes {
            structure.add(node.work, bits: 0, after: node.dependencies.map { GraphEdge(node: $0) })
        }
        return structure
    }
}

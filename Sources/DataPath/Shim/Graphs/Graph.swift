// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A graph as the application builds it.
///
/// Its structure is a value: a clone is a copy of it, and nodes keep their numbers in clones.
final class Graph: Sendable {
    let bits: UInt64
    /// Unique among graphs and executable graphs.
    let id: UInt32
    /// The graph that this one is a clone of, by its handle, or 0.
    let originBits: UInt64
    /// Whether it is the graph of a node, child or conditional: it is changed through its own handle and ends with the
    /// node.
    let isChild: Bool
    /// The graph of the conditional node of which this one is a body; nil for other graphs.
    let parent: Graph?
    let structure: Mutex<GraphStructure>
    /// Those of the bodies of its nodes too; empty in bodies.
    let conditions = Mutex(GraphConditions())

    init(
        bits: UInt64, id: UInt32, originBits: UInt64 = 0, isChild: Bool = false, parent: Graph? = nil,
        structure: GraphStructure = .init()
    ) {
        self.bits = bits
        self.id = id
        self.originBits = originBits
        self.isChild = isChild
        self.parent = parent
        self.structure = Mutex(structure)
    }

    /// This graph, the one of which it is a body, and so on; the last is none's body.
    var line: [Graph] {
        var line = [self]
        while let parent = line[line.count - 1].parent { line.append(parent) }
        return line
    }
}

/// What the handle of a node stands for: a number in a graph.
final class GraphNode: Sendable {
    let bits: UInt64
    let graph: Graph
    let number: Int

    init(bits: UInt64, graph: Graph, number: Int) {
        self.bits = bits
        self.graph = graph
        self.number = number
    }
}

/// A dependency, as the node that has it keeps it.
struct GraphEdge: Sendable, Equatable {
    /// The node that comes before, by its number.
    var node: Int
    var data = EdgeData()
}

/// What CUDA lets one say of a dependency.
///
/// Programmatic dependencies are kept and reported; the work waits until all of the earlier node is done, which they
/// allow.
struct EdgeData: Sendable, Equatable {
    var fromPort: UInt8 = 0
    var toPort: UInt8 = 0
    var type: UInt8 = 0

    init() {}

    init(_ data: CUgraphEdgeData) throws(CUDAError) {
        guard data.type <= UInt8(CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC.rawValue), data.from_port <= 2,
            data.to_port == 0
        else { throw .invalidValue }
        fromPort = data.from_port
        toPort = data.to_port
        type = data.type
    }

    /// Whether functions that do not know of such data lose nothing.
    var isPlain: Bool { self == Self() }

    var asC: CUgraphEdgeData {
        var data = CUgraphEdgeData()
        data.from_port = fromPort
        data.to_port = toPort
        data.type = type
        return data
    }
}

/// Nodes and edges.
struct GraphStructure: Sendable {
    struct Node: Sendable {
        /// The application's handle, or 0 in a copy that it never sees.
        var bits: UInt64
        var work: NodeWork
        var dependencies: [GraphEdge]
        /// The nodes that depend on this one, by their numbers.
        var dependents: [Int] = []
    }

    /// More nodes than any program makes; beyond it the answer is CUDA_ERROR_OUT_OF_MEMORY.
    static var nodesMax: Int { 1 << 22 }

    /// By number; nil where a node was destroyed.
    private(set) var nodes: [Node?] = []
    /// References to user objects that the graph holds.
    var userObjects: [(object: UserObject, count: Int)] = []

    /// The numbers of the nodes, in the order in which they were made.
    var numbers: [Int] { nodes.indices.filter { nodes[$0] != nil } }
    var hasMemoryNodes: Bool { nodes.contains { $0?.work.isMemory ?? false } }
    /// Graphs with conditional nodes can be neither copied nor part of another graph.
    var hasConditionalNodes: Bool {
        nodes.contains { node in if case .conditional = node?.work { true } else { false } }
    }

    subscript(number: Int) -> Node {
        get throws(CUDAError) {
            guard nodes.indices.contains(number), let node = nodes[number] else { throw .invalidValue }
            return node
        }
    }

    /// Adds a node, whose number is the count of those before.
    mutating func add(_ work: NodeWork, bits: UInt64, after edges: [GraphEdge]) {
        let number = nodes.count
        nodes.append(Node(bits: bits, work: work, dependencies: edges))
        for edge in edges { nodes[edge.node]?.dependents.append(number) }
    }

    mutating func setWork(_ work: NodeWork, of number: Int) { nodes[number]?.work = work }
    mutating func setBits(_ bits: UInt64, of number: Int) { nodes[number]?.bits = bits }

    mutating func connect(_ edge: GraphEdge, to number: Int) throws(CUDAError) {
        guard edge.node != number, !(try self[number].dependencies.contains { $0.node == edge.node }) else {
            throw .invalidValue
        }
        _ = try self[edge.node]
        nodes[number]?.dependencies.append(edge)
        nodes[edge.node]?.dependents.append(number)
    }

    mutating func disconnect(_ edge: GraphEdge, from number: Int) throws(CUDAError) {
        guard try self[number].dependencies.contains(edge) else { throw .invalidValue }
        nodes[number]?.dependencies.removeAll { $0.node == edge.node }
        nodes[edge.node]?.dependents.removeAll { $0 == number }
    }

    mutating func remove(_ number: Int) throws(CUDAError) {
        let node = try self[number]
        for edge in node.dependencies { nodes[edge.node]?.dependents.removeAll { $0 == number } }
        for dependent in node.dependents { nodes[dependent]?.dependencies.removeAll { $0.node == number } }
        nodes[number] = nil
    }

    /// The numbers in an order in which every node follows its dependencies.
    ///
    /// A chain is followed to its end before other branches begin. Where there is a cycle its nodes are missing.
    func topologicalOrder() -> [Int] {
        var open = nodes.map { $0?.dependencies.count ?? -1 }
        var order: [Int] = []
        var next = nodes.indices.filter { open[$0] == 0 }
        while !next.isEmpty {
            var later: [Int] = []
            for number in next {
                var number: Int? = number
                while let current = number {
                    order.append(current)
                    number = nil
                    for dependent in nodes[current]?.dependents ?? [] {
                        open[dependent] -= 1
                        guard open[dependent] == 0 else { continue }
                        if number == nil { number = dependent } else { later.append(dependent) }
                    }
                }
            }
            next = later
        }
        return order
    }

    /// All nodes on which some nodes depend, and these themselves.
    func ancestors(of numbers: [Int]) -> Set<Int> {
        var found = Set(numbers)
        var open = numbers
        while let number = open.popLast() {
            for edge in nodes[number]?.dependencies ?? [] where found.insert(edge.node).inserted {
                open.append(edge.node)
            }
        }
        return found
    }
}

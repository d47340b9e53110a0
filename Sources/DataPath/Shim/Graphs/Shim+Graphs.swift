// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Graphs: making, copying and ending them, and what they consist of.
///
/// A handle that is none of a graph or of a node is CUDA_ERROR_INVALID_VALUE in every function of this family.
extension Shim {
    func graph(_ handle: OpaquePointer?) throws(CUDAError) -> Graph {
        guard let graph = graphs[bits(handle)] else { throw .invalidValue }
        return graph
    }

    func node(_ handle: OpaquePointer?) throws(CUDAError) -> GraphNode {
        guard let node = graphNodes[bits(handle)] else { throw .invalidValue }
        return node
    }

    /// What a node does.
    func work(_ node: GraphNode) throws(CUDAError) -> NodeWork {
        try node.graph.structure.withLock { structure throws(CUDAError) in try structure[node.number].work }
    }

    func nextGraphID() -> UInt32 { lastGraphID.add(1, ordering: .relaxed).newValue }

    func makeGraph(_ structure: GraphStructure = .init(), isChild: Bool = false) throws(CUDAError) -> Graph {
        let id = nextGraphID()
        return try graphs.insert { bits in Graph(bits: bits, id: id, isChild: isChild, structure: structure) }
    }

    // MARK: Making and ending

    func cuGraphCreate(_ phGraph: UnsafeMutablePointer<OpaquePointer?>?, _ flags: UInt32) throws(CUDAError) {
        guard phGraph != nil, flags == 0 else { throw .invalidValue }
        try write(handle: try makeGraph().bits, to: phGraph)
    }

    func cuGraphDestroy(_ hGraph: OpaquePointer?) throws(CUDAError) {
        let graph = try self.graph(hGraph)
        // The graph of a child node ends with the node.
        guard !graph.isChild else { throw .invalidValue }
        end(graph)
    }

    /// Ends the handles of a graph, of its nodes and of the graphs of its child nodes.
    func end(_ graph: Graph) {
        guard graphs.remove(graph.bits) != nil else { return }
        let structure = graph.structure.withLock { structure in
            defer { structure = GraphStructure() }
            return structure
        }
        for node in structure.nodes {
            guard let node else { continue }
            graphNodes.remove(node.bits)
            endGraphs(of: node.work)
        }
        release(structure.userObjects)
        endConditions(of: graph)
    }

    /// Ends the graphs that belong to a node.
    func endGraphs(of work: NodeWork) {
        switch work {
        case .graph(let child): end(child)
        case .conditional(let node):
            for body in node.bodies {
                end(body)
                release(node.work.condition, of: body)
            }
        default: break
        }
    }

    func cuGraphClone(
        _ phGraphClone: UnsafeMutablePointer<OpaquePointer?>?, _ originalGraph: OpaquePointer?
    ) throws(CUDAError) {
        let original = try graph(originalGraph)
        guard phGraphClone != nil else { throw .invalidValue }
        try write(handle: try clone(original).bits, to: phGraphClone)
    }

    /// A copy with handles of its own; graphs with memory nodes or conditional nodes cannot be copied.
    func clone(_ original: Graph, isChild: Bool = false) throws(CUDAError) -> Graph {
        var structure = original.structure.withLock { $0 }
        guard !structure.hasMemoryNodes, !structure.hasConditionalNodes else { throw .notSupported }
        for number in structure.numbers {
            guard case .graph(let child) = try structure[number].work else { continue }
            structure.setWork(.graph(try clone(child, isChild: true)), of: number)
        }
        structure.userObjects = retained(structure.userObjects)
        return try adopt(structure, originBits: original.bits, isChild: isChild)
    }

    /// Makes a graph of a structure, whose nodes get new handles.
    func adopt(_ structure: GraphStructure, originBits: UInt64, isChild: Bool) throws(CUDAError) -> Graph {
        let id = nextGraphID()
        let graph = try graphs.insert { bits in Graph(bits: bits, id: id, originBits: originBits, isChild: isChild) }
        var structure = structure
        for number in structure.numbers {
            let node = try graphNodes.insert { bits in GraphNode(bits: bits, graph: graph, number: number) }
            structure.setBits(node.bits, of: number)
        }
        graph.structure.withLock { $0 = structure }
        return graph
    }

    func cuGraphNodeFindInClone(
        _ phNode: UnsafeMutablePointer<OpaquePointer?>?, _ hOriginalNode: OpaquePointer?,
        _ hClonedGraph: OpaquePointer?
    ) throws(CUDAError) {
        let original = try node(hOriginalNode)
        let found = try counterpart(of: original, in: try graph(hClonedGraph))
        guard let found else { throw .invalidValue }
        try write(handle: found, to: phNode)
    }

    /// The handle of a node's copy in a clone, also where both are in child graphs.
    private func counterpart(of node: GraphNode, in clone: Graph) throws(CUDAError) -> UInt64? {
        let structure = clone.structure.withLock { $0 }
        if clone.originBits == node.graph.bits { return try? structure[node.number].bits }
        for number in structure.numbers {
            guard case .graph(let child) = try structure[number].work else { continue }
            if let found = try counterpart(of: node, in: child) { return found }
        }
        return nil
    }

    // MARK: Numbers

    func cuGraphGetId(_ hGraph: OpaquePointer?, _ graphId: UnsafeMutablePointer<UInt32>?) throws(CUDAError) {
        try write(try graph(hGraph).id, to: graphId)
    }

    func cuGraphNodeGetLocalId(_ hNode: OpaquePointer?, _ nodeId: UnsafeMutablePointer<UInt32>?) throws(CUDAError) {
        try write(UInt32(try node(hNode).number), to: nodeId)
    }

    /// The graph's number and the node's: unique in the process.
    func cuGraphNodeGetToolsId(
        _ hNode: OpaquePointer?, _ toolsNodeId: UnsafeMutablePointer<UInt64>?
    ) throws(CUDAError) {
        let node = try node(hNode)
        try write(UInt64(node.graph.id) << 32 | UInt64(node.number), to: toolsNodeId)
    }

    func cuGraphNodeGetContainingGraph(
        _ hNode: OpaquePointer?, _ phGraph: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        try write(handle: try node(hNode).graph.bits, to: phGraph)
    }

    func cuGraphNodeGetType(
        _ hNode: OpaquePointer?, _ type: UnsafeMutablePointer<CUgraphNodeType>?
    ) throws(CUDAError) {
        try write(try work(try node(hNode)).type, to: type)
    }
}

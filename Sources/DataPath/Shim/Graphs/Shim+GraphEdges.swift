// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What a graph consists of, in lists; dependencies and their changes.
extension Shim {
    // MARK: Lists

    func cuGraphGetNodes(
        _ hGraph: OpaquePointer?, _ nodes: UnsafeMutablePointer<OpaquePointer?>?,
        _ numNodes: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let handles = try graph(hGraph).structure.withLock { structure in structure.nodes.compactMap { $0?.bits } }
        try list(handles, to: nodes, count: numNodes)
    }

    func cuGraphGetRootNodes(
        _ hGraph: OpaquePointer?, _ rootNodes: UnsafeMutablePointer<OpaquePointer?>?,
        _ numRootNodes: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let handles = try graph(hGraph).structure.withLock { structure in
            structure.nodes.compactMap { node in node?.dependencies.isEmpty == true ? node?.bits : nil }
        }
        try list(handles, to: rootNodes, count: numRootNodes)
    }

    /// Writes as many handles as there is room for, the rest of the room with zeros, and how many there are.
    ///
    /// Without a place for the handles only their number is written.
    private func list(
        _ handles: [UInt64], to target: UnsafeMutablePointer<OpaquePointer?>?,
        count: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        guard let count else { throw .invalidValue }
        guard let target else {
            count.pointee = handles.count
            return
        }
        let room = count.pointee
        guard room >= 0 else { throw .invalidValue }
        for index in 0..<room {
            target[index] = handles.indices.contains(index) ? OpaquePointer(bitPattern: UInt(handles[index])) : nil
        }
        count.pointee = min(room, handles.count)
    }

    // MARK: Edges

    struct ListedEdge {
        let from: UInt64
        let to: UInt64
        let data: EdgeData
    }

    func cuGraphGetEdges(
        _ hGraph: OpaquePointer?, _ from: UnsafeMutablePointer<OpaquePointer?>?,
        _ to: UnsafeMutablePointer<OpaquePointer?>?, _ numEdges: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        guard (from == nil) == (to == nil) else { throw .invalidValue }
        try list(try edges(of: try graph(hGraph)), from, to, nil, numEdges)
    }

    func cuGraphGetEdges_v2(
        _ hGraph: OpaquePointer?, _ from: UnsafeMutablePointer<OpaquePointer?>?,
        _ to: UnsafeMutablePointer<OpaquePointer?>?, _ edgeData: UnsafeMutablePointer<CUgraphEdgeData>?,
        _ numEdges: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        guard (from == nil) == (to == nil), from != nil || edgeData == nil else { throw .invalidValue }
        try list(try edges(of: try graph(hGraph)), from, to, edgeData, numEdges)
    }

    func cuGraphNodeGetDependencies(
        _ hNode: OpaquePointer?, _ dependencies: UnsafeMutablePointer<OpaquePointer?>?,
        _ numDependencies: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        try cuGraphNodeGetDependencies_v2(hNode, dependencies, nil, numDependencies)
    }

    func cuGraphNodeGetDependencies_v2(
        _ hNode: OpaquePointer?, _ dependencies: UnsafeMutablePointer<OpaquePointer?>?,
        _ edgeData: UnsafeMutablePointer<CUgraphEdgeData>?, _ numDependencies: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let node = try node(hNode)
        let edges = try edges(of: node.graph).filter { $0.to == node.bits }
        try list(edges, dependencies, nil, edgeData, numDependencies)
    }

    func cuGraphNodeGetDependentNodes(
        _ hNode: OpaquePointer?, _ dependentNodes: UnsafeMutablePointer<OpaquePointer?>?,
        _ numDependentNodes: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        try cuGraphNodeGetDependentNodes_v2(hNode, dependentNodes, nil, numDependentNodes)
    }

    func cuGraphNodeGetDependentNodes_v2(
        _ hNode: OpaquePointer?, _ dependentNodes: UnsafeMutablePointer<OpaquePointer?>?,
        _ edgeData: UnsafeMutablePointer<CUgraphEdgeData>?, _ numDependentNodes: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let node = try node(hNode)
        let edges = try edges(of: node.graph).filter { $0.from == node.bits }
        try list(edges, nil, dependentNodes, edgeData, numDependentNodes)
    }

    private func edges(of graph: Graph) throws(CUDAError) -> [ListedEdge] {
        try graph.structure.withLock { structure throws(CUDAError) in
            var edges: [ListedEdge] = []
            for number in structure.numbers {
                let node = try structure[number]
                for edge in node.dependencies {
                    edges.append(ListedEdge(from: try structure[edge.node].bits, to: node.bits, data: edge.data))
                }
            }
            return edges
        }
    }

    /// Writes edges as ``list(_:to:count:)`` does.
    ///
    /// Data that says something is lost, and told as CUDA_ERROR_LOSSY_QUERY, where there is no place for it.
    private func list(
        _ edges: [ListedEdge], _ from: UnsafeMutablePointer<OpaquePointer?>?,
        _ to: UnsafeMutablePointer<OpaquePointer?>?, _ data: UnsafeMutablePointer<CUgraphEdgeData>?,
        _ count: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        guard let count else { throw .invalidValue }
        let room = count.pointee
        if let from { try list(edges.map(\.from), to: from, count: count) }
        count.pointee = to == nil ? count.pointee : room
        if let to { try list(edges.map(\.to), to: to, count: count) }
        if from == nil, to == nil { return try list(edges.map(\.to), to: nil, count: count) }
        if let data {
            for index in 0..<room {
                data[index] = edges.indices.contains(index) ? edges[index].data.asC : CUgraphEdgeData()
            }
        } else if edges.contains(where: { !$0.data.isPlain }) {
            throw CUDAError(CUDA_ERROR_LOSSY_QUERY)
        }
    }

    func cuGraphAddDependencies(
        _ hGraph: OpaquePointer?, _ from: UnsafePointer<OpaquePointer?>?, _ to: UnsafePointer<OpaquePointer?>?,
        _ numDependencies: Int
    ) throws(CUDAError) {
        try cuGraphAddDependencies_v2(hGraph, from, to, nil, numDependencies)
    }

    func cuGraphAddDependencies_v2(
        _ hGraph: OpaquePointer?, _ from: UnsafePointer<OpaquePointer?>?, _ to: UnsafePointer<OpaquePointer?>?,
        _ edgeData: UnsafePointer<CUgraphEdgeData>?, _ numDependencies: Int
    ) throws(CUDAError) {
        try changeEdges(hGraph, from, to, edgeData, numDependencies) { structure, edge, number throws(CUDAError) in
            try structure.connect(edge, to: number)
        }
    }

    func cuGraphRemoveDependencies(
        _ hGraph: OpaquePointer?, _ from: UnsafePointer<OpaquePointer?>?, _ to: UnsafePointer<OpaquePointer?>?,
        _ numDependencies: Int
    ) throws(CUDAError) {
        try cuGraphRemoveDependencies_v2(hGraph, from, to, nil, numDependencies)
    }

    func cuGraphRemoveDependencies_v2(
        _ hGraph: OpaquePointer?, _ from: UnsafePointer<OpaquePointer?>?, _ to: UnsafePointer<OpaquePointer?>?,
        _ edgeData: UnsafePointer<CUgraphEdgeData>?, _ numDependencies: Int
    ) throws(CUDAError) {
        guard try !graph(hGraph).structure.withLock({ $0.hasMemoryNodes }) else { throw .notSupported }
        try changeEdges(hGraph, from, to, edgeData, numDependencies) { structure, edge, number throws(CUDAError) in
            try structure.disconnect(edge, from: number)
        }
    }

    /// Changes all of the given edges, or none where one of them is wrong.
    private func changeEdges(
        _ hGraph: OpaquePointer?, _ from: UnsafePointer<OpaquePointer?>?, _ to: UnsafePointer<OpaquePointer?>?,
        _ data: UnsafePointer<CUgraphEdgeData>?, _ count: Int,
        _ change: (inout GraphStructure, GraphEdge, Int) throws(CUDAError) -> Void
    ) throws(CUDAError) {
        let graph = try self.graph(hGraph)
        if count == 0 { return }
        guard count > 0, count <= GraphStructure.nodesMax, let from, let to else { throw .invalidValue }
        try graph.structure.withLock { structure throws(CUDAError) in
            var changed = structure
            for index in 0..<count {
                let source = try node(from[index])
                let target = try node(to[index])
                guard source.graph === graph, target.graph === graph else { throw .invalidValue }
                let edgeData = try data.map { data throws(CUDAError) in try EdgeData(data[index]) } ?? EdgeData()
                try change(&changed, GraphEdge(node: source.number, data: edgeData), target.number)
            }
            structure = changed
        }
    }
}

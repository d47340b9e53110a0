// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Nodes: making and ending them.
extension Shim {
    // MARK: Any kind

    /// Adds a node after others of the graph.
    func addNode(_ work: NodeWork, to graph: Graph, after edges: [GraphEdge]) throws(CUDAError) -> GraphNode {
        try graph.structure.withLock { structure throws(CUDAError) in
            let number = structure.nodes.count
            guard number < GraphStructure.nodesMax else { throw .outOfMemory }
            for edge in edges { _ = try structure[edge.node] }
            let node = try graphNodes.insert { bits in GraphNode(bits: bits, graph: graph, number: number) }
            structure.add(work, bits: node.bits, after: edges)
            return node
        }
    }

    /// The dependencies that the application lists; each must be a node of the graph, and none may be there twice.
    func edges(
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ data: UnsafePointer<CUgraphEdgeData>?, _ count: Int,
        in graph: Graph
    ) throws(CUDAError) -> [GraphEdge] {
        guard count != 0 else { return [] }
        guard let dependencies, count > 0, count <= GraphStructure.nodesMax else { throw .invalidValue }
        var edges: [GraphEdge] = []
        var known: Set<Int> = []
        for index in 0..<count {
            let node = try node(dependencies[index])
            guard node.graph === graph, known.insert(node.number).inserted else { throw .invalidValue }
            edges.append(
                GraphEdge(
                    node: node.number,
                    data: try data.map { data throws(CUDAError) in try EdgeData(data[index]) } ?? EdgeData()))
        }
        return edges
    }

    /// Adds a node whose work is made once the arguments that all kinds share are known to be right.
    private func add(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ data: UnsafePointer<CUgraphEdgeData>?, _ count: Int,
        _ work: () throws(CUDAError) -> NodeWork
    ) throws(CUDAError) {
        let graph = try self.graph(hGraph)
        guard phGraphNode != nil else { throw .invalidValue }
        let edges = try edges(dependencies, data, count, in: graph)
        try write(handle: try addNode(try work(), to: graph, after: edges).bits, to: phGraphNode)
    }

    func cuGraphDestroyNode(_ hNode: OpaquePointer?) throws(CUDAError) {
        let node = try node(hNode)
        let work = try node.graph.structure.withLock { structure throws(CUDAError) in
            guard !structure.hasMemoryNodes else { throw .notSupported }
            let work = try structure[node.number].work
            try structure.remove(node.number)
            return work
        }
        graphNodes.remove(node.bits)
        endGraphs(of: work)
    }

    // MARK: Each kind

    func cuGraphAddKernelNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ nodeParams: UnsafePointer<CUDA_KERNEL_NODE_PARAMS_v1>?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            .kernel(try kernelWork(CUDA_KERNEL_NODE_PARAMS(nodeParams)))
        }
    }

    func cuGraphAddKernelNode_v2(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ nodeParams: UnsafePointer<CUDA_KERNEL_NODE_PARAMS>?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            .kernel(try kernelWork(nodeParams?.pointee))
        }
    }

    func cuGraphAddMemcpyNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ copyParams: UnsafePointer<CUDA_MEMCPY3D>?, _ ctx: OpaquePointer?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            .copy(try copyWork(copyParams?.pointee, try context(ctx)))
        }
    }

    func cuGraphAddMemsetNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ memsetParams: UnsafePointer<CUDA_MEMSET_NODE_PARAMS>?, _ ctx: OpaquePointer?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            .set(try setWork(memsetParams?.pointee, try context(ctx)))
        }
    }

    func cuGraphAddHostNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ nodeParams: UnsafePointer<CUDA_HOST_NODE_PARAMS>?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            .host(try hostWork(nodeParams?.pointee))
        }
    }

    func cuGraphAddChildGraphNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int, _ childGraph: OpaquePointer?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            try childWork(childGraph, in: hGraph, moves: false)
        }
    }

    func cuGraphAddEmptyNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in .empty }
    }

    func cuGraphAddEventRecordNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int, _ event: OpaquePointer?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            .record(try eventOfNode(event))
        }
    }

    func cuGraphAddEventWaitNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int, _ event: OpaquePointer?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            .wait(try eventOfNode(event))
        }
    }

    func cuGraphAddMemAllocNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ nodeParams: UnsafeMutablePointer<CUDA_MEM_ALLOC_NODE_PARAMS>?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            guard let nodeParams else { throw .invalidValue }
            return try allocationWork(&nodeParams.pointee, in: hGraph)
        }
    }

    func cuGraphAddMemFreeNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int, _ dptr: CUdeviceptr
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            try freeWork(dptr, in: hGraph)
        }
    }

    func cuGraphAddBatchMemOpNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ nodeParams: UnsafePointer<CUDA_BATCH_MEM_OP_NODE_PARAMS>?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, nil, numDependencies) { () throws(CUDAError) in
            .values(try valuesWork(nodeParams?.pointee))
        }
    }

    // MARK: One function for all kinds

    func cuGraphAddNode(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ nodeParams: UnsafeMutablePointer<CUgraphNodeParams>?
    ) throws(CUDAError) {
        try cuGraphAddNode_v2(phGraphNode, hGraph, dependencies, nil, numDependencies, nodeParams)
    }

    func cuGraphAddNode_v2(
        _ phGraphNode: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ dependencies: UnsafePointer<OpaquePointer?>?, _ dependencyData: UnsafePointer<CUgraphEdgeData>?,
        _ numDependencies: Int, _ nodeParams: UnsafeMutablePointer<CUgraphNodeParams>?
    ) throws(CUDAError) {
        try add(phGraphNode, hGraph, dependencies, dependencyData, numDependencies) { () throws(CUDAError) in
            guard let nodeParams else { throw .invalidValue }
            switch nodeParams.pointee.type {
            case CU_GRAPH_NODE_TYPE_GRAPH:
                let child = nodeParams.pointee.graph
                guard child.ownership != CU_GRAPH_CHILD_GRAPH_OWNERSHIP_INVALID else { throw .invalidValue }
                let moves = child.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE
                return try childWork(child.graph, in: hGraph, moves: moves)
            case CU_GRAPH_NODE_TYPE_MEM_ALLOC: return try allocationWork(&nodeParams.pointee.alloc, in: hGraph)
            case CU_GRAPH_NODE_TYPE_CONDITIONAL: return try conditionalWork(&nodeParams.pointee.conditional, in: hGraph)
            case CU_GRAPH_NODE_TYPE_MEM_FREE: return try freeWork(nodeParams.pointee.free.dptr, in: hGraph)
            default: return try changeableWork(nodeParams.pointee)
            }
        }
    }
}

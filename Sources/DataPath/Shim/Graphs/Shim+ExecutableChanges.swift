// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Changes of what the nodes of an executable graph do.
///
/// Launches that are under way are not affected.
extension Shim {
    // MARK: One node

    func cuGraphExecKernelNodeSetParams(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?,
        _ nodeParams: UnsafePointer<CUDA_KERNEL_NODE_PARAMS_v1>?
    ) throws(CUDAError) {
        try replace(hGraphExec, hNode) { old throws(CUDAError) in
            .kernel(try kernelWork(CUDA_KERNEL_NODE_PARAMS(nodeParams), replacing: old))
        }
    }

    func cuGraphExecKernelNodeSetParams_v2(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ nodeParams: UnsafePointer<CUDA_KERNEL_NODE_PARAMS>?
    ) throws(CUDAError) {
        try replace(hGraphExec, hNode) { old throws(CUDAError) in
            .kernel(try kernelWork(nodeParams?.pointee, replacing: old))
        }
    }

    func cuGraphExecMemcpyNodeSetParams(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ copyParams: UnsafePointer<CUDA_MEMCPY3D>?,
        _ ctx: OpaquePointer?
    ) throws(CUDAError) {
        try replace(hGraphExec, hNode) { _ throws(CUDAError) in
            .copy(try copyWork(copyParams?.pointee, try context(ctx)))
        }
    }

    func cuGraphExecMemsetNodeSetParams(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?,
        _ memsetParams: UnsafePointer<CUDA_MEMSET_NODE_PARAMS>?, _ ctx: OpaquePointer?
    ) throws(CUDAError) {
        try replace(hGraphExec, hNode) { _ throws(CUDAError) in
            .set(try setWork(memsetParams?.pointee, try context(ctx)))
        }
    }

    func cuGraphExecHostNodeSetParams(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ nodeParams: UnsafePointer<CUDA_HOST_NODE_PARAMS>?
    ) throws(CUDAError) {
        try replace(hGraphExec, hNode) { _ throws(CUDAError) in .host(try hostWork(nodeParams?.pointee)) }
    }

    func cuGraphExecEventRecordNodeSetEvent(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ event: OpaquePointer?
    ) throws(CUDAError) {
        try replace(hGraphExec, hNode) { _ throws(CUDAError) in .record(try eventOfNode(event)) }
    }

    func cuGraphExecEventWaitNodeSetEvent(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ event: OpaquePointer?
    ) throws(CUDAError) {
        try replace(hGraphExec, hNode) { _ throws(CUDAError) in .wait(try eventOfNode(event)) }
    }

    func cuGraphExecBatchMemOpNodeSetParams(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?,
        _ nodeParams: UnsafePointer<CUDA_BATCH_MEM_OP_NODE_PARAMS>?
    ) throws(CUDAError) {
        try replace(hGraphExec, hNode) { _ throws(CUDAError) in .values(try valuesWork(nodeParams?.pointee)) }
    }

    func cuGraphExecNodeSetParams(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ nodeParams: UnsafeMutablePointer<CUgraphNodeParams>?
    ) throws(CUDAError) {
        guard let parameters = nodeParams?.pointee else { throw .invalidValue }
        if parameters.type == CU_GRAPH_NODE_TYPE_GRAPH {
            return try cuGraphExecChildGraphNodeSetParams(hGraphExec, hNode, parameters.graph.graph)
        }
        try replace(hGraphExec, hNode) { old throws(CUDAError) in
            guard old.type == parameters.type else { throw .invalidValue }
            if case .kernel = old { return .kernel(try kernelWork(parameters.kernel, replacing: old)) }
            return try changeableWork(parameters)
        }
    }

    private func replace(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?,
        _ change: (NodeWork) throws(CUDAError) -> NodeWork
    ) throws(CUDAError) {
        let graph = try executable(hGraphExec)
        let key = FlatGraph.Key(try node(hNode))
        let place = graph.state.withLock { state in
            state.nodes.places[key].map { (index: $0, work: state.nodes.nodes[$0].work) }
        }
        guard let place else { throw .invalidValue }
        let work = try change(place.work)
        guard case nil = work.change(from: place.work) else { throw .invalidValue }
        try replace([(place.index, work)], in: graph)
    }

    /// The new contents must be as the old ones in all but their parameters.
    func cuGraphExecChildGraphNodeSetParams(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ childGraph: OpaquePointer?
    ) throws(CUDAError) {
        let graph = try executable(hGraphExec)
        let key = FlatGraph.Key(try node(hNode))
        let child = try FlatGraph(try self.graph(childGraph))
        guard !child.hasConditionalNodes else { throw .invalidValue }
        let changes = try graph.state.withLock { state throws(CUDAError) in
            guard let range = state.nodes.children[key], range.count == child.nodes.count else { throw .invalidValue }
            var changes: [(Int, NodeWork)] = []
            for (offset, node) in child.nodes.enumerated() {
                let old = state.nodes.nodes[range.lowerBound + offset]
                let dependencies = old.dependencies.filter(range.contains).map { $0 - range.lowerBound }
                guard Set(dependencies) == Set(node.dependencies), case nil = node.work.change(from: old.work) else {
                    throw .invalidValue
                }
                changes.append((range.lowerBound + offset, node.work))
            }
            return changes
        }
        try replace(changes, in: graph)
    }

    // MARK: All nodes

    func cuGraphExecUpdate(
        _ hGraphExec: OpaquePointer?, _ hGraph: OpaquePointer?, _ hErrorNode_out: UnsafeMutablePointer<OpaquePointer?>?,
        _ updateResult_out: UnsafeMutablePointer<CUgraphExecUpdateResult>?
    ) throws(CUDAError) {
        guard updateResult_out != nil, hErrorNode_out != nil else { throw .invalidValue }
        var info = CUgraphExecUpdateResultInfo()
        defer {
            updateResult_out?.pointee = info.result
            hErrorNode_out?.pointee = info.errorNode
        }
        try update(try executable(hGraphExec), try graph(hGraph), &info)
    }

    func cuGraphExecUpdate_v2(
        _ hGraphExec: OpaquePointer?, _ hGraph: OpaquePointer?,
        _ resultInfo: UnsafeMutablePointer<CUgraphExecUpdateResultInfo>?
    ) throws(CUDAError) {
        guard let resultInfo else { throw .invalidValue }
        resultInfo.pointee = CUgraphExecUpdateResultInfo()
        try update(try executable(hGraphExec), try graph(hGraph), &resultInfo.pointee)
    }

    /// Takes over the parameters of another graph of the same shape; where the shape differs, nothing is changed.
    private func update(
        _ executable: ExecutableGraph, _ graph: Graph, _ info: inout CUgraphExecUpdateResultInfo
    ) throws(CUDAError) {
        info.result = CU_GRAPH_EXEC_UPDATE_ERROR
        let new = try FlatGraph(graph)
        let (old, oldBodyCounts) = executable.state.withLock { ($0.nodes.nodes, $0.nodes.bodyCounts) }
        var difference: (result: CUgraphExecUpdateResult, node: Int)?
        if new.nodes.count != old.count || new.bodyCounts != oldBodyCounts {
            difference = (CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, -1)
        }
        for index in new.nodes.indices where difference == nil {
            if let change = new.nodes[index].work.change(from: old[index].work) {
                difference = (change, index)
            } else if Set(new.nodes[index].dependencies) != Set(old[index].dependencies) {
                difference = (CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, index)
            }
        }
        guard let difference else {
            if new.hasConditionalNodes {
                try replaceAll(new, of: graph, in: executable)
            } else {
                try replace(new.nodes.enumerated().map { ($0.offset, $0.element.work) }, in: executable)
            }
            info.result = CU_GRAPH_EXEC_UPDATE_SUCCESS
            return
        }
        info.result = difference.result
        if difference.node >= 0 {
            info.errorNode = OpaquePointer(bitPattern: UInt(new.nodes[difference.node].bits))
        }
        throw CUDAError(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE)
    }

    /// Replaces what all nodes do together with the conditions, which kernels get as parameters.
    private func replaceAll(
        _ new: FlatGraph, of graph: Graph, in executable: ExecutableGraph
    ) throws(CUDAError) {
        try checkConditions(of: graph, new, isUpdate: true)
        guard let (plan, _) = try plan(new, of: graph) else { throw .notSupported }
        let (driverGraph, isEnabled) = executable.state.withLock { ($0.driverGraph, $0.isEnabled) }
        guard let driverGraph else { throw .invalidValue }
        try driver.cuGraphExecUpdate_v2(driverGraph.context, graph: driverGraph.handle, plan: plan)
        for index in isEnabled.indices where !isEnabled[index] {
            try driver.cuGraphExecNodeSetParams(
                driverGraph.context, graph: driverGraph.handle, node: index, work: .empty)
        }
        executable.state.withLock { state in
            for (index, node) in new.nodes.enumerated() { state.nodes.setWork(node.work, at: index) }
        }
    }

    /// Replaces what some nodes do, here and in the driver's form of the graph.
    private func replace(_ changes: [(index: Int, work: NodeWork)], in graph: ExecutableGraph) throws(CUDAError) {
        let (driverGraph, differences) = try graph.state.withLock { state throws(CUDAError) in
            var differences: [(index: Int, work: DeviceWork)] = []
            for (index, work) in changes {
                // Most of what an update brings is what is there already.
                if state.driverGraph != nil, state.isEnabled[index], let new = try deviceWork(of: work) {
                    let old = try deviceWork(of: state.nodes.nodes[index].work)
                    if new != old { differences.append((index, new)) }
                }
                state.nodes.setWork(work, at: index)
            }
            return (state.driverGraph, differences)
        }
        guard let driverGraph else { return }
        for (index, work) in differences {
            try driver.cuGraphExecNodeSetParams(
                driverGraph.context, graph: driverGraph.handle, node: index, work: work)
        }
    }
}

extension NodeWork {
    /// What of a node's kind differs from another's, so that it cannot take its place in an executable graph; nil if
    /// nothing does.
    func change(from old: NodeWork) -> CUgraphExecUpdateResult? {
        guard type == old.type else { return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED }
        switch (self, old) {
        case (.kernel(let new), .kernel(let old)):
            return new.function.context === old.function.context
                ? nil : CU_GRAPH_EXEC_UPDATE_ERROR_UNSUPPORTED_FUNCTION_CHANGE
        case (.copy(let new), .copy(let old)):
            return new.context === old.context && new.target.side.isHost == old.target.side.isHost
                && new.source.side.isHost == old.source.side.isHost
                && new.target.corner.isInArray == old.target.corner.isInArray
                && new.source.corner.isInArray == old.source.corner.isInArray
                ? nil : CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED
        case (.set(let new), .set(let old)):
            return new.context === old.context && new.isOnDevice == old.isOnDevice
                ? nil : CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED
        case (.record(let new), .record(let old)):
            return new.context === old.context ? nil : CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED
        case (.values(let new), .values(let old)):
            return new.canReplace(old) ? nil : CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED
        case (.conditional(let new), .conditional(let old)):
            return new.canReplace(old) ? nil : CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED
        case (.allocate(let new), .allocate(let old)), (.free(let new), .free(let old)):
            return new === old ? nil : CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED
        default: return nil
        }
    }
}

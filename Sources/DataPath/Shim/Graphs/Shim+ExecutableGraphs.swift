// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Executable graphs: making, changing and ending them. ``Shim+GraphLaunches`` launches them.
extension Shim {
    func executable(_ handle: OpaquePointer?) throws(CUDAError) -> ExecutableGraph {
        guard let graph = executableGraphs[bits(handle)] else { throw .invalidValue }
        return graph
    }

    // MARK: Making and ending

    func cuGraphInstantiate(
        _ phGraphExec: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ phErrorNode: UnsafeMutablePointer<OpaquePointer?>?, _ logBuffer: UnsafeMutablePointer<CChar>?,
        _ bufferSize: Int
    ) throws(CUDAError) {
        try cuGraphInstantiate_v2(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize)
    }

    func cuGraphInstantiate_v2(
        _ phGraphExec: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ phErrorNode: UnsafeMutablePointer<OpaquePointer?>?, _ logBuffer: UnsafeMutablePointer<CChar>?,
        _ bufferSize: Int
    ) throws(CUDAError) {
        phErrorNode?.pointee = nil
        if let logBuffer, bufferSize > 0 { logBuffer.pointee = 0 }
        guard phGraphExec != nil else { throw .invalidValue }
        try write(handle: try instantiate(try graph(hGraph), flags: 0).bits, to: phGraphExec)
    }

    func cuGraphInstantiateWithFlags(
        _ phGraphExec: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?, _ flags: UInt64
    ) throws(CUDAError) {
        guard phGraphExec != nil else { throw .invalidValue }
        try write(handle: try instantiate(try graph(hGraph), flags: flags).bits, to: phGraphExec)
    }

    func cuGraphInstantiateWithParams(
        _ phGraphExec: UnsafeMutablePointer<OpaquePointer?>?, _ hGraph: OpaquePointer?,
        _ instantiateParams: UnsafeMutablePointer<CUDA_GRAPH_INSTANTIATE_PARAMS>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard phGraphExec != nil, let instantiateParams else { throw .invalidValue }
        instantiateParams.pointee.hErrNode_out = nil
        instantiateParams.pointee.result_out = CUDA_GRAPH_INSTANTIATE_ERROR
        let graph = try self.graph(hGraph)
        let made: ExecutableGraph
        do throws(CUDAError) {
            made = try instantiate(graph, flags: instantiateParams.pointee.flags)
        } catch {
            instantiateParams.pointee.result_out = instantiateResult(of: graph, error)
            throw error
        }
        if instantiateParams.pointee.flags & UInt64(CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD.rawValue) != 0 {
            _ = try workTarget(instantiateParams.pointee.hUploadStream, defaultStream)
        }
        instantiateParams.pointee.result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS
        try write(handle: made.bits, to: phGraphExec)
    }

    /// Why a graph could not be instantiated.
    private func instantiateResult(of graph: Graph, _ error: CUDAError) -> CUgraphInstantiateResult {
        let isCyclic = graph.structure.withLock { $0.topologicalOrder().count != $0.numbers.count }
        if isCyclic { return CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE }
        if graph.conditions.withLock({ $0.hasUnused }) { return CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED }
        let isOfForbiddenNodes = (try? FlatGraph(graph)).map { (try? checkBodies($0)) == nil } ?? false
        return error == .notSupported || isOfForbiddenNodes
            ? CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED : CUDA_GRAPH_INSTANTIATE_ERROR
    }

    /// Launches from kernels are CUDA_ERROR_NOT_SUPPORTED, as from a driver without them.
    private func instantiate(_ graph: Graph, flags: UInt64) throws(CUDAError) -> ExecutableGraph {
        let known: UInt64 = 0xf
        guard flags & ~known == 0 else { throw .invalidValue }
        guard flags & UInt64(CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH.rawValue) == 0 else { throw .notSupported }
        let nodes = try FlatGraph(graph)
        try checkConditions(of: graph, nodes)
        let isEnabled = [Bool](repeating: true, count: nodes.nodes.count)
        let player = GraphPlayer(try schedule(nodes))
        let driverGraph = try driverGraph(nodes, of: graph)
        // Where launches are single calls nobody could look at conditions.
        guard driverGraph != nil || !nodes.hasConditionalNodes else { throw .notSupported }
        try claim(nodes.allocations)
        if nodes.hasConditionalNodes { graph.conditions.withLock { $0.isInstantiated = true } }
        let userObjects = retained(graph.structure.withLock { $0.userObjects })
        let id = nextGraphID()
        return try executableGraphs.insert { bits in
            ExecutableGraph(
                bits: bits, id: id, flags: flags,
                state: ExecutableGraph.State(
                    nodes: nodes, isEnabled: isEnabled, player: player, userObjects: userObjects,
                    driverGraph: driverGraph, origin: nodes.hasConditionalNodes ? graph : nil))
        }
    }

    /// Distributes nodes over streams; their home is the context of the first that has one.
    private func schedule(_ flat: FlatGraph) throws(CUDAError) -> GraphSchedule {
        var wishes: [(context: ContextHandle?, dependencies: [Int])] = []
        var home: ContextHandle?
        for node in flat.nodes {
            let context = try node.work.context?.handle
            home = home ?? context
            wishes.append((context, node.dependencies))
        }
        // A graph of host functions alone runs wherever it is launched.
        if home == nil { home = try activeContext().handle }
        return GraphSchedule(wishes, home: home ?? ContextHandle(bits: 0))
    }

    /// Memory nodes can be in one executable graph at a time.
    private func claim(_ allocations: [GraphAllocation]) throws(CUDAError) {
        for (index, allocation) in allocations.enumerated() {
            let isFree = allocation.state.withLock { state in
                defer { state.isInstantiated = true }
                return !state.isInstantiated
            }
            guard isFree else {
                for claimed in allocations[..<index] { claimed.state.withLock { $0.isInstantiated = false } }
                throw .notSupported
            }
        }
    }

    /// What was launched goes on to its end.
    func cuGraphExecDestroy(_ hGraphExec: OpaquePointer?) throws(CUDAError) {
        guard let graph = executableGraphs.remove(bits(hGraphExec)) else { throw .invalidValue }
        let (player, objects, allocations, driverGraph, origin) = graph.state.withLock { state in
            defer { (state.driverGraph, state.origin) = (nil, nil) }
            return (state.player, state.userObjects, state.nodes.allocations, state.driverGraph, state.origin)
        }
        origin?.conditions.withLock { $0.isInstantiated = false }
        for allocation in allocations { allocation.state.withLock { $0.isInstantiated = false } }
        end(driverGraph)
        if !objects.isEmpty {
            let shim = Unmanaged.passUnretained(self)
            // SAFETY: the shim lives as long as its driver calls host functions.
            player.afterLastLaunch(on: driver) { shim._withUnsafeGuaranteedRef { $0.release(objects) } }
        }
        player.end(on: driver)
    }

    // MARK: Questions

    func cuGraphExecGetFlags(_ hGraphExec: OpaquePointer?, _ flags: UnsafeMutablePointer<UInt64>?) throws(CUDAError) {
        try write(try executable(hGraphExec).flags, to: flags)
    }

    func cuGraphExecGetId(_ hGraphExec: OpaquePointer?, _ graphId: UnsafeMutablePointer<UInt32>?) throws(CUDAError) {
        try write(try executable(hGraphExec).id, to: graphId)
    }

    func cuGraphNodeGetEnabled(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ isEnabled: UnsafeMutablePointer<UInt32>?
    ) throws(CUDAError) {
        let node = try node(hNode)
        let isOn = try executable(hGraphExec).state.withLock { state throws(CUDAError) in
            state.isEnabled[try state.place(ofSwitchable: node)]
        }
        try write(isOn ? 1 : 0, to: isEnabled)
    }

    func cuGraphNodeSetEnabled(
        _ hGraphExec: OpaquePointer?, _ hNode: OpaquePointer?, _ isEnabled: UInt32
    ) throws(CUDAError) {
        let node = try node(hNode)
        let (driverGraph, index, work) = try executable(hGraphExec).state.withLock { state throws(CUDAError) in
            let index = try state.place(ofSwitchable: node)
            state.isEnabled[index] = isEnabled != 0
            let work = state.nodes.nodes[index].work
            return (state.driverGraph, index, isEnabled != 0 ? try deviceWork(of: work) : DeviceWork.empty)
        }
        guard let driverGraph, let work else { return }
        try driver.cuGraphExecNodeSetParams(driverGraph.context, graph: driverGraph.handle, node: index, work: work)
    }
}

extension ExecutableGraph.State {
    /// Where a node is that can be switched off: a kernel, a copy or a set.
    fileprivate func place(ofSwitchable node: GraphNode) throws(CUDAError) -> Int {
        guard let index = nodes.places[FlatGraph.Key(node)] else { throw .invalidValue }
        switch nodes.nodes[index].work {
        case .kernel, .copy, .set: return index
        default: throw .invalidValue
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// The form in which a driver performs a whole graph by itself: for graphs of kernels, device copies, device sets and
/// conditional nodes.
extension Shim {
    /// Hands a graph to the driver, if all of it is work of the device.
    ///
    /// Nil where it is not; then it is launched node by node.
    func driverGraph(_ flat: FlatGraph, of graph: Graph) throws(CUDAError) -> ExecutableGraph.DriverGraph? {
        guard let (plan, home) = try plan(flat, of: graph) else { return nil }
        let handle = try driver.cuGraphInstantiate(home, plan: plan)
        return ExecutableGraph.DriverGraph(context: home, handle: handle)
    }

    /// A graph in the form for drivers, and the context in which it is made.
    ///
    /// Nil if not all of it is work of the device.
    func plan(_ flat: FlatGraph, of graph: Graph) throws(CUDAError) -> (plan: GraphPlan, home: ContextHandle)? {
        var home: ContextHandle?
        var nodes: [GraphPlan.Node] = []
        for node in flat.nodes {
            guard let work = try deviceWork(of: node.work) else { return nil }
            let context = try node.work.context?.handle
            home = home ?? context
            nodes.append(
                GraphPlan.Node(context: context ?? ContextHandle(bits: 0), work: work, dependencies: node.dependencies))
        }
        guard let home, nodes.count <= GraphPlan.nodesMax else { return nil }
        let draft = flat.hasConditionalNodes ? graph.conditions.withLock { $0.draft?.handle } : nil
        var plan = GraphPlan(nodes: nodes, bodyCounts: flat.bodyCounts, draft: draft ?? .none)
        if flat.hasConditionalNodes { try settleBodies(&plan) }
        for index in nodes.indices where plan.nodes[index].context.bits == 0 { plan.nodes[index].context = home }
        return (plan, home)
    }

    /// Lets nodes that are of no context run in that of the conditional node whose body they are in; the others must.
    private func settleBodies(_ plan: inout GraphPlan) throws(CUDAError) {
        guard let layout = plan.layout else { throw .notSupported }
        for (index, bodies) in layout.bodies {
            let context = plan.nodes[index].context
            for place in bodies.flatMap({ layout.graphs[$0] }) {
                if plan.nodes[place].context.bits == 0 { plan.nodes[place].context = context }
                guard plan.nodes[place].context == context else { throw .invalidValue }
            }
        }
    }

    /// Gives the driver's form up; that of an ended context has gone with it.
    func end(_ graph: ExecutableGraph.DriverGraph?) {
        guard let graph else { return }
        try? driver.cuGraphExecDestroy(graph.context, hGraphExec: graph.handle)
    }

    /// What a node does, for a driver that performs whole graphs; nil where it needs this process.
    func deviceWork(of work: NodeWork) throws(CUDAError) -> DeviceWork? {
        switch work {
        case .kernel(let kernel):
            .kernel(
                kernel.function.handle, kernel.geometry, parameters: Array(try deviceParameters(of: kernel).bytes))
        case .copy(let copy): settled(copy).deviceWork
        case .set(let set): set.isOnDevice ? .set(set.description) : nil
        case .empty: .empty
        case .conditional(let node): .conditional(node.work)
        case .host, .graph, .wait, .record, .allocate, .free, .values: nil
        }
    }

    /// A kernel's parameters with the device's addresses of pinned memory.
    func deviceParameters(of kernel: KernelWork) throws(CUDAError) -> ParameterBlock {
        guard usesSharedMemory else { return kernel.parameters }
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: kernel.parameters.bytes.count, alignment: 16)
        defer { copy.deallocate() }
        copy.copyMemory(from: kernel.parameters.bytes)
        try replaceHostPointers(in: copy)
        return ParameterBlock(UnsafeRawBufferPointer(copy), layout: kernel.function.parameters)
    }

    /// A copy whose host memory may have come to be used by the device too since its node was made.
    func settled(_ copy: CopyWork) -> CopyWork {
        guard usesSharedMemory, copy.target.side.isHost || copy.source.side.isHost else { return copy }
        return CopyWork(
            description: copy.description, context: copy.context, target: settled(copy.target),
            source: settled(copy.source), extent: copy.extent)
    }
}

extension CopyWork {
    var deviceWork: DeviceWork? {
        guard !target.side.isHost, !source.side.isHost else { return nil }
        if isEmpty { return .empty }
        guard target.isContiguous(extent), source.isContiguous(extent) else {
            return .copy(target: target.corner, source: source.corner, extent)
        }
        return .copy(
            target: DeviceBox(address: target.corner.address, pitch: byteCount, rows: 1),
            source: DeviceBox(address: source.corner.address, pitch: byteCount, rows: 1),
            Extent(widthBytes: byteCount, height: 1, depth: 1))
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// The form in which a driver performs a whole graph by itself: for graphs of kernels, device copies and device sets.
extension Shim {
    /// Hands a graph to the driver, if all of it is work of the device.
    ///
    /// Nil where it is not; then it is launched node by node.
    func driverGraph(_ flat: FlatGraph, _ isEnabled: [Bool]) throws(CUDAError) -> ExecutableGraph.DriverGraph? {
        var home: ContextHandle?
        var nodes: [GraphPlan.Node] = []
        for (index, node) in flat.nodes.enumerated() {
            guard let work = isEnabled[index] ? try deviceWork(of: node.work) : .empty else { return nil }
            let context = try node.work.context?.handle
            home = home ?? context
            nodes.append(
                GraphPlan.Node(context: context ?? ContextHandle(bits: 0), work: work, dependencies: node.dependencies))
        }
        guard let home, nodes.count <= GraphPlan.nodesMax else { return nil }
        for index in nodes.indices where nodes[index].context.bits == 0 { nodes[index].context = home }
        let handle = try driver.cuGraphInstantiate(home, plan: GraphPlan(nodes: nodes))
        return ExecutableGraph.DriverGraph(context: home, handle: handle)
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

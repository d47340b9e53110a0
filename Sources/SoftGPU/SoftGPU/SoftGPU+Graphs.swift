// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import KernelCompiler
import Synchronization

/// Graphs: in one context a launch is one work of its stream, which does the nodes in their order. The cores are busy
/// with the blocks of each kernel; branches gain nothing by running at once. Nodes of several contexts are spread over
/// streams of these.
extension SoftGPU {
    package func cuGraphInstantiate(_ context: ContextHandle, plan: GraphPlan) throws(CUDAError) -> GraphHandle {
        let context = try self.context(context)
        let nodes = try nodes(of: plan)
        let graph = try graphs.insert { bits in
            PlannedGraph(bits: bits, context: context.bits, plan: plan, nodes: nodes)
        }
        return GraphHandle(bits: graph.bits)
    }

    package func cuGraphExecNodeSetParams(
        _ context: ContextHandle, graph: GraphHandle, node: Int, work: DeviceWork
    ) throws(CUDAError) {
        _ = try self.context(context)
        let graph = try self.graph(graph)
        let old = graph.nodes.withLock { $0.works.indices.contains(node) ? ($0.contexts[node], $0.works[node]) : nil }
        guard let old else { throw .invalidValue }
        // Conditional nodes stay what they are, and are not switched off.
        for case .conditional in [old.1, work] { throw .invalidValue }
        let step = try step(work, in: try self.context(old.0))
        graph.nodes.withLock { nodes in
            nodes.works[node] = work
            nodes.steps[node] = step
        }
    }

    package func cuGraphLaunch(
        _ context: ContextHandle, hGraphExec: GraphHandle, hStream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(hStream, in: context)
        let graph = try self.graph(hGraphExec)
        let nodes = graph.nodes.withLock { $0 }
        if let player = graph.player { return try play(player, nodes, context, stream) }
        guard graph.context == context.bits else { throw .invalidContext }
        graph.launch(try steps(of: nodes), on: stream, in: context)
    }

    /// Launches nodes of several contexts, each on a stream of its own context.
    private func play(
        _ player: GraphPlayer, _ nodes: PlannedGraph.Nodes, _ context: Context, _ stream: Stream
    ) throws(CUDAError) {
        // Bodies are work of one context and one stream, as whole graphs are elsewhere.
        let steps = nodes.draft == nil ? nil : try steps(of: nodes)
        try player.play(on: self, ContextHandle(bits: context.bits), StreamHandle(bits: stream.bits)) {
            if let draft = nodes.draft { context.enqueue(stream, .task { draft.assignDefaults() }) }
        } perform: { node, lane, laneStream throws(CUDAError) in
            guard let steps, case .conditional = nodes.works[node] else {
                return try enqueue(nodes.works[node], lane, laneStream)
            }
            let lane = try self.context(lane)
            let target = try self.stream(laneStream, in: lane)
            let environment = lane.environment
            lane.enqueue(
                target,
                .task {
                    if environment.error == nil {
                        steps.run(step: node, environment, target.greenContext?.budget)
                    }
                })
        }
    }

    /// What a launch does: the memory of copies and sets is looked up, and held until they are done.
    private func steps(of nodes: PlannedGraph.Nodes) throws(CUDAError) -> GraphSteps {
        var steps: [GraphStep] = []
        steps.reserveCapacity(nodes.steps.count)
        for (index, step) in nodes.steps.enumerated() {
            if let step { steps.append(step) } else { steps.append(try memoryStep(nodes.works[index])) }
        }
        return GraphSteps(steps: steps, layout: nodes.layout, draft: nodes.draft)
    }

    package func cuGraphExecDestroy(_ context: ContextHandle, hGraphExec: GraphHandle) throws(CUDAError) {
        _ = try self.context(context)
        guard let graph = graphs.remove(hGraphExec.bits) else { throw .invalidHandle }
        graph.player?.end(on: self)
    }

    private func graph(_ handle: GraphHandle) throws(CUDAError) -> PlannedGraph {
        guard let graph = graphs[handle.bits] else { throw .invalidHandle }
        return graph
    }

    /// What a node does, with its kernel compiled; nil for copies and sets, whose memory is looked up at each launch.
    func step(_ work: DeviceWork, in context: Context) throws(CUDAError) -> GraphStep? {
        switch work {
        case .empty: return .nothing
        case .conditional(let work): return .conditional(work)
        case .copy, .set: return nil
        case .kernel(let function, let geometry, let parameters):
            let function = try self.function(function, in: context)
            try Self.check(geometry, for: function)
            // CUDA does not define what kernels of graphs read through references.
            guard function.module.references == nil else { throw .notSupported }
            let byteCount = function.description.parameterBytes
            guard parameters.count >= byteCount else { throw .invalidValue }
            try function.prepare()
            return .kernel(function, geometry, GraphParameters(parameters.prefix(byteCount)))
        }
    }

    /// A copy or a set, with its memory, which is held until it is done.
    private func memoryStep(_ work: DeviceWork) throws(CUDAError) -> GraphStep {
        switch work {
        case .kernel, .conditional, .empty: return .nothing
        case .copy(let target, let source, let extent):
            let (targetBox, targetMemory) = try box(target, extent)
            let (sourceBox, sourceMemory) = try box(source, extent)
            let copy = Copy(targetBox, sourceBox, extent)
            return .body { withExtendedLifetime((targetMemory, sourceMemory)) { copy.perform() } }
        case .set(let set):
            let rowBytes = set.width * Int(set.elementBytes)
            let extent = Extent(widthBytes: rowBytes, height: set.height, depth: 1)
            let (_, memory) = try box(DeviceBox(address: set.address, pitch: set.pitch, rows: set.height), extent)
            return .body { withExtendedLifetime(memory) { set.perform() } }
        }
    }
}

extension DeviceSet {
    /// Does the set; the memory is held by the caller.
    fileprivate func perform() {
        switch elementBytes {
        case 1: fill(UInt8(truncatingIfNeeded: value))
        case 2: fill(UInt16(truncatingIfNeeded: value))
        default: fill(value)
        }
    }

    private func fill<Element: FixedWidthInteger & Sendable>(_ value: Element) {
        Fill(address: UInt64(address), pitch: pitch, value: value, width: width, height: height).perform()
    }
}

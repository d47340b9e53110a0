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
        guard plan.isOrdered else { throw .invalidValue }
        var steps: [GraphStep?] = []
        for node in plan.nodes { steps.append(try step(node.work, in: try self.context(node.context))) }
        let graph = try graphs.insert { bits in
            PlannedGraph(bits: bits, context: context.bits, plan: plan, steps: steps)
        }
        return GraphHandle(bits: graph.bits)
    }

    package func cuGraphExecNodeSetParams(
        _ context: ContextHandle, graph: GraphHandle, node: Int, work: DeviceWork
    ) throws(CUDAError) {
        _ = try self.context(context)
        let graph = try self.graph(graph)
        let old = graph.nodes.withLock { $0.works.indices.contains(node) ? $0.contexts[node] : nil }
        guard let old else { throw .invalidValue }
        let step = try step(work, in: try self.context(old))
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
        if let player = graph.player {
            return try player.play(on: self, ContextHandle(bits: context.bits), hStream) {
                node, context, stream throws(CUDAError) in
                try enqueue(nodes.works[node], context, stream)
            }
        }
        guard graph.context == context.bits else { throw .invalidContext }
        var steps: [GraphStep] = []
        steps.reserveCapacity(nodes.steps.count)
        for (index, step) in nodes.steps.enumerated() {
            if let step { steps.append(step) } else { steps.append(try memoryStep(nodes.works[index])) }
        }
        graph.launch(steps, on: stream, in: context)
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
    private func step(_ work: DeviceWork, in context: Context) throws(CUDAError) -> GraphStep? {
        switch work {
        case .empty: return .nothing
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
        case .kernel, .empty: return .nothing
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

/// One node of a launch.
enum GraphStep: Sendable {
    case kernel(Function, LaunchGeometry, GraphParameters)
    case body(@Sendable () -> Void)
    case nothing
}

/// A kernel's parameter block, aligned as kernels may load vectors from it.
final class GraphParameters: @unchecked Sendable {
    // SAFETY: written by `init` only.
    let bytes: UnsafeRawBufferPointer

    init(_ source: ArraySlice<UInt8>) {
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: source.count, alignment: 16)
        block.copyBytes(from: source)
        bytes = UnsafeRawBufferPointer(block)
    }

    deinit { bytes.deallocate() }
}

/// An executable graph.
final class PlannedGraph: Sendable {
    struct Nodes: Sendable {
        let contexts: [ContextHandle]
        var works: [DeviceWork]
        var steps: [GraphStep?]
    }

    let bits: UInt64
    /// The context in which it was made, with which it ends.
    let context: UInt64
    let nodes: Mutex<Nodes>
    /// For nodes of several contexts.
    let player: GraphPlayer?
    private let last = Mutex<StreamPosition?>(nil)

    init(bits: UInt64, context: UInt64, plan: GraphPlan, steps: [GraphStep?]) {
        self.bits = bits
        self.context = context
        nodes = Mutex(Nodes(contexts: plan.nodes.map(\.context), works: plan.nodes.map(\.work), steps: steps))
        let home = ContextHandle(bits: context)
        let isAtHome = plan.nodes.allSatisfy { $0.context == home }
        player =
            isAtHome ? nil : GraphPlayer(GraphSchedule(plan.nodes.map { ($0.context, $0.dependencies) }, home: home))
    }

    /// Enqueues all steps as one work, behind the launch before.
    ///
    /// The lock is held meanwhile: which launch is the last is decided once.
    func launch(_ steps: [GraphStep], on stream: Stream, in context: Context) {
        last.withLock { last in
            if let last, last.stream !== stream, !last.isReached { context.enqueue(stream, .wait(last)) }
            let environment = context.environment
            last = context.enqueue(
                stream,
                .task {
                    for step in steps where environment.error == nil {
                        switch step {
                        case .kernel(let function, let geometry, let parameters):
                            environment.run(
                                function, geometry, parameters.bytes, budget: stream.greenContext?.budget)
                        case .body(let body): body()
                        case .nothing: break
                        }
                    }
                })
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

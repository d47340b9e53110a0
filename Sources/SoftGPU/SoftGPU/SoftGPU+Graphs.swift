// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import KernelCompiler
import Synchronization

/// A graph of kernels, copies and sets, with the streams on which its branches run.
final class PlannedGraph: Sendable {
    let bits: UInt64
    /// The context in which it was made, with which it ends.
    let context: UInt64
    let plan: Mutex<GraphPlan>
    let player: GraphPlayer

    init(bits: UInt64, context: UInt64, plan: GraphPlan) {
        self.bits = bits
        self.context = context
        self.plan = Mutex(plan)
        let schedule = GraphSchedule(
            plan.nodes.map { ($0.context, $0.dependencies) }, home: ContextHandle(bits: context))
        player = GraphPlayer(schedule)
    }
}

/// Graphs: the works of a launch are enqueued as if they had been asked for one by one.
extension SoftGPU {
    package func cuGraphInstantiate(_ context: ContextHandle, plan: GraphPlan) throws(CUDAError) -> GraphHandle {
        let context = try self.context(context)
        guard plan.isOrdered else { throw .invalidValue }
        for node in plan.nodes { try check(node.work, in: try self.context(node.context)) }
        let graph = try graphs.insert { PlannedGraph(bits: $0, context: context.bits, plan: plan) }
        return GraphHandle(bits: graph.bits)
    }

    package func cuGraphExecNodeSetParams(
        _ context: ContextHandle, graph: GraphHandle, node: Int, work: DeviceWork
    ) throws(CUDAError) {
        _ = try self.context(context)
        let graph = try self.graph(graph)
        let old = graph.plan.withLock { plan in plan.nodes.indices.contains(node) ? plan.nodes[node] : nil }
        guard let old else { throw .invalidValue }
        try check(work, in: try self.context(old.context))
        graph.plan.withLock { $0.nodes[node].work = work }
    }

    package func cuGraphLaunch(
        _ context: ContextHandle, hGraphExec: GraphHandle, hStream: StreamHandle
    ) throws(CUDAError) {
        _ = try stream(hStream, in: try self.context(context))
        let graph = try self.graph(hGraphExec)
        let nodes = graph.plan.withLock { $0.nodes }
        try graph.player.play(on: self, context, hStream) { node, context, stream throws(CUDAError) in
            try enqueue(nodes[node].work, context, stream)
        }
    }

    package func cuGraphExecDestroy(_ context: ContextHandle, hGraphExec: GraphHandle) throws(CUDAError) {
        _ = try self.context(context)
        guard let graph = graphs.remove(hGraphExec.bits) else { throw .invalidHandle }
        graph.player.end(on: self)
    }

    private func graph(_ handle: GraphHandle) throws(CUDAError) -> PlannedGraph {
        guard let graph = graphs[handle.bits] else { throw .invalidHandle }
        return graph
    }

    /// What would be refused at every launch is refused when the node is made.
    private func check(_ work: DeviceWork, in context: Context) throws(CUDAError) {
        guard case .kernel(let function, _, let parameters) = work else { return }
        let known = try self.function(function, in: context)
        guard parameters.count >= known.description.parameterBytes else { throw .invalidValue }
        try known.prepare()
    }
}

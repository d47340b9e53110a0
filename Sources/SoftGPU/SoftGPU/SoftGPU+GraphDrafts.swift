// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSoftGPU
package import Driver
import Synchronization

/// Graphs that are begun before they are instantiated, and their conditions.
extension SoftGPU {
    package func cuGraphCreate(_ context: ContextHandle, flags: UInt32) throws(CUDAError) -> GraphDraftHandle {
        let context = try self.context(context)
        guard flags == 0 else { throw .invalidValue }
        let draft = try graphDrafts.insert { bits in GraphDraft(bits: bits, context: context.bits) }
        return GraphDraftHandle(bits: draft.bits)
    }

    package func cuGraphDestroy(_ context: ContextHandle, hGraph: GraphDraftHandle) throws(CUDAError) {
        _ = try self.context(context)
        guard graphDrafts.remove(hGraph.bits) != nil else { throw .invalidHandle }
    }

    package func cuGraphConditionalHandleCreate(
        _ context: ContextHandle, hGraph: GraphDraftHandle, defaultLaunchValue: UInt32, flags: UInt32
    ) throws(CUDAError) -> UInt64 {
        let context = try self.context(context)
        guard flags & ~UInt32(CU_GRAPH_COND_ASSIGN_DEFAULT) == 0 else { throw .invalidValue }
        guard let draft = graphDrafts[hGraph.bits] else { throw .invalidHandle }
        let condition = GraphDraft.Condition(
            context: context.bits, launchValue: flags == 0 ? nil : defaultLaunchValue)
        return try draft.conditions.withLock { conditions throws(CUDAError) in
            guard conditions.count < GraphDraft.conditionsMax else { throw .outOfMemory }
            let handle = sg_condition_add()
            guard handle != 0 else { throw .outOfMemory }
            conditions[handle] = condition
            return handle
        }
    }

    package func cuGraphExecUpdate_v2(
        _ context: ContextHandle, graph: GraphHandle, plan: GraphPlan
    ) throws(CUDAError) {
        _ = try self.context(context)
        guard let graph = graphs[graph.bits] else { throw .invalidHandle }
        let new = try nodes(of: plan)
        try graph.nodes.withLock { nodes throws(CUDAError) in
            guard nodes.draft != nil, new.draft != nil, nodes.layout.graphs == new.layout.graphs,
                nodes.layout.bodies == new.layout.bodies, nodes.contexts == new.contexts,
                nodes.dependencies == new.dependencies
            else { throw CUDAError(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE) }
            nodes = new
        }
    }

    /// A plan that was checked, with its kernels compiled.
    func nodes(of plan: GraphPlan) throws(CUDAError) -> PlannedGraph.Nodes {
        guard let layout = plan.layout else { throw .invalidValue }
        let draft = graphDrafts[plan.draft.bits]
        guard draft != nil || plan.draft == .none else { throw .invalidHandle }
        try checkConditions(of: plan, layout, draft)
        var steps: [GraphStep?] = []
        steps.reserveCapacity(plan.nodes.count)
        for node in plan.nodes { steps.append(try step(node.work, in: try self.context(node.context))) }
        return PlannedGraph.Nodes(
            contexts: plan.nodes.map(\.context), works: plan.nodes.map(\.work), steps: steps, layout: layout,
            dependencies: draft == nil ? [] : plan.nodes.map(\.dependencies), draft: draft)
    }

    /// A conditional node, its condition and its bodies' nodes are of one context.
    private func checkConditions(
        of plan: GraphPlan, _ layout: GraphLayout, _ draft: GraphDraft?
    ) throws(CUDAError) {
        guard !layout.bodies.isEmpty else { return }
        guard let conditions = draft?.conditions.withLock({ $0 }) else { throw .invalidValue }
        for (index, bodies) in layout.bodies {
            let node = plan.nodes[index]
            guard case .conditional(let work) = node.work, conditions[work.condition]?.context == node.context.bits,
                bodies.allSatisfy({ plan.nodes[layout.graphs[$0]].allSatisfy { $0.context == node.context } })
            else { throw .invalidValue }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Synchronization

// Graphs that are begun before they are instantiated: a driver gives out handles of conditions for a graph of its own.

/// A graph that was begun.
struct HostDraft: Sendable {
    /// What stands in it.
    struct Contents: Sendable {
        var plan: GraphPlan
        /// The driver's nodes, in the order of the plan.
        var nodes: [UInt64]
    }

    var conditions: Set<CUgraphConditionalHandle> = []
    var contents: Contents?
    /// Executable graphs that were made of it.
    var executableCount = 0
    /// Whether nobody wants it any more but its executable graphs.
    var isEnded = false

    /// Conditions of one graph: more than it has bodies would be of no use.
    static var conditionsMax: Int { GraphPlan.bodiesMax }
}

extension HostDriver {
    package func cuGraphCreate(_ context: ContextHandle, flags: UInt32) throws(CUDAError) -> GraphDraftHandle {
        guard let create = graphFunctions.create else { throw .notSupported }
        try makeCurrent(context)
        var graph: UInt64 = 0
        try check(create(&graph, flags))
        drafts.withLock { $0[graph] = HostDraft() }
        return GraphDraftHandle(bits: graph)
    }

    package func cuGraphDestroy(_ context: ContextHandle, hGraph: GraphDraftHandle) throws(CUDAError) {
        let isUsed: Bool? = drafts.withLock { drafts in
            guard let draft = drafts[hGraph.bits], !draft.isEnded else { return nil }
            drafts[hGraph.bits]?.isEnded = true
            return draft.executableCount > 0
        }
        guard let isUsed else { throw .invalidHandle }
        try makeCurrent(context)
        if !isUsed { try destroy(draft: hGraph.bits) }
    }

    private func destroy(draft: UInt64) throws(CUDAError) {
        guard let destroy = graphFunctions.destroy else { throw .notSupported }
        drafts.withLock { $0[draft] = nil }
        try check(destroy(draft))
    }

    package func cuGraphConditionalHandleCreate(
        _ context: ContextHandle, hGraph: GraphDraftHandle, defaultLaunchValue: UInt32, flags: UInt32
    ) throws(CUDAError) -> UInt64 {
        guard let function = graphFunctions.createCondition else { throw .notSupported }
        let count = drafts.withLock { drafts in
            drafts[hGraph.bits].flatMap { $0.isEnded ? nil : $0.conditions.count }
        }
        guard let count else { throw .invalidHandle }
        guard count < HostDraft.conditionsMax else { throw .outOfMemory }
        try makeCurrent(context)
        var handle: CUgraphConditionalHandle = 0
        try check(function(&handle, hGraph.bits, context.bits, defaultLaunchValue, flags))
        drafts.withLock { drafts in _ = drafts[hGraph.bits]?.conditions.insert(handle) }
        return handle
    }

    package func cuGraphExecUpdate_v2(
        _ context: ContextHandle, graph: GraphHandle, plan: GraphPlan
    ) throws(CUDAError) {
        guard let function = graphFunctions.update else { throw .notSupported }
        guard let known = graphs.withLock({ $0[graph.bits] }) else { throw .invalidHandle }
        let hasConditions = plan.draft != .none && known.draft != .none
        guard hasConditions, known.contexts == plan.nodes.map(\.context) else { throw .invalidValue }
        try makeCurrent(context)
        _ = try build(plan, into: plan.draft)
        var info = CUgraphExecUpdateResultInfo()
        try check(function(graph.bits, plan.draft.bits, &info))
        hold(plan.draft)
        graphs.withLock { $0[graph.bits]?.updatingDraft = plan.draft }
        try letGo(known.updatingDraft)
    }

    // MARK: Building

    /// Puts a plan into a graph that was begun, and returns the driver's nodes.
    ///
    /// What stood in it goes first, unless it is the same.
    func build(_ plan: GraphPlan, into draft: GraphDraftHandle) throws(CUDAError) -> [UInt64] {
        let known = drafts.withLock { drafts in drafts[draft.bits].flatMap { $0.isEnded ? nil : $0 } }
        guard let known else { throw .invalidHandle }
        // A driver follows the handle of a condition; only its own reach it.
        for case .conditional(let work) in plan.nodes.lazy.map(\.work) {
            guard known.conditions.contains(work.condition) else { throw .invalidValue }
        }
        if let contents = known.contents {
            if contents.plan == plan { return contents.nodes }
            try empty(draft, contents.nodes[..<(contents.nodes.count - contents.plan.bodyCounts.reduce(0, +))])
        }
        var nodes: [UInt64] = []
        do throws(CUDAError) {
            try add(plan, to: draft.bits, &nodes)
        } catch {
            try? empty(draft, nodes.prefix(plan.nodes.count - plan.bodyCounts.reduce(0, +)))
            throw error
        }
        drafts.withLock { $0[draft.bits]?.contents = HostDraft.Contents(plan: plan, nodes: nodes) }
        return nodes
    }

    /// Takes the nodes out of a graph; the bodies go with theirs.
    private func empty(_ draft: GraphDraftHandle, _ nodes: ArraySlice<UInt64>) throws(CUDAError) {
        guard let function = graphFunctions.destroyNode else { throw .notSupported }
        drafts.withLock { $0[draft.bits]?.contents = nil }
        for node in nodes.reversed() { try check(function(node)) }
    }

    /// Adds all nodes of a plan to a graph and to the bodies that the driver makes.
    func add(_ plan: GraphPlan, to graph: UInt64, _ nodes: inout [UInt64]) throws(CUDAError) {
        guard let layout = plan.layout else { throw .invalidValue }
        nodes.reserveCapacity(plan.nodes.count)
        var graphs = [graph]
        for (number, range) in layout.graphs.enumerated() {
            for node in plan.nodes[range] {
                let dependencies = node.dependencies.map { nodes[$0] }
                if case .conditional(let work) = node.work {
                    nodes.append(try add(work, node.context, to: graphs[number], after: dependencies, &graphs))
                } else {
                    nodes.append(try add(node, to: graphs[number], after: dependencies))
                }
            }
        }
    }

    private func add(
        _ work: ConditionalWork, _ context: ContextHandle, to graph: UInt64, after dependencies: [UInt64],
        _ graphs: inout [UInt64]
    ) throws(CUDAError) -> UInt64 {
        guard let function = graphFunctions.addNode else { throw .notSupported }
        var parameters = CUgraphNodeParams()
        parameters.type = CU_GRAPH_NODE_TYPE_CONDITIONAL
        parameters.conditional = CUDA_CONDITIONAL_NODE_PARAMS(
            handle: work.condition, type: CUgraphConditionalNodeType(UInt32(work.kind.rawValue)),
            size: UInt32(work.bodyCount), phGraph_out: nil, ctx: OpaquePointer(bitPattern: UInt(context.bits)))
        var made: UInt64 = 0
        try check(function(&made, graph, dependencies, dependencies.count, &parameters))
        guard let bodies = parameters.conditional.phGraph_out else { throw .notSupported }
        for body in 0..<work.bodyCount { graphs.append(UInt64(UInt(bitPattern: bodies[body]))) }
        return made
    }

    // MARK: Executable graphs

    func hold(_ draft: GraphDraftHandle) {
        drafts.withLock { drafts in drafts[draft.bits]?.executableCount += 1 }
    }

    /// An executable graph has ended; the graph that it was made of goes if it has been waiting for that.
    func letGo(_ draft: GraphDraftHandle) throws(CUDAError) {
        if draft == .none { return }
        let isUnused = drafts.withLock { drafts in
            drafts[draft.bits]?.executableCount -= 1
            return drafts[draft.bits].map { $0.isEnded && $0.executableCount == 0 } ?? false
        }
        if isUnused { try destroy(draft: draft.bits) }
    }
}

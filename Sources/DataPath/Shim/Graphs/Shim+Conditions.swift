// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A conditional node: which of its bodies is done, and how often, a number says that kernels set.
final class ConditionalNode: @unchecked Sendable {
    // SAFETY: the array is written by `init` only.
    let work: ConditionalWork
    let context: Context
    let bodies: [Graph]
    /// The bodies' handles, which applications may read for as long as the node exists.
    private let handles: UnsafeMutableBufferPointer<OpaquePointer?>

    init(_ work: ConditionalWork, context: Context, bodies: [Graph]) {
        self.work = work
        self.context = context
        self.bodies = bodies
        handles = .allocate(capacity: bodies.count)
        _ = handles.initialize(from: bodies.map { OpaquePointer(bitPattern: UInt($0.bits)) })
    }

    deinit { handles.deallocate() }

    var asC: CUDA_CONDITIONAL_NODE_PARAMS {
        CUDA_CONDITIONAL_NODE_PARAMS(
            handle: work.condition, type: CUgraphConditionalNodeType(UInt32(work.kind.rawValue)),
            size: UInt32(work.bodyCount), phGraph_out: handles.baseAddress,
            ctx: OpaquePointer(bitPattern: UInt(context.bits)))
    }

    /// Whether an executable graph can have this in the place of the other: all but the condition is the same.
    func canReplace(_ old: ConditionalNode) -> Bool {
        context === old.context && work.kind == old.work.kind && work.bodyCount == old.work.bodyCount
    }
}

/// The conditions of a graph.
///
/// They are the driver's, because kernels get their handles as parameters; the driver begins a graph for them.
struct GraphConditions: Sendable {
    struct Condition: Sendable {
        let context: Context
        /// The graph for which it was made: the node may be there, or in a body of one of its nodes.
        let graphBits: UInt64
        /// Whether it has its node; there can be only one.
        var isUsed = false
        /// Whether it had one that was destroyed.
        var wasUsed = false
    }

    /// What the driver has begun, and the context in which.
    var draft: (context: Context, handle: GraphDraftHandle)?
    var all: [CUgraphConditionalHandle: Condition] = [:]
    /// Whether there is an executable graph, of which there can be only one.
    var isInstantiated = false

    var hasUnused: Bool { all.values.contains { !$0.isUsed && !$0.wasUsed } }
}

extension Shim {
    func cuGraphConditionalHandleCreate(
        _ pHandle_out: UnsafeMutablePointer<CUgraphConditionalHandle>?, _ hGraph: OpaquePointer?,
        _ ctx: OpaquePointer?, _ defaultLaunchValue: UInt32, _ flags: UInt32
    ) throws(CUDAError) {
        guard let pHandle_out, flags & ~UInt32(CU_GRAPH_COND_ASSIGN_DEFAULT) == 0 else {
            throw .invalidValue
        }
        let graph = try self.graph(hGraph)
        // The primary context stands for its green contexts.
        let context = try context(ctx).home
        let root = try conditionRoot(of: graph)
        let draft = try draft(of: root, in: context)
        let handle = try driver.cuGraphConditionalHandleCreate(
            try context.handle, hGraph: draft, defaultLaunchValue: defaultLaunchValue, flags: flags)
        root.conditions.withLock { conditions in
            conditions.all[handle] = GraphConditions.Condition(context: context, graphBits: graph.bits)
        }
        pHandle_out.pointee = handle
    }

    /// The graph that is none's body; graphs of child nodes can have no conditions.
    private func conditionRoot(of graph: Graph) throws(CUDAError) -> Graph {
        let root = graph.line[graph.line.count - 1]
        guard !root.isChild else { throw .notSupported }
        return root
    }

    /// What the driver has begun for a graph; two threads may not change one graph at once, as CUDA says.
    private func draft(of root: Graph, in context: Context) throws(CUDAError) -> GraphDraftHandle {
        if let draft = root.conditions.withLock({ $0.draft }) { return draft.handle }
        let handle = try driver.cuGraphCreate(try context.handle, flags: 0)
        root.conditions.withLock { $0.draft = (context, handle) }
        return handle
    }

    /// The graph ends: its conditions go when its executable graph does.
    func endConditions(of graph: Graph) {
        let draft = graph.conditions.withLock { conditions in
            defer { (conditions.draft, conditions.all) = (nil, [:]) }
            return conditions.draft
        }
        // With its context the driver's graph has gone.
        guard let draft, let context = try? draft.context.handle else { return }
        try? driver.cuGraphDestroy(context, hGraph: draft.handle)
    }

    /// A condition whose node has ended may have another one.
    func release(_ condition: CUgraphConditionalHandle, of graph: Graph) {
        let line = graph.line
        line[line.count - 1].conditions.withLock { conditions in
            conditions.all[condition]?.isUsed = false
            conditions.all[condition]?.wasUsed = true
        }
    }

    /// A conditional node with empty bodies, whose handles the application is told.
    func conditionalWork(
        _ parameters: inout CUDA_CONDITIONAL_NODE_PARAMS, in hGraph: OpaquePointer?
    ) throws(CUDAError) -> NodeWork {
        let graph = try self.graph(hGraph)
        let line = graph.line
        let root = try conditionRoot(of: graph)
        guard let number = UInt8(exactly: parameters.type.rawValue), let kind = ConditionalWork.Kind(rawValue: number),
            let work = ConditionalWork(
                condition: parameters.handle, kind: kind, bodyCount: Int(parameters.size))
        else { throw .invalidValue }
        guard work.bodyCount <= GraphPlan.bodiesMax, line.count <= GraphLayout.depthMax else { throw .outOfMemory }
        let context = try context(parameters.ctx).home
        try root.conditions.withLock { conditions throws(CUDAError) in
            guard let condition = conditions.all[work.condition], !condition.isUsed, condition.context === context,
                line.contains(where: { $0.bits == condition.graphBits })
            else { throw .invalidValue }
            conditions.all[work.condition]?.isUsed = true
        }
        var bodies: [Graph] = []
        for _ in 0..<work.bodyCount {
            let id = nextGraphID()
            bodies.append(try graphs.insert { bits in Graph(bits: bits, id: id, isChild: true, parent: graph) })
        }
        let node = ConditionalNode(work, context: context, bodies: bodies)
        parameters.phGraph_out = node.asC.phGraph_out
        return .conditional(node)
    }

    // MARK: Instantiating

    /// Refuses what CUDA finds wrong with conditions and bodies when a graph is instantiated.
    func checkConditions(of graph: Graph, _ flat: FlatGraph, isUpdate: Bool = false) throws(CUDAError) {
        let (hasUnused, isInstantiated) = graph.conditions.withLock { ($0.hasUnused, $0.isInstantiated) }
        // A body alone has nobody to look at the condition.
        guard !hasUnused, graph.parent == nil else { throw .invalidValue }
        guard isUpdate || !isInstantiated || !flat.hasConditionalNodes else { throw .notSupported }
        try checkBodies(flat)
    }

    func checkBodies(_ flat: FlatGraph) throws(CUDAError) {
        guard flat.nodes[flat.ownCount...].allSatisfy({ $0.work.isAllowedInBodies }) else { throw .invalidValue }
    }
}

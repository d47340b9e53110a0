// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Driver
import KernelCompiler
import Synchronization

/// An executable graph.
final class PlannedGraph: Sendable {
    struct Nodes: Sendable {
        let contexts: [ContextHandle]
        var works: [DeviceWork]
        var steps: [GraphStep?]
        /// Which nodes are in which body.
        let layout: GraphLayout
        /// What each node waits for; kept for graphs with conditions, which are updated as a whole.
        let dependencies: [[Int]]
        /// The graph to which the conditions belong; nil without any.
        let draft: GraphDraft?
    }

    let bits: UInt64
    /// The context in which it was made, with which it ends.
    let context: UInt64
    let nodes: Mutex<Nodes>
    /// For nodes of several contexts.
    let player: GraphPlayer?
    private let last = Mutex<StreamPosition?>(nil)

    init(bits: UInt64, context: UInt64, plan: GraphPlan, nodes: Nodes) {
        self.bits = bits
        self.context = context
        self.nodes = Mutex(nodes)
        let home = ContextHandle(bits: context)
        let isAtHome = plan.nodes.allSatisfy { $0.context == home }
        let own = plan.nodes[nodes.layout.graphs[0]]
        player = isAtHome ? nil : GraphPlayer(GraphSchedule(own.map { ($0.context, $0.dependencies) }, home: home))
    }

    /// Enqueues all steps as one work, behind the launch before.
    ///
    /// The lock is held meanwhile: which launch is the last is decided once.
    func launch(_ steps: GraphSteps, on stream: Stream, in context: Context) {
        last.withLock { last in
            if let last, last.stream !== stream, !last.isReached { context.enqueue(stream, .wait(last)) }
            let environment = context.environment
            last = context.enqueue(
                stream,
                .task {
                    steps.draft?.assignDefaults()
                    steps.run(graph: 0, environment, stream.greenContext?.budget)
                })
        }
    }
}

/// A graph that was begun, with its conditions.
///
/// These live as long as an executable graph uses them, or work that was launched.
final class GraphDraft: Sendable {
    struct Condition: Sendable {
        let context: UInt64
        /// What each launch assigns; nil for what was left there.
        let launchValue: UInt32?
    }

    /// Conditions of one graph: more than it has bodies would be of no use.
    static var conditionsMax: Int { GraphPlan.bodiesMax }

    let bits: UInt64
    let context: UInt64
    /// By their handles.
    let conditions = Mutex<[UInt64: Condition]>([:])

    init(bits: UInt64, context: UInt64) {
        self.bits = bits
        self.context = context
    }

    deinit { for handle in conditions.withLock({ $0.keys }) { sg_condition_remove(handle) } }

    func assignDefaults() {
        conditions.withLock { conditions in
            for (handle, condition) in conditions {
                guard let value = condition.launchValue else { continue }
                _ = sg_condition_set(handle, value)
            }
        }
    }
}

/// One node of a launch.
enum GraphStep: Sendable {
    case kernel(Function, LaunchGeometry, GraphParameters)
    case body(@Sendable () -> Void)
    case conditional(ConditionalWork)
    case nothing
}

/// What a launch does.
struct GraphSteps: Sendable {
    let steps: [GraphStep]
    let layout: GraphLayout
    let draft: GraphDraft?

    /// Does the steps of the graph itself, or of a body, until a kernel fails.
    func run(graph: Int, _ environment: KernelEnvironment, _ budget: CoreBudget?) {
        for index in layout.graphs[graph] where environment.error == nil {
            run(step: index, environment, budget)
        }
    }

    func run(step index: Int, _ environment: KernelEnvironment, _ budget: CoreBudget?) {
        switch steps[index] {
        case .kernel(let function, let geometry, let parameters):
            environment.run(function, geometry, parameters.bytes, budget: budget)
        case .body(let body): body()
        case .conditional(let work):
            guard let bodies = layout.bodies[index] else { return }
            repeat {
                guard let body = work.body(for: sg_condition_value(work.condition)) else { return }
                run(graph: bodies.lowerBound + body, environment, budget)
            } while work.kind == .loop && environment.error == nil
        case .nothing: break
        }
    }
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

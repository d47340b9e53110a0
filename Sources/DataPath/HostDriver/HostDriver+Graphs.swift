// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Synchronization

// Graphs: a plan becomes a graph of the driver's own, so that a launch is one call.

/// What the driver made of a plan.
struct HostGraph: Sendable {
    /// The driver's graph that was made for the plan; 0 if it was put into one that was begun.
    let graph: UInt64
    /// The driver's nodes, in the order of the plan.
    let nodes: [UInt64]
    let contexts: [ContextHandle]
    /// The graph that was begun for the plan; none without conditions.
    var draft: GraphDraftHandle = .none
    /// That of the last update, whose conditions took the place of the plan's.
    var updatingDraft: GraphDraftHandle = .none
}

/// The functions for graphs; nil where the library lacks one.
struct HostGraphFunctions: Sendable {
    typealias Nodes = UnsafePointer<UInt64>

    let create: (@convention(c) (UnsafeMutablePointer<UInt64>?, UInt32) -> CUresult)?
    let destroy: (@convention(c) (UInt64) -> CUresult)?
    let addKernel:
        (
            @convention(c) (
                UnsafeMutablePointer<UInt64>?, UInt64, Nodes?, Int, UnsafePointer<CUDA_KERNEL_NODE_PARAMS>?
            ) -> CUresult
        )?
    let addCopy:
        (
            @convention(c) (
                UnsafeMutablePointer<UInt64>?, UInt64, Nodes?, Int, UnsafePointer<CUDA_MEMCPY3D>?, UInt64
            ) -> CUresult
        )?
    let addSet:
        (
            @convention(c) (
                UnsafeMutablePointer<UInt64>?, UInt64, Nodes?, Int, UnsafePointer<CUDA_MEMSET_NODE_PARAMS>?, UInt64
            ) -> CUresult
        )?
    let addEmpty: (@convention(c) (UnsafeMutablePointer<UInt64>?, UInt64, Nodes?, Int) -> CUresult)?
    let setKernelAttribute:
        (@convention(c) (UInt64, CUlaunchAttributeID, UnsafePointer<CUlaunchAttributeValue>?) -> CUresult)?
    let instantiate: (@convention(c) (UnsafeMutablePointer<UInt64>?, UInt64, UInt64) -> CUresult)?
    let launch: (@convention(c) (UInt64, UInt64) -> CUresult)?
    let destroyExecutable: (@convention(c) (UInt64) -> CUresult)?
    let setKernel: (@convention(c) (UInt64, UInt64, UnsafePointer<CUDA_KERNEL_NODE_PARAMS>?) -> CUresult)?
    let setCopy: (@convention(c) (UInt64, UInt64, UnsafePointer<CUDA_MEMCPY3D>?, UInt64) -> CUresult)?
    let setSet: (@convention(c) (UInt64, UInt64, UnsafePointer<CUDA_MEMSET_NODE_PARAMS>?, UInt64) -> CUresult)?
    let setEnabled: (@convention(c) (UInt64, UInt64, UInt32) -> CUresult)?
    let createCondition:
        (@convention(c) (UnsafeMutablePointer<CUgraphConditionalHandle>?, UInt64, UInt64, UInt32, UInt32) -> CUresult)?
    let addNode:
        (
            @convention(c) (
                UnsafeMutablePointer<UInt64>?, UInt64, Nodes?, Int, UnsafeMutablePointer<CUgraphNodeParams>?
            ) -> CUresult
        )?
    let destroyNode: (@convention(c) (UInt64) -> CUresult)?
    let update: (@convention(c) (UInt64, UInt64, UnsafeMutablePointer<CUgraphExecUpdateResultInfo>?) -> CUresult)?

    init(_ library: borrowing DriverLibrary) {
        create = library.function("cuGraphCreate")
        destroy = library.function("cuGraphDestroy")
        addKernel = library.function("cuGraphAddKernelNode_v2")
        addCopy = library.function("cuGraphAddMemcpyNode")
        addSet = library.function("cuGraphAddMemsetNode")
        addEmpty = library.function("cuGraphAddEmptyNode")
        setKernelAttribute = library.function("cuGraphKernelNodeSetAttribute")
        instantiate = library.function("cuGraphInstantiateWithFlags")
        launch = library.function("cuGraphLaunch")
        destroyExecutable = library.function("cuGraphExecDestroy")
        setKernel = library.function("cuGraphExecKernelNodeSetParams_v2")
        setCopy = library.function("cuGraphExecMemcpyNodeSetParams")
        setSet = library.function("cuGraphExecMemsetNodeSetParams")
        setEnabled = library.function("cuGraphNodeSetEnabled")
        createCondition = library.function("cuGraphConditionalHandleCreate")
        addNode = library.function("cuGraphAddNode")
        destroyNode = library.function("cuGraphDestroyNode")
        update = library.function("cuGraphExecUpdate_v2")
    }
}

extension HostDriver {
    package func cuGraphInstantiate(_ context: ContextHandle, plan: GraphPlan) throws(CUDAError) -> GraphHandle {
        guard let create = graphFunctions.create, let destroy = graphFunctions.destroy,
            let instantiate = graphFunctions.instantiate
        else { throw .notSupported }
        try makeCurrent(context)
        let contexts = plan.nodes.map(\.context)
        var executable: UInt64 = 0
        if plan.draft != .none {
            let nodes = try build(plan, into: plan.draft)
            try check(instantiate(&executable, plan.draft.bits, 0))
            hold(plan.draft)
            let made = HostGraph(graph: 0, nodes: nodes, contexts: contexts, draft: plan.draft)
            graphs.withLock { $0[executable] = made }
            return GraphHandle(bits: executable)
        }
        // Conditions belong to a graph that was begun.
        guard plan.bodyCounts.isEmpty else { throw .invalidValue }
        var graph: UInt64 = 0
        try check(create(&graph, 0))
        do throws(CUDAError) {
            var nodes: [UInt64] = []
            try add(plan, to: graph, &nodes)
            try check(instantiate(&executable, graph, 0))
            let made = HostGraph(graph: graph, nodes: nodes, contexts: contexts)
            graphs.withLock { $0[executable] = made }
            return GraphHandle(bits: executable)
        } catch {
            _ = destroy(graph)
            throw error
        }
    }

    func add(
        _ node: GraphPlan.Node, to graph: UInt64, after dependencies: [UInt64]
    ) throws(CUDAError) -> UInt64 {
        var made: UInt64 = 0
        let functions = graphFunctions
        switch node.work {
        case .empty:
            guard let function = functions.addEmpty else { throw .notSupported }
            try check(function(&made, graph, dependencies, dependencies.count))
        case .kernel(let kernel, let geometry, let parameters):
            guard let function = functions.addKernel else { throw .notSupported }
            try check(
                withKernelParameters(kernel, geometry, parameters) {
                    function(&made, graph, dependencies, dependencies.count, $0)
                })
            try setAttributes(of: geometry, node: made)
        case .copy(let target, let source, let extent):
            guard let function = functions.addCopy else { throw .notSupported }
            var copy = CUDA_MEMCPY3D(target: target, source: source, extent)
            try check(function(&made, graph, dependencies, dependencies.count, &copy, node.context.bits))
        case .set(let set):
            guard let function = functions.addSet else { throw .notSupported }
            var parameters = CUDA_MEMSET_NODE_PARAMS(set)
            try check(function(&made, graph, dependencies, dependencies.count, &parameters, node.context.bits))
        case .conditional: throw .invalidValue
        }
        return made
    }

    private func setAttributes(of geometry: LaunchGeometry, node: UInt64) throws(CUDAError) {
        for attribute in geometry.attributes {
            guard let function = graphFunctions.setKernelAttribute else { throw .notSupported }
            var value = attribute.value
            try check(function(node, attribute.id, &value))
        }
    }

    /// Calls with a kernel's parameters in the form of a packed block.
    private func withKernelParameters(
        _ kernel: FunctionHandle, _ geometry: LaunchGeometry, _ parameters: [UInt8],
        _ body: (UnsafePointer<CUDA_KERNEL_NODE_PARAMS>) -> CUresult
    ) -> CUresult {
        var parameters = parameters
        return parameters.withUnsafeMutableBytes { bytes in
            var byteCount = bytes.count
            return withUnsafeMutablePointer(to: &byteCount) { byteCount in
                withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer?.self, capacity: 5) { extra in
                    extra[0] = UnsafeMutableRawPointer(bitPattern: Int(CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT))
                    extra[1] = bytes.baseAddress
                    extra[2] = UnsafeMutableRawPointer(bitPattern: Int(CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT))
                    extra[3] = UnsafeMutableRawPointer(byteCount)
                    extra[4] = nil
                    var node = CUDA_KERNEL_NODE_PARAMS(
                        func: OpaquePointer(bitPattern: UInt(kernel.bits)), gridDimX: geometry.gridX,
                        gridDimY: geometry.gridY, gridDimZ: geometry.gridZ, blockDimX: geometry.blockX,
                        blockDimY: geometry.blockY, blockDimZ: geometry.blockZ,
                        sharedMemBytes: geometry.dynamicSharedBytes, kernelParams: nil, extra: extra.baseAddress,
                        kern: nil, ctx: nil)
                    return body(&node)
                }
            }
        }
    }

    package func cuGraphExecNodeSetParams(
        _ context: ContextHandle, graph: GraphHandle, node: Int, work: DeviceWork
    ) throws(CUDAError) {
        let known = graphs.withLock { $0[graph.bits] }
        guard let known, known.nodes.indices.contains(node), let setEnabled = graphFunctions.setEnabled else {
            throw .invalidHandle
        }
        try makeCurrent(context)
        let (target, nodeContext) = (known.nodes[node], known.contexts[node])
        if work == .empty { return try check(setEnabled(graph.bits, target, 0)) }
        switch work {
        case .empty: break
        case .conditional: throw .invalidValue
        case .kernel(let kernel, let geometry, let parameters):
            guard let function = graphFunctions.setKernel else { throw .notSupported }
            try check(withKernelParameters(kernel, geometry, parameters) { function(graph.bits, target, $0) })
        case .copy(let box, let source, let extent):
            guard let function = graphFunctions.setCopy else { throw .notSupported }
            var copy = CUDA_MEMCPY3D(target: box, source: source, extent)
            try check(function(graph.bits, target, &copy, nodeContext.bits))
        case .set(let set):
            guard let function = graphFunctions.setSet else { throw .notSupported }
            var parameters = CUDA_MEMSET_NODE_PARAMS(set)
            try check(function(graph.bits, target, &parameters, nodeContext.bits))
        }
        try check(setEnabled(graph.bits, target, 1))
    }

    package func cuGraphLaunch(
        _ context: ContextHandle, hGraphExec: GraphHandle, hStream: StreamHandle
    ) throws(CUDAError) {
        guard let function = graphFunctions.launch else { throw .notSupported }
        try makeCurrent(context)
        try check(function(hGraphExec.bits, hStream.bits))
    }

    package func cuGraphExecDestroy(_ context: ContextHandle, hGraphExec: GraphHandle) throws(CUDAError) {
        guard let end = graphFunctions.destroyExecutable, let destroy = graphFunctions.destroy,
            let known = graphs.withLock({ $0.removeValue(forKey: hGraphExec.bits) })
        else { throw .invalidHandle }
        try makeCurrent(context)
        let code = end(hGraphExec.bits)
        if known.graph != 0 { try check(destroy(known.graph)) }
        for draft in [known.draft, known.updatingDraft] { try letGo(draft) }
        try check(code)
    }
}

extension CUDA_MEMCPY3D {
    init(target: DeviceBox, source: DeviceBox, _ extent: Extent) {
        self.init()
        set(target: target)
        set(source: source)
        (WidthInBytes, Height, Depth) = (extent.widthBytes, extent.height, extent.depth)
    }
}

extension CUDA_MEMSET_NODE_PARAMS {
    fileprivate init(_ set: DeviceSet) {
        self.init(
            dst: set.address, pitch: set.pitch, value: set.value, elementSize: set.elementBytes, width: set.width,
            height: set.height)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

extension Harness {
    fileprivate func condition(
        _ graph: OpaquePointer?, _ value: UInt32 = 0, flags: UInt32 = 0
    ) throws(CUDAError) -> CUgraphConditionalHandle {
        var handle: CUgraphConditionalHandle = 0
        try shim.cuGraphConditionalHandleCreate(&handle, graph, nil, value, flags)
        return handle
    }

    /// A conditional node and its bodies.
    fileprivate func conditional(
        _ graph: OpaquePointer?, _ handle: CUgraphConditionalHandle,
        _ type: CUgraphConditionalNodeType = CU_GRAPH_COND_TYPE_IF, size: UInt32 = 1
    ) throws(CUDAError) -> (node: OpaquePointer?, bodies: [OpaquePointer?]) {
        var parameters = CUgraphNodeParams()
        parameters.type = CU_GRAPH_NODE_TYPE_CONDITIONAL
        parameters.conditional = CUDA_CONDITIONAL_NODE_PARAMS(
            handle: handle, type: type, size: size, phGraph_out: nil, ctx: nil)
        var node: OpaquePointer?
        try shim.cuGraphAddNode(&node, graph, nil, 0, &parameters)
        return (node, (0..<Int(size)).map { parameters.conditional.phGraph_out[$0] })
    }

    fileprivate func set(_ graph: OpaquePointer?, _ address: CUdeviceptr) throws(CUDAError) {
        var set = CUDA_MEMSET_NODE_PARAMS()
        (set.dst, set.width, set.height, set.elementSize) = (address, 4, 1, 1)
        var node: OpaquePointer?
        try shim.cuGraphAddMemsetNode(&node, graph, nil, 0, &set, nil)
    }
}

@Suite struct ConditionTests {
    /// Bodies are graphs like others, but belong to their node.
    @Test func aConditionalNodeHasItsBodies() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let (graph, address) = (try harness.graph(), try harness.allocate(64))
            _ = harness.driver.takeCalls()
            let (outer, inner) = (try harness.condition(graph, 3, flags: 1), try harness.condition(graph))
            #expect(harness.driver.takeCalls() == ["begin graph", "condition 3 1", "condition 0 0"])
            let (node, bodies) = try harness.conditional(graph, outer, CU_GRAPH_COND_TYPE_SWITCH, size: 3)
            #expect(Set(bodies).count == 3 && !bodies.contains(nil))
            var type = CU_GRAPH_NODE_TYPE_EMPTY
            try shim.cuGraphNodeGetType(node, &type)
            #expect(type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
            var told = CUgraphNodeParams()
            try shim.cuGraphNodeGetParams(node, &told)
            let conditional = told.conditional
            #expect(conditional.handle == outer && conditional.type == CU_GRAPH_COND_TYPE_SWITCH)
            #expect(conditional.size == 3 && (0..<3).map { conditional.phGraph_out[$0] } == bodies)

            // A condition of the graph can be that of a node in a body; a body can be filled by a capture.
            try harness.set(bodies[0], address)
            let nested = try harness.conditional(bodies[0], inner)
            let stream = try harness.stream()
            try shim.cuStreamBeginCaptureToGraph(
                stream, nested.bodies[0], nil, nil, 0, CU_STREAM_CAPTURE_MODE_GLOBAL, defaultStream: .legacy)
            try shim.cuMemsetD8Async(address, 1, 4, stream, defaultStream: .legacy)
            #expect(try harness.end(stream) == nested.bodies[0])
            #expect(try harness.nodes(nested.bodies[0]).count == 1)
            _ = harness.driver.takeCalls()
            let executable = try harness.instantiate(graph)
            #expect(harness.driver.takeCalls() == ["graph of 4"])
            try shim.cuGraphDestroy(graph)
            #expect(harness.driver.takeCalls() == ["end begun"])
            try shim.cuGraphExecDestroy(executable)
            for body in bodies + nested.bodies {
                #expect(
                    harness.code { () throws(CUDAError) in try shim.cuGraphGetNodes(body, nil, nil) }
                        == CUDA_ERROR_INVALID_VALUE)
            }
        }
    }

    @Test func refusesWrongConditions() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let (graph, other) = (try harness.graph(), try harness.graph())
            func code(_ body: () throws(CUDAError) -> Void) -> CUresult { harness.code(body) }
            #expect(code { () throws(CUDAError) in _ = try harness.condition(nil) } == CUDA_ERROR_INVALID_VALUE)
            #expect(
                code { () throws(CUDAError) in _ = try harness.condition(graph, flags: 2) }
                    == CUDA_ERROR_INVALID_VALUE)
            #expect(
                code { () throws(CUDAError) in try shim.cuGraphConditionalHandleCreate(nil, graph, nil, 0, 0) }
                    == CUDA_ERROR_INVALID_VALUE)
            let handle = try harness.condition(graph)
            let wrong: [(OpaquePointer?, UInt64, CUgraphConditionalNodeType, UInt32)] = [
                (graph, handle + 100, CU_GRAPH_COND_TYPE_IF, 1), (other, handle, CU_GRAPH_COND_TYPE_IF, 1),
                (graph, handle, CU_GRAPH_COND_TYPE_IF, 3), (graph, handle, CU_GRAPH_COND_TYPE_WHILE, 2),
                (graph, handle, CU_GRAPH_COND_TYPE_SWITCH, 0), (graph, handle, CUgraphConditionalNodeType(3), 1),
            ]
            for (graph, handle, type, size) in wrong {
                #expect(
                    code { () throws(CUDAError) in _ = try harness.conditional(graph, handle, type, size: size) }
                        == CUDA_ERROR_INVALID_VALUE, "\(handle) \(type) \(size)")
            }
            let (node, bodies) = try harness.conditional(graph, handle)
            // A condition has one node, and a body that of its own graph or of one around it.
            #expect(
                code { () throws(CUDAError) in _ = try harness.conditional(graph, handle) }
                    == CUDA_ERROR_INVALID_VALUE)
            let own = try harness.condition(bodies[0])
            #expect(
                code { () throws(CUDAError) in _ = try harness.conditional(graph, own) } == CUDA_ERROR_INVALID_VALUE)
            _ = try harness.conditional(bodies[0], own, CU_GRAPH_COND_TYPE_WHILE)
            // Its parameters stay, and its bodies end with it.
            var parameters = CUgraphNodeParams()
            try shim.cuGraphNodeGetParams(node, &parameters)
            #expect(
                code { () throws(CUDAError) in try shim.cuGraphNodeSetParams(node, &parameters) }
                    == CUDA_ERROR_NOT_SUPPORTED)
            #expect(code { () throws(CUDAError) in try shim.cuGraphDestroy(bodies[0]) } == CUDA_ERROR_INVALID_VALUE)
            #expect(
                code { () throws(CUDAError) in _ = try harness.instantiate(bodies[0]) } == CUDA_ERROR_INVALID_VALUE)
            try shim.cuGraphDestroyNode(node)
            #expect(
                code { () throws(CUDAError) in try shim.cuGraphGetNodes(bodies[0], nil, nil) }
                    == CUDA_ERROR_INVALID_VALUE)
            _ = try harness.conditional(graph, handle)
        }
    }

    /// Such a graph can be neither copied nor part of another, and has one executable graph at a time.
    @Test func aGraphWithConditionsIsThereOnce() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let (graph, other, address) = (try harness.graph(), try harness.graph(), try harness.allocate(64))
            try harness.set(graph, address)
            let body = try harness.conditional(graph, try harness.condition(graph)).bodies[0]
            var made: OpaquePointer?
            func expectRefusal(_ body: () throws(CUDAError) -> Void) {
                #expect(harness.code(body) == CUDA_ERROR_NOT_SUPPORTED)
            }
            expectRefusal { () throws(CUDAError) in try shim.cuGraphClone(&made, graph) }
            expectRefusal { () throws(CUDAError) in try shim.cuGraphAddChildGraphNode(&made, other, nil, 0, graph) }
            var move = CUgraphNodeParams()
            move.type = CU_GRAPH_NODE_TYPE_GRAPH
            move.graph = CUDA_CHILD_GRAPH_NODE_PARAMS(graph: graph, ownership: CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE)
            expectRefusal { () throws(CUDAError) in try shim.cuGraphAddNode(&made, other, nil, 0, &move) }
            var child: OpaquePointer?
            try shim.cuGraphAddChildGraphNode(&made, body, nil, 0, other)
            try shim.cuGraphChildGraphNodeGetGraph(made, &child)
            expectRefusal { () throws(CUDAError) in _ = try harness.condition(child) }
            let executable = try harness.instantiate(graph)
            expectRefusal { () throws(CUDAError) in _ = try harness.instantiate(graph) }
            let stream = try harness.stream()
            try harness.begin(stream)
            expectRefusal { () throws(CUDAError) in
                try shim.cuGraphLaunch(executable, stream, defaultStream: .legacy)
            }
            _ = try harness.end(stream)
            try shim.cuGraphExecDestroy(executable)
            try shim.cuGraphExecDestroy(try harness.instantiate(graph))
        }
    }

    /// What a driver says when such a graph is instantiated.
    @Test func tellsWhyItCannotBeInstantiated() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let (graph, address) = (try harness.graph(), try harness.allocate(64))
            func outcome() -> (code: CUresult, result: CUgraphInstantiateResult) {
                var parameters = CUDA_GRAPH_INSTANTIATE_PARAMS()
                var executable: OpaquePointer?
                let code = harness.code { () throws(CUDAError) in
                    try shim.cuGraphInstantiateWithParams(&executable, graph, &parameters, defaultStream: .legacy)
                }
                return (code, parameters.result_out)
            }
            try harness.set(graph, address)
            let handle = try harness.condition(graph)
            #expect(outcome() == (CUDA_ERROR_INVALID_VALUE, CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED))
            let body = try harness.conditional(graph, handle).bodies[0]
            var (node, event): (OpaquePointer?, OpaquePointer?)
            try shim.cuEventCreate(&event, 0)
            try shim.cuGraphAddEventRecordNode(&node, body, nil, 0, event)
            #expect(outcome() == (CUDA_ERROR_INVALID_VALUE, CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED))
            try shim.cuGraphDestroyNode(node)
            // Beside the body it is not forbidden, but done node by node, where nobody looks at conditions.
            try shim.cuGraphAddEventRecordNode(&node, graph, nil, 0, event)
            #expect(outcome() == (CUDA_ERROR_NOT_SUPPORTED, CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED))
            try shim.cuGraphDestroyNode(node)
            #expect(outcome() == (CUDA_SUCCESS, CUDA_GRAPH_INSTANTIATE_SUCCESS))
        }
    }

    @Test func updatesConditionsWithTheGraph() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let address = try harness.allocate(64)
            func graph(_ type: CUgraphConditionalNodeType, size: UInt32) throws -> OpaquePointer? {
                let graph = try harness.graph()
                for body in try harness.conditional(graph, try harness.condition(graph), type, size: size).bodies {
                    try harness.set(body, address)
                }
                return graph
            }
            let executable = try harness.instantiate(try graph(CU_GRAPH_COND_TYPE_IF, size: 1))
            func update(_ graph: OpaquePointer?) -> CUgraphExecUpdateResult {
                var info = CUgraphExecUpdateResultInfo()
                _ = harness.code { () throws(CUDAError) in try shim.cuGraphExecUpdate_v2(executable, graph, &info) }
                return info.result
            }
            let same = try graph(CU_GRAPH_COND_TYPE_IF, size: 1)
            let loop = try graph(CU_GRAPH_COND_TYPE_WHILE, size: 1)
            let wider = try graph(CU_GRAPH_COND_TYPE_IF, size: 2)
            _ = harness.driver.takeCalls()
            #expect(update(same) == CU_GRAPH_EXEC_UPDATE_SUCCESS)
            #expect(harness.driver.takeCalls() == ["update graph of 2"])
            #expect(update(loop) == CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED)
            #expect(update(wider) == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED)
            #expect(harness.driver.takeCalls().isEmpty)
        }
    }
}

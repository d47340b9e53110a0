// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

extension Harness {
    func graph() throws -> OpaquePointer? {
        var graph: OpaquePointer?
        try shim.cuGraphCreate(&graph, 0)
        return graph
    }

    func emptyNode(_ graph: OpaquePointer?, after dependencies: [OpaquePointer?] = []) throws -> OpaquePointer? {
        var node: OpaquePointer?
        try shim.cuGraphAddEmptyNode(&node, graph, dependencies, dependencies.count)
        return node
    }

    func instantiate(_ graph: OpaquePointer?) throws(CUDAError) -> OpaquePointer? {
        var executable: OpaquePointer?
        try shim.cuGraphInstantiateWithFlags(&executable, graph, 0)
        return executable
    }

    func nodes(_ graph: OpaquePointer?) throws -> [OpaquePointer?] {
        var count = 0
        try shim.cuGraphGetNodes(graph, nil, &count)
        var nodes = [OpaquePointer?](repeating: nil, count: count)
        try shim.cuGraphGetNodes(graph, &nodes, &count)
        return nodes
    }

    func stream(_ flags: CUstream_flags = CU_STREAM_NON_BLOCKING) throws -> OpaquePointer? {
        var stream: OpaquePointer?
        try shim.cuStreamCreate(&stream, flags.rawValue)
        return stream
    }

    func begin(_ stream: OpaquePointer?, _ mode: CUstreamCaptureMode = CU_STREAM_CAPTURE_MODE_GLOBAL) throws {
        try shim.cuStreamBeginCapture_v2(stream, mode, defaultStream: .legacy)
    }

    func end(_ stream: OpaquePointer?) throws(CUDAError) -> OpaquePointer? {
        var graph: OpaquePointer?
        try shim.cuStreamEndCapture(stream, &graph, defaultStream: .legacy)
        return graph
    }
}

@Suite struct GraphTests {
    @Test func listsNodesAndEdges() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let graph = try harness.graph()
            let first = try harness.emptyNode(graph)
            let second = try harness.emptyNode(graph, after: [first])
            let third = try harness.emptyNode(graph, after: [first, second])
            #expect(try harness.nodes(graph) == [first, second, third])
            var from = [OpaquePointer?](repeating: nil, count: 4)
            var to = from
            var count = 4
            try shim.cuGraphGetEdges(graph, &from, &to, &count)
            #expect(count == 3 && from == [first, first, second, nil] && to == [second, third, third, nil])
            count = 1
            try shim.cuGraphNodeGetDependencies(third, &from, &count)
            #expect(count == 1 && from[0] == first)
            try shim.cuGraphNodeGetDependentNodes(first, nil, &count)
            #expect(count == 2)
            try shim.cuGraphRemoveDependencies(graph, [first], [third], 1)
            try shim.cuGraphDestroyNode(second)
            try shim.cuGraphGetRootNodes(graph, nil, &count)
            #expect(count == 2)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuGraphDestroyNode(second) }
                    == CUDA_ERROR_INVALID_VALUE)
        }
    }

    @Test func keepsValuesThatStreamsWrite() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let (graph, address) = (try harness.graph(), try harness.allocate(64))
            let writes = (0..<2).map { StreamMemoryOperation(.write32, address: address, value: UInt64($0) + 7).asC }
            var array = writes
            var node: OpaquePointer?
            var told = CUDA_BATCH_MEM_OP_NODE_PARAMS()
            try array.withUnsafeMutableBufferPointer { writes in
                var parameters = CUDA_BATCH_MEM_OP_NODE_PARAMS(
                    ctx: nil, count: 2, paramArray: writes.baseAddress, flags: 0)
                try shim.cuGraphAddBatchMemOpNode(&node, graph, nil, 0, &parameters)
                let executable = try harness.instantiate(graph)
                let stream = try harness.stream()
                _ = harness.driver.takeCalls()
                try shim.cuGraphLaunch(executable, stream, defaultStream: .legacy)
                #expect(harness.driver.takeCalls().contains("2 memory operations"))
                // Another number of operations is another node; another value is not.
                parameters.count = 1
                #expect(
                    harness.code { () throws(CUDAError) in
                        try shim.cuGraphExecBatchMemOpNodeSetParams(executable, node, &parameters)
                    } == CUDA_ERROR_INVALID_VALUE)
                (parameters.count, writes[1].writeValue.value) = (2, 9)
                try shim.cuGraphExecBatchMemOpNodeSetParams(executable, node, &parameters)
                writes[0].writeValue.address = address + 62
                #expect(
                    harness.code { () throws(CUDAError) in
                        try shim.cuGraphBatchMemOpNodeSetParams(node, &parameters)
                    } == CUDA_ERROR_INVALID_VALUE)
            }
            try shim.cuGraphBatchMemOpNodeGetParams(node, &told)
            #expect(told.count == 2 && told.paramArray[1].writeValue.value == 8, "the graph's node stays as it was")
            var type = CU_GRAPH_NODE_TYPE_EMPTY
            try shim.cuGraphNodeGetType(node, &type)
            #expect(type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP)
        }
    }

    @Test func capturesValuesThatStreamsWrite() throws {
        try Harness().run { harness in
            let (stream, address) = (try harness.stream(), try harness.allocate(64))
            try harness.begin(stream)
            try harness.shim.cuStreamWriteValue32(stream, address, 5, 0, defaultStream: .legacy)
            _ = harness.driver.takeCalls()
            let graph = try harness.end(stream)
            var type = CU_GRAPH_NODE_TYPE_EMPTY
            try harness.shim.cuGraphNodeGetType(try harness.nodes(graph)[0], &type)
            #expect(type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP && harness.driver.takeCalls().isEmpty)
        }
    }

    @Test func keepsWhatAnEdgeSays() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let graph = try harness.graph()
            let first = try harness.emptyNode(graph)
            let second = try harness.emptyNode(graph)
            var data = CUgraphEdgeData()
            data.type = UInt8(CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC.rawValue)
            data.from_port = 1
            try shim.cuGraphAddDependencies_v2(graph, [first], [second], [data], 1)
            var from: [OpaquePointer?] = [nil]
            var to = from
            var told = [CUgraphEdgeData()]
            var count = 1
            try shim.cuGraphGetEdges_v2(graph, &from, &to, &told, &count)
            #expect(told[0].type == 1 && told[0].from_port == 1)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuGraphGetEdges(graph, &from, &to, &count) }
                    == CUDA_ERROR_LOSSY_QUERY)
        }
    }

    @Test func refusesWrongEdges() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let graph = try harness.graph()
            let other = try harness.graph()
            let first = try harness.emptyNode(graph)
            let second = try harness.emptyNode(graph, after: [first])
            let stranger = try harness.emptyNode(other)
            var node: OpaquePointer?
            for wrong in [[stranger], [first, first], [nil], [graph]] {
                #expect(
                    harness.code { () throws(CUDAError) in
                        try shim.cuGraphAddEmptyNode(&node, graph, wrong, wrong.count)
                    } == CUDA_ERROR_INVALID_VALUE)
            }
            for (from, to) in [(first, second), (first, first), (first, stranger), (stranger, first)] {
                #expect(
                    harness.code { () throws(CUDAError) in try shim.cuGraphAddDependencies(graph, [from], [to], 1) }
                        == CUDA_ERROR_INVALID_VALUE)
            }
            // All or nothing.
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuGraphAddDependencies(graph, [second, first], [first, second], 2)
                } == CUDA_ERROR_INVALID_VALUE)
            #expect(try harness.instantiate(graph) != nil)
            try shim.cuGraphAddDependencies(graph, [second], [first], 1)
            var parameters = CUDA_GRAPH_INSTANTIATE_PARAMS()
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuGraphInstantiateWithParams(&node, graph, &parameters, defaultStream: .legacy)
                } == CUDA_ERROR_INVALID_VALUE)
            #expect(parameters.result_out == CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE)
        }
    }

    @Test func endedHandlesAreNoGraphs() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let graph = try harness.graph()
            let node = try harness.emptyNode(graph)
            let executable = try harness.instantiate(graph)
            try shim.cuGraphDestroy(graph)
            try shim.cuGraphExecDestroy(executable)
            var type = CU_GRAPH_NODE_TYPE_KERNEL
            for refused in [
                harness.code { () throws(CUDAError) in try shim.cuGraphDestroy(graph) },
                harness.code { () throws(CUDAError) in try shim.cuGraphNodeGetType(node, &type) },
                harness.code { () throws(CUDAError) in try shim.cuGraphExecDestroy(executable) },
                harness.code { () throws(CUDAError) in try shim.cuGraphLaunch(executable, nil, defaultStream: .legacy)
                },
                harness.code { () throws(CUDAError) in try shim.cuGraphDestroy(OpaquePointer(bitPattern: 0x1234)) },
            ] { #expect(refused == CUDA_ERROR_INVALID_VALUE) }
        }
    }

    @Test func deviceWorkIsOneCallOfTheDriver() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let stream = try harness.stream()
            let function = try harness.kernel()
            let memory = try harness.allocate(4096)
            _ = harness.driver.takeCalls()
            try harness.begin(stream)
            var value: UInt64 = memory
            var number: UInt32 = 7
            try withUnsafeMutablePointer(to: &value) { value in
                try withUnsafeMutablePointer(to: &number) { number in
                    var parameters: [UnsafeMutableRawPointer?] = [
                        UnsafeMutableRawPointer(value), UnsafeMutableRawPointer(number),
                    ]
                    for _ in 0..<3 {
                        try shim.cuLaunchKernel(
                            function, 1, 1, 1, 32, 1, 1, 0, stream, &parameters, nil, defaultStream: .legacy)
                    }
                }
            }
            try shim.cuMemsetD8Async(memory, 1, 100, stream, defaultStream: .legacy)
            try shim.cuMemcpyDtoDAsync_v2(memory, memory + 512, 64, stream, defaultStream: .legacy)
            let graph = try harness.end(stream)
            // Nothing of what was captured has been done.
            #expect(harness.driver.takeCalls().isEmpty)
            let executable = try harness.instantiate(graph)
            #expect(harness.driver.takeCalls() == ["graph of 5"])
            for _ in 0..<3 { try shim.cuGraphLaunch(executable, stream, defaultStream: .legacy) }
            let launches = harness.driver.takeCalls()
            #expect(launches.count == 3 && launches.allSatisfy { $0.hasPrefix("launch graph on ") })
            // An update sends what has changed, and only that.
            let kernel = try harness.nodes(graph)[1]
            var told = CUDA_KERNEL_NODE_PARAMS()
            try shim.cuGraphKernelNodeGetParams_v2(kernel, &told)
            #expect(told.kernelParams[1]?.load(as: UInt32.self) == 7)
            told.gridDimX = 9
            try shim.cuGraphKernelNodeSetParams_v2(kernel, &told)
            var info = CUgraphExecUpdateResultInfo()
            try shim.cuGraphExecUpdate_v2(executable, graph, &info)
            #expect(harness.driver.takeCalls() == ["set node 1"])
            try shim.cuGraphExecDestroy(executable)
            #expect(harness.driver.takeCalls() == ["end graph"])
        }
    }

    @Test func aHostFunctionMakesItManyCalls() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let stream = try harness.stream()
            let memory = try harness.allocate(4096)
            try harness.begin(stream)
            try shim.cuMemsetD8Async(memory, 1, 100, stream, defaultStream: .legacy)
            try shim.cuLaunchHostFunc(stream, { _ in }, nil, defaultStream: .legacy)
            try shim.cuMemsetD8Async(memory, 2, 50, stream, defaultStream: .legacy)
            let executable = try harness.instantiate(try harness.end(stream))
            _ = harness.driver.takeCalls()
            try shim.cuGraphLaunch(executable, stream, defaultStream: .legacy)
            let calls = harness.driver.takeCalls()
            #expect(calls.prefix(3) == ["set 100", "host function", "set 50"])
        }
    }

    @Test func refusesWrongParameters() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let graph = try harness.graph()
            var node: OpaquePointer?
            var kernel = CUDA_KERNEL_NODE_PARAMS()
            kernel.func = try harness.kernel()
            (kernel.gridDimX, kernel.gridDimY, kernel.gridDimZ) = (1, 1, 1)
            (kernel.blockDimX, kernel.blockDimY, kernel.blockDimZ) = (4096, 1, 1)
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuGraphAddKernelNode_v2(&node, graph, nil, 0, &kernel)
                } == CUDA_ERROR_INVALID_VALUE)
            var set = CUDA_MEMSET_NODE_PARAMS()
            (set.dst, set.width, set.height, set.elementSize) = (try harness.allocate(64), 65, 1, 1)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuGraphAddMemsetNode(&node, graph, nil, 0, &set, nil) }
                    == CUDA_ERROR_INVALID_VALUE)
            set.width = 64
            try shim.cuGraphAddMemsetNode(&node, graph, nil, 0, &set, nil)
            var copy = CUDA_MEMCPY3D()
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuGraphMemcpyNodeSetParams(node, &copy) }
                    == CUDA_ERROR_INVALID_VALUE)
            var other = CUgraphNodeParams()
            other.type = CU_GRAPH_NODE_TYPE_EMPTY
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuGraphNodeSetParams(node, &other) }
                    == CUDA_ERROR_INVALID_VALUE)
            other.type = CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuGraphAddNode(&node, graph, nil, 0, &other) }
                    == CUDA_ERROR_NOT_SUPPORTED)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuGraphInstantiateWithFlags(&node, graph, 4) }
                    == CUDA_ERROR_NOT_SUPPORTED)
        }
    }
}

@Suite struct CaptureTests {
    @Test func tellsWhatItIsDoing() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let stream = try harness.stream()
            let memory = try harness.allocate(64)
            try harness.begin(stream)
            try shim.cuMemsetD8Async(memory, 1, 64, stream, defaultStream: .legacy)
            var status = CU_STREAM_CAPTURE_STATUS_NONE
            var id: UInt64 = 0
            var graph: OpaquePointer?
            var dependencies: UnsafePointer<OpaquePointer?>?
            var data: UnsafePointer<CUgraphEdgeData>?
            var count = 0
            try shim.cuStreamGetCaptureInfo_v3(
                stream, &status, &id, &graph, &dependencies, &data, &count, defaultStream: .legacy)
            #expect(status == CU_STREAM_CAPTURE_STATUS_ACTIVE && id != 0 && count == 1)
            #expect(try harness.nodes(graph) == [dependencies?[0]])
            // A node of the application's own, between what is captured.
            var node = try harness.emptyNode(graph, after: [dependencies?[0]])
            try shim.cuStreamUpdateCaptureDependencies(
                stream, &node, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES.rawValue, defaultStream: .legacy)
            try shim.cuMemsetD8Async(memory, 2, 64, stream, defaultStream: .legacy)
            let captured = try harness.end(stream)
            #expect(captured == graph)
            let last = try harness.nodes(graph)[2]
            var before: [OpaquePointer?] = [nil]
            count = 1
            try shim.cuGraphNodeGetDependencies(last, &before, &count)
            #expect(before == [node])
            try shim.cuStreamIsCapturing(stream, &status, defaultStream: .legacy)
            #expect(status == CU_STREAM_CAPTURE_STATUS_NONE)
        }
    }

    @Test func goesOnInAGraphOfTheApplications() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let stream = try harness.stream()
            let memory = try harness.allocate(64)
            let graph = try harness.graph()
            let root = try harness.emptyNode(graph)
            try shim.cuStreamBeginCaptureToGraph(
                stream, graph, [root], nil, 1, CU_STREAM_CAPTURE_MODE_RELAXED, defaultStream: .legacy)
            try shim.cuMemsetD8Async(memory, 1, 64, stream, defaultStream: .legacy)
            #expect(try harness.end(stream) == graph)
            var count = 0
            try shim.cuGraphNodeGetDependentNodes(root, nil, &count)
            #expect(count == 1)
            // A capture that fails leaves the graph to its owner.
            try shim.cuStreamBeginCaptureToGraph(
                stream, graph, nil, nil, 0, CU_STREAM_CAPTURE_MODE_RELAXED, defaultStream: .legacy)
            _ = harness.code { () throws(CUDAError) in try shim.cuStreamSynchronize(stream, defaultStream: .legacy) }
            #expect(
                harness.code { () throws(CUDAError) in _ = try harness.end(stream) }
                    == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
            #expect(try harness.nodes(graph).count == 2)
        }
    }

    @Test func capturesTheThreadsOwnStream() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let memory = try harness.allocate(64)
            try shim.cuStreamBeginCapture_v2(nil, CU_STREAM_CAPTURE_MODE_GLOBAL, defaultStream: .perThread)
            try shim.cuMemsetD8Async(memory, 1, 64, nil, defaultStream: .perThread)
            // The thread's stream and the legacy one wait for each other.
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuMemsetD8Async(memory, 1, 64, nil, defaultStream: .legacy)
                } == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)
            var graph: OpaquePointer?
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuStreamEndCapture(nil, &graph, defaultStream: .perThread)
                } == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
            try shim.cuMemsetD8Async(memory, 1, 64, nil, defaultStream: .legacy)
        }
    }

    @Test func aStreamThatEndsTakesItsCaptureWithIt() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let stream = try harness.stream(CU_STREAM_DEFAULT)
            try harness.begin(stream)
            try shim.cuStreamDestroy_v2(stream)
            // Neither the legacy stream nor allocations are forbidden any more.
            let memory = try harness.allocate(64)
            try shim.cuMemsetD8Async(memory, 1, 64, nil, defaultStream: .legacy)
        }
    }

    @Test func eventFlagsForGraphsNeedOne() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let stream = try harness.stream()
            var event: OpaquePointer?
            try shim.cuEventCreate(&event, 0)
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuEventRecordWithFlags(event, stream, 1, defaultStream: .legacy)
                } == CUDA_ERROR_INVALID_VALUE)
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuStreamWaitEvent(stream, event, 1, defaultStream: .legacy)
                } == CUDA_ERROR_INVALID_VALUE)
            try harness.begin(stream)
            try shim.cuEventRecordWithFlags(event, stream, 1, defaultStream: .legacy)
            try shim.cuStreamWaitEvent(stream, event, 1, defaultStream: .legacy)
            #expect(try harness.nodes(try harness.end(stream)).count == 2)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Graphs that a driver performs by itself.
@Suite struct DriverContractGraphs {
    /// Two branches that join: `total = (1 + 1) + (5 set and 1 added)`, and a copy of it behind.
    private struct Diamond {
        let fixture: DriverFixture
        let first: CUdeviceptr, second: CUdeviceptr, total: CUdeviceptr, copy: CUdeviceptr
        let increment: FunctionHandle
        let store: FunctionHandle

        init(_ subject: DriverContract.Subject) throws {
            fixture = try DriverFixture(subject)
            let module = try fixture.load(ContractPTX.store)
            increment = try fixture.driver.cuModuleGetFunction(fixture.context, hmod: module, name: "increment")
                .function
            store = try fixture.driver.cuModuleGetFunction(fixture.context, hmod: module, name: "store").function
            first = try fixture.upload([UInt32(1)])
            second = try fixture.upload([UInt32(0)])
            total = try fixture.upload([UInt32](repeating: 0, count: 2))
            copy = try fixture.upload([UInt32](repeating: 0, count: 2))
        }

        func node(_ work: DeviceWork, after dependencies: Int...) -> GraphPlan.Node {
            GraphPlan.Node(context: fixture.context, work: work, dependencies: dependencies)
        }

        func launch(_ function: FunctionHandle, _ arguments: KernelArgument...) -> DeviceWork {
            .kernel(
                function, LaunchGeometry(grid: (1, 1, 1), block: (1, 1, 1)),
                parameters: KernelArgument.pack(arguments))
        }

        func copying(_ target: CUdeviceptr, _ source: CUdeviceptr, _ byteCount: Int) -> DeviceWork {
            .copy(
                target: DeviceBox(address: target, pitch: byteCount, rows: 1),
                source: DeviceBox(address: source, pitch: byteCount, rows: 1),
                Extent(widthBytes: byteCount, height: 1, depth: 1))
        }

        func setting(_ address: CUdeviceptr, to value: UInt32) -> DeviceWork {
            .set(DeviceSet(address: address, pitch: 0, value: value, elementBytes: 4, width: 1, height: 1))
        }

        var plan: GraphPlan {
            GraphPlan(nodes: [
                node(.empty),
                node(launch(increment, .u64(first)), after: 0),
                node(setting(second, to: 5), after: 0),
                node(launch(increment, .u64(second)), after: 2),
                node(copying(total, first, 4), after: 1),
                node(copying(total + 4, second, 4), after: 3),
                node(copying(copy, total, 8), after: 4, 5),
            ])
        }

        func results(_ stream: StreamHandle) throws -> [UInt32] {
            try fixture.driver.cuStreamSynchronize(fixture.context, hStream: stream)
            return try fixture.download(copy, count: 2, of: UInt32(0))
        }
    }

    /// Into an array and out of it again, row by row and as a box.
    @Test(arguments: DriverContract.subjects)
    func copiesThroughArrays(_ subject: DriverContract.Subject) throws {
        let diamond = try Diamond(subject)
        let (fixture, driver, context) = (diamond.fixture, diamond.fixture.driver, diamond.fixture.context)
        let array = try driver.cuArray3DCreate_v2(
            context, width: 4, height: 2, depth: 0, format: CU_AD_FORMAT_UNSIGNED_INT32.rawValue, numChannels: 1,
            flags: 0)
        let source = try fixture.upload((0..<8).map { UInt32($0) })
        let target = try fixture.upload([UInt32](repeating: 99, count: 8))
        func box(_ address: CUdeviceptr) -> DeviceBox { DeviceBox(address: address, pitch: 16, rows: 2) }
        func place(_ x: Int, _ y: Int) -> DeviceBox { DeviceBox(array: array, x: x, y: y, z: 0) }
        let rows = Extent(widthBytes: 16, height: 2, depth: 1)
        let piece = Extent(widthBytes: 8, height: 1, depth: 1)
        let plan = GraphPlan(nodes: [
            diamond.node(.copy(target: place(0, 0), source: box(source), rows)),
            diamond.node(.copy(target: place(8, 1), source: box(source), piece), after: 0),
            diamond.node(.copy(target: box(target), source: place(0, 0), rows), after: 1),
        ])
        let graph = try driver.cuGraphInstantiate(context, plan: plan)
        try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: .legacyDefault)
        try fixture.synchronize()
        #expect(try fixture.download(target, count: 8, of: UInt32(0)) == [0, 1, 2, 3, 4, 5, 0, 1])
        try driver.cuGraphExecNodeSetParams(
            context, graph: graph, node: 1, work: .copy(target: place(0, 0), source: box(source + 16), piece))
        try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: .legacyDefault)
        try fixture.synchronize()
        #expect(try fixture.download(target, count: 8, of: UInt32(0)) == [4, 5, 2, 3, 4, 5, 6, 7])
        try driver.cuGraphExecDestroy(context, hGraphExec: graph)
        try driver.cuArrayDestroy(context, hArray: array)
        try fixture.synchronize()
    }

    @Test(arguments: DriverContract.subjects)
    func runsBranchesInTheirOrder(_ subject: DriverContract.Subject) throws {
        let diamond = try Diamond(subject)
        let (driver, context) = (diamond.fixture.driver, diamond.fixture.context)
        let graph = try driver.cuGraphInstantiate(context, plan: diamond.plan)
        let stream = try diamond.fixture.makeStream(nonBlocking: true)
        let other = try diamond.fixture.makeStream(nonBlocking: true)
        for round in UInt32(0)..<10 {
            let target = round % 2 == 0 ? stream : other
            try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: target)
            #expect(try diamond.results(target) == [2 + round, 6])
        }
        // Launches follow each other, also on streams that do not wait for each other.
        for round in 0..<50 {
            try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: round % 2 == 0 ? stream : other)
        }
        try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: .legacyDefault)
        #expect(try diamond.results(.legacyDefault) == [62, 6])
        try driver.cuGraphExecDestroy(context, hGraphExec: graph)
        guard subject.checksHandles else { return }
        #expect(throws: CUDAError(CUDA_ERROR_INVALID_HANDLE)) {
            try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: stream)
            try diamond.fixture.synchronize()
        }
    }

    @Test(arguments: DriverContract.subjects)
    func waitsForTheStreamBefore(_ subject: DriverContract.Subject) throws {
        let diamond = try Diamond(subject)
        let (driver, context) = (diamond.fixture.driver, diamond.fixture.context)
        let graph = try driver.cuGraphInstantiate(context, plan: diamond.plan)
        let stream = try diamond.fixture.makeStream(nonBlocking: true)
        let gate = try diamond.fixture.block(stream)
        try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: stream)
        #expect(throws: CUDAError(CUDA_ERROR_NOT_READY)) { try driver.cuStreamQuery(context, hStream: stream) }
        #expect(try diamond.fixture.download(diamond.first, count: 1, of: UInt32(0)) == [1])
        gate.open()
        #expect(try diamond.results(stream) == [2, 6])
    }

    @Test(arguments: DriverContract.subjects)
    func replacesWhatANodeDoes(_ subject: DriverContract.Subject) throws {
        let diamond = try Diamond(subject)
        let (driver, context) = (diamond.fixture.driver, diamond.fixture.context)
        let graph = try driver.cuGraphInstantiate(context, plan: diamond.plan)
        func change(_ node: Int, _ work: DeviceWork) throws {
            try driver.cuGraphExecNodeSetParams(context, graph: graph, node: node, work: work)
        }
        func launch() throws -> [UInt32] {
            try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: .legacyDefault)
            return try diamond.results(.legacyDefault)
        }
        #expect(try launch() == [2, 6])
        try change(2, diamond.setting(diamond.second, to: 40))
        try change(1, diamond.launch(diamond.store, .u64(diamond.first), .u32(77)))
        #expect(try launch() == [77, 41])
        try change(3, .empty)
        #expect(try launch() == [77, 40])
        try change(3, diamond.launch(diamond.increment, .u64(diamond.second)))
        try change(6, diamond.copying(diamond.copy, diamond.total + 4, 4))
        #expect(try launch() == [41, 40])
    }

    @Test(arguments: DriverContract.handleCheckingSubjects)
    func refusesWhatItDoesNotKnow(_ subject: DriverContract.Subject) throws {
        let diamond = try Diamond(subject)
        let (driver, context) = (diamond.fixture.driver, diamond.fixture.context)
        let unknown = diamond.node(diamond.launch(FunctionHandle(bits: 0x7777), .u64(0)))
        #expect(throws: CUDAError.self) { try driver.cuGraphInstantiate(context, plan: GraphPlan(nodes: [unknown])) }
        let graph = try driver.cuGraphInstantiate(context, plan: diamond.plan)
        diamond.fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_INVALID_HANDLE) {
            try driver.cuGraphExecNodeSetParams(context, graph: graph, node: 99, work: .empty)
        }
        diamond.fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
            try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: StreamHandle(bits: 0x7777))
        }
        diamond.fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
            try driver.cuGraphLaunch(context, hGraphExec: GraphHandle(bits: 0x7777), hStream: .legacyDefault)
        }
        try driver.cuGraphLaunch(context, hGraphExec: graph, hStream: .legacyDefault)
        #expect(try diamond.results(.legacyDefault) == [2, 6])
    }
}

/// How graphs are spread over streams.
@Suite struct GraphScheduleTests {
    private let home = ContextHandle(bits: 1)

    private func schedule(_ dependencies: [[Int]], contexts: [UInt64?] = []) -> GraphSchedule {
        let nodes = dependencies.enumerated().map { number, dependencies in
            let context = contexts.indices.contains(number) ? contexts[number].map { ContextHandle(bits: $0) } : nil
            return (context: context, dependencies: dependencies)
        }
        return GraphSchedule(nodes, home: home)
    }

    @Test func aChainNeedsNoOtherStream() {
        let schedule = schedule([[], [0], [1], [2]])
        #expect(schedule.lanes == [home])
        #expect(schedule.ends.isEmpty && !schedule.isAwaited.contains(true))
    }

    @Test func aForkWaitsAndIsWaitedFor() {
        let schedule = schedule([[], [0], [0], [1, 2]])
        #expect(schedule.steps.map(\.lane) == [0, 0, 1, 0])
        #expect(schedule.steps.map(\.awaited) == [[], [], [0], [2]])
        #expect(schedule.ends.isEmpty)
    }

    @Test func whatNobodyWaitsForIsWaitedForAtTheEnd() {
        let schedule = schedule([[], []])
        #expect(schedule.steps.map(\.lane) == [0, 1])
        #expect(schedule.steps[1].awaitsStart && schedule.ends == [1])
    }

    @Test func otherContextsHaveStreamsOfTheirOwn() {
        let schedule = schedule([[], [0], [1]], contexts: [1, 2, 1])
        #expect(schedule.steps.map { schedule.lanes[$0.lane].bits } == [1, 2, 1])
        #expect(schedule.steps.map(\.awaited) == [[], [0], [1]])
    }

    @Test func manyBranchesShareStreams() {
        let schedule = schedule((0..<100).map { _ in [] })
        #expect(schedule.lanes.count == GraphSchedule.lanesMax)
        #expect(Set(schedule.steps.map(\.lane)).count == GraphSchedule.lanesMax)
    }

    /// In random graphs every node follows all that it depends on: in its stream, or by an event it waits for.
    @Test(arguments: 0..<20) func everyDependencyIsKept(seed: UInt64) {
        var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
        func random(_ limit: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(limit))
        }
        let dependencies = (0..<60).map { node in
            node == 0 ? [] : Array(Set((0..<random(4)).map { _ in random(node) })).sorted()
        }
        let contexts = (0..<60).map { _ in UInt64(random(2) + 1) }
        let schedule = schedule(dependencies, contexts: contexts)
        // What is known to be done, for each stream, when it has come to its end so far.
        var known = [Set<Int>](repeating: [], count: schedule.lanes.count)
        var before: [Set<Int>] = []
        for (node, step) in schedule.steps.enumerated() {
            for awaited in step.awaited { known[step.lane].formUnion(before[awaited]) }
            #expect(known[step.lane].isSuperset(of: dependencies[node]), "node \(node), seed \(seed)")
            #expect(schedule.lanes[step.lane].bits == contexts[node])
            known[step.lane].insert(node)
            before.append(known[step.lane])
        }
        var atEnd = known[0]
        for end in schedule.ends { atEnd.formUnion(before[end]) }
        #expect(atEnd == Set(0..<60), "seed \(seed)")
    }
}

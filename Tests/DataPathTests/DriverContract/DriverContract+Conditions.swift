// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Graphs whose kernels say what of them is done.
@Suite struct DriverContractConditions {
    /// Kernels that count and set conditions, and a graph that was begun.
    private struct Workshop {
        let fixture: DriverFixture
        let draft: GraphDraftHandle
        let increment: FunctionHandle
        let store: FunctionHandle
        let countDown: FunctionHandle
        let choose: FunctionHandle

        init(_ subject: DriverContract.Subject) throws {
            fixture = try DriverFixture(subject)
            let (driver, context) = (fixture.driver, fixture.context)
            let counters = try fixture.load(ContractPTX.store)
            increment = try driver.cuModuleGetFunction(context, hmod: counters, name: "increment").function
            store = try driver.cuModuleGetFunction(context, hmod: counters, name: "store").function
            let conditions = try fixture.load(ContractPTX.conditions)
            countDown = try driver.cuModuleGetFunction(context, hmod: conditions, name: "countDown").function
            choose = try driver.cuModuleGetFunction(context, hmod: conditions, name: "choose").function
            draft = try driver.cuGraphCreate(context, flags: 0)
        }

        func condition(_ value: UInt32? = nil, of other: GraphDraftHandle? = nil) throws -> UInt64 {
            try fixture.driver.cuGraphConditionalHandleCreate(
                fixture.context, hGraph: other ?? draft, defaultLaunchValue: value ?? 0, flags: value == nil ? 0 : 1)
        }

        func launch(_ function: FunctionHandle, _ arguments: KernelArgument...) -> DeviceWork {
            .kernel(
                function, LaunchGeometry(grid: (1, 1, 1), block: (1, 1, 1)),
                parameters: KernelArgument.pack(arguments))
        }

        func setting(_ address: CUdeviceptr, to value: UInt32) -> DeviceWork {
            .set(DeviceSet(address: address, pitch: 0, value: value, elementBytes: 4, width: 1, height: 1))
        }

        func conditional(_ condition: UInt64, _ kind: ConditionalWork.Kind, bodies: Int = 1) throws -> DeviceWork {
            .conditional(try #require(ConditionalWork(condition: condition, kind: kind, bodyCount: bodies)))
        }

        /// A plan of chains: the graph itself and each body.
        func plan(_ own: [DeviceWork], bodies: [DeviceWork]..., of other: GraphDraftHandle? = nil) -> GraphPlan {
            let context = fixture.context
            var nodes: [GraphPlan.Node] = []
            for works in [own] + bodies {
                for (place, work) in works.enumerated() {
                    nodes.append(
                        GraphPlan.Node(
                            context: context, work: work, dependencies: place == 0 ? [] : [nodes.count - 1]))
                }
            }
            return GraphPlan(nodes: nodes, bodyCounts: bodies.map(\.count), draft: other ?? draft)
        }

        func instantiate(_ plan: GraphPlan) throws -> GraphHandle {
            try fixture.driver.cuGraphInstantiate(fixture.context, plan: plan)
        }

        func run(_ graph: GraphHandle, _ stream: StreamHandle = .legacyDefault) throws {
            try fixture.driver.cuGraphLaunch(fixture.context, hGraphExec: graph, hStream: stream)
            try fixture.driver.cuStreamSynchronize(fixture.context, hStream: stream)
        }

        func value(_ address: CUdeviceptr) throws -> UInt32 {
            try fixture.download(address, count: 1, of: UInt32(0))[0]
        }
    }

    @Test(arguments: DriverContract.subjects)
    func repeatsABodyAsLongAsAKernelSaysSo(_ subject: DriverContract.Subject) throws {
        let shop = try Workshop(subject)
        let (rest, total) = (try shop.fixture.upload([UInt32(0)]), try shop.fixture.upload([UInt32(0)]))
        let condition = try shop.condition(1)
        let graph = try shop.instantiate(
            shop.plan(
                [shop.setting(rest, to: 5), try shop.conditional(condition, .loop)],
                bodies: [
                    shop.launch(shop.increment, .u64(total)),
                    shop.launch(shop.countDown, .u64(condition), .u64(rest)),
                ]))
        let stream = try shop.fixture.makeStream(nonBlocking: true)
        for round in UInt32(1)...3 {
            try shop.run(graph, round == 2 ? .legacyDefault : stream)
            #expect(try shop.value(total) == 5 * round)
        }
        // A node in a body is replaced, switched off and on again by its place in the plan.
        let (driver, context) = (shop.fixture.driver, shop.fixture.context)
        try driver.cuGraphExecNodeSetParams(
            context, graph: graph, node: 2, work: shop.launch(shop.store, .u64(total), .u32(7)))
        try shop.run(graph)
        #expect(try shop.value(total) == 7)
        try driver.cuGraphExecNodeSetParams(context, graph: graph, node: 2, work: .empty)
        try shop.fixture.write([UInt32(1)], to: total)
        try shop.run(graph)
        #expect(try shop.value(total) == 1)
    }

    @Test(arguments: DriverContract.subjects)
    func doesTheBodyThatAKernelHasChosen(_ subject: DriverContract.Subject) throws {
        let shop = try Workshop(subject)
        let input = try shop.fixture.upload([UInt32(0)])
        let counts = try shop.fixture.upload([UInt32](repeating: 0, count: 6))
        func counting(_ place: UInt64) -> [DeviceWork] { [shop.launch(shop.increment, .u64(counts + 4 * place))] }
        let (either, one, several) = (try shop.condition(), try shop.condition(), try shop.condition())
        let graph = try shop.instantiate(
            shop.plan(
                [
                    shop.launch(shop.choose, .u64(either), .u64(input)),
                    shop.launch(shop.choose, .u64(one), .u64(input)),
                    shop.launch(shop.choose, .u64(several), .u64(input)),
                    try shop.conditional(either, .choice, bodies: 2), try shop.conditional(one, .choice),
                    try shop.conditional(several, .selection, bodies: 3),
                ], bodies: counting(0), counting(1), counting(2), [], counting(4), counting(5)))
        for value in UInt32(0)..<5 {
            try shop.fixture.write([value], to: input)
            try shop.run(graph)
        }
        #expect(try shop.fixture.download(counts, count: 6, of: UInt32(0)) == [4, 1, 4, 0, 1, 1])
    }

    /// A loop whose body has a choice, whose body has a loop.
    @Test(arguments: DriverContract.subjects)
    func nestsBodies(_ subject: DriverContract.Subject) throws {
        let shop = try Workshop(subject)
        let (outer, inner) = (try shop.fixture.upload([UInt32(0)]), try shop.fixture.upload([UInt32(0)]))
        let (rounds, turns) = (try shop.fixture.upload([UInt32(0)]), try shop.fixture.upload([UInt32(0)]))
        let (loop, choice, innerLoop) = (try shop.condition(1), try shop.condition(), try shop.condition())
        let graph = try shop.instantiate(
            shop.plan(
                [shop.setting(outer, to: 4), try shop.conditional(loop, .loop)],
                bodies: [
                    shop.launch(shop.increment, .u64(rounds)),
                    shop.launch(shop.countDown, .u64(loop), .u64(outer)),
                    shop.launch(shop.choose, .u64(choice), .u64(outer)),
                    try shop.conditional(choice, .choice),
                ],
                [
                    shop.setting(inner, to: 3), shop.launch(shop.choose, .u64(innerLoop), .u64(inner)),
                    try shop.conditional(innerLoop, .loop),
                ],
                [
                    shop.launch(shop.increment, .u64(turns)),
                    shop.launch(shop.countDown, .u64(innerLoop), .u64(inner)),
                ]))
        try shop.run(graph)
        // The last round finds 0 and does not choose the body.
        #expect(try [shop.value(rounds), shop.value(turns)] == [4, 9])
    }

    @Test(arguments: DriverContract.subjects)
    func conditionsLiveAsLongAsTheExecutableGraph(_ subject: DriverContract.Subject) throws {
        let shop = try Workshop(subject)
        let (driver, context) = (shop.fixture.driver, shop.fixture.context)
        let (input, total) = (try shop.fixture.upload([UInt32(1)]), try shop.fixture.upload([UInt32(0)]))
        let condition = try shop.condition()
        var plan = shop.plan(
            [shop.launch(shop.choose, .u64(condition), .u64(input)), try shop.conditional(condition, .choice)],
            bodies: [shop.launch(shop.increment, .u64(total))])
        // The same graph again, and then another one in its place.
        for count in UInt32(1)...3 {
            if count == 3 { plan.nodes[2].work = shop.launch(shop.store, .u64(total), .u32(3)) }
            let graph = try shop.instantiate(plan)
            try shop.run(graph)
            #expect(try shop.value(total) == count)
            try driver.cuGraphExecDestroy(context, hGraphExec: graph)
        }
        let graph = try shop.instantiate(plan)
        try driver.cuGraphDestroy(context, hGraph: shop.draft)
        try shop.fixture.write([UInt32(0)], to: total)
        try shop.run(graph)
        #expect(try shop.value(total) == 3)
        #expect(throws: CUDAError.self) { try shop.instantiate(plan) }
        try driver.cuGraphExecDestroy(context, hGraphExec: graph)
        try shop.fixture.synchronize()
    }

    @Test(arguments: DriverContract.subjects)
    func takesOverTheConditionsOfAnotherGraph(_ subject: DriverContract.Subject) throws {
        let shop = try Workshop(subject)
        let (driver, context) = (shop.fixture.driver, shop.fixture.context)
        let (rest, total) = (try shop.fixture.upload([UInt32(0)]), try shop.fixture.upload([UInt32(0)]))
        func plan(_ condition: UInt64, turns: UInt32, of draft: GraphDraftHandle) throws -> GraphPlan {
            shop.plan(
                [shop.setting(rest, to: turns), try shop.conditional(condition, .loop)],
                bodies: [
                    shop.launch(shop.increment, .u64(total)),
                    shop.launch(shop.countDown, .u64(condition), .u64(rest)),
                ], of: draft)
        }
        let graph = try shop.instantiate(plan(try shop.condition(1), turns: 2, of: shop.draft))
        try shop.run(graph)
        let other = try driver.cuGraphCreate(context, flags: 0)
        let condition = try shop.condition(1, of: other)
        try driver.cuGraphExecUpdate_v2(context, graph: graph, plan: try plan(condition, turns: 10, of: other))
        try driver.cuGraphDestroy(context, hGraph: other)
        try shop.run(graph)
        #expect(try shop.value(total) == 12)
        // The graph of an update may end at once, however many there are.
        for turns in UInt32(1)...20 {
            let next = try driver.cuGraphCreate(context, flags: 0)
            let condition = try shop.condition(1, of: next)
            try driver.cuGraphExecUpdate_v2(context, graph: graph, plan: try plan(condition, turns: turns, of: next))
            try driver.cuGraphDestroy(context, hGraph: next)
            try shop.run(graph)
        }
        #expect(try shop.value(total) == 12 + 210)
        try shop.fixture.write([UInt32(0)], to: total)
        // Another shape is no update.
        let third = try driver.cuGraphCreate(context, flags: 0)
        let late = try shop.condition(1, of: third)
        var wrong = try plan(late, turns: 1, of: third)
        wrong.nodes[3].dependencies = []
        shop.fixture.expectRefusal(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE) {
            try driver.cuGraphExecUpdate_v2(context, graph: graph, plan: wrong)
        }
        try shop.run(graph)
        #expect(try shop.value(total) == 20)
        try driver.cuGraphExecDestroy(context, hGraphExec: graph)
        try shop.fixture.synchronize()
    }

    /// A branch on another device runs beside the loop.
    @Test(arguments: DriverContract.subjects)
    func loopsBesideAnotherDevice(_ subject: DriverContract.Subject) throws {
        let shop = try Workshop(subject)
        try shop.fixture.needSecondDevice()
        let driver = shop.fixture.driver
        let second = try driver.cuDevicePrimaryCtxRetain(dev: 1)
        let far = try driver.cuMemAlloc_v2(second, bytesize: 4)
        let (rest, total) = (try shop.fixture.upload([UInt32(0)]), try shop.fixture.upload([UInt32(0)]))
        let condition = try shop.condition(1)
        var plan = shop.plan(
            [shop.setting(rest, to: 5), shop.setting(far, to: 3), try shop.conditional(condition, .loop)],
            bodies: [
                shop.launch(shop.increment, .u64(total)),
                shop.launch(shop.countDown, .u64(condition), .u64(rest)),
            ])
        plan.nodes[1].context = second
        let graph = try shop.instantiate(plan)
        for _ in 0..<3 { try shop.run(graph) }
        #expect(try shop.value(total) == 15)
        plan.nodes[3].context = second
        #expect(throws: CUDAError.self) { try shop.instantiate(plan) }
        try driver.cuGraphExecDestroy(shop.fixture.context, hGraphExec: graph)
        try driver.cuDevicePrimaryCtxRelease_v2(dev: 1, context: second)
    }

    @Test(arguments: DriverContract.subjects)
    func refusesConditionsThatAreNotTheGraphs(_ subject: DriverContract.Subject) throws {
        let shop = try Workshop(subject)
        let (driver, context) = (shop.fixture.driver, shop.fixture.context)
        let other = try driver.cuGraphCreate(context, flags: 0)
        for condition in [0, 0x7777, UInt64.max, try shop.condition(1, of: other)] {
            #expect(throws: CUDAError(CUDA_ERROR_INVALID_VALUE)) {
                try shop.instantiate(shop.plan([try shop.conditional(condition, .choice)], bodies: [.empty]))
            }
        }
        #expect(throws: CUDAError.self) {
            try driver.cuGraphConditionalHandleCreate(context, hGraph: shop.draft, defaultLaunchValue: 1, flags: 2)
        }
        let condition = try shop.condition(0)
        let graph = try shop.instantiate(shop.plan([try shop.conditional(condition, .choice)], bodies: [.empty]))
        shop.fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_INVALID_HANDLE) {
            try driver.cuGraphExecNodeSetParams(context, graph: graph, node: 0, work: .empty)
        }
        try shop.run(graph)
    }
}

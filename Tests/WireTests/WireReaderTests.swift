// SPDX-License-Identifier: Apache-2.0
import Driver
import Testing
import Wire

@Suite struct WireReaderTests {
    /// Reads bytes and gives back what the body returns, or the error.
    private func read<Value>(
        _ bytes: [UInt8], _ body: (inout WireReader) throws(WireError) -> Value
    ) throws(WireError) -> Value {
        var reader = WireReader(bytes.span.bytes)
        return try body(&reader)
    }

    @Test func valuesAreLittleEndian() throws {
        let value = try read([0x78, 0x56, 0x34, 0x12]) { reader throws(WireError) in try reader.read(UInt32.self) }
        #expect(value == 0x1234_5678)
    }

    @Test func refusesAShortFrame() {
        #expect(throws: WireError.truncated(needed: 8, available: 3)) {
            try read([1, 2, 3]) { reader throws(WireError) in try reader.read(UInt64.self) }
        }
    }

    @Test func refusesTrailingBytes() {
        #expect(throws: WireError.trailingBytes(1)) {
            try read([1, 2, 3, 4, 5]) { reader throws(WireError) in
                _ = try reader.read(UInt32.self)
                try reader.finish()
            }
        }
    }

    @Test func refusesATextThatIsLongerThanItsFrame() {
        #expect(throws: WireError.truncated(needed: 9, available: 1)) {
            try read([9, 0, 0, 0, 65]) { reader throws(WireError) in try reader.readText() }
        }
    }

    @Test func refusesATextThatIsNotUTF8() {
        #expect(throws: WireError.notText) {
            try read([1, 0, 0, 0, 0xFF]) { reader throws(WireError) in try reader.readText() }
        }
    }

    @Test func refusesAListThatIsTooLong() {
        #expect(throws: WireError.tooLong(0x7FFF_FFFF, limit: Limits.listCountMax)) {
            try read([0xFF, 0xFF, 0xFF, 0x7F]) { reader throws(WireError) in try reader.readCount() }
        }
    }

    @Test func aDescriptionReadsBackAsItWasWritten() throws {
        let device = DeviceDescription(
            name: "GPU", uuid: Array(1...16), totalBytes: 1 << 34, attributes: [0, -1, 7],
            canAccessPeer: [true, false],
            leastPriority: 0, greatestPriority: -5)
        let description = DriverDescription(version: 13050, devices: [device, device])
        var writer = PayloadWriter()
        writer.write(description)
        let found = try read(writer.bytes) { reader throws(WireError) in
            let description = try reader.readDriverDescription()
            try reader.finish()
            return description
        }
        #expect(found == description)
    }

    @Test func everyPrefixOfADescriptionIsRefused() {
        var writer = PayloadWriter()
        writer.write(
            FunctionDescription(
                function: FunctionHandle(bits: 7), parameters: [KernelParameter(offset: 0, size: 8)],
                attributes: [1, 2]))
        for count in 0..<writer.bytes.count {
            #expect(throws: WireError.self) {
                try read(Array(writer.bytes.prefix(count))) { reader throws(WireError) in
                    try reader.readFunctionDescription()
                }
            }
        }
    }

    @Test(arguments: 0..<200) func randomBytesNeverCrashADecoder(seed: UInt64) {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        let bytes = (0..<Int(seed % 97)).map { _ -> UInt8 in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return UInt8(truncatingIfNeeded: state)
        }
        _ = try? read(bytes) { reader throws(WireError) in try reader.readDriverDescription() }
        _ = try? read(bytes) { reader throws(WireError) in try reader.readLinkInputs() }
        _ = try? read(bytes) { reader throws(WireError) in try reader.readJITLog() }
        _ = try? read(bytes) { reader throws(WireError) in try reader.readFunctionDescription() }
    }

    @Test func aGraphReadsBackAsItWasWritten() throws {
        let context = ContextHandle(bits: 7)
        var shape = LaunchGeometry(grid: (1, 2, 3), block: (4, 5, 6), dynamicSharedBytes: 7, isCooperative: true)
        (shape.clusterX, shape.clusterY, shape.clusterZ) = (8, 2, 1)
        let box = DeviceBox(address: 1 << 40, pitch: 64, rows: 3)
        let set = DeviceSet(address: 9, pitch: 16, value: 3, elementBytes: 2, width: 5, height: 2)
        let works: [DeviceWork] = [
            .empty, .kernel(FunctionHandle(bits: 8), shape, parameters: [1, 2, 3]),
            .copy(target: box, source: box, Extent(widthBytes: 8, height: 2, depth: 1)), .set(set),
            .conditional(try #require(ConditionalWork(condition: 1 << 50, kind: .selection, bodyCount: 2))),
        ]
        var plan = GraphPlan(
            nodes: works.enumerated().map { number, work in
                GraphPlan.Node(context: context, work: work, dependencies: Array(0..<number))
            }, bodyCounts: [0, 1], draft: GraphDraftHandle(bits: 5))
        plan.nodes.append(GraphPlan.Node(context: context, work: .empty, dependencies: []))
        var writer = PayloadWriter()
        writer.write(plan)
        let found = try read(writer.bytes) { reader throws(WireError) in
            let plan = try reader.readGraphPlan()
            try reader.finish()
            return plan
        }
        #expect(found == plan)
        for byteCount in writer.bytes.indices {
            #expect(throws: WireError.self) {
                try read(Array(writer.bytes[..<byteCount])) { reader throws(WireError) in try reader.readGraphPlan() }
            }
        }
    }

    @Test func refusesAGraphThatDependsOnLaterNodes() {
        let empty = GraphPlan.Node(context: ContextHandle(bits: 1), work: .empty, dependencies: [])
        var wrong = empty
        wrong.dependencies = [1]
        var writer = PayloadWriter()
        writer.write(GraphPlan(nodes: [empty, wrong]))
        #expect(throws: WireError.tooLong(1, limit: 1)) {
            try read(writer.bytes) { reader throws(WireError) in try reader.readGraphPlan() }
        }
    }

    @Test func refusesAGraphWithTooManyNodes() {
        var writer = PayloadWriter()
        writer.write(UInt64(0))
        writer.write(UInt32(0))
        writer.write(UInt32(Limits.graphNodesMax + 1))
        #expect(throws: WireError.tooLong(Limits.graphNodesMax + 1, limit: Limits.graphNodesMax)) {
            try read(writer.bytes) { reader throws(WireError) in try reader.readGraphPlan() }
        }
    }

    /// Bodies that no node before them has, that have themselves, or whose nodes wait for those of another.
    @Test func refusesBodiesWithoutTheirNode() throws {
        let context = ContextHandle(bits: 1)
        let choice = DeviceWork.conditional(try #require(ConditionalWork(condition: 1, kind: .choice, bodyCount: 1)))
        func node(_ work: DeviceWork, _ dependencies: [Int] = []) -> GraphPlan.Node {
            GraphPlan.Node(context: context, work: work, dependencies: dependencies)
        }
        let wrong = [
            GraphPlan(nodes: [node(.empty)], bodyCounts: [1]),
            GraphPlan(nodes: [node(choice)], bodyCounts: []),
            GraphPlan(nodes: [node(.empty), node(choice)], bodyCounts: [1]),
            GraphPlan(nodes: [node(choice)], bodyCounts: [2]),
            GraphPlan(nodes: [node(choice), node(.empty, [0])], bodyCounts: [1]),
        ]
        for plan in wrong {
            var writer = PayloadWriter()
            writer.write(plan)
            #expect(throws: WireError.malformedGraph) {
                try read(writer.bytes) { reader throws(WireError) in try reader.readGraphPlan() }
            }
        }
        // As deep as programs go, and no deeper.
        for depth in [GraphLayout.depthMax, GraphLayout.depthMax + 1] {
            let plan = GraphPlan(
                nodes: [GraphPlan.Node](repeating: node(choice), count: depth) + [node(.empty)],
                bodyCounts: [Int](repeating: 1, count: depth))
            #expect((plan.layout != nil) == (depth == GraphLayout.depthMax))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package import Driver

// How graphs travel: the graph that was begun for their conditions, how many nodes their bodies have, the number of
// nodes, and for each its context, its dependencies and its work.

extension PayloadWriter {
    package mutating func write(_ plan: GraphPlan) {
        write(plan.draft.bits)
        write(UInt32(plan.bodyCounts.count))
        for count in plan.bodyCounts { write(UInt32(count)) }
        write(UInt32(plan.nodes.count))
        for node in plan.nodes {
            write(node.context.bits)
            write(UInt32(node.dependencies.count))
            for dependency in node.dependencies { write(UInt32(dependency)) }
            write(node.work)
        }
    }

    package mutating func write(_ work: DeviceWork) {
        switch work {
        case .empty: write(UInt8(0))
        case .kernel(let function, let shape, let parameters):
            write(UInt8(1))
            write(function.bits)
            write(shape)
            write(block: parameters)
        case .copy(let target, let source, let extent):
            write(UInt8(2))
            for box in [target, source] {
                write(box.address)
                write(box.pitch)
                write(box.rows)
                write(box.array.bits)
                for place in [box.x, box.y, box.z] { write(place) }
            }
            write(extent.widthBytes)
            write(extent.height)
            write(extent.depth)
        case .set(let set):
            write(UInt8(3))
            write(set.address)
            write(set.pitch)
            write(set.value)
            write(set.elementBytes)
            write(set.width)
            write(set.height)
        case .conditional(let work):
            write(UInt8(4))
            write(work.condition)
            write(work.kind.rawValue)
            write(UInt32(work.bodyCount))
        }
    }
}

extension WireReader {
    /// Handles are the client's numbers; every dependency comes before its node, and every body has its node.
    @_lifetime(self: copy self)
    package mutating func readGraphPlan() throws(WireError) -> GraphPlan {
        let draft = GraphDraftHandle(bits: try read(UInt64.self))
        let bodyCount = Int(try read(UInt32.self))
        guard bodyCount <= Limits.graphBodiesMax else { throw .tooLong(bodyCount, limit: Limits.graphBodiesMax) }
        var bodyCounts: [Int] = []
        for _ in 0..<bodyCount { bodyCounts.append(Int(try read(UInt32.self))) }
        let count = Int(try read(UInt32.self))
        guard count <= Limits.graphNodesMax else { throw .tooLong(count, limit: Limits.graphNodesMax) }
        var nodes: [GraphPlan.Node] = []
        for index in 0..<count {
            let context = ContextHandle(bits: try read(UInt64.self))
            let dependencyCount = Int(try read(UInt32.self))
            // No node depends on more nodes than come before it.
            guard dependencyCount <= index else { throw .tooLong(dependencyCount, limit: index) }
            var dependencies: [Int] = []
            for _ in 0..<dependencyCount {
                let dependency = Int(try read(UInt32.self))
                guard dependency < index else { throw .tooLong(dependency, limit: index) }
                dependencies.append(dependency)
            }
            nodes.append(GraphPlan.Node(context: context, work: try readDeviceWork(), dependencies: dependencies))
        }
        let plan = GraphPlan(nodes: nodes, bodyCounts: bodyCounts, draft: draft)
        // A body without its node would be work that nothing says when to do.
        guard plan.layout != nil else { throw .malformedGraph }
        return plan
    }

    @_lifetime(self: copy self)
    package mutating func readDeviceWork() throws(WireError) -> DeviceWork {
        let kind = try read(UInt8.self)
        switch kind {
        case 0: return .empty
        case 1:
            let function = FunctionHandle(bits: try read(UInt64.self))
            let shape = try readLaunchGeometry()
            let parameters = try readBytes(limit: Limits.parameterBytesMax).withUnsafeBytes { Array($0) }
            return .kernel(function, shape, parameters: parameters)
        case 2:
            return .copy(target: try readGraphBox(), source: try readGraphBox(), try readGraphExtent())
        case 3:
            let address = try read(UInt64.self)
            let pitch = try read(Int.self)
            let value = try read(UInt32.self)
            let elementBytes = try read(UInt32.self)
            let width = try read(Int.self)
            return .set(
                DeviceSet(
                    address: address, pitch: pitch, value: value, elementBytes: elementBytes, width: width,
                    height: try read(Int.self)))
        case 4:
            let condition = try read(UInt64.self)
            let kind = try read(UInt8.self)
            let bodyCount = Int(try read(UInt32.self))
            guard let kind = ConditionalWork.Kind(rawValue: kind),
                let work = ConditionalWork(condition: condition, kind: kind, bodyCount: bodyCount)
            else { throw .malformedGraph }
            return .conditional(work)
        default: throw .tooLong(Int(kind), limit: 4)
        }
    }

    @_lifetime(self: copy self)
    private mutating func readGraphBox() throws(WireError) -> DeviceBox {
        var box = DeviceBox(address: try read(UInt64.self), pitch: try read(Int.self), rows: try read(Int.self))
        box.array = ArrayHandle(bits: try read(UInt64.self))
        (box.x, box.y, box.z) = (try read(Int.self), try read(Int.self), try read(Int.self))
        return box
    }

    @_lifetime(self: copy self)
    private mutating func readGraphExtent() throws(WireError) -> Extent {
        Extent(widthBytes: try read(Int.self), height: try read(Int.self), depth: try read(Int.self))
    }
}

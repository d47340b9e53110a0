// SPDX-License-Identifier: Apache-2.0
import Driver
import Wire

extension Session {
    func perform_cuGraphInstantiate(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let made = try request.read(UInt64.self)
        let plan = try request.readGraphPlan()
        try request.finish()
        try graphs.insert(made, driver.cuGraphInstantiate(contexts.driverHandle(frame.context), plan: drivers(plan)))
    }

    func perform_cuGraphExecUpdate_v2(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let graph = try request.read(UInt64.self)
        let plan = try request.readGraphPlan()
        try request.finish()
        try driver.cuGraphExecUpdate_v2(
            contexts.driverHandle(frame.context), graph: graphs.driverHandle(graph), plan: drivers(plan))
    }

    func perform_cuGraphExecNodeSetParams(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let graph = try request.read(UInt64.self)
        let node = Int(try request.read(UInt32.self))
        let work = try request.readDeviceWork()
        try request.finish()
        try driver.cuGraphExecNodeSetParams(
            contexts.driverHandle(frame.context), graph: graphs.driverHandle(graph), node: node,
            work: try drivers(work))
    }

    /// The same plan with the driver's handles.
    private func drivers(_ plan: GraphPlan) throws(CUDAError) -> GraphPlan {
        var plan = plan
        plan.draft = try graphDrafts.driverHandle(plan.draft.bits)
        for index in plan.nodes.indices {
            plan.nodes[index].context = try contexts.driverHandle(plan.nodes[index].context.bits)
            plan.nodes[index].work = try drivers(plan.nodes[index].work)
        }
        return plan
    }

    /// The same work with the driver's handles of kernels and arrays.
    private func drivers(_ work: DeviceWork) throws(CUDAError) -> DeviceWork {
        switch work {
        case .kernel(let function, let geometry, let parameters):
            return .kernel(try functions.driverHandle(function.bits), geometry, parameters: parameters)
        case .copy(var target, var source, let extent):
            target.array = try arrays.driverHandle(target.array.bits)
            source.array = try arrays.driverHandle(source.array.bits)
            return .copy(target: target, source: source, extent)
        case .set, .conditional, .empty: return work
        }
    }
}

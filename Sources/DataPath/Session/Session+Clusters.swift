// SPDX-License-Identifier: Apache-2.0
import Driver
import Wire

/// Questions about launches with clusters.
extension Session {
    func perform_cuOccupancyMaxActiveClusters(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let (context, function, shape) = try readLaunch(frame, &request)
        reply.write(try driver.cuOccupancyMaxActiveClusters(context, hfunc: function, shape))
    }

    func perform_cuOccupancyMaxPotentialClusterSize(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let (context, function, shape) = try readLaunch(frame, &request)
        reply.write(try driver.cuOccupancyMaxPotentialClusterSize(context, hfunc: function, shape))
    }

    private func readLaunch(
        _ frame: FrameHeader, _ request: inout WireReader
    ) throws -> (ContextHandle, FunctionHandle, LaunchGeometry) {
        let function = try request.read(UInt64.self)
        let shape = try request.readLaunchGeometry()
        try request.finish()
        return (try contexts.driverHandle(frame.context), try functions.driverHandle(function), shape)
    }
}

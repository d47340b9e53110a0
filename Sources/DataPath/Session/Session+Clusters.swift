// SPDX-License-Identifier: Apache-2.0
import Driver
import Wire

/// Questions about launches with clusters.
extension Session {
    func perform_cuOccupancyMaxActiveClusters(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let function = try request.read(UInt64.self)
        let shape = try request.readLaunchGeometry()
        try request.finish()
        reply.write(
            try driver.cuOccupancyMaxActiveClusters(
                contexts.driverHandle(frame.context), hfunc: functions.driverHandle(function), shape))
    }

    func perform_cuOccupancyMaxPotentialClusterSize(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let function = try request.read(UInt64.self)
        let shape = try request.readLaunchGeometry()
        try request.finish()
        reply.write(
            try driver.cuOccupancyMaxPotentialClusterSize(
                contexts.driverHandle(frame.context), hfunc: functions.driverHandle(function), shape))
    }
}

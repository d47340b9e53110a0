// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Wire

/// Tensor maps: values in, values out.
extension Session {
    func perform_cuTensorMapEncodeTiled(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let description = try request.readTensorMapDescription()
        try request.finish()
        reply.write(try driver.cuTensorMapEncodeTiled(contexts.driverHandle(frame.context), description))
    }

    func perform_cuTensorMapReplaceAddress(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let map = try request.readTensorMap()
        let address = try request.read(CUdeviceptr.self)
        try request.finish()
        let context = try contexts.driverHandle(frame.context)
        reply.write(try driver.cuTensorMapReplaceAddress(context, tensorMap: map, globalAddress: address))
    }

    func perform_cuTensorMapSetAllocationClass(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let map = try request.readTensorMap()
        let allocClass = try request.read(UInt32.self)
        try request.finish()
        let context = try contexts.driverHandle(frame.context)
        let made = try driver.cuTensorMapSetAllocationClass(context, tensorMap: map, allocClass: allocClass)
        reply.write(made.tensorMap)
        reply.write(made.outAllocClass)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Wire

extension Session {
    func perform_cuDeviceGetDevResource(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let device = try request.read(Int32.self)
        try request.finish()
        reply.write(try driver.cuDeviceGetDevResource(dev: device))
    }

    func perform_cuGreenCtxGetDevResource(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let context = try request.read(UInt64.self)
        try request.finish()
        reply.write(try driver.cuGreenCtxGetDevResource(hCtx: greenContexts.driverHandle(context)))
    }

    func perform_cuDevSmResourceSplitByCount(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let input = try request.read(ResourceNumber.self)
        let groups = try request.read(UInt32.self)
        let flags = try request.read(UInt32.self)
        let minCount = try request.read(UInt32.self)
        try request.finish()
        reply.write(
            try driver.cuDevSmResourceSplitByCount(input: input, groups: groups, flags: flags, minCount: minCount))
    }

    func perform_cuDevSmResourceSplit(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let input = try request.read(ResourceNumber.self)
        let makesResult = try request.read(UInt8.self) != 0
        let flags = try request.read(UInt32.self)
        let groups = try request.readMultiprocessorGroups()
        try request.finish()
        reply.write(
            try driver.cuDevSmResourceSplit(input: input, groups: groups, makesResult: makesResult, flags: flags))
    }

    func perform_cuDevResourceGenerateDesc(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let count = try request.read(UInt32.self)
        guard count <= MultiprocessorGroup.countMax else { throw CUDAError.invalidValue }
        var resources: [ResourceNumber] = []
        for _ in 0..<count { resources.append(try request.read(ResourceNumber.self)) }
        try request.finish()
        reply.write(try driver.cuDevResourceGenerateDesc(resources: resources))
    }
}

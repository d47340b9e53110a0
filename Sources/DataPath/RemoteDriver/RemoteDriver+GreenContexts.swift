// SPDX-License-Identifier: Apache-2.0
package import Driver
import Wire

extension RemoteDriver {
    package func cuDeviceGetDevResource(dev: Int32) throws(CUDAError) -> MultiprocessorResource {
        try resource(.cuDeviceGetDevResource, byteCount: 4) { $0.write(dev) }
    }

    package func cuGreenCtxGetDevResource(hCtx: GreenContextHandle) throws(CUDAError) -> MultiprocessorResource {
        try resource(.cuGreenCtxGetDevResource, byteCount: 8) { $0.write(hCtx.bits) }
    }

    private func resource(
        _ call: Call, byteCount: Int, _ write: (inout FrameWriter) -> Void
    ) throws(CUDAError) -> MultiprocessorResource {
        let reply = try self.call(call, ContextHandle(bits: 0), byteCount: byteCount, fill: write)
        return try reply.decode { reader throws(WireError) in try reader.readMultiprocessorResource() }
    }

    package func cuDevSmResourceSplitByCount(
        input: ResourceNumber, groups: UInt32, flags: UInt32, minCount: UInt32
    ) throws(CUDAError) -> MultiprocessorSplit {
        let reply = try call(.cuDevSmResourceSplitByCount, ContextHandle(bits: 0), byteCount: 20) { frame in
            frame.write(input)
            frame.write(groups)
            frame.write(flags)
            frame.write(minCount)
        }
        return try reply.decode { reader throws(WireError) in try reader.readMultiprocessorSplit() }
    }

    package func cuDevSmResourceSplit(
        input: ResourceNumber, groups: [MultiprocessorGroup], makesResult: Bool, flags: UInt32
    ) throws(CUDAError) -> MultiprocessorSplit {
        guard groups.count <= MultiprocessorGroup.countMax else { throw .invalidValue }
        let byteCount = 17 + groups.count * MultiprocessorGroup.byteCount
        let reply = try call(.cuDevSmResourceSplit, ContextHandle(bits: 0), byteCount: byteCount) { frame in
            frame.write(input)
            frame.write(UInt8(makesResult ? 1 : 0))
            frame.write(flags)
            frame.write(groups)
        }
        return try reply.decode { reader throws(WireError) in try reader.readMultiprocessorSplit() }
    }

    package func cuDevResourceGenerateDesc(resources: [ResourceNumber]) throws(CUDAError) -> ResourceNumber {
        guard resources.count <= MultiprocessorGroup.countMax else { throw .invalidValue }
        let byteCount = 4 + resources.count * 8
        let reply = try call(.cuDevResourceGenerateDesc, ContextHandle(bits: 0), byteCount: byteCount) { frame in
            frame.write(UInt32(resources.count))
            for resource in resources { frame.write(resource) }
        }
        return try reply.decode { reader throws(WireError) in try reader.read(ResourceNumber.self) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Driver
import Wire

extension Session {
    func perform_cuStreamBatchMemOp_v2(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let stream = try request.read(UInt64.self)
        let count = Int(try request.read(UInt32.self))
        guard count <= StreamMemoryOperation.countMax else {
            throw WireError.tooLong(count, limit: StreamMemoryOperation.countMax)
        }
        var operations: [StreamMemoryOperation] = []
        for _ in 0..<count {
            let kind = StreamMemoryOperation.Kind(rawValue: try request.read(UInt32.self))
            let flags = try request.read(UInt32.self)
            let address = try request.read(UInt64.self)
            let value = try request.read(UInt64.self)
            guard let kind else { throw CUDAError.invalidValue }
            operations.append(StreamMemoryOperation(kind, address: address, value: value, flags: flags))
        }
        try request.finish()
        if operations.contains(where: \.isWait) { hasWaitedForValues = true }
        try driver.cuStreamBatchMemOp_v2(
            contexts.driverHandle(frame.context), stream: streams.driverHandle(stream), operations: operations)
    }
}

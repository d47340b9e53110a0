// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver

/// Values in memory that streams write and wait for, and attributes of streams.
extension SoftGPU {
    package func cuStreamBatchMemOp_v2(
        _ context: ContextHandle, stream: StreamHandle, operations: [StreamMemoryOperation]
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(stream, in: context)
        guard operations.count <= StreamMemoryOperation.countMax else { throw .invalidValue }
        var works: [Work] = []
        for operation in operations {
            try operation.check()
            switch operation.kind {
            // CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES is 0.
            case .flushRemoteWrites: throw .notSupported
            // What a stream does is visible to all before its next work begins.
            case .barrier: continue
            case .wait32, .wait64:
                guard operation.flags & CU_STREAM_WAIT_VALUE_FLUSH.rawValue == 0 else { throw .notSupported }
                works.append(.waitForValue(AwaitedValue(wait: operation, memory: try memory(of: operation))))
            case .write32, .write64:
                let memory = try memory(of: operation)
                works.append(.task { withExtendedLifetime(memory) { write(operation) } })
            }
        }
        for work in works { context.enqueue(stream, work) }
    }

    private func memory(of operation: StreamMemoryOperation) throws(CUDAError) -> any Sendable & AnyObject {
        try memoryMap.allocation(at: UInt64(operation.address), byteCount: operation.byteCount)
    }

    /// What may be set are hints for hardware that is not there; ways of waiting change nothing either.
    package func cuStreamSetAttribute(
        _ context: ContextHandle, hStream: StreamHandle, attr: UInt32, value: RawSpan
    ) throws(CUDAError) {
        _ = try stream(hStream, in: try self.context(context))
        guard value.byteCount == MemoryLayout<CUstreamAttrValue>.size else { throw .invalidValue }
    }

    /// CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS is 0.
    package func cuFlushGPUDirectRDMAWrites(
        _ context: ContextHandle, target: UInt32, scope: UInt32
    ) throws(CUDAError) {
        _ = try self.context(context)
        throw .notSupported
    }
}

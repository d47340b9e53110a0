// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver

// Values in memory that streams write and wait for, and attributes of streams.

extension HostDriver {
    package func cuStreamBatchMemOp_v2(
        _ context: ContextHandle, stream: StreamHandle, operations: [StreamMemoryOperation]
    ) throws(CUDAError) {
        guard let function = more.cuStreamBatchMemOp else { throw .notSupported }
        guard !operations.isEmpty else { return }
        try makeCurrent(context)
        var parameters = operations.map(CUstreamBatchMemOpParams.init)
        try check(function(stream.bits, UInt32(parameters.count), &parameters, 0))
    }

    package func cuStreamSetAttribute(
        _ context: ContextHandle, hStream: StreamHandle, attr: UInt32, value: RawSpan
    ) throws(CUDAError) {
        guard let function = more.cuStreamSetAttribute else { throw .notSupported }
        guard value.byteCount == MemoryLayout<CUstreamAttrValue>.size else { throw .invalidValue }
        try makeCurrent(context)
        try value.withUnsafeBytes { bytes throws(CUDAError) in
            try check(function(hStream.bits, attr, bytes.baseAddress))
        }
    }
}

extension CUstreamBatchMemOpParams {
    fileprivate init(_ operation: StreamMemoryOperation) {
        self.init()
        let type = CUstreamBatchMemOpType(operation.kind.rawValue)
        switch operation.kind {
        case .wait32, .wait64, .write32, .write64:
            waitValue = CUstreamMemOpValueParams(
                operation: type, address: operation.address, value: operation.value, flags: operation.flags, alias: 0)
        case .barrier, .flushRemoteWrites:
            memoryBarrier.operation = type
            memoryBarrier.flags = operation.flags
        }
    }
}

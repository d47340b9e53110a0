// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Values in memory that streams write and wait for.
extension Shim {
    func cuStreamWriteValue32(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt32, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let write = StreamMemoryOperation(.write32, address: addr, value: UInt64(value), flags: flags)
        try enqueue([write], try target(stream, defaultStream))
    }

    func cuStreamWriteValue64(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt64, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let write = StreamMemoryOperation(.write64, address: addr, value: value, flags: flags)
        try enqueue([write], try target(stream, defaultStream))
    }

    func cuStreamWaitValue32(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt32, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let wait = StreamMemoryOperation(.wait32, address: addr, value: UInt64(value), flags: flags)
        try enqueue([wait], try target(stream, defaultStream))
    }

    func cuStreamWaitValue64(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt64, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let wait = StreamMemoryOperation(.wait64, address: addr, value: value, flags: flags)
        try enqueue([wait], try target(stream, defaultStream))
    }

    func cuStreamBatchMemOp(
        _ stream: OpaquePointer?, _ count: UInt32, _ paramArray: UnsafeMutablePointer<CUstreamBatchMemOpParams>?,
        _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try target(stream, defaultStream)
        guard flags == 0, count <= StreamMemoryOperation.countMax else { throw .invalidValue }
        guard count > 0 else { return }
        guard let paramArray else { throw .invalidValue }
        var operations: [StreamMemoryOperation] = []
        for index in 0..<Int(count) { operations.append(try operation(paramArray[index])) }
        try enqueue(operations, target)
    }

    private func operation(_ parameters: CUstreamBatchMemOpParams) throws(CUDAError) -> StreamMemoryOperation {
        guard let kind = StreamMemoryOperation.Kind(rawValue: parameters.operation.rawValue) else {
            throw .invalidValue
        }
        switch kind {
        case .barrier, .flushRemoteWrites: return StreamMemoryOperation(kind, flags: parameters.memoryBarrier.flags)
        case .wait32, .write32, .wait64, .write64:
            let given = parameters.waitValue
            // A 32-bit value leaves the rest of its place undefined.
            let value = kind == .wait32 || kind == .write32 ? given.value & 0xffff_ffff : given.value
            return StreamMemoryOperation(kind, address: given.address, value: value, flags: given.flags)
        }
    }

    /// Checks operations and enqueues them.
    ///
    /// Memory that host and device use by turns can be written by a stream, but not waited for: while work is enqueued
    /// that uses it, what the host writes there stays with the host.
    private func enqueue(_ operations: [StreamMemoryOperation], _ target: StreamTarget) throws(CUDAError) {
        let device = try context(of: target).device.description
        var operations = operations
        var parts: [(address: CUdeviceptr, side: Side, byteCount: Int)] = []
        for index in operations.indices {
            let operation = operations[index]
            try operation.check()
            if operation.byteCount == 8, device[CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS] == 0 {
                throw .notSupported
            }
            if operation.isWait { try checkWait(operation, device) }
            if operation.kind == .flushRemoteWrites, device[CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES] == 0 {
                throw .notSupported
            }
            guard operation.byteCount > 0 else { continue }
            guard let address = try deviceAddress(of: operation, &parts) else { throw .notSupported }
            operations[index].address = address
        }
        guard !parts.isEmpty else {
            return try driver.cuStreamBatchMemOp_v2(target.context, stream: target.stream, operations: operations)
        }
        try whileOnDevice(parts, target, isChanged: true) { () throws(CUDAError) in
            try driver.cuStreamBatchMemOp_v2(target.context, stream: target.stream, operations: operations)
        }
    }

    private func checkWait(_ wait: StreamMemoryOperation, _ device: DeviceDescription) throws(CUDAError) {
        let isFlush = wait.flags & CU_STREAM_WAIT_VALUE_FLUSH.rawValue != 0
        let isNor = wait.flags & CU_STREAM_WAIT_VALUE_NOR.rawValue == CU_STREAM_WAIT_VALUE_NOR.rawValue
        guard !isFlush || device[CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES] != 0,
            !isNor || device[CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR] != 0
        else { throw .notSupported }
    }

    /// Where the device finds the value of an operation; nil if it cannot.
    private func deviceAddress(
        of operation: StreamMemoryOperation, _ parts: inout [(address: CUdeviceptr, side: Side, byteCount: Int)]
    ) throws(CUDAError) -> CUdeviceptr? {
        let side = try side(operation.address, operation.byteCount, .known)
        switch side {
        case .device: return operation.address
        case .shared, .pinned, .pageable:
            guard memory.reservesAddresses, !operation.isWait, let allocation = memory.find(operation.address) else {
                return nil
            }
            guard allocation.kind == .host || side == .shared else { return nil }
            let shared = side == .shared ? allocation : try shareHostMemory(allocation)
            parts.append((operation.address, .shared, operation.byteCount))
            return shared.deviceAddress(operation.address)
        }
    }

    /// The memory of a remote GPU is written by no other device of the client's machine.
    ///
    /// Its own driver says what else there is to flush.
    func cuFlushGPUDirectRDMAWrites(
        _ target: CUflushGPUDirectRDMAWritesTarget, _ scope: CUflushGPUDirectRDMAWritesScope
    ) throws(CUDAError) {
        guard target == CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX,
            scope == CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_OWNER
                || scope == CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_ALL_DEVICES
        else { throw .invalidValue }
        try driver.cuFlushGPUDirectRDMAWrites(
            try activeContext().handle, target: target.rawValue, scope: scope.rawValue)
    }
}

// The same functions under their second names, with which the first are meant since CUDA 12.

extension Shim {
    func cuStreamWriteValue32_v2(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt32, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) { try cuStreamWriteValue32(stream, addr, value, flags, defaultStream: defaultStream) }

    func cuStreamWriteValue64_v2(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt64, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) { try cuStreamWriteValue64(stream, addr, value, flags, defaultStream: defaultStream) }

    func cuStreamWaitValue32_v2(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt32, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) { try cuStreamWaitValue32(stream, addr, value, flags, defaultStream: defaultStream) }

    func cuStreamWaitValue64_v2(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt64, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) { try cuStreamWaitValue64(stream, addr, value, flags, defaultStream: defaultStream) }

    func cuStreamBatchMemOp_v2(
        _ stream: OpaquePointer?, _ count: UInt32, _ paramArray: UnsafeMutablePointer<CUstreamBatchMemOpParams>?,
        _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) { try cuStreamBatchMemOp(stream, count, paramArray, flags, defaultStream: defaultStream) }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Values in memory that streams write and wait for.
extension Shim {
    func cuStreamWriteValue32(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt32, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let write = StreamMemoryOperation(.write32, address: addr, value: UInt64(value), flags: flags)
        try enqueue([write], try workTarget(stream, defaultStream))
    }

    func cuStreamWriteValue64(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt64, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let write = StreamMemoryOperation(.write64, address: addr, value: value, flags: flags)
        try enqueue([write], try workTarget(stream, defaultStream))
    }

    func cuStreamWaitValue32(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt32, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let wait = StreamMemoryOperation(.wait32, address: addr, value: UInt64(value), flags: flags)
        try enqueue([wait], try workTarget(stream, defaultStream))
    }

    func cuStreamWaitValue64(
        _ stream: OpaquePointer?, _ addr: CUdeviceptr, _ value: UInt64, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let wait = StreamMemoryOperation(.wait64, address: addr, value: value, flags: flags)
        try enqueue([wait], try workTarget(stream, defaultStream))
    }

    func cuStreamBatchMemOp(
        _ stream: OpaquePointer?, _ count: UInt32, _ paramArray: UnsafeMutablePointer<CUstreamBatchMemOpParams>?,
        _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try workTarget(stream, defaultStream)
        guard flags == 0 else { throw .invalidValue }
        let operations = try operations(paramArray, count)
        if !operations.isEmpty { try enqueue(operations, target) }
    }

    /// What the application lists, as many as CUDA allows in one call.
    func operations(
        _ parameters: UnsafeMutablePointer<CUstreamBatchMemOpParams>?, _ count: UInt32
    ) throws(CUDAError) -> [StreamMemoryOperation] {
        guard count <= StreamMemoryOperation.countMax else { throw .invalidValue }
        guard count > 0 else { return [] }
        guard let parameters else { throw .invalidValue }
        var operations: [StreamMemoryOperation] = []
        for index in 0..<Int(count) { operations.append(try operation(parameters[index])) }
        return operations
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
    private func enqueue(_ operations: [StreamMemoryOperation], _ target: StreamTarget) throws(CUDAError) {
        let context = try context(of: target)
        if let stream = target.capturing {
            return try capture(.values(try valuesWork(operations, context)), on: stream)
        }
        for operation in operations { try check(operation, on: context.device) }
        let settled = try deviceOperations(operations)
        let parts = operations.filter { $0.byteCount > 0 && !isOnDevice($0.address) }.map { operation in
            (address: operation.address, side: Side.shared, byteCount: operation.byteCount)
        }
        guard !parts.isEmpty else {
            return try driver.cuStreamBatchMemOp_v2(target.context, stream: target.stream, operations: settled)
        }
        try whileOnDevice(parts, target, isChanged: true) { () throws(CUDAError) in
            try driver.cuStreamBatchMemOp_v2(target.context, stream: target.stream, operations: settled)
        }
    }

    /// Looks whether a device can do an operation, at an address that it reaches.
    ///
    /// Memory that host and device use by turns can be written by a stream, but not waited for: while work is enqueued
    /// that uses it, what the host writes there stays with the host.
    func check(_ operation: StreamMemoryOperation, on device: Device) throws(CUDAError) {
        try operation.check()
        let device = device.description
        if operation.byteCount == 8, device[CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS] == 0 {
            throw .notSupported
        }
        if operation.isWait { try checkWait(operation, device) }
        if operation.kind == .flushRemoteWrites, device[CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES] == 0 {
            throw .notSupported
        }
        guard operation.byteCount > 0 else { return }
        switch try side(operation.address, operation.byteCount, .known) {
        case .device: return
        case .shared: guard !operation.isWait else { throw .notSupported }
        case .pinned, .pageable:
            let kind = memory.find(operation.address)?.kind
            guard memory.reservesAddresses, !operation.isWait, kind == .host else { throw .notSupported }
        }
    }

    private func checkWait(_ wait: StreamMemoryOperation, _ device: DeviceDescription) throws(CUDAError) {
        let isFlush = wait.flags & CU_STREAM_WAIT_VALUE_FLUSH.rawValue != 0
        let isNor = wait.flags & CU_STREAM_WAIT_VALUE_NOR.rawValue == CU_STREAM_WAIT_VALUE_NOR.rawValue
        guard !isFlush || device[CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES] != 0,
            !isNor || device[CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR] != 0
        else { throw .notSupported }
    }

    /// Checked operations with the addresses at which the device finds their values.
    func deviceOperations(_ operations: [StreamMemoryOperation]) throws(CUDAError) -> [StreamMemoryOperation] {
        var settled = operations
        for index in settled.indices where settled[index].byteCount > 0 {
            guard let allocation = memory.find(settled[index].address) else { throw .invalidValue }
            let known = allocation.kind == .host ? try shareHostMemory(allocation) : allocation
            settled[index].address = known.deviceAddress(settled[index].address)
        }
        return settled
    }

    /// Whether a known address is not of memory that host and device use by turns.
    private func isOnDevice(_ address: CUdeviceptr) -> Bool {
        memory.find(address).map { $0.deviceBase == 0 && $0.kind.isOnDevice } ?? true
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

extension StreamMemoryOperation {
    /// As applications see it.
    var asC: CUstreamBatchMemOpParams {
        var parameters = CUstreamBatchMemOpParams()
        parameters.operation = CUstreamBatchMemOpType(kind.rawValue)
        switch kind {
        case .barrier, .flushRemoteWrites: parameters.memoryBarrier.flags = flags
        case .wait32, .write32, .wait64, .write64:
            parameters.waitValue.address = address
            parameters.waitValue.value = value
            parameters.waitValue.flags = flags
        }
        return parameters
    }
}

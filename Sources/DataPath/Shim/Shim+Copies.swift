// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// Copies of one dimension.
///
/// Host and device share one address space, so what an address is decides how a copy goes, whatever the function's name
/// says. Where a name says `D` the address must be memory that is known.
extension Shim {
    /// What an address of a copy is.
    enum Side {
        case device
        /// Memory that host and device use by turns: the device's, after what the host has changed was sent.
        case shared
        /// Host memory that CUDA allocated or registered: it stays where it is until the stream has used it.
        case pinned
        /// Other host memory.
        case pageable

        var isHost: Bool { self == .pinned || self == .pageable }
    }

    /// What a function demands of an address.
    enum Demand {
        case anything
        /// Memory that is known, as a device address must be.
        case known
    }

    func cuMemcpyHtoD_v2(
        _ dstDevice: CUdeviceptr, _ srcHost: UnsafeRawPointer?, _ ByteCount: Int, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try target(nil, defaultStream)
        try copy(dstDevice, .known, Self.address(srcHost), .anything, ByteCount, target, isAsync: false)
    }

    func cuMemcpyHtoDAsync_v2(
        _ dstDevice: CUdeviceptr, _ srcHost: UnsafeRawPointer?, _ ByteCount: Int, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try workTarget(hStream, defaultStream)
        try copy(dstDevice, .known, Self.address(srcHost), .anything, ByteCount, target, isAsync: true)
    }

    func cuMemcpyDtoH_v2(
        _ dstHost: UnsafeMutableRawPointer?, _ srcDevice: CUdeviceptr, _ ByteCount: Int, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try target(nil, defaultStream)
        try copy(Self.address(dstHost), .anything, srcDevice, .known, ByteCount, target, isAsync: false)
    }

    func cuMemcpyDtoHAsync_v2(
        _ dstHost: UnsafeMutableRawPointer?, _ srcDevice: CUdeviceptr, _ ByteCount: Int, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try workTarget(hStream, defaultStream)
        try copy(Self.address(dstHost), .anything, srcDevice, .known, ByteCount, target, isAsync: true)
    }

    func cuMemcpyDtoD_v2(
        _ dstDevice: CUdeviceptr, _ srcDevice: CUdeviceptr, _ ByteCount: Int, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(dstDevice, .known, srcDevice, .known, ByteCount, try target(nil, defaultStream), isAsync: false)
    }

    func cuMemcpyDtoDAsync_v2(
        _ dstDevice: CUdeviceptr, _ srcDevice: CUdeviceptr, _ ByteCount: Int, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(dstDevice, .known, srcDevice, .known, ByteCount, try workTarget(hStream, defaultStream), isAsync: true)
    }

    func cuMemcpy(
        _ dst: CUdeviceptr, _ src: CUdeviceptr, _ ByteCount: Int, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(dst, .anything, src, .anything, ByteCount, try target(nil, defaultStream), isAsync: false)
    }

    func cuMemcpyAsync(
        _ dst: CUdeviceptr, _ src: CUdeviceptr, _ ByteCount: Int, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(dst, .anything, src, .anything, ByteCount, try workTarget(hStream, defaultStream), isAsync: true)
    }

    func cuMemcpyPeer(
        _ dstDevice: CUdeviceptr, _ dstContext: OpaquePointer?, _ srcDevice: CUdeviceptr, _ srcContext: OpaquePointer?,
        _ ByteCount: Int, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try checkPeers(dstContext, srcContext)
        try copy(dstDevice, .known, srcDevice, .known, ByteCount, try target(nil, defaultStream), isAsync: false)
    }

    func cuMemcpyPeerAsync(
        _ dstDevice: CUdeviceptr, _ dstContext: OpaquePointer?, _ srcDevice: CUdeviceptr, _ srcContext: OpaquePointer?,
        _ ByteCount: Int, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try checkPeers(dstContext, srcContext)
        try copy(dstDevice, .known, srcDevice, .known, ByteCount, try workTarget(hStream, defaultStream), isAsync: true)
    }

    /// Both contexts of a copy between devices must be alive.
    func checkPeers(_ contexts: OpaquePointer?...) throws(CUDAError) {
        for handle in contexts {
            guard let handle, let context = self.contexts[bits(handle)] else { throw .invalidContext }
            _ = try context.handle
        }
    }

    /// Finds out what a range is.
    ///
    /// A range that leaves its allocation is CUDA_ERROR_INVALID_VALUE.
    @inline(__always)
    func side(_ address: CUdeviceptr, _ byteCount: Int, _ demand: Demand) throws(CUDAError) -> Side {
        guard let allocation = memory.find(address) else {
            guard demand == .anything, address != 0 else { throw .invalidValue }
            return .pageable
        }
        guard allocation.contains(address, byteCount) else {
            // Host memory may be registered in part: what lies behind it is still the application's.
            if allocation.kind == .registered, demand == .anything { return .pageable }
            if allocation.kind == .mapped, byteCount > 0, memory.isMapped(address, byteCount) { return .device }
            throw .invalidValue
        }
        if allocation.deviceBase != 0 { return .shared }
        return allocation.kind.isOnDevice ? .device : .pinned
    }

    /// Copies a range in the order of a stream.
    ///
    /// The source in host memory has been read on return. A target in pageable host memory is complete on return, as
    /// CUDA documents; a pinned one when the stream has come to it, or on return of a function without `Async`.
    func copy(
        _ target: CUdeviceptr, _ targetDemand: Demand, _ source: CUdeviceptr, _ sourceDemand: Demand,
        _ byteCount: Int, _ stream: StreamTarget, isAsync: Bool
    ) throws(CUDAError) {
        if byteCount == 0 { return }
        guard byteCount > 0 else { throw .invalidValue }
        let targetSide = try side(target, byteCount, targetDemand)
        let sourceSide = try side(source, byteCount, sourceDemand)
        if let captured = stream.capturing {
            let context = try context(of: stream)
            let work = try copyWork(target, targetSide, source, sourceSide, byteCount, context)
            return try capture(.copy(work), on: captured)
        }
        guard targetSide != .shared, sourceSide != .shared else {
            return try whileOnDevice(
                [(target, targetSide, byteCount), (source, sourceSide, byteCount)], stream,
                isChanged: targetSide == .shared
            ) { () throws(CUDAError) in
                try copy(
                    deviceAddress(target), targetSide, deviceAddress(source), sourceSide, byteCount, stream,
                    isAsync: isAsync)
                try waitIfBlocking(stream)
            }
        }
        try copy(target, targetSide, source, sourceSide, byteCount, stream, isAsync: isAsync)
        try waitIfBlocking(stream)
    }

    /// Copies between addresses of which it is known what they are.
    private func copy(
        _ target: CUdeviceptr, _ targetSide: Side, _ source: CUdeviceptr, _ sourceSide: Side, _ byteCount: Int,
        _ stream: StreamTarget, isAsync: Bool
    ) throws(CUDAError) {
        switch (targetSide.isHost, sourceSide.isHost) {
        case (false, false):
            try driver.cuMemcpyDtoDAsync_v2(
                stream.context, dstDevice: target, srcDevice: source, byteCount: byteCount, hStream: stream.stream)
            if !isAsync { try waitIfManaged(target, stream) }
        case (false, true):
            try driver.cuMemcpyHtoDAsync_v2(
                stream.context, dstDevice: target, srcHost: Self.hostBytes(source, byteCount).bytes,
                hStream: stream.stream)
            if !isAsync { try waitIfManaged(target, stream) }
        case (true, false):
            let bytes = UnsafeMutableRawBufferPointer(mutating: Self.hostBytes(target, byteCount))
            if isAsync, targetSide == .pinned {
                try driver.cuMemcpyDtoHAsync_v2(
                    stream.context, dstHost: bytes, srcDevice: source, stream: stream.stream)
            } else {
                try driver.cuMemcpyDtoH_v2(stream.context, dstHost: bytes, srcDevice: source, stream: stream.stream)
            }
        case (true, true):
            if isAsync, targetSide == .pinned, sourceSide == .pinned {
                try driver.cuLaunchHostFunc(stream.context, stream: stream.stream) {
                    Self.move(target, source, byteCount)
                }
            } else {
                try driver.cuStreamSynchronize(stream.context, hStream: stream.stream)
                Self.move(target, source, byteCount)
            }
        }
    }

    static func hostBytes(_ address: CUdeviceptr, _ byteCount: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: UInt(address)), count: byteCount)
    }

    static func move(_ target: CUdeviceptr, _ source: CUdeviceptr, _ byteCount: Int) {
        guard let target = UnsafeMutableRawPointer(bitPattern: UInt(target)),
            let source = UnsafeRawPointer(bitPattern: UInt(source))
        else { return }
        memmove(target, source, byteCount)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A launch as before CUDA 4: the function keeps the shape of its blocks, its shared memory and its parameters, set one
/// by one, and is then launched on a grid.
///
/// `cuLaunchKernel` does not change what is kept.
struct ClassicLaunch: Sendable {
    var block: (x: UInt32, y: UInt32, z: UInt32) = (0, 0, 0)
    var sharedBytes: UInt32 = 0
    var parameters: [UInt8] = []
    /// What `cuParamSetSize` said.
    var parameterBytes = 0

    /// CUDA programming guide, technical specifications: 32,764 bytes since compute capability 7.0.
    static let parameterBytesMax = 32_764
}

extension Shim {
    func cuFuncSetBlockShape(_ hfunc: OpaquePointer?, _ x: Int32, _ y: Int32, _ z: Int32) throws(CUDAError) {
        let function = try function(hfunc)
        let limits = function.context.device.limits
        guard x > 0, y > 0, z > 0, UInt32(x) <= limits.blockX, UInt32(y) <= limits.blockY, UInt32(z) <= limits.blockZ,
            UInt64(x) * UInt64(y) * UInt64(z) <= UInt64(min(limits.threadsPerBlock, function.threadsPerBlockMax))
        else { throw .invalidValue }
        function.classicLaunch.withLock { $0.block = (UInt32(x), UInt32(y), UInt32(z)) }
    }

    func cuFuncSetSharedSize(_ hfunc: OpaquePointer?, _ bytes: UInt32) throws(CUDAError) {
        let function = try function(hfunc)
        guard bytes <= function.dynamicSharedBytesMax.load(ordering: .relaxed) else { throw .invalidValue }
        function.classicLaunch.withLock { $0.sharedBytes = bytes }
    }

    func cuParamSetSize(_ hfunc: OpaquePointer?, _ numbytes: UInt32) throws(CUDAError) {
        let function = try function(hfunc)
        guard numbytes <= ClassicLaunch.parameterBytesMax else { throw .invalidValue }
        function.classicLaunch.withLock { $0.parameterBytes = Int(numbytes) }
    }

    func cuParamSetf(_ hfunc: OpaquePointer?, _ offset: Int32, _ value: Float) throws(CUDAError) {
        try setParameter(hfunc, offset, withUnsafeBytes(of: value) { Array($0) })
    }

    func cuParamSeti(_ hfunc: OpaquePointer?, _ offset: Int32, _ value: UInt32) throws(CUDAError) {
        try setParameter(hfunc, offset, withUnsafeBytes(of: value) { Array($0) })
    }

    func cuParamSetv(
        _ hfunc: OpaquePointer?, _ offset: Int32, _ ptr: UnsafeMutableRawPointer?, _ numbytes: UInt32
    ) throws(CUDAError) {
        guard ptr != nil || numbytes == 0, numbytes <= ClassicLaunch.parameterBytesMax else { throw .invalidValue }
        try setParameter(hfunc, offset, Array(UnsafeRawBufferPointer(start: ptr, count: Int(numbytes))))
    }

    private func setParameter(_ hfunc: OpaquePointer?, _ offset: Int32, _ bytes: [UInt8]) throws(CUDAError) {
        let function = try function(hfunc)
        guard offset >= 0, Int(offset) + bytes.count <= ClassicLaunch.parameterBytesMax else { throw .invalidValue }
        let end = Int(offset) + bytes.count
        function.classicLaunch.withLock { launch in
            if launch.parameters.count < end {
                launch.parameters += [UInt8](repeating: 0, count: end - launch.parameters.count)
            }
            launch.parameters.replaceSubrange(Int(offset)..<end, with: bytes)
        }
    }

    func cuLaunch(_ f: OpaquePointer?) throws(CUDAError) { try cuLaunchGridAsync(f, 1, 1, nil) }

    func cuLaunchGrid(_ f: OpaquePointer?, _ grid_width: Int32, _ grid_height: Int32) throws(CUDAError) {
        try cuLaunchGridAsync(f, grid_width, grid_height, nil)
    }

    func cuLaunchGridAsync(
        _ f: OpaquePointer?, _ grid_width: Int32, _ grid_height: Int32, _ hStream: OpaquePointer?
    ) throws(CUDAError) {
        guard grid_width > 0, grid_height > 0 else { throw .invalidValue }
        let launch = try function(f).classicLaunch.withLock { $0 }
        // A block that was never shaped has no threads.
        guard launch.block.x > 0 else { throw .invalidValue }
        let geometry = LaunchGeometry(
            grid: (UInt32(grid_width), UInt32(grid_height), 1), block: launch.block,
            dynamicSharedBytes: launch.sharedBytes)
        try launchPacked(f, geometry, hStream, launch)
    }

    /// Launches with a parameter block, by the form of `cuLaunchKernel` that takes one.
    private func launchPacked(
        _ f: OpaquePointer?, _ geometry: LaunchGeometry, _ hStream: OpaquePointer?, _ launch: ClassicLaunch
    ) throws(CUDAError) {
        let count = launch.parameterBytes
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: max(16, count), alignment: 16)
        let size = UnsafeMutablePointer<Int>.allocate(capacity: 1)
        let extra = UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(capacity: 5)
        defer {
            block.deallocate()
            size.deallocate()
            extra.deallocate()
        }
        block.initializeMemory(as: UInt8.self, repeating: 0)
        block.copyBytes(from: launch.parameters.prefix(count))
        size.initialize(to: count)
        extra[0] = UnsafeMutableRawPointer(bitPattern: UInt(CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT))
        extra[1] = block.baseAddress
        extra[2] = UnsafeMutableRawPointer(bitPattern: UInt(CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT))
        extra[3] = UnsafeMutableRawPointer(size)
        extra[4] = nil
        try cuLaunchKernel(
            f, geometry.gridX, geometry.gridY, 1, geometry.blockX, geometry.blockY, geometry.blockZ,
            geometry.dynamicSharedBytes, hStream, nil, extra, defaultStream: .legacy)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Launches: checked here as CUDA checks them at once, packed into one block, and sent without waiting. A launch
/// allocates nothing.
extension Shim {
    func cuLaunchKernel(
        _ f: OpaquePointer?, _ gridDimX: UInt32, _ gridDimY: UInt32, _ gridDimZ: UInt32, _ blockDimX: UInt32,
        _ blockDimY: UInt32, _ blockDimZ: UInt32, _ sharedMemBytes: UInt32, _ hStream: OpaquePointer?,
        _ kernelParams: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ extra: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let geometry = LaunchGeometry(
            grid: (gridDimX, gridDimY, gridDimZ), block: (blockDimX, blockDimY, blockDimZ),
            dynamicSharedBytes: sharedMemBytes)
        try launch(f, geometry, try workTarget(hStream, defaultStream), kernelParams, extra)
    }

    func cuLaunchCooperativeKernel(
        _ f: OpaquePointer?, _ gridDimX: UInt32, _ gridDimY: UInt32, _ gridDimZ: UInt32, _ blockDimX: UInt32,
        _ blockDimY: UInt32, _ blockDimZ: UInt32, _ sharedMemBytes: UInt32, _ hStream: OpaquePointer?,
        _ kernelParams: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let geometry = LaunchGeometry(
            grid: (gridDimX, gridDimY, gridDimZ), block: (blockDimX, blockDimY, blockDimZ),
            dynamicSharedBytes: sharedMemBytes, isCooperative: true)
        try launch(f, geometry, try workTarget(hStream, defaultStream), kernelParams, nil)
    }

    func cuLaunchKernelEx(
        _ config: UnsafePointer<CUlaunchConfig>?, _ f: OpaquePointer?,
        _ kernelParams: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ extra: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard let config else { throw .invalidValue }
        let target = try workTarget(config.pointee.hStream, defaultStream)
        var geometry = LaunchGeometry(
            grid: (config.pointee.gridDimX, config.pointee.gridDimY, config.pointee.gridDimZ),
            block: (config.pointee.blockDimX, config.pointee.blockDimY, config.pointee.blockDimZ),
            dynamicSharedBytes: config.pointee.sharedMemBytes)
        try apply(config.pointee, to: &geometry, on: try context(of: target).device)
        try launch(f, geometry, target, kernelParams, extra)
    }

    @inline(__always)
    private func launch(
        _ f: OpaquePointer?, _ geometry: LaunchGeometry, _ target: StreamTarget,
        _ kernelParams: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ extra: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) throws(CUDAError) {
        if let stream = target.capturing {
            let context = try context(of: target)
            if geometry.isCooperative { try checkResidency(geometry, try function(f, in: try ActiveContext(context))) }
            return try capture(.kernel(try kernelWork(f, geometry, context, kernelParams, extra)), on: stream)
        }
        if geometry.isCooperative {
            try checkResidency(geometry, try function(f, in: try ActiveContext(try context(of: target))))
        }
        let (function, parameters) = try withFunction(f, target) { function throws(CUDAError) in
            try check(geometry, function, function.context.device.limits)
            return (function.handle, try pack(function, kernelParams, extra))
        }
        if changedReferenceCount.load(ordering: .relaxed) > 0 { try sendChangedReferences() }
        if usesSharedMemory {
            try launchWithSharedMemory(function, geometry, target, parameters)
        } else {
            try driver.cuLaunchKernel(
                target.context, f: function, geometry, stream: target.stream,
                parameters: UnsafeRawBufferPointer(parameters))
        }
        try waitIfBlocking(target)
    }

    /// Calls with the function behind a CUfunction, or behind a CUkernel that was cast to one, in the context of a
    /// stream.
    @inline(__always)
    private func withFunction<Result>(
        _ handle: OpaquePointer?, _ target: StreamTarget,
        _ body: (borrowing Function) throws(CUDAError) -> Result
    ) throws(CUDAError) -> Result {
        let result = try functions.with(bits(handle)) { function throws(CUDAError) in
            guard function.contextBits == target.contextBits else { throw .invalidHandle }
            return try body(function)
        }
        if let result { return result }
        return try withKernel(handle, target, body)
    }

    @inline(__always)
    private func withKernel<Result>(
        _ handle: OpaquePointer?, _ target: StreamTarget,
        _ body: (borrowing Function) throws(CUDAError) -> Result
    ) throws(CUDAError) -> Result {
        let result = try kernels.with(bits(handle)) { kernel throws(CUDAError) in
            try kernel.functions.withLock { functions throws(CUDAError) -> Result? in
                for index in functions.indices where functions[index].contextBits == target.contextBits {
                    return try body(functions[index])
                }
                return nil
            }
        }
        guard let result else { throw .invalidHandle }
        if let result { return result }
        // The kernel's first launch in this context.
        let kernel = try kernels.object(handle)
        return try body(try function(of: kernel, in: try ActiveContext(try context(of: target))))
    }

    @inline(__always)
    func check(
        _ geometry: LaunchGeometry, _ function: borrowing Function, _ limits: Device.LaunchLimits
    ) throws(CUDAError) {
        guard geometry.gridX &- 1 < limits.gridX, geometry.gridY &- 1 < limits.gridY,
            geometry.gridZ &- 1 < limits.gridZ,
            geometry.blockX &- 1 < limits.blockX, geometry.blockY &- 1 < limits.blockY,
            geometry.blockZ &- 1 < limits.blockZ
        else { throw .invalidValue }
        let threads = UInt64(geometry.blockX) * UInt64(geometry.blockY) * UInt64(geometry.blockZ)
        guard threads <= UInt64(limits.threadsPerBlock),
            geometry.dynamicSharedBytes <= function.dynamicSharedBytesMax.load(ordering: .relaxed)
        else { throw .invalidValue }
        // The device could, but not with as many registers as the kernel has.
        guard threads <= UInt64(function.threadsPerBlockMax) else {
            throw CUDAError(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)
        }
    }

    /// The kernel's parameter block, in memory of this thread that its next launch uses again.
    @inline(__always)
    func pack(
        _ function: borrowing Function, _ kernelParams: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ extra: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        guard let kernelParams else { return try packed(extra, function) }
        guard extra == nil else { throw .invalidValue }
        let block = ThreadState.current.pointee.launchBuffer(byteCount: function.parameterBytes)
        guard let start = block.baseAddress else { return block }
        for index in function.parameters.indices {
            let parameter = function.parameters[index]
            guard let source = kernelParams[index] else { throw .invalidValue }
            (start + parameter.offset).copyMemory(from: source, byteCount: parameter.size)
        }
        return block
    }

    /// The other form of parameters: a list of names and values, ended by 0, that gives a block and its size.
    private func packed(
        _ extra: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ function: borrowing Function
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        guard let extra else {
            guard function.parameters.isEmpty else { throw .invalidValue }
            return UnsafeMutableRawBufferPointer(start: nil, count: 0)
        }
        var block: UnsafeMutableRawPointer?
        var byteCount = 0
        var index = 0
        // Two names with a value each, then the end.
        let wordsMax = 16
        while index < wordsMax, let name = extra[index] {
            switch UInt(bitPattern: name) {
            case UInt(CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT): block = extra[index + 1]
            case UInt(CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT):
                guard let size = extra[index + 1] else { throw .invalidValue }
                byteCount = size.loadUnaligned(as: Int.self)
            default: throw .invalidValue
            }
            index += 2
        }
        guard byteCount >= function.parameterBytes, block != nil || byteCount == 0 else { throw .invalidValue }
        return UnsafeMutableRawBufferPointer(start: block, count: function.parameterBytes)
    }
}

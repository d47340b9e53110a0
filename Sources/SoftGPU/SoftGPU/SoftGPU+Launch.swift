// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import KernelCompiler
import Synchronization

/// Kernels and host functions.
extension SoftGPU {
    package func cuLaunchKernel(
        _ context: ContextHandle, f: FunctionHandle, _ shape: LaunchGeometry, stream: StreamHandle,
        parameters: UnsafeRawBufferPointer
    ) throws(CUDAError) {
        let context = try self.context(context)
        let function = try function(f, in: context)
        let stream = try self.stream(stream, in: context)
        try Self.check(shape, for: function)
        let parameterBytes = function.description.parameterBytes
        guard parameters.count >= parameterBytes else { throw .invalidValue }
        try function.prepare()
        context.keepOrder(stream)
        let block = UnsafeRawBufferPointer(rebasing: parameters[..<parameterBytes])
        guard let references = function.module.references else { return stream.submit(function, shape, block) }
        references.submit(function, shape, block, to: stream)
    }

    static func check(_ shape: LaunchGeometry, for function: Function) throws(CUDAError) {
        let grid = DeviceProfile.maxGrid
        let block = DeviceProfile.maxBlock
        guard
            shape.gridX > 0, shape.gridY > 0, shape.gridZ > 0,
            shape.gridX <= grid.x, shape.gridY <= grid.y, shape.gridZ <= grid.z,
            shape.blockX > 0, shape.blockY > 0, shape.blockZ > 0,
            shape.blockX <= block.x, shape.blockY <= block.y, shape.blockZ <= block.z
        else { throw .invalidValue }
        guard !shape.hasCluster else { throw CUDAError(CUDA_ERROR_INVALID_CLUSTER_SIZE) }
        let threads = Int(shape.blockX) * Int(shape.blockY) * Int(shape.blockZ)
        guard threads <= DeviceProfile.threadsPerBlock else { throw .invalidValue }
        // The kernel was compiled for fewer threads than the device has (.maxntid).
        guard threads <= function.description.maxThreadsPerBlock else {
            throw CUDAError(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)
        }
        let dynamicSharedBytesMax = function.dynamicSharedBytesMax.load(ordering: .relaxed)
        guard Int(shape.dynamicSharedBytes) <= dynamicSharedBytesMax else { throw .invalidValue }
        guard !shape.isCooperative || Occupancy.canReside(function, shape) else {
            throw CUDAError(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE)
        }
    }

    /// A software GPU has no clusters (CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH is 0).
    package func cuOccupancyMaxActiveClusters(
        _ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        _ = try function(hfunc, in: try self.context(context))
        throw CUDAError(CUDA_ERROR_INVALID_CLUSTER_SIZE)
    }

    package func cuOccupancyMaxPotentialClusterSize(
        _ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        try cuOccupancyMaxActiveClusters(context, hfunc: hfunc, shape)
    }

    package func cuLaunchHostFunc(
        _ context: ContextHandle, stream: StreamHandle, function: @escaping @Sendable () -> Void
    ) throws(CUDAError) {
        let context = try self.context(context)
        context.enqueue(try self.stream(stream, in: context), .task(function))
    }
}

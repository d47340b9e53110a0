// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver

// Launches that say more than sizes: cooperative grids and clusters.

extension LaunchGeometry {
    /// What it says beside sizes, as CUDA's attributes.
    var attributes: [CUlaunchAttribute] {
        var attributes: [CUlaunchAttribute] = []
        if isCooperative {
            var attribute = CUlaunchAttribute()
            attribute.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE
            attribute.value.cooperative = 1
            attributes.append(attribute)
        }
        if hasCluster {
            var attribute = CUlaunchAttribute()
            attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            attribute.value.clusterDim.x = UInt32(clusterX)
            attribute.value.clusterDim.y = UInt32(clusterY)
            attribute.value.clusterDim.z = UInt32(clusterZ)
            attributes.append(attribute)
        }
        return attributes
    }

    /// Calls with the launch as CUDA's functions take it.
    func withConfiguration(_ stream: UInt64, _ body: (UnsafePointer<CUlaunchConfig>) -> CUresult) -> CUresult {
        var attributes = attributes
        return attributes.withUnsafeMutableBufferPointer { attributes in
            var configuration = CUlaunchConfig(
                gridDimX: gridX, gridDimY: gridY, gridDimZ: gridZ, blockDimX: blockX, blockDimY: blockY,
                blockDimZ: blockZ, sharedMemBytes: dynamicSharedBytes,
                hStream: OpaquePointer(bitPattern: UInt(stream)), attrs: attributes.baseAddress,
                numAttrs: UInt32(attributes.count))
            return body(&configuration)
        }
    }
}

extension HostDriver {
    package func cuOccupancyMaxActiveClusters(
        _ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        try clusters(more.cuOccupancyMaxActiveClusters, context, hfunc, shape)
    }

    package func cuOccupancyMaxPotentialClusterSize(
        _ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        try clusters(more.cuOccupancyMaxPotentialClusterSize, context, hfunc, shape)
    }

    private func clusters(
        _ function: MoreHostFunctions.ClusterQuestion?, _ context: ContextHandle, _ hfunc: FunctionHandle,
        _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        guard let function else { throw .notSupported }
        try makeCurrent(context)
        var answer: Int32 = 0
        try check(shape.withConfiguration(0) { function(&answer, hfunc.bits, $0) })
        return answer
    }
}

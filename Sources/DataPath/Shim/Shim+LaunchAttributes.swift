// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Launches that say more than sizes: cooperative grids and clusters.
extension Shim {
    /// More attributes than CUDA defines is a damaged count.
    private static var launchAttributesMax: UInt32 { 256 }

    /// Takes the attributes that change the result; the others are hints about scheduling and caches.
    func apply(
        _ config: CUlaunchConfig, to geometry: inout LaunchGeometry, on device: Device
    ) throws(CUDAError) {
        guard config.numAttrs > 0 else { return }
        guard let attributes = config.attrs, config.numAttrs <= Self.launchAttributesMax else { throw .invalidValue }
        for index in 0..<Int(config.numAttrs) {
            try apply(attributes[index].id, attributes[index].value, to: &geometry, on: device)
        }
    }

    func apply(
        _ id: CUlaunchAttributeID, _ value: CUlaunchAttributeValue, to geometry: inout LaunchGeometry,
        on device: Device
    ) throws(CUDAError) {
        switch id {
        case CU_LAUNCH_ATTRIBUTE_COOPERATIVE: geometry.isCooperative = value.cooperative != 0
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
            let cluster = value.clusterDim
            guard cluster.x > 0, cluster.y > 0, cluster.z > 0 else { throw .invalidValue }
            if (cluster.x, cluster.y, cluster.z) == (1, 1, 1), !device.limits.hasClusters { return }
            guard device.limits.hasClusters else { throw .invalidValue }
            guard let x = UInt8(exactly: cluster.x), let y = UInt8(exactly: cluster.y),
                let z = UInt8(exactly: cluster.z)
            else { throw CUDAError(CUDA_ERROR_INVALID_CLUSTER_SIZE) }
            (geometry.clusterX, geometry.clusterY, geometry.clusterZ) = (x, y, z)
        case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT, CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT,
            CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
            throw .notSupported
        default: break
        }
    }
}

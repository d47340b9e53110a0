// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A device that the application sees.
final class Device: Sendable {
    /// What a launch is checked against, taken from the device's attributes.
    struct LaunchLimits {
        let gridX: UInt32, gridY: UInt32, gridZ: UInt32
        let blockX: UInt32, blockY: UInt32, blockZ: UInt32
        let threadsPerBlock: UInt32
        let hasClusters: Bool

        init(_ description: DeviceDescription) {
            func limit(_ attribute: CUdevice_attribute) -> UInt32 { UInt32(clamping: description[attribute]) }
            gridX = limit(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X)
            gridY = limit(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y)
            gridZ = limit(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z)
            blockX = limit(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X)
            blockY = limit(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y)
            blockZ = limit(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z)
            threadsPerBlock = limit(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK)
            hasClusters = limit(CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH) != 0
        }
    }

    struct PoolState {
        var defaultPool: Pool?
        var currentPool: Pool?
    }

    /// Number among the devices that the application sees.
    let ordinal: Int32
    /// Number among the driver's devices.
    let driverOrdinal: Int32
    let description: DeviceDescription
    let limits: LaunchLimits
    /// How often the primary context is retained.
    ///
    /// The lock is held while the driver makes or ends the context: other threads that retain it meanwhile need the
    /// same outcome.
    let primaryRetains = Mutex(0)
    let pools = Mutex(PoolState())

    init(ordinal: Int32, driverOrdinal: Int32, description: DeviceDescription) {
        self.ordinal = ordinal
        self.driverOrdinal = driverOrdinal
        var description = description
        // What this library does for every device, and what it needs one on the same bus for.
        for (attribute, value) in Device.ownAttributes {
            let index = Int(attribute.rawValue)
            if description.attributes.indices.contains(index) { description.attributes[index] = value }
        }
        // Of the ways in which processes pass handles, file descriptors are the one that works over a network.
        let handleTypes = Int(CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES.rawValue)
        if description.attributes.indices.contains(handleTypes) {
            description.attributes[handleTypes] &= Int32(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue)
        }
        // Grids on several devices are cooperative grids, and waits between their streams.
        let grids = Int(CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH.rawValue)
        if description.attributes.indices.contains(grids) {
            description.attributes[grids] = description[CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH]
        }
        self.description = description
        limits = LaunchLimits(description)
    }

    /// How other processes can import a pool of the device: bits of CUmemAllocationHandleType.
    var poolHandleTypes: UInt32 { UInt32(bitPattern: description[CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES]) }

    private static let ownAttributes: [(CUdevice_attribute, Int32)] = [
        (CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 1),
        (CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 1),
        (CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1),
        (CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED, 1),
        (CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED, 1),
        // No node of the application's host is closer to a device behind a network than another.
        (CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID, 0),
        (CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS, 0),
        (CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES, 0),
        (CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST, 0),
        (CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, 0),
        (CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED, 0),
        (CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED, 0),
        (CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED, 0),
    ]

    /// `0000:10:00.0`: domain, bus and device.
    var pciBusID: String {
        func hexadecimal(_ attribute: CUdevice_attribute, digits: Int) -> String {
            let text = String(UInt32(bitPattern: description[attribute]), radix: 16)
            return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
        }
        let domain = hexadecimal(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, digits: 4)
        let bus = hexadecimal(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, digits: 2)
        let device = hexadecimal(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, digits: 2)
        return "\(domain):\(bus):\(device).0"
    }

    /// `GPU-`, or `MIG-` for a part of a GPU, and the UUID in its usual groups.
    var uuidText: String {
        isPartOfGPU ? "MIG-" + description.uuidText.dropFirst("GPU-".count) : description.uuidText
    }

    /// Whether it is a MIG device, whose profile stands in its name: `NVIDIA A100-SXM4-40GB MIG 1g.5gb`.
    private var isPartOfGPU: Bool { description.name.split(separator: " ").contains("MIG") }
}

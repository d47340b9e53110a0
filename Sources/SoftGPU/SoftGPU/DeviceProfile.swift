// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// What a software GPU says about itself.
///
/// The figures of compute capability 7.5 are those of the CUDA programming guide, "Technical Specifications per Compute
/// Capability"; the rest is what the software really has.
struct DeviceProfile: Sendable {
    static let driverVersion: Int32 = 13050
    static let warpThreads = 32
    static let threadsPerBlock = 1024
    static let threadsPerMultiprocessor = 1024
    static let blocksPerMultiprocessor = 16
    static let registersPerMultiprocessor = 65_536
    static let sharedBytesPerBlock = 48 << 10
    static let sharedBytesPerBlockOptIn = 64 << 10
    static let sharedBytesPerMultiprocessor = 64 << 10
    static let maxBlock: (x: UInt32, y: UInt32, z: UInt32) = (1024, 1024, 64)
    static let maxGrid: (x: UInt32, y: UInt32, z: UInt32) = (0x7fff_ffff, 65_535, 65_535)
    static let leastPriority: Int32 = 0
    static let greatestPriority: Int32 = -5
    /// Rows of a pitched allocation begin at multiples of this.
    static let pitchAlignment = 512

    let ordinal: Int
    let name: String
    let totalBytes: Int
    let multiprocessors: Int
    let capabilityMajor: Int
    let capabilityMinor: Int

    /// 75 for 7.5.
    var capability: Int { capabilityMajor * 10 + capabilityMinor }

    var uuid: [UInt8] { DeviceDescription.softwareUUIDPrefix + [UInt8(truncatingIfNeeded: ordinal)] }

    /// The value of each CUdevice_attribute by its number; those that are not listed are 0, "no" or "none".
    var attributes: [Int32] {
        var values = [Int32](repeating: 0, count: DeviceDescription.attributeCount)
        for (attribute, value) in execution + memory + identity + abilities + Self.textureSizes {
            values[Int(attribute.rawValue)] = value
        }
        return values
    }

    typealias Values = [(CUdevice_attribute, Int32)]

    private var execution: Values {
        [
            (CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, Int32(Self.threadsPerBlock)),
            (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, Int32(Self.maxBlock.x)),
            (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, Int32(Self.maxBlock.y)),
            (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, Int32(Self.maxBlock.z)),
            (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, Int32(Self.maxGrid.x)),
            (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, Int32(Self.maxGrid.y)),
            (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, Int32(Self.maxGrid.z)),
            (CU_DEVICE_ATTRIBUTE_WARP_SIZE, Int32(Self.warpThreads)),
            (CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, Int32(multiprocessors)),
            (CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, Int32(Self.threadsPerMultiprocessor)),
            (CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, Int32(Self.blocksPerMultiprocessor)),
            (CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, Int32(Self.registersPerMultiprocessor)),
            (CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, Int32(Self.registersPerMultiprocessor)),
            (CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1_000_000),
            (CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO, 2),
        ]
    }

    private var memory: Values {
        [
            (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, Int32(Self.sharedBytesPerBlock)),
            (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, Int32(Self.sharedBytesPerBlockOptIn)),
            (CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, Int32(Self.sharedBytesPerMultiprocessor)),
            (CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 64 << 10),
            (CU_DEVICE_ATTRIBUTE_MAX_PITCH, Int32.max),
            (CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512),
            (CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT, 32),
            (CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT, 512),
            (CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 1_000_000),
            (CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 64),
            (CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 4 << 20),
            (CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1),
            (CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1),
            (
                CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES,
                Int32(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue)
            ),
            (CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1, 1),
            (CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1, 1),
            (CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR_V1, 1),
            (CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 1),
            (CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR, 1),
        ]
    }

    private var identity: Values {
        [
            (CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, Int32(capabilityMajor)),
            (CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, Int32(capabilityMinor)),
            (CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, Int32(0x10 + ordinal)),
            (CU_DEVICE_ATTRIBUTE_MULTI_GPU_BOARD_GROUP_ID, Int32(ordinal)),
        ]
    }

    private var abilities: Values {
        [
            (CU_DEVICE_ATTRIBUTE_GPU_OVERLAP, 1),
            (CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 2),
            (CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1),
            (CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED, 1),
            (CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1),
        ]
    }
}

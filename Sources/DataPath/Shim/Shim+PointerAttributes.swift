// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What is known of an address.
extension Shim {
    func cuPointerGetAttribute(
        _ data: UnsafeMutableRawPointer?, _ attribute: CUpointer_attribute, _ ptr: CUdeviceptr
    ) throws(CUDAError) {
        guard let data, isKnown(attribute), let allocation = memory.find(ptr) else { throw .invalidValue }
        guard try write(attribute, of: ptr, allocation, to: data) else { throw .invalidValue }
    }

    /// Unlike the single question this one succeeds for every address: what is not known is 0.
    func cuPointerGetAttributes(
        _ numAttributes: UInt32, _ attributes: UnsafeMutablePointer<CUpointer_attribute>?,
        _ data: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ ptr: CUdeviceptr
    ) throws(CUDAError) {
        guard numAttributes > 0, numAttributes <= 1024, let attributes, let data else { throw .invalidValue }
        let allocation = memory.find(ptr)
        for index in 0..<Int(numAttributes) {
            guard let target = data[index], isKnown(attributes[index]) else { throw .invalidValue }
            let isAnswered =
                try allocation.map { allocation throws(CUDAError) in
                    try write(attributes[index], of: ptr, allocation, to: target)
                } ?? false
            if !isAnswered { writeNothing(attributes[index], to: target) }
        }
    }

    func cuPointerSetAttribute(
        _ value: UnsafeRawPointer?, _ attribute: CUpointer_attribute, _ ptr: CUdeviceptr
    ) throws(CUDAError) {
        guard let value, attribute == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS else { throw .invalidValue }
        let isOn = value.loadUnaligned(as: UInt32.self) != 0
        guard memory.update(ptr, { $0.synchronizesCopies = isOn }) else { throw .invalidValue }
    }

    private func isKnown(_ attribute: CUpointer_attribute) -> Bool {
        (CU_POINTER_ATTRIBUTE_CONTEXT.rawValue...CU_POINTER_ATTRIBUTE_LOCALITY_DOMAIN_ORDINAL.rawValue).contains(
            attribute.rawValue)
    }

    /// Writes an attribute in its size.
    ///
    /// False if memory of this kind does not have it.
    private func write(
        _ attribute: CUpointer_attribute, of address: CUdeviceptr, _ allocation: Allocation,
        to target: UnsafeMutableRawPointer
    ) throws(CUDAError) -> Bool {
        func put(_ value: some BitwiseCopyable) { target.storeBytes(of: value, as: type(of: value)) }
        switch attribute {
        case CU_POINTER_ATTRIBUTE_CONTEXT: put(allocation.contextBits)
        case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
            put(allocation.kind.isOnDevice ? CU_MEMORYTYPE_DEVICE.rawValue : CU_MEMORYTYPE_HOST.rawValue)
        case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: put(allocation.deviceAddress(address))
        case CU_POINTER_ATTRIBUTE_HOST_POINTER:
            if allocation.kind.isOnDevice && allocation.kind != .managed { return false }
            put(address)
        case CU_POINTER_ATTRIBUTE_P2P_TOKENS: throw .notSupported
        case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: put(UInt32(allocation.synchronizesCopies ? 1 : 0))
        case CU_POINTER_ATTRIBUTE_BUFFER_ID: put(allocation.id)
        case CU_POINTER_ATTRIBUTE_IS_MANAGED: put(UInt32(allocation.kind == .managed ? 1 : 0))
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: put(allocation.device)
        case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
            put(UInt32(allocation.kind == .device && allocation.poolBits == 0 ? 1 : 0))
        case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE,
            CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
            put(UInt32(0))
        case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: put(allocation.base)
        case CU_POINTER_ATTRIBUTE_RANGE_SIZE, CU_POINTER_ATTRIBUTE_MAPPING_SIZE: put(allocation.byteCount)
        case CU_POINTER_ATTRIBUTE_MAPPED: put(UInt32(1))
        case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: put(UInt64(handleTypes(of: allocation)))
        case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: put(CU_MEM_ACCESS_FLAGS_PROT_READWRITE.rawValue)
        case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: put(allocation.poolBits)
        case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: put(allocation.id)
        case CU_POINTER_ATTRIBUTE_LOCALITY_DOMAIN_ORDINAL: put(Int32(0))
        default: return false
        }
        return true
    }

    /// How memory can be passed to other processes: bits of CUmemAllocationHandleType.
    private func handleTypes(of allocation: Allocation) -> UInt32 {
        if allocation.poolBits != 0 { return pools[allocation.poolBits]?.handleTypes ?? 0 }
        guard allocation.kind == .mapped else { return 0 }
        return virtualMemory.withLock { $0.mappings[allocation.base]?.memory.handleTypes ?? 0 }
    }

    /// What the question for several attributes answers where there is none: 0, and -1 or -2 for a device, as
    /// documented.
    private func writeNothing(_ attribute: CUpointer_attribute, to target: UnsafeMutableRawPointer) {
        switch attribute {
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: target.storeBytes(of: -2, as: Int32.self)
        case CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_HOST_POINTER,
            CU_POINTER_ATTRIBUTE_BUFFER_ID, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, CU_POINTER_ATTRIBUTE_RANGE_SIZE,
            CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE,
            CU_POINTER_ATTRIBUTE_MAPPING_SIZE, CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR,
            CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
            target.storeBytes(of: 0, as: UInt64.self)
        default: target.storeBytes(of: 0, as: UInt32.self)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// Devices: every answer comes from the description that the driver gave at the start.
extension Shim {
    func cuDeviceGetCount(_ count: UnsafeMutablePointer<Int32>?) throws(CUDAError) {
        try write(Int32(devices.count), to: count)
    }

    func cuDeviceGet(_ device: UnsafeMutablePointer<CUdevice>?, _ ordinal: Int32) throws(CUDAError) {
        try write(try self.device(ordinal).ordinal, to: device)
    }

    func cuDeviceGetName(_ name: UnsafeMutablePointer<CChar>?, _ len: Int32, _ dev: CUdevice) throws(CUDAError) {
        try writeText(try device(dev).description.name, to: name, byteCount: len)
    }

    func cuDeviceTotalMem_v2(_ bytes: UnsafeMutablePointer<Int>?, _ dev: CUdevice) throws(CUDAError) {
        try write(try device(dev).description.totalBytes, to: bytes)
    }

    func cuDeviceGetAttribute(
        _ pi: UnsafeMutablePointer<Int32>?, _ attrib: CUdevice_attribute, _ dev: CUdevice
    ) throws(CUDAError) {
        let device = try device(dev)
        guard attrib.rawValue > 0, attrib.rawValue < CU_DEVICE_ATTRIBUTE_MAX.rawValue else { throw .invalidValue }
        try write(Self.withheldAttributes.contains(attrib) ? 0 : device.description[attrib], to: pi)
    }

    /// Abilities that a device may have and whose functions are not offered: who asks goes another way.
    private static var withheldAttributes: [CUdevice_attribute] {
        [
            CU_DEVICE_ATTRIBUTE_LOGICAL_ENDPOINT_MULTICAST_SUPPORTED,
            CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED, CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED,
            CU_DEVICE_ATTRIBUTE_DMA_BUF_MMAP_SUPPORTED, CU_DEVICE_ATTRIBUTE_HOST_ALLOC_DMA_BUF_SUPPORTED,
            CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK, CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_MAXIMUM_LENGTH,
            CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
            CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
        ]
    }

    func cuDeviceComputeCapability(
        _ major: UnsafeMutablePointer<Int32>?, _ minor: UnsafeMutablePointer<Int32>?, _ dev: CUdevice
    ) throws(CUDAError) {
        let description = try device(dev).description
        try write(description[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR], to: major)
        try write(description[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR], to: minor)
    }

    func cuDeviceGetProperties(_ prop: UnsafeMutablePointer<CUdevprop>?, _ dev: CUdevice) throws(CUDAError) {
        let description = try device(dev).description
        var properties = CUdevprop()
        properties.maxThreadsPerBlock = description[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK]
        properties.maxThreadsDim = (
            description[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X], description[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y],
            description[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z]
        )
        properties.maxGridSize = (
            description[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X], description[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y],
            description[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z]
        )
        properties.sharedMemPerBlock = description[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK]
        properties.totalConstantMemory = description[CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY]
        properties.SIMDWidth = description[CU_DEVICE_ATTRIBUTE_WARP_SIZE]
        properties.memPitch = description[CU_DEVICE_ATTRIBUTE_MAX_PITCH]
        properties.regsPerBlock = description[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK]
        properties.clockRate = description[CU_DEVICE_ATTRIBUTE_CLOCK_RATE]
        properties.textureAlign = description[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT]
        try write(properties, to: prop)
    }

    func cuDeviceGetUuid(_ uuid: UnsafeMutablePointer<CUuuid>?, _ dev: CUdevice) throws(CUDAError) {
        let device = try device(dev)
        guard let uuid else { throw .invalidValue }
        UnsafeMutableRawBufferPointer(start: uuid, count: MemoryLayout<CUuuid>.size).copyBytes(
            from: device.description.uuid.prefix(MemoryLayout<CUuuid>.size))
    }

    func cuDeviceGetUuid_v2(_ uuid: UnsafeMutablePointer<CUuuid>?, _ dev: CUdevice) throws(CUDAError) {
        try cuDeviceGetUuid(uuid, dev)
    }

    func cuDeviceGetPCIBusId(_ pciBusId: UnsafeMutablePointer<CChar>?, _ len: Int32, _ dev: CUdevice) throws(CUDAError)
    {
        try writeText(try device(dev).pciBusID, to: pciBusId, byteCount: len)
    }

    /// Takes `domain:bus:device.function`, `domain:bus:device` or `bus:device.function`, in hexadecimal digits.
    func cuDeviceGetByPCIBusId(_ dev: UnsafeMutablePointer<CUdevice>?, _ pciBusId: UnsafePointer<CChar>?)
        throws(CUDAError)
    {
        var parts = try text(pciBusId).split(separator: ":", omittingEmptySubsequences: false)
        if parts.count == 2 { parts.insert("0", at: 0) }
        guard parts.count == 3, let domain = Int32(parts[0], radix: 16), let bus = Int32(parts[1], radix: 16),
            let number = parts[2].split(separator: ".").first.flatMap({ Int32($0, radix: 16) })
        else { throw .invalidValue }
        for device in devices
        where device.description[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] == domain
            && device.description[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] == bus
            && device.description[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] == number
        { return try write(device.ordinal, to: dev) }
        throw .invalidDevice
    }

    func cuDeviceCanAccessPeer(
        _ canAccessPeer: UnsafeMutablePointer<Int32>?, _ dev: CUdevice, _ peerDev: CUdevice
    ) throws(CUDAError) {
        try write(self.canAccess(try device(dev), try device(peerDev)) ? 1 : 0, to: canAccessPeer)
    }

    func cuDeviceGetP2PAttribute(
        _ value: UnsafeMutablePointer<Int32>?, _ attrib: CUdevice_P2PAttribute, _ srcDevice: CUdevice,
        _ dstDevice: CUdevice
    ) throws(CUDAError) {
        let source = try device(srcDevice)
        let target = try device(dstDevice)
        guard source.ordinal != target.ordinal else { throw .invalidDevice }
        switch attrib {
        case CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED: try write(canAccess(source, target) ? 1 : 0, to: value)
        case CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED,
            CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED,
            CU_DEVICE_P2P_ATTRIBUTE_ONLY_PARTIAL_NATIVE_ATOMIC_SUPPORTED:
            try write(0, to: value)
        default: throw .invalidValue
        }
    }

    func cuDeviceGetExecAffinitySupport(
        _ pi: UnsafeMutablePointer<Int32>?, _ type: CUexecAffinityType, _ dev: CUdevice
    ) throws(CUDAError) {
        _ = try device(dev)
        guard type.rawValue < CU_EXEC_AFFINITY_TYPE_MAX.rawValue else { throw .invalidValue }
        try write(0, to: pi)
    }

    func canAccess(_ device: Device, _ peer: Device) -> Bool {
        let reachable = device.description.canAccessPeer
        let index = Int(peer.driverOrdinal)
        return device.ordinal != peer.ordinal && reachable.indices.contains(index) && reachable[index]
    }

    /// Writes text into a buffer of `byteCount` bytes, cut to fit and ended by NUL.
    private func writeText(
        _ text: String, to buffer: UnsafeMutablePointer<CChar>?, byteCount: Int32
    ) throws(CUDAError) {
        guard let buffer, byteCount > 0 else { throw .invalidValue }
        var count = 0
        for byte in text.utf8.prefix(Int(byteCount) - 1) {
            buffer[count] = CChar(bitPattern: byte)
            count += 1
        }
        buffer[count] = 0
    }
}

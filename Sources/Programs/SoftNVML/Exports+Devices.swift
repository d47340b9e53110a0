// SPDX-License-Identifier: Apache-2.0
package import CNVML
import Glibc

// Finding devices, and what is known of each.

@c @implementation
package func nvmlDeviceGetCount(_ count: UnsafeMutablePointer<UInt32>?) -> nvmlReturn_t { nvmlDeviceGetCount_v2(count) }

@c @implementation
package func nvmlDeviceGetCount_v2(_ count: UnsafeMutablePointer<UInt32>?) -> nvmlReturn_t {
    NVMLLibrary.withInventory { store(UInt32($0.count), to: count) }
}

@c @implementation
package func nvmlDeviceGetHandleByIndex(
    _ index: UInt32, _ device: UnsafeMutablePointer<nvmlDevice_t?>?
) -> nvmlReturn_t {
    nvmlDeviceGetHandleByIndex_v2(index, device)
}

@c @implementation
package func nvmlDeviceGetHandleByIndex_v2(
    _ index: UInt32, _ device: UnsafeMutablePointer<nvmlDevice_t?>?
) -> nvmlReturn_t {
    NVMLLibrary.withInventory { inventory in
        guard index < inventory.count else { return NVML.invalidArgument }
        return store(NVMLLibrary.handle(of: Int(index)), to: device)
    }
}

/// Looks for the device of which one of the given names is `text`, without regard to case.
private func findDevice(
    _ text: UnsafePointer<CChar>?, _ device: UnsafeMutablePointer<nvmlDevice_t?>?,
    names: (SoftInventory, Int) -> [String]
) -> nvmlReturn_t {
    guard let text else { return NVML.invalidArgument }
    let wanted = String(cString: text).lowercased()
    return NVMLLibrary.withInventory { inventory in
        for ordinal in 0..<inventory.count where names(inventory, ordinal).contains(wanted) {
            return store(NVMLLibrary.handle(of: ordinal), to: device)
        }
        return NVML.notFound
    }
}

@c @implementation
package func nvmlDeviceGetHandleByUUID(
    _ uuid: UnsafePointer<CChar>?, _ device: UnsafeMutablePointer<nvmlDevice_t?>?
) -> nvmlReturn_t {
    findDevice(uuid, device) { inventory, ordinal in [inventory.uuid(of: ordinal).lowercased()] }
}

@c @implementation
package func nvmlDeviceGetHandleByPciBusId(
    _ busId: UnsafePointer<CChar>?, _ device: UnsafeMutablePointer<nvmlDevice_t?>?
) -> nvmlReturn_t {
    nvmlDeviceGetHandleByPciBusId_v2(busId, device)
}

@c @implementation
package func nvmlDeviceGetHandleByPciBusId_v2(
    _ busId: UnsafePointer<CChar>?, _ device: UnsafeMutablePointer<nvmlDevice_t?>?
) -> nvmlReturn_t {
    findDevice(busId, device) { inventory, ordinal in
        [4, 8].map { inventory.pciAddress(of: ordinal, domainDigits: $0).lowercased() }
    }
}

@c @implementation
package func nvmlDeviceGetIndex(_ device: nvmlDevice_t?, _ index: UnsafeMutablePointer<UInt32>?) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, ordinal in store(UInt32(ordinal), to: index) }
}

@c @implementation
package func nvmlDeviceGetMinorNumber(_ device: nvmlDevice_t?, _ minor: UnsafeMutablePointer<UInt32>?) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, ordinal in store(UInt32(ordinal), to: minor) }
}

@c @implementation
package func nvmlDeviceGetName(
    _ device: nvmlDevice_t?, _ name: UnsafeMutablePointer<CChar>?, _ length: UInt32
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { inventory, _ in copy(inventory.name, to: name, length: length) }
}

@c @implementation
package func nvmlDeviceGetUUID(
    _ device: nvmlDevice_t?, _ uuid: UnsafeMutablePointer<CChar>?, _ length: UInt32
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { inventory, ordinal in
        copy(inventory.uuid(of: ordinal), to: uuid, length: length)
    }
}

@c @implementation
package func nvmlDeviceGetPciInfo_v3(
    _ device: nvmlDevice_t?, _ pci: UnsafeMutablePointer<nvmlPciInfo_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { inventory, ordinal in
        var info = nvmlPciInfo_t()
        info.bus = UInt32(inventory.bus(of: ordinal))
        withUnsafeMutableBytes(of: &info.busIdLegacy) {
            $0.copyBytes(from: inventory.pciAddress(of: ordinal, domainDigits: 4).utf8)
        }
        withUnsafeMutableBytes(of: &info.busId) {
            $0.copyBytes(from: inventory.pciAddress(of: ordinal, domainDigits: 8).utf8)
        }
        return store(info, to: pci)
    }
}

/// Memory in use is not known here: it belongs to the processes that drive the software GPU.
@c @implementation
package func nvmlDeviceGetMemoryInfo(
    _ device: nvmlDevice_t?, _ memory: UnsafeMutablePointer<nvmlMemory_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { inventory, _ in
        store(nvmlMemory_t(total: inventory.totalBytes, free: inventory.totalBytes, used: 0), to: memory)
    }
}

@c @implementation
package func nvmlDeviceGetMemoryInfo_v2(
    _ device: nvmlDevice_t?, _ memory: UnsafeMutablePointer<nvmlMemory_v2_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { inventory, _ in
        guard let memory else { return NVML.invalidArgument }
        let version = UInt32(MemoryLayout<nvmlMemory_v2_t>.size) | 2 << 24
        guard memory.pointee.version == version else { return NVML.versionMismatch }
        let total = inventory.totalBytes
        memory.pointee = nvmlMemory_v2_t(version: version, total: total, reserved: 0, free: total, used: 0)
        return NVML.success
    }
}

@c @implementation
package func nvmlDeviceGetUtilizationRates(
    _ device: nvmlDevice_t?, _ utilization: UnsafeMutablePointer<nvmlUtilization_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in store(nvmlUtilization_t(gpu: 0, memory: 0), to: utilization) }
}

/// Off: nothing stays loaded when no program uses the GPU.
@c @implementation
package func nvmlDeviceGetPersistenceMode(
    _ device: nvmlDevice_t?, _ mode: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in store(0, to: mode) }
}

/// Default: several processes may use the GPU.
@c @implementation
package func nvmlDeviceGetComputeMode(_ device: nvmlDevice_t?, _ mode: UnsafeMutablePointer<UInt32>?) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in store(0, to: mode) }
}

@c @implementation
package func nvmlDeviceGetCudaComputeCapability(
    _ device: nvmlDevice_t?, _ major: UnsafeMutablePointer<Int32>?, _ minor: UnsafeMutablePointer<Int32>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { inventory, _ in
        guard let major, let minor else { return NVML.invalidArgument }
        (major.pointee, minor.pointee) = (inventory.capabilityMajor, inventory.capabilityMinor)
        return NVML.success
    }
}

@c @implementation
package func nvmlDeviceGetComputeRunningProcesses(
    _ device: nvmlDevice_t?, _ count: UnsafeMutablePointer<UInt32>?,
    _ infos: UnsafeMutablePointer<nvmlProcessInfo_v1_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in store(0, to: count) }
}

@c @implementation
package func nvmlDeviceGetComputeRunningProcesses_v3(
    _ device: nvmlDevice_t?, _ count: UnsafeMutablePointer<UInt32>?, _ infos: UnsafeMutablePointer<nvmlProcessInfo_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in store(0, to: count) }
}

@c @implementation
package func nvmlDeviceGetGraphicsRunningProcesses(
    _ device: nvmlDevice_t?, _ count: UnsafeMutablePointer<UInt32>?,
    _ infos: UnsafeMutablePointer<nvmlProcessInfo_v1_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in store(0, to: count) }
}

@c @implementation
package func nvmlDeviceGetGraphicsRunningProcesses_v3(
    _ device: nvmlDevice_t?, _ count: UnsafeMutablePointer<UInt32>?, _ infos: UnsafeMutablePointer<nvmlProcessInfo_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in store(0, to: count) }
}

@c @implementation
package func nvmlDeviceGetMPSComputeRunningProcesses_v3(
    _ device: nvmlDevice_t?, _ count: UnsafeMutablePointer<UInt32>?, _ infos: UnsafeMutablePointer<nvmlProcessInfo_t>?
) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in store(0, to: count) }
}

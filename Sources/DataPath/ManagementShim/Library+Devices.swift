// SPDX-License-Identifier: Apache-2.0
import CNVML
import Glibc
import Management

// Functions about devices that need no question, or another one.

extension Library {
    func nvmlDeviceGetHandleByIndex_v2(_ index: UInt32, _ device: UnsafeMutableRawPointer?) -> UInt32 {
        withDeviceCount { count in
            guard Int(index) < count else { return NVMLCode.invalidArgument }
            return store(DeviceHandle.handle(Int(index)), at: device)
        }
    }

    func nvmlDeviceGetIndex(_ device: UnsafeMutableRawPointer?, _ index: UnsafeMutableRawPointer?) -> UInt32 {
        withDevice(device) { store(UInt32($0), at: index) }
    }

    /// The first form ends before the subsystem.
    func nvmlDeviceGetPciInfo(_ device: UnsafeMutableRawPointer?, _ pci: UnsafeMutableRawPointer?) -> UInt32 {
        pciInfo(device, pci, byteCount: 32)
    }

    /// The second form ends before the longer bus number; its other words are reserved.
    func nvmlDeviceGetPciInfo_v2(_ device: UnsafeMutableRawPointer?, _ pci: UnsafeMutableRawPointer?) -> UInt32 {
        pciInfo(device, pci, byteCount: 36)
    }

    private func pciInfo(
        _ device: UnsafeMutableRawPointer?, _ place: UnsafeMutableRawPointer?, byteCount: Int
    ) -> UInt32 {
        guard let place else { return NVMLCode.invalidArgument }
        var info = nvmlPciInfo_t()
        return withUnsafeMutableBytes(of: &info) { bytes in
            let status = ask(.nvmlDeviceGetPciInfo_v3, [.device(device), .result(bytes.baseAddress, bytes.count)])
            if status == NVMLCode.success, let start = bytes.baseAddress {
                place.copyMemory(from: start, byteCount: byteCount)
            }
            return status
        }
    }

    /// In this form, what the driver keeps for itself counts as used.
    func nvmlDeviceGetMemoryInfo(_ device: UnsafeMutableRawPointer?, _ memory: UnsafeMutableRawPointer?) -> UInt32 {
        guard memory != nil else { return NVMLCode.invalidArgument }
        var info = nvmlMemory_v2_t()
        info.version = memoryInfoVersion
        let status = withUnsafeMutableBytes(of: &info) {
            ask(.nvmlDeviceGetMemoryInfo_v2, [.device(device), .versioned($0.baseAddress)])
        }
        guard status == NVMLCode.success else { return status }
        return store(nvmlMemory_t(total: info.total, free: info.free, used: info.used &+ info.reserved), at: memory)
    }

    /// No GPU is hidden by the server's configuration: those that are not allocated are not there at all.
    func nvmlGetExcludedDeviceCount(_ count: UnsafeMutableRawPointer?) -> UInt32 {
        withDeviceCount { _ in store(UInt32(0), at: count) }
    }

    func nvmlGetExcludedDeviceInfoByIndex(_ index: UInt32, _ info: UnsafeMutableRawPointer?) -> UInt32 {
        withDeviceCount { _ in NVMLCode.invalidArgument }
    }

    func nvmlUnitGetCount(_ count: UnsafeMutableRawPointer?) -> UInt32 {
        withDeviceCount { _ in store(UInt32(0), at: count) }
    }

    func nvmlDeviceGetMaxMigDeviceCount(
        _ device: UnsafeMutableRawPointer?, _ count: UnsafeMutableRawPointer?
    ) -> UInt32 {
        withDevice(device) { _ in store(UInt32(0), at: count) }
    }

    func nvmlDeviceIsMigDeviceHandle(
        _ device: UnsafeMutableRawPointer?, _ isMigDevice: UnsafeMutableRawPointer?
    ) -> UInt32 {
        withDevice(device) { _ in store(UInt32(0), at: isMigDevice) }
    }

    func nvmlDeviceGetMigDeviceHandleByIndex(
        _ device: UnsafeMutableRawPointer?, _ index: UInt32, _ migDevice: UnsafeMutableRawPointer?
    ) -> UInt32 {
        withDevice(device) { _ in NVMLCode.notFound }
    }
}

/// Stores a value where the caller wants it; a null place is an invalid argument.
func store<Value>(_ value: Value, at place: UnsafeMutableRawPointer?) -> UInt32 {
    guard let place else { return NVMLCode.invalidArgument }
    withUnsafeBytes(of: value) { if let start = $0.baseAddress { place.copyMemory(from: start, byteCount: $0.count) } }
    return NVMLCode.success
}

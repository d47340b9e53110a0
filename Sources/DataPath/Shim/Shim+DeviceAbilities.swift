// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// What devices can do with the host and with each other, and what they would tell a program of their own accord.
extension Shim {
    // MARK: Atomic operations over a link

    /// The host and the devices are joined by a network: no operation is atomic over it.
    func cuDeviceGetHostAtomicCapabilities(
        _ capabilities: UnsafeMutablePointer<UInt32>?, _ operations: UnsafePointer<CUatomicOperation>?,
        _ count: UInt32, _ dev: CUdevice
    ) throws(CUDAError) {
        _ = try device(dev)
        try writeNone(of: operations, count, to: capabilities)
    }

    /// As CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED says, which is 0 for all devices.
    func cuDeviceGetP2PAtomicCapabilities(
        _ capabilities: UnsafeMutablePointer<UInt32>?, _ operations: UnsafePointer<CUatomicOperation>?,
        _ count: UInt32, _ srcDevice: CUdevice, _ dstDevice: CUdevice
    ) throws(CUDAError) {
        let source = try device(srcDevice)
        guard source.ordinal != (try device(dstDevice).ordinal) else { throw .invalidDevice }
        try writeNone(of: operations, count, to: capabilities)
    }

    private func writeNone(
        of operations: UnsafePointer<CUatomicOperation>?, _ count: UInt32,
        to capabilities: UnsafeMutablePointer<UInt32>?
    ) throws(CUDAError) {
        guard let capabilities, let operations, count > 0 else { throw .invalidValue }
        for index in 0..<Int(count) where operations[index].rawValue >= CU_ATOMIC_OPERATION_MAX.rawValue {
            throw .invalidValue
        }
        for index in 0..<Int(count) { capabilities[index] = 0 }
    }

    // MARK: Textures

    /// The device's limit of texels, or as many of them as its memory holds.
    func cuDeviceGetTexture1DLinearMaxWidth(
        _ maxWidthInElements: UnsafeMutablePointer<Int>?, _ format: CUarray_format, _ numChannels: UInt32,
        _ dev: CUdevice
    ) throws(CUDAError) {
        let description = try device(dev).description
        guard let texels = ArrayFormat(format.rawValue, channels: numChannels) else { throw .invalidValue }
        let limit = Int(description[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH])
        try write(min(limit, description.totalBytes / texels.elementBytes), to: maxWidthInElements)
    }

    // MARK: Notifications

    /// A driver tells a process that it has more memory than its budget.
    ///
    /// Memory beyond a partition is refused, and never taken away later, so that there is nothing to tell.
    func cuDeviceRegisterAsyncNotification(
        _ device: CUdevice, _ callbackFunc: CUasyncCallback?, _ userData: UnsafeMutableRawPointer?,
        _ callback: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        let ordinal = try self.device(device).ordinal
        guard callbackFunc != nil, let callback else { throw .invalidValue }
        let number = try notifications.insert { AsyncNotification(bits: $0, device: ordinal) }
        try write(handle: number.bits, to: callback)
    }

    func cuDeviceUnregisterAsyncNotification(_ device: CUdevice, _ callback: OpaquePointer?) throws(CUDAError) {
        let ordinal = try self.device(device).ordinal
        guard let known = notifications[bits(callback)], known.device == ordinal,
            notifications.remove(known.bits) != nil
        else { throw .invalidValue }
    }
}

/// An application's wish to be told when it has more memory of a device than its budget.
final class AsyncNotification: Sendable {
    let bits: UInt64
    /// The application's ordinal of the device.
    let device: Int32

    init(bits: UInt64, device: Int32) {
        self.bits = bits
        self.device = device
    }
}
